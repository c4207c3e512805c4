//! Frames for the program's tests, built byte by byte without help of the crate `wire`, so that
//! the two cannot share a mistake.

use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ip {
    V4,
    V6,
}

pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

/// Everything below the transport header.
#[derive(Clone)]
pub(super) struct Below {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) tags: Vec<u16>,
    /// IPv6: kind and bytes of each extension header.
    pub(super) extensions: Vec<(u8, usize)>,
    /// IPv4: words of options; flags and fragment offset.
    pub(super) option_words: u8,
    pub(super) flags: u16,
}

fn below(source: &str, destination: &str) -> Below {
    Below {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        tags: Vec::new(),
        extensions: Vec::new(),
        option_words: 0,
        flags: 0,
    }
}

/// From a client to the protected server.
pub(super) fn to_server(ip: Ip) -> Below {
    match ip {
        Ip::V4 => below("10.0.1.5", "10.0.2.10"),
        Ip::V6 => below("fd00::5", "fd00::10"),
    }
}

/// From the protected server to a client.
pub(super) fn to_client(ip: Ip) -> Below {
    let Below { source, destination, .. } = to_server(ip);
    Below { source: destination, destination: source, ..to_server(ip) }
}

/// From a router, to the client of the protected server: an error's own addresses.
pub(super) fn router(ip: Ip) -> Below {
    match ip {
        Ip::V4 => below("10.0.2.254", "10.0.1.5"),
        Ip::V6 => below("fd00::fe", "fd00::5"),
    }
}

/// The packet in an untagged frame: what an error quotes.
pub(super) fn packet_of(frame: &[u8]) -> &[u8] {
    &frame[14..]
}

/// Between hosts that nothing protects.
pub(super) fn foreign(ip: Ip) -> Below {
    match ip {
        Ip::V4 => below("10.0.1.5", "10.0.2.11"),
        Ip::V6 => below("fd00::5", "fd00::11"),
    }
}

pub(super) fn raw(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

impl Below {
    pub(super) fn tagged(mut self, tags: &[u16]) -> Self {
        self.tags = tags.to_vec();
        self
    }

    pub(super) fn extensions(mut self, list: &[(u8, usize)]) -> Self {
        self.extensions = list.to_vec();
        self
    }

    /// Offset in units of 8 bytes, and whether more fragments follow.
    pub(super) fn fragment(mut self, (offset, more): (u16, bool)) -> Self {
        match self.source {
            IpAddr::V4(_) => self.flags = offset | if more { 0x2000 } else { 0 },
            IpAddr::V6(_) => {
                self.extensions = vec![(44, 8)];
                self.flags = offset << 3 | u16::from(more);
            }
        }
        self
    }

    pub(super) fn tcp(&self, source: u16, destination: u16) -> Vec<u8> {
        self.tcp_with(source, destination, ACK, &[])
    }

    /// `options` must be whole words. Two bytes of payload follow.
    pub(super) fn tcp_with(
        &self,
        source: u16,
        destination: u16,
        flags: u8,
        options: &[u8],
    ) -> Vec<u8> {
        assert_eq!(options.len() % 4, 0);
        let mut segment = Vec::new();
        segment.extend(source.to_be_bytes());
        segment.extend(destination.to_be_bytes());
        segment.extend([0; 8]);
        segment.extend([(5 + options.len() as u8 / 4) << 4, flags, 0, 0, 0, 0, 0, 0]);
        segment.extend(options);
        segment.extend(b"hi");
        self.packet(6, &segment)
    }

    /// Without payload.
    pub(super) fn bare_tcp(&self, source: u16, destination: u16, flags: u8) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(source.to_be_bytes());
        segment.extend(destination.to_be_bytes());
        segment.extend([0; 8]);
        segment.extend([5 << 4, flags, 0, 0, 0, 0, 0, 0]);
        self.packet(6, &segment)
    }

    pub(super) fn udp(&self, source: u16, destination: u16) -> Vec<u8> {
        let mut datagram = Vec::new();
        datagram.extend(source.to_be_bytes());
        datagram.extend(destination.to_be_bytes());
        datagram.extend([0, 10, 0, 0]);
        datagram.extend(b"hi");
        self.packet(17, &datagram)
    }

    /// ICMP or ICMPv6, by the addresses: eight octets of header, then `body`.
    pub(super) fn icmp(&self, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
        let protocol = if self.source.is_ipv4() { 1 } else { 58 };
        self.packet(protocol, &[&[kind, code, 0, 0, 0, 0, 0, 0], body].concat())
    }

    pub(super) fn other(&self, protocol: u8) -> Vec<u8> {
        self.packet(protocol, &[0; 24])
    }

    fn packet(&self, protocol: u8, transport: &[u8]) -> Vec<u8> {
        let (ethertype, packet) = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut ip = vec![0x45 + self.option_words, 0];
                let len = 20 + 4 * usize::from(self.option_words) + transport.len();
                ip.extend((len as u16).to_be_bytes());
                ip.extend([0, 1]);
                ip.extend(self.flags.to_be_bytes());
                ip.extend([64, protocol, 0, 0]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(vec![1; 4 * usize::from(self.option_words)]);
                ip.extend(transport);
                (0x0800, ip)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let chain = self.chain(protocol);
                let mut ip = vec![0x60, 0, 0, 0];
                let len = chain.len() - 1 + transport.len();
                ip.extend((len as u16).to_be_bytes());
                ip.extend([chain[0], 64]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(&chain[1..]);
                ip.extend(transport);
                (0x86dd, ip)
            }
            _ => unreachable!("addresses of two families"),
        };
        let Some((first, rest)) = self.tags.split_first() else {
            return raw(ethertype, &packet);
        };
        let mut tagged = Vec::new();
        for next in rest.iter().copied().chain([ethertype]) {
            tagged.extend([0, 7]);
            tagged.extend(next.to_be_bytes());
        }
        tagged.extend(packet);
        raw(*first, &tagged)
    }

    /// The first next-header value, then the extension headers.
    fn chain(&self, protocol: u8) -> Vec<u8> {
        let kinds = self.extensions.iter().map(|e| e.0).chain([protocol]);
        let mut bytes = vec![kinds.clone().next().unwrap()];
        for ((kind, len), next) in self.extensions.iter().zip(kinds.skip(1)) {
            let mut header = vec![0; *len];
            header[0] = next;
            match kind {
                44 => header[2..4].copy_from_slice(&self.flags.to_be_bytes()),
                51 => header[1] = (*len / 4 - 2) as u8,
                _ => header[1] = (*len / 8 - 1) as u8,
            }
            bytes.extend(header);
        }
        bytes
    }
}
