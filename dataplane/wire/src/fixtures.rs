//! Frames for tests, put together byte by byte without the code under test, and a naive checksum.

/// RFC 1071 in its plainest form: big-endian words, carry folded at each step.
pub(crate) fn naive_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        let word = u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum += word;
        sum = (sum >> 16) + (sum & 0xFFFF);
    }
    sum as u16
}

/// What a frame is made of.
#[derive(Clone, Debug)]
pub(crate) struct FrameSpec {
    pub vlan: Vec<u16>,
    pub v6: bool,
    /// IPv4 options (a multiple of 4), or IPv6 extension headers as (number, bytes from the length
    /// octet on; the next-header octet is put in front).
    pub ip_options: Vec<u8>,
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub protocol: u8,
    pub flags: u16,
    pub tcp_options: Vec<u8>,
    pub payload: Vec<u8>,
    pub padding: usize,
}

impl FrameSpec {
    pub(crate) fn tcp(v6: bool) -> Self {
        Self {
            vlan: vec![],
            v6,
            ip_options: vec![],
            extensions: vec![],
            protocol: 6,
            flags: 0x018,
            tcp_options: TIMESTAMPS.to_vec(),
            payload: (0..80).collect(),
            padding: 0,
        }
    }

    pub(crate) fn udp(v6: bool) -> Self {
        Self { protocol: 17, ..Self::tcp(v6) }
    }

