//! The counters of the XDP program: one table of names, shared with `bpf/sekisho.bpf.c`.

use aya::maps::{MapData, MapError, PerCpuArray};

macro_rules! xdp_counters {
    ($($variant:ident $label:literal $help:literal)*) => {
        /// What the XDP program did with a frame. Each frame is counted once.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum XdpCounter {
            $(#[doc = $help] $variant,)*
        }

        impl XdpCounter {
            /// All counters, in the order of the program's map.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Label for metrics.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),* }
            }

            /// Help text for metrics and documentation.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help),* }
            }
        }
    };
}

xdp_counters! {
    ToPeer "to_peer" "Foreign or unprotected: sent to the other port by the kernel."
    ToUser "to_user" "Protected TCP: given to the gateway's worker."
    KeyDelivery "key_delivery" "Key delivery datagram of a protected address: given to the gateway's worker."
    OtherPassed "other_passed" "Another protocol of a protected address: sent to the other port, as `other = pass` says."
    FailedOpen "failed_open" "Protected TCP without a gateway: sent to the other port in clear, as `fail = open` says."
    IcmpError "icmp_error" "ICMP error about protected TCP: given to the gateway's worker, which cuts what it quotes and lets no forged one pass."
    NoServices "no_services" "Dropped: IP while no protected service is loaded."
    Truncated "truncated" "Dropped: the frame ends within a header that decides."
    VlanDepth "vlan_depth" "Dropped: more than two VLAN tags."
    BadHeader "bad_header" "Dropped: IP version or header length of a protected address is wrong."
    Fragment "fragment" "Dropped: IP fragment of a protected address."
    ExtensionHeader "extension_header" "Dropped: IPv6 extension headers that cannot be walked, of a protected address or, from the plain side, of any."
    OtherDropped "other_dropped" "Dropped: another protocol of a protected address, as `other = drop` says."
    HiddenDestination "hidden_destination" "Dropped: routed by source, or by IPv6 extension headers that cannot be walked, to what may be a protected address, under `other = drop`."
    WrongSide "wrong_side" "Dropped: a protected service's segment came in by its clients' side."
    IcmpQuote "icmp_quote" "Dropped: an ICMP error or redirect from the plain side, of which it cannot be told that it quotes no protected TCP, or where to cut it."
    IcmpHard "icmp_hard" "Dropped: an ICMP redirect or other error from the cipher side, of which no protected TCP has a use, or of which it cannot be told what it quotes."
    NoSocket "no_socket" "Dropped: protected, and no worker is bound to the queue."
    NoPeer "no_peer" "Dropped: the other port is not known to the program."
    NoSettings "no_settings" "Dropped: the program has not been configured yet."
}

impl XdpCounter {
    /// True for those that count drops.
    #[must_use]
    pub const fn is_drop(self) -> bool {
        self as u32 >= Self::NoServices as u32
    }
}

/// All counters of one port, summed over the processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpCounters {
    values: [u64; XdpCounter::ALL.len()],
}

impl XdpCounters {
    /// Frames counted as `counter` since the program was loaded.
    #[must_use]
    pub const fn get(&self, counter: XdpCounter) -> u64 {
        self.values[counter as usize]
    }

    /// Each counter with its value.
    pub fn iter(&self) -> impl Iterator<Item = (XdpCounter, u64)> + '_ {
        XdpCounter::ALL.iter().map(|&c| (c, self.get(c)))
    }

    pub(crate) fn read(map: &PerCpuArray<&MapData, u64>) -> Result<Self, MapError> {
        let mut values = [0; XdpCounter::ALL.len()];
        for (counter, value) in XdpCounter::ALL.iter().zip(&mut values) {
            *value = map.get(&(*counter as u32), 0)?.iter().sum();
        }
        Ok(Self { values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_and_this_table_have_the_same_counters() {
        let source = include_str!("../../bpf/sekisho.bpf.c");
        let body = source.split("enum counter {").nth(1).unwrap();
        let names: Vec<_> = body
            .split('}')
            .next()
            .unwrap()
            .split(',')
            .map(|name| name.trim().to_lowercase())
            .take_while(|name| name != "counters")
            .collect();
        let labels: Vec<_> = XdpCounter::ALL.iter().map(|c| c.label()).collect();
        assert_eq!(names, labels);
    }

    #[test]
    fn drops_say_so() {
        for counter in XdpCounter::ALL {
            assert_eq!(counter.is_drop(), counter.help().starts_with("Dropped"), "{counter:?}");
        }
    }
}
