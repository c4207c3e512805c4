//! The hosts of the lab: names, numbers, addresses in both families. Owns no namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Internet protocol version of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The word for reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// A host of the lab with addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The first client behind the agent.
    Client1,
    /// The second client behind the agent.
    Client2,
    /// A client that no agent serves.
    Stranger,
    /// The first server behind the gateway.
    Server1,
    /// The second server behind the gateway.
    Server2,
}

impl Host {
    /// Its address.
    pub fn address(self, family: Family) -> IpAddr {
        let (net, host) = self.numbers();
        address(family, net, host)
    }

    /// Third and last number of its IPv4 address.
    pub(super) fn numbers(self) -> (u8, u8) {
        match self {
            Self::Client1 => (1, 10),
            Self::Client2 => (1, 11),
            Self::Stranger => (3, 10),
            Self::Server1 => (2, 10),
            Self::Server2 => (2, 11),
        }
    }
}

/// `10.0.net.host` or `fd00:net::host` (digits as written).
pub(super) fn address(family: Family, net: u8, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 0, net, host).into(),
        Family::V6 => {
            // The decimal digits are shown again as hexadecimal ones: fd00:2::10 goes with 10.0.2.10.
            let digits = u16::from(host / 10) * 16 + u16::from(host % 10);
            Ipv6Addr::new(0xfd00, u16::from(net), 0, 0, 0, 0, 0, digits).into()
        }
    }
}

/// The hosts of the lab, each with its name.
pub(super) const HOSTS: [(Host, &str); 5] = [
    (Host::Client1, "client1"),
    (Host::Client2, "client2"),
    (Host::Stranger, "stranger"),
    (Host::Server1, "server1"),
    (Host::Server2, "server2"),
];
