//! Every reason for which a frame ends here: one table gives the variant, its label in metrics
//! and its help text. A path of the pipeline that does not emit a frame names one of these.

macro_rules! drop_reasons {
    ($($(#[doc = $help:literal])+ $variant:ident = $label:literal,)+) => {
        /// Why a frame was dropped.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $help])+ $variant,)+ }

        impl DropReason {
            /// Every reason, in the order of the enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Label of metrics and JSON, snake_case.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// One sentence for people.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+).trim_ascii(),)+ }
            }

            /// Position in tables of counters.
            #[must_use]
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

drop_reasons! {
    // Frames that cannot be read.
    /// The frame ends before its headers do.
    Truncated = "truncated",
    /// Longer than any frame.
    Oversized = "oversized",
    /// Neither IPv4 nor IPv6.
    NotIp = "not_ip",
    /// More than two VLAN tags.
    VlanTags = "vlan_tags",
    /// The IPv4 header contradicts itself.
    Ipv4Header = "ipv4_header",
    /// IPv4 options that do not parse, or source routing.
    Ipv4Options = "ipv4_options",
    /// The IPv6 header contradicts itself, or an address is IPv4-mapped.
    Ipv6Header = "ipv6_header",
    /// An IPv6 extension header that is not walked.
    ExtensionHeader = "extension_header",
    /// An IP fragment: later ones have no ports.
    Fragment = "fragment",
    /// The IP length exceeds the frame.
    LengthMismatch = "length_mismatch",
    /// IP length 0: a jumbogram or a segment left to an offload that never happened.
    Jumbogram = "jumbogram",
    /// The TCP header does not fit its packet.
    TcpHeader = "tcp_header",
    /// TCP options that a host would read otherwise than we do.
    TcpOptions = "tcp_options",
    /// The UDP header does not fit its packet.
    UdpHeader = "udp_header",
    /// The ICMP header does not fit its packet.
    IcmpHeader = "icmp_header",
    /// An ICMP error from the network about no connection that this port sends for.
    IcmpUnrelated = "icmp_unrelated",
    /// An ICMP error that quotes a sequence number not under way: forged, or late.
    IcmpWindow = "icmp_window",
    /// Longer than the port's MTU: segmentation or receive offload is on.
    MtuExceeded = "mtu_exceeded",
    /// Would exceed the MTU with the tag: the sender ignores the announced MSS.
    GrownBeyondMtu = "grown_beyond_mtu",
    /// Wrong IP, TCP or UDP checksum.
    BadChecksum = "bad_checksum",
    /// A flag combination that no TCP sends.
    BadFlags = "bad_flags",

    // Frames that do not belong here.
    /// Neither TCP nor key delivery: the XDP program should not have handed it over.
    UnexpectedProtocol = "unexpected_protocol",
    /// TCP of an address and port that no service covers.
    NotAService = "not_a_service",
    /// The protected address is on the wrong end for this port: wiring or spoofing.
    WrongSide = "wrong_side",
    /// Key delivery from the plain side.
    KdpFromPlain = "kdp_from_plain",
    /// Key-delivery datagram longer than 1200 octets or empty.
    KdpLength = "kdp_length",

    // Options.
    /// One of our options is malformed, doubled or of another version.
    OptionMalformed = "option_malformed",
    /// One of our options where it does not belong.
    OptionMisplaced = "option_misplaced",
    /// The options with ours added do not fit 40 octets.
    OptionRoom = "option_room",
    /// TCP-MD5 or TCP-AO: their signature covers what is changed here.
    TcpMd5Ao = "tcp_md5_ao",

    // Set-up.
    /// A SYN without cipher request under `require`.
    NoRequest = "no_request",
    /// A SYN of a known session with another request id.
    RequestMismatch = "request_mismatch",
    /// A SYN from the server's side: simultaneous open is refused.
    SimultaneousOpen = "simultaneous_open",
    /// A SYN that came again after its session's end.
    SynRepeated = "syn_repeated",
    /// A candidate that holds a key keeps its place.
    CandidateBusy = "candidate_busy",
    /// SYN-ACK without accept under `require`.
    NoAccept = "no_accept",
    /// SYN-ACK with another request id than was sent.
    AcceptMismatch = "accept_mismatch",
    /// SYN-ACK that acknowledges another ISN.
    AckMismatch = "ack_mismatch",
    /// A server's ACK for a connection that its client no longer knows: answered by a RST.
    HalfOpen = "half_open",
    /// A second SYN-ACK with another ISN: the origin of offsets stays.
    IsnChanged = "isn_changed",
    /// New sessions are not taken: the worker drains.
    Draining = "draining",
    /// The session table is full.
    TableFull = "table_full",
    /// The table of sessions in clear is full.
    ClearTableFull = "clear_table_full",
    /// The ring to the control thread is full.
    EventRingFull = "event_ring_full",

    // Hold.
    /// No room in the pool of held frames.
    HoldFull = "hold_full",
    /// A newer frame took the place of a held one.
    HoldReplaced = "hold_replaced",
    /// The session of a held frame ended.
    HoldEnded = "hold_ended",

    // Sessions.
    /// A segment of a protected service without a session, in mid-stream.
    NoSession = "no_session",
    /// A segment before the session is synchronised.
    Unsynchronised = "unsynchronised",
    /// Data of a direction whose SYN-ACK was never seen: asymmetric routing.
    NoSynAck = "no_syn_ack",
    /// Payload, FIN or RST without a tag in a ciphered session.
    TagMissing = "tag_missing",
    /// A tag on a segment without payload, FIN or RST.
    TagOnBareAck = "tag_on_bare_ack",
    /// The tag does not verify.
    BadTag = "bad_tag",
    /// Tags fail from the first octet on: the path cuts or joins segments.
    Resegmented = "resegmented",
    /// No key for the tag's phase.
    NoKeyForPhase = "no_key_for_phase",
    /// Sequence number too far from what is authenticated.
    OffsetRange = "offset_range",
    /// Sequence number before the first octet of the stream.
    BelowOrigin = "below_origin",
    /// Data and FIN contradict each other.
    BeyondFin = "beyond_fin",
    /// The key has done its work: 2^40 octets or 2^34 segments.
    KeyExhausted = "key_exhausted",

    // Resources.
    /// No free frame.
    NoFrame = "no_frame",
    /// The exchange ring to the owner is full.
    ExchangeFull = "exchange_full",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_reasons() {
        let rows: Vec<String> = DropReason::ALL
            .iter()
            .map(|reason| format!("{:<20} {}", reason.label(), reason.help()))
            .collect();
        insta::assert_snapshot!(rows.join("\n"));
    }

    #[test]
    fn labels_are_unique_and_indices_dense() {
        let mut labels: Vec<&str> = DropReason::ALL.iter().map(|r| r.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::COUNT);
        for (at, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), at);
        }
    }
}
