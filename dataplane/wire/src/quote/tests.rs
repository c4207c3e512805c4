//! Quotations read and MTUs lowered, at their borders.

use super::*;
use crate::frame::{Transport, parse_frame};

/// An ICMP error of this type and code, its four octets and its quotation. Checksums are not looked at.
fn error(ip: IpKind, (kind, code): (u8, u8), field: u32, quote: &[u8]) -> Vec<u8> {
    let len = (8 + quote.len()) as u16;
    let mut frame = vec![2; 12];
    match ip {
        IpKind::V4 => {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((len + 20).to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 1, 10, 0, 0, 1]);
        }
        IpKind::V6 => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([58, 64]);
            frame.extend([0xfd; 32]);
        }
    }
    frame.extend([kind, code, 0, 0]);
    frame.extend(field.to_be_bytes());
    frame.extend(quote);
    frame
}

/// 10.0.0.1:40000 → 10.0.2.10:80 at sequence number 0x01020304, cut behind it.
fn quote_v4(words: u8) -> Vec<u8> {
    let mut quote = vec![0x45 + words, 0, 5, 0xdc, 0, 0, 0x40, 0, 63, 6, 0, 0];
    quote.extend([10, 0, 0, 1, 10, 0, 2, 10]);
    quote.resize(20 + 4 * usize::from(words), 1);
    quote.extend([0x9c, 0x40, 0, 80, 1, 2, 3, 4]);
    quote
}

/// fd00::1 port 40000 → fd00::2 port 80, behind the extension headers given.
fn quote_v6(extensions: &[u8]) -> Vec<u8> {
    let next = if extensions.is_empty() { 6 } else { 60 };
    let mut quote = vec![0x60, 0, 0, 0, 0x05, 0xb4, next, 63];
    let [mut source, mut destination] = [[0; 16]; 2];
    (source[0], source[15], destination[0], destination[15]) = (0xfd, 1, 0xfd, 2);
    quote.extend([source, destination].concat());
    quote.extend(extensions);
    quote.extend([0x9c, 0x40, 0, 80, 1, 2, 3, 4]);
    quote
}

fn read(frame: &[u8]) -> Option<QuotedTcp> {
    let view = parse_frame(frame).ok()?;
    let Transport::Icmp(icmp) = view.transport else { panic!("ICMP") };
    QuotedTcp::read(frame, &view, &icmp)
}

#[test]
fn a_quotation_is_read_behind_options_and_extension_headers() {
    for words in 0..=10 {
        let got = read(&error(IpKind::V4, (3, 4), 1400, &quote_v4(words))).unwrap();
        assert_eq!(got.source, "10.0.0.1:40000".parse().unwrap());
        assert_eq!(got.destination, "10.0.2.10:80".parse().unwrap());
        assert_eq!((got.seq.get(), got.transport), (0x0102_0304, 62 + 4 * usize::from(words)));
    }
    for extensions in [&[][..], &[6, 0, 1, 4, 0, 0, 0, 0]] {
        let got = read(&error(IpKind::V6, (2, 0), 1400, &quote_v6(extensions))).unwrap();
        assert_eq!(got.source, "[fd00::1]:40000".parse().unwrap());
        assert_eq!(got.destination, "[fd00::2]:80".parse().unwrap());
        assert_eq!((got.seq.get(), got.transport), (0x0102_0304, 102 + extensions.len()));
    }
}

#[test]
fn what_is_cut_foreign_or_a_fragment_is_no_quotation() {
    for (ip, quote) in [(IpKind::V4, quote_v4(0)), (IpKind::V6, quote_v6(&[]))] {
        let whole = error(ip, (1, 0), 0, &quote);
        for len in 0..quote.len() {
            assert_eq!(read(&error(ip, (1, 0), 0, &quote[..len])), None, "{ip:?} {len}");
            // What is behind the packet's end is padding.
            let mut padded = error(ip, (1, 0), 0, &quote[..len]);
            padded.extend(&quote[len..]);
            assert_eq!(read(&padded), None, "{ip:?} {len} padded");
        }
        let quoted_at = whole.len() - quote.len();
        let protocol = quoted_at + if ip == IpKind::V4 { 9 } else { 6 };
        for other in [0, 1, 17, 44, 50, 51, 58] {
            let mut frame = whole.clone();
            frame[protocol] = other;
            assert_eq!(read(&frame), None, "{ip:?} protocol {other}");
        }
        let mut frame = whole.clone();
        frame[quoted_at] ^= 0x20;
        assert_eq!(read(&frame), None, "another version");
    }
    for flags in [0x20, 0x3f] {
        let mut quote = quote_v4(0);
        quote[6] = flags;
        assert_eq!(read(&error(IpKind::V4, (3, 4), 0, &quote)), None, "fragment");
    }
    assert_eq!(read(&error(IpKind::V6, (2, 0), 0, &quote_v6(&[6, 9, 0, 0, 0, 0, 0, 0]))), None);
}

#[test]
fn an_mtu_is_lowered_to_its_floor_and_no_further() {
    let lowered = |ip, field, quote: &[u8]| {
        let mut frame = error(ip, if ip == IpKind::V4 { (3, 4) } else { (2, 0) }, field, quote);
        let view = parse_frame(&frame).unwrap();
        let Transport::Icmp(icmp) = view.transport else { panic!("ICMP") };
        assert!(is_too_big(ip, &icmp));
        assert!(lower_mtu(&mut frame, ip, &icmp, 16));
        let message = usize::from(icmp.message.start);
        let field = u32::from_be_bytes(*chunk(&frame, message + 4).unwrap());
        (field, be16(&frame, message + 10).unwrap())
    };
    for (told, expected) in
        [(0, 0), (68, 576), (576, 576), (591, 576), (593, 577), (1400, 1384), (0xffff, 0xffef)]
    {
        // The upper half of the field is unused, and stays.
        let got = lowered(IpKind::V4, 0x1234_0000 | told, &quote_v4(0));
        assert_eq!(got, (0x1234_0000 | expected, 1500 - 16), "{told}");
    }
    for (told, expected) in [
        (0, 1280),
        (1280, 1280),
        (1295, 1280),
        (1297, 1281),
        (1400, 1384),
        (u32::MAX, u32::MAX - 16),
    ] {
        assert_eq!(lowered(IpKind::V6, told, &quote_v6(&[])).0, expected, "{told}");
    }
    // Cut within the fields that would be changed.
    let frame = error(IpKind::V4, (3, 4), 1400, &quote_v4(0));
    let view = parse_frame(&frame).unwrap();
    let Transport::Icmp(icmp) = view.transport else { panic!("ICMP") };
    for len in 0..46 {
        assert!(!lower_mtu(&mut frame[..len].to_vec(), IpKind::V4, &icmp, 16), "{len}");
    }
}
