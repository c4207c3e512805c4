//! Who talks to whom. Owns: the 4-tuple in canonical order, the two directions. Not: who is the
//! client (the worker's role and ingress say so).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sekisho_wire::{FrameView, IpKind, TcpView};

/// Direction of a segment within its session, wherever it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// From the opener of the connection.
    ClientToServer,
    /// Towards the opener of the connection.
    ServerToClient,
}

impl Direction {
    /// Both, in the order of [`Direction::index`].
    pub const BOTH: [Self; 2] = [Self::ClientToServer, Self::ServerToClient];

    /// Place in an array of the two directions.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The other direction.
    #[must_use]
    pub const fn reverse(self) -> Self {
        match self {
            Self::ClientToServer => Self::ServerToClient,
            Self::ServerToClient => Self::ClientToServer,
        }
    }
}

/// Octets of an address and a port.
const ENDPOINT: usize = 18;

/// A TCP 4-tuple, client first; IPv4 in its mapped form.
///
/// 36 octets without alignment. An IPv6 packet that *carries* a mapped address is refused by the
/// constructors (such a packet must not appear on a wire, RFC 6890), so the form is unambiguous.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey([u8; 2 * ENDPOINT]);

impl FlowKey {
    /// All zero: what an empty slot holds. No packet gives it.
    pub const UNSPECIFIED: Self = Self([0; 2 * ENDPOINT]);

    /// The flow between two endpoints.
    ///
    /// `None` if they are of two families or one is an IPv4-mapped IPv6 address.
    #[must_use]
    pub fn new(client: SocketAddr, server: SocketAddr) -> Option<Self> {
        if client.is_ipv4() != server.is_ipv4() {
            return None;
        }
        let mut bytes = [0; 2 * ENDPOINT];
        bytes[..ENDPOINT].copy_from_slice(&endpoint(client.ip(), client.port())?);
        bytes[ENDPOINT..].copy_from_slice(&endpoint(server.ip(), server.port())?);
        Some(Self(bytes))
    }

    /// The flow of a segment that goes in `direction`.
    ///
    /// `None` as for [`FlowKey::new`]: drop the frame.
    #[inline]
    #[must_use]
    pub fn from_view(frame: &FrameView, tcp: &TcpView, direction: Direction) -> Option<Self> {
        let src = SocketAddr::new(frame.src, tcp.src_port);
        let dst = SocketAddr::new(frame.dst, tcp.dst_port);
        match direction {
            Direction::ClientToServer => Self::new(src, dst),
            Direction::ServerToClient => Self::new(dst, src),
        }
    }

    /// Address and port of the opener.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        socket_addr(&self.0[..ENDPOINT])
    }

    /// Address and port of the server.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        socket_addr(&self.0[ENDPOINT..])
    }

    /// Client and server, as key delivery names a session.
    #[must_use]
    pub fn to_socket_addrs(&self) -> (SocketAddr, SocketAddr) {
        (self.client(), self.server())
    }

    /// Source and destination of a segment in `direction`.
    #[must_use]
    pub fn source_and_destination(&self, direction: Direction) -> (SocketAddr, SocketAddr) {
        match direction {
            Direction::ClientToServer => (self.client(), self.server()),
            Direction::ServerToClient => (self.server(), self.client()),
        }
    }

    /// The IP version of both ends.
    #[must_use]
    pub fn ip_kind(&self) -> IpKind {
        if self.client().is_ipv4() { IpKind::V4 } else { IpKind::V6 }
    }

    /// The endpoints in one order, whichever is the client: what the symmetric hash is taken of.
    /// IPv4 in its own form, so that there is less to hash; the lengths tell the two apart.
    #[inline]
    pub(crate) fn ordered(&self) -> Ordered {
        let (client, server) = self.0.split_at(ENDPOINT);
        let ends = (End::read(client), End::read(server));
        let (a, b) = if ends.0 <= ends.1 { ends } else { (ends.1, ends.0) };
        if client.starts_with(&V4_MAPPED) {
            let mut bytes = [0; 12];
            // The address is in the low half of its mapped form.
            bytes[..4].copy_from_slice(&a.address.to_be_bytes()[12..]);
            bytes[4..8].copy_from_slice(&b.address.to_be_bytes()[12..]);
            bytes[8..10].copy_from_slice(&a.port.to_be_bytes());
            bytes[10..].copy_from_slice(&b.port.to_be_bytes());
            return Ordered::V4(bytes);
        }
        let mut bytes = [0; 2 * ENDPOINT];
        bytes[..16].copy_from_slice(&a.address.to_be_bytes());
        bytes[16..32].copy_from_slice(&b.address.to_be_bytes());
        bytes[32..34].copy_from_slice(&a.port.to_be_bytes());
        bytes[34..].copy_from_slice(&b.port.to_be_bytes());
        Ordered::V6(bytes)
    }
}

const V4_MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Two endpoints in one order, as octets.
pub(crate) enum Ordered {
    V4([u8; 12]),
    V6([u8; 2 * ENDPOINT]),
}

/// An endpoint as numbers, which compare without a call.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct End {
    address: u128,
    port: u16,
}

impl End {
    #[inline]
    fn read(endpoint: &[u8]) -> Self {
        let mut address = [0; 16];
        address.copy_from_slice(&endpoint[..16]);
        let port = u16::from_be_bytes([endpoint[16], endpoint[17]]);
        Self { address: u128::from_be_bytes(address), port }
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.client(), self.server())
    }
}

/// Address and port as octets; `None` for an IPv4-mapped IPv6 address.
#[inline]
fn endpoint(addr: IpAddr, port: u16) -> Option<[u8; ENDPOINT]> {
    let addr = match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => return None,
        IpAddr::V6(v6) => v6,
    };
    let mut bytes = [0; ENDPOINT];
    bytes[..16].copy_from_slice(&addr.octets());
    bytes[16..].copy_from_slice(&port.to_be_bytes());
    Some(bytes)
}

fn socket_addr(endpoint: &[u8]) -> SocketAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&endpoint[..16]);
    let addr = Ipv6Addr::from(octets);
    let port = u16::from_be_bytes([endpoint[16], endpoint[17]]);
    match addr.to_ipv4_mapped() {
        Some(v4) => SocketAddr::new(IpAddr::V4(v4), port),
        None => SocketAddr::new(IpAddr::V6(addr), port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(client: &str, server: &str) -> Option<FlowKey> {
        FlowKey::new(client.parse().unwrap(), server.parse().unwrap())
    }

    #[test]
    fn endpoints_come_back() {
        for (client, server) in
            [("10.0.0.1:40000", "10.0.2.10:80"), ("[fd00::1]:1", "[fd00:2::10]:443")]
        {
            let key = flow(client, server).unwrap();
            assert_eq!(key.client(), client.parse().unwrap());
            assert_eq!(key.server(), server.parse().unwrap());
            assert_eq!(
                key.source_and_destination(Direction::ServerToClient),
                (key.server(), key.client())
            );
        }
        assert_eq!(size_of::<FlowKey>(), 36);
    }

    /// M7.1.
    #[test]
    fn mixed_and_mapped_are_refused() {
        assert!(flow("10.0.0.1:1", "[fd00::1]:2").is_none());
        assert!(flow("[::ffff:10.0.0.1]:1", "[fd00::1]:2").is_none());
        assert!(flow("[fd00::1]:2", "[::ffff:10.0.0.1]:1").is_none());
    }

    #[test]
    fn the_client_is_part_of_the_name() {
        assert_ne!(flow("10.0.0.1:1", "10.0.0.2:1"), flow("10.0.0.2:1", "10.0.0.1:1"));
    }
}
