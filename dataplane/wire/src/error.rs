//! The closed sets of what can be wrong with a frame, an option list or a build request.

use thiserror::Error;

macro_rules! closed_errors {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident, $label:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
        pub enum $name {
            $($(#[doc = $doc])* #[error($text)] $variant,)*
        }

        impl $name {
            /// Every variant, in order of declaration: tables of counters are built from it.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// A short snake_case name for metrics and logs.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

closed_errors! {
    /// Why a frame could not be parsed. A frame to or from a protected address that does not parse
    /// is dropped (spec §2, hazards 24 to 26), so each variant is one drop reason.
    ParseError {
        /// The frame ends inside the Ethernet, VLAN or fixed IP header.
        Truncated, "truncated", "the frame ends inside a layer-2 or IP header";
        /// Longer than 65535 bytes: offsets of a view are 16 bits wide.
        Oversized, "oversized", "the frame is longer than 65535 bytes";
        /// Neither IPv4 nor IPv6 (ARP, LLDP, 802.3 length field and the like).
        NotIp, "not_ip", "the frame carries neither IPv4 nor IPv6";
        /// More than two VLAN tags.
        TooManyVlanTags, "too_many_vlan_tags", "the frame carries more than two VLAN tags";
        /// Wrong version, header length below 20 or above the total length.
        BadIpv4Header, "bad_ipv4_header", "the IPv4 header contradicts itself";
        /// An IPv4 option that does not parse, or source routing (it hides the real destination).
        Ipv4Options, "ipv4_options", "the IPv4 options do not parse or route by source";
        /// Wrong version.
        BadIpv6Header, "bad_ipv6_header", "the IPv6 header contradicts itself";
        /// An IPv6 extension header that is not walked, out of place, cut short, or one too many.
        ExtensionHeader, "extension_header", "an IPv6 extension header cannot be walked";
        /// An IP fragment, IPv6 atomic fragments included.
        Fragment, "fragment", "the packet is a fragment";
        /// The IP length exceeds the frame.
        LengthMismatch, "length_mismatch", "the IP length exceeds the frame";
        /// IP length 0: a jumbogram, or a segment left to offload that never happened.
        Jumbogram, "jumbogram", "the IP length is zero: a jumbogram or an unsegmented frame";
        /// TCP header cut short or data offset outside 20 bytes … end of packet.
        BadTcpHeader, "bad_tcp_header", "the TCP header does not fit its packet";
        /// UDP header cut short or UDP length outside 8 bytes … end of packet.
        BadUdpHeader, "bad_udp_header", "the UDP header does not fit its packet";
        /// Fewer than 4 bytes of ICMP.
        BadIcmpHeader, "bad_icmp_header", "the ICMP header does not fit its packet";
    }
}

closed_errors! {
    /// Why a list of TCP options could not be read or rewritten.
    OptionError {
        /// An option with a length below 2 or beyond the end of the list.
        MalformedList, "malformed_options", "a TCP option has a length that cannot be";
        /// An option of ours with a wrong length, version, type or ExID phase.
        MalformedOurs, "malformed_sekisho_option", "an option of ours is malformed";
        /// More than one option of ours.
        DuplicateOurs, "duplicate_sekisho_option", "a segment carries two options of ours";
        /// The options that remain and the one to insert exceed 40 bytes.
        NoRoom, "no_option_room", "40 bytes of TCP options are not enough";
    }
}

closed_errors! {
    /// Why a frame could not be built or changed in place.
    BuildError {
        /// Source and destination are of different IP versions.
        MixedFamilies, "mixed_families", "source and destination differ in IP version";
        /// The buffer is too short for the result.
        OutputTooSmall, "output_too_small", "the buffer is too short for the frame";
        /// The result would exceed what an IP length field can say.
        TooLong, "too_long", "the packet would exceed the IP length field";
        /// A TCP change was asked for on a frame that is not TCP.
        NotTcp, "not_tcp", "the frame is not TCP";
        /// TCP options not a multiple of 4, or more than 40 bytes.
        BadOptions, "bad_options", "the TCP options are not a multiple of 4 up to 40 bytes";
    }
}
