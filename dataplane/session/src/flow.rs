//! Who talks to whom. Owns: the 4-tuple in canonical order, the two directions. Not: who is the
//! client (the worker's role and ingress say so).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sekisho_wire::{IpKind, Layers, TcpView};

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

    /// Client and server, of source and destination.
    #[inline]
    fn ordered<T>(self, src: T, dst: T) -> [T; 2] {
        match self {
            Self::ClientToServer => [src, dst],
            Self::ServerToClient => [dst, src],
        }
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

/// A TCP 4-tuple, client first; IPv4 in its mapped form.
///
/// 36 octets without alignment: address of the client, of the server, port of the client, of the
/// server. They are written and read as four words of 64 bits and one of 32, each whole: a wide read
/// of what has just been written in pieces would have to wait for the cache.
///
/// An IPv6 packet that *carries* a mapped address is refused by the constructors (such a packet must
/// not appear on a wire, RFC 6890), so the form is unambiguous.
#[derive(Clone, Copy, Eq)]
pub struct FlowKey([u8; 36]);

/// The words of a flow in native order of their octets.
type Words = ([u64; 4], u32);

impl PartialEq for FlowKey {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let ((a, p), (b, q)) = (self.words(), other.words());
        // One branch for all of it.
        let addresses = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
        addresses | u64::from(p ^ q) == 0
    }
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl FlowKey {
    /// All zero: what an empty slot holds. No packet gives it.
    pub const UNSPECIFIED: Self = Self([0; 36]);

    /// The flow between two endpoints.
    ///
    /// `None` if they are of two families or one is an IPv4-mapped IPv6 address.
    #[must_use]
    pub fn new(client: SocketAddr, server: SocketAddr) -> Option<Self> {
        Self::between((client.ip(), client.port()), (server.ip(), server.port()))
    }

    #[inline]
    fn between(client: (IpAddr, u16), server: (IpAddr, u16)) -> Option<Self> {
        if client.0.is_ipv4() != server.0.is_ipv4() {
            return None;
        }
        let ([a, b], [c, d]) = (address(client.0)?, address(server.0)?);
        let ports = u32::from(client.1) << 16 | u32::from(server.1);
        Some(Self::from_words(([a, b, c, d], ports.to_be())))
    }

    #[inline]
    fn from_words((addresses, ports): Words) -> Self {
        let mut bytes = [0; 36];
        let (places, _) = bytes.as_chunks_mut::<8>();
        for (place, word) in places.iter_mut().zip(addresses) {
            *place = word.to_ne_bytes();
        }
        bytes[32..].copy_from_slice(&ports.to_ne_bytes());
        Self(bytes)
    }

    #[inline]
    fn words(&self) -> Words {
        let (words, _) = self.0.as_chunks::<8>();
        let word = |at: usize| u64::from_ne_bytes(words[at]);
        let ports = [self.0[32], self.0[33], self.0[34], self.0[35]];
        ([word(0), word(1), word(2), word(3)], u32::from_ne_bytes(ports))
    }

    /// Becomes the flow of a segment in `frame` that goes in `direction`.
    ///
    /// False, and no change, where [`FlowKey::new`] gives none: drop the frame.
    #[inline(always)]
    #[must_use]
    pub fn read(
        &mut self,
        frame: &[u8],
        layers: &Layers,
        tcp: &TcpView,
        direction: Direction,
    ) -> bool {
        let Some([a, b, c, d]) = addresses(frame, layers, direction) else {
            return false;
        };
        let [client, server] = direction.ordered(tcp.src_port, tcp.dst_port).map(u32::from);
        let ports = client << 16 | server;
        *self = Self::from_words(([a, b, c, d], ports.to_be()));
        true
    }

    /// Address and port of the opener.
    #[must_use]
    pub fn client(&self) -> SocketAddr {
        socket_addr(&self.0[..16], &self.0[32..34])
    }

    /// Address and port of the server.
    #[must_use]
    pub fn server(&self) -> SocketAddr {
        socket_addr(&self.0[16..32], &self.0[34..])
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
    /// IPv4 takes less than IPv6; the numbers of words tell the two apart.
    #[inline]
    pub(crate) fn ordered(&self) -> Ordered {
        let ([a, b, c, d], ports) = self.words();
        let ports = u32::from_be(ports);
        let (client_port, server_port) = (u64::from(ports >> 16), u64::from(ports & 0xffff));
        if is_mapped([a, b]) {
            let end = |word: u64, port: u64| (u64::from_be(word) & 0xffff_ffff) << 16 | port;
            let (client, server) = (end(b, client_port), end(d, server_port));
            return Ordered::V4([client.min(server), client.max(server)]);
        }
        let (client, server) = ((a, b, client_port), (c, d, server_port));
        let (low, high) = if client <= server { (client, server) } else { (server, client) };
        Ordered::V6([low.0, low.1, high.0, high.1, low.2 << 16 | high.2])
    }
}

/// Two endpoints in one order, as words.
pub(crate) enum Ordered {
    V4([u64; 2]),
    V6([u64; 5]),
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.client(), self.server())
    }
}

/// The words of the addresses of a packet in `direction`; `None` as for [`FlowKey::new`].
#[inline(always)]
fn addresses(frame: &[u8], layers: &Layers, direction: Direction) -> Option<[u64; 4]> {
    match layers.ip {
        IpKind::V4 => {
            let &[a, b, c, d, e, f, g, h] = layers.addresses_v4(frame)?;
            let [client, server] = direction.ordered([a, b, c, d], [e, f, g, h]).map(mapped);
            Some([client[0], client[1], server[0], server[1]])
        }
        IpKind::V6 => {
            let (words, _) = layers.addresses_v6(frame)?.as_chunks::<8>();
            let word = |at: usize| u64::from_ne_bytes(words[at]);
            let ends = direction.ordered([word(0), word(1)], [word(2), word(3)]);
            let [client, server] = ends;
            (!ends.iter().any(|end| is_mapped(*end)))
                .then_some([client[0], client[1], server[0], server[1]])
        }
    }
}

/// The words of an address; `None` for an IPv4-mapped IPv6 address.
#[inline]
fn address(addr: IpAddr) -> Option<[u64; 2]> {
    let halves = |bits: u128| [((bits >> 64) as u64).to_be(), (bits as u64).to_be()];
    match addr {
        IpAddr::V4(v4) => Some(mapped(v4.octets())),
        IpAddr::V6(v6) if v6.to_bits() >> 32 == 0xffff => None,
        IpAddr::V6(v6) => Some(halves(v6.to_bits())),
    }
}

/// The words of an IPv4 address in its mapped form.
#[inline]
fn mapped([a, b, c, d]: [u8; 4]) -> [u64; 2] {
    [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])]
}

/// Whether these are the words of an IPv4 address.
#[inline]
fn is_mapped([high, low]: [u64; 2]) -> bool {
    const MARK: u64 = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    const MASK: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    high | (low & MASK ^ MARK) == 0
}

fn socket_addr(address: &[u8], port: &[u8]) -> SocketAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(address);
    let addr = Ipv6Addr::from(octets);
    let port = u16::from_be_bytes([port[0], port[1]]);
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