    pub(crate) fn vlan(mut self, tags: &[u16]) -> Self {
        self.vlan = tags.to_vec();
        self
    }

    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        self.tcp_options = options.to_vec();
        self
    }

    pub(crate) fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(crate) fn l3(&self) -> usize {
        14 + 4 * self.vlan.len()
    }

    fn addresses(&self) -> Vec<u8> {
        if self.v6 {
            let mut both = vec![0xFD, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
            both.extend([0xFD, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0xAB, 0xCD, 0, 9]);
            both
        } else {
            vec![10, 0, 1, 7, 10, 0, 2, 9]
        }
    }

    fn transport(&self) -> Vec<u8> {
        let mut l4 = vec![];
        match self.protocol {
            6 => {
                l4.extend([0x9C, 0x40, 0, 80]);
                l4.extend([0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80]);
                let words = (20 + self.tcp_options.len()) as u16 / 4;
                l4.extend((words << 12 | self.flags).to_be_bytes());
                l4.extend([0x01, 0xF6, 0, 0, 0, 0]);
                l4.extend(&self.tcp_options);
            }
            17 => {
                l4.extend([0x04, 0x40, 0x04, 0x40]);
                l4.extend((8 + self.payload.len() as u16).to_be_bytes());
                l4.extend([0, 0]);
            }
            _ => l4.extend([8, 0, 0, 0]),
        }
        l4.extend(&self.payload);
        let at = match self.protocol {
            6 => 16,
            17 => 6,
            _ => 2,
        };
        let mut pseudo = if self.protocol == 1 { vec![] } else { self.addresses() };
        if self.protocol != 1 {
            pseudo.extend([0, self.protocol]);
            pseudo.extend((l4.len() as u16).to_be_bytes());
        }
        pseudo.extend(&l4);
        let mut checksum = !naive_sum(&pseudo);
        if checksum == 0 && self.protocol == 17 {
            checksum = 0xFFFF;
        }
        l4[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        l4
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut out = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for (index, tag) in self.vlan.iter().enumerate() {
            let tpid: u16 = if index + 1 < self.vlan.len() { 0x88A8 } else { 0x8100 };
            out.extend(tpid.to_be_bytes());
            out.extend(tag.to_be_bytes());
        }
        out.extend(if self.v6 { [0x86, 0xDD] } else { [0x08, 0x00] });
        let l4 = self.transport();
        if self.v6 {
            self.push_v6(&mut out, &l4)
        } else {
            self.push_v4(&mut out, &l4)
        }
        out.extend(l4);
        out.extend(std::iter::repeat_n(0xEE, self.padding));
        out
    }

    fn push_v4(&self, out: &mut Vec<u8>, l4: &[u8]) {
        let header_len = 20 + self.ip_options.len();
        let mut ip = vec![0x40 | (header_len / 4) as u8, 0x02];
        ip.extend(((header_len + l4.len()) as u16).to_be_bytes());
        ip.extend([0x12, 0x34, 0x40, 0x00, 61, self.protocol, 0, 0]);
        ip.extend(self.addresses());
        ip.extend(&self.ip_options);
        let checksum = !naive_sum(&ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        out.extend(ip);
    }

    fn push_v6(&self, out: &mut Vec<u8>, l4: &[u8]) {
        let extensions: usize = self.extensions.iter().map(|(_, body)| 1 + body.len()).sum();
        out.extend([0x60, 0x21, 0x23, 0x45]);
        out.extend(((extensions + l4.len()) as u16).to_be_bytes());
        out.push(self.extensions.first().map_or(self.protocol, |(number, _)| *number));
        out.push(61);
        out.extend(self.addresses());
        for (index, (_, body)) in self.extensions.iter().enumerate() {
            out.push(self.extensions.get(index + 1).map_or(self.protocol, |(number, _)| *number));
            out.extend(body);
        }
    }
}

/// NOP, NOP, timestamps, as Linux lays them.
pub(crate) const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 1, 2, 3, 4, 5, 6, 7];
/// The SYN of a Linux host: MSS 1460, SACK permitted, timestamps, NOP, window scale.
pub(crate) const LINUX_SYN: [u8; 20] =
    [2, 4, 0x05, 0xB4, 4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7];
/// The SYN of a Windows host: MSS 1460, NOP, window scale, NOP, NOP, SACK permitted.
pub(crate) const WINDOWS_SYN: [u8; 12] = [2, 4, 0x05, 0xB4, 1, 3, 3, 8, 1, 1, 4, 2];
/// The SYN of a macOS host, which ends with End-of-List padding.
pub(crate) const MACOS_SYN: [u8; 24] =
    [2, 4, 0x05, 0xB4, 1, 3, 3, 6, 1, 1, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 4, 2, 0, 0];
/// A destination-options header with PadN, behind its next-header octet.
pub(crate) const PAD_EXTENSION: [u8; 7] = [0, 1, 4, 0, 0, 0, 0];

/// NOP, NOP, SACK with `blocks` blocks.
pub(crate) fn sack(blocks: u8) -> Vec<u8> {
    let mut out = vec![1, 1, 5, 2 + 8 * blocks];
    out.extend((0..8 * blocks).map(|byte| 0x80 | byte));
    out
}

/// Every shape that the exhaustive tests cut and mangle; each is at least 118 bytes long.
pub(crate) fn shapes() -> Vec<(&'static str, FrameSpec)> {
    let mut v4_options = FrameSpec::tcp(false);
    v4_options.ip_options = vec![0x94, 4, 0, 0, 1, 1, 1, 0];
    let mut v6_extensions = FrameSpec::tcp(true);
    v6_extensions.extensions = vec![(0, PAD_EXTENSION.to_vec()), (60, PAD_EXTENSION.to_vec())];
    let mut icmp4 = FrameSpec::udp(false);
    icmp4.protocol = 1;
    let mut icmp6 = FrameSpec::udp(true);
    icmp6.protocol = 58;
    let full: Vec<u8> = TIMESTAMPS.iter().copied().chain(sack(3)).collect();
    let mut syn = FrameSpec::tcp(false).options(&LINUX_SYN);
    syn.flags = 0x002;
    vec![
        ("v4 tcp", FrameSpec::tcp(false)),
        ("v6 tcp", FrameSpec::tcp(true)),
        ("v4 syn", syn),
        ("v4 vlan tcp", FrameSpec::tcp(false).vlan(&[5])),
        ("v6 qinq tcp", FrameSpec::tcp(true).vlan(&[5, 0xE00F])),
        ("v4 full tcp options", FrameSpec::tcp(false).options(&full)),
        ("v6 full tcp options", FrameSpec::tcp(true).options(&full)),
        ("v4 no tcp options", FrameSpec::tcp(false).options(&[])),
        ("v4 ip options", v4_options),
        ("v6 extensions", v6_extensions),
        ("v4 udp", FrameSpec::udp(false)),
        ("v6 udp", FrameSpec::udp(true)),
        ("v4 icmp", icmp4),
        ("v6 icmp", icmp6),
    ]
}
