//! ICMP that quotes a packet: what crosses, by which port, under any wrapping of quote and message.

use super::*;

const SIDES: [PortSide; 2] = [PortSide::Cipher, PortSide::Plain];
const REDIRECT: u8 = 137;

/// Types and codes of errors; one about a packet that is too big stands first.
fn errors(ip: Ip) -> Vec<(u8, u8)> {
    match ip {
        Ip::V4 => {
            let codes = (0..16).filter(|&code| code != 4).map(|code| (3, code));
            // Redirects, assigned, unassigned, historic and experimental types.
            let types = [4, 5, 11, 12, 1, 2, 6, 7, 19, 30, 31, 40, 44, 63, 64, 72, 253, 255];
            [(3, 4)].into_iter().chain(codes).chain(types.map(|kind| (kind, 0))).collect()
        }
        Ip::V6 => {
            let types = (0..128).filter(|&kind| kind != 2).map(|kind| (kind, 0));
            [(2, 0), (2, 1)].into_iter().chain(types).collect()
        }
    }
}

/// An error that is not about size.
fn hard(ip: Ip) -> (u8, u8) {
    if ip == Ip::V4 { (3, 3) } else { (1, 4) }
}

/// An error's own addresses, and what counts it where nothing speaks against it.
fn outers(ip: Ip) -> [(Below, XdpCounter); 4] {
    let to_the_server = Below { destination: to_server(ip).destination, ..router(ip) };
    [
        (to_client(ip), XdpCounter::OtherPassed),
        (to_the_server, XdpCounter::OtherPassed),
        (router(ip), XdpCounter::ToPeer),
        (foreign(ip), XdpCounter::ToPeer),
    ]
}

/// What an error is counted as that quotes what cannot be told, or that no worker has a use for.
fn untold(side: PortSide) -> XdpCounter {
    if side == PortSide::Plain { XdpCounter::IcmpQuote } else { XdpCounter::IcmpHard }
}

/// What is known to quote protected TCP goes to a worker: from the plain side if it can be cut, from
/// the cipher side if TCP heeds it.
fn is_for_worker(ip: Ip, side: PortSide, kind: u8) -> bool {
    match (ip, side) {
        (Ip::V6, PortSide::Plain) => true,
        (Ip::V6, PortSide::Cipher) => matches!(kind, 1..=4),
        (Ip::V4, PortSide::Plain) => matches!(kind, 3 | 4 | 5 | 11 | 12),
        (Ip::V4, PortSide::Cipher) => matches!(kind, 3 | 11 | 12),
    }
}

fn header_len(ip: Ip) -> usize {
    if ip == Ip::V4 { 20 } else { 40 }
}

#[test]
fn errors_that_quote_protected_tcp_do_not_cross_as_they_are_whatever_their_addresses() {
    if !privileged(
        "errors_that_quote_protected_tcp_do_not_cross_as_they_are_whatever_their_addresses",
    ) {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        let quotes = [to_server(ip).tcp(40000, 80), to_client(ip).tcp(8063, 40000)];
        for side in SIDES {
            let mut bench = Bench::new(side);
            for (outer, _) in outers(ip) {
                for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
                    let outer = outer.clone().tagged(tags);
                    for error in errors(ip) {
                        let expected = match is_for_worker(ip, side, error.0) {
                            true => XdpCounter::IcmpError,
                            false => untold(side),
                        };
                        for quote in &quotes {
                            let frame = outer.icmp(error.0, error.1, packet_of(quote));
                            let case = (ip, side, tags, error);
                            assert_eq!(bench.run(&frame), expected, "{case:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn without_a_worker_and_with_other_drop_quotes_are_dropped() {
    if !privileged("without_a_worker_and_with_other_drop_quotes_are_dropped") {
        return;
    }
    let closed = FilterPolicy { other: OtherTraffic::Drop, ..FilterPolicy::default() };
    let open = FilterPolicy { fail: FailMode::Open, ..FilterPolicy::default() };
    for ip in [Ip::V4, Ip::V6] {
        let quote = to_server(ip).tcp(40000, 80);
        let quote = packet_of(&quote);
        let about = |outer: Below, (kind, code)| outer.icmp(kind, code, quote);
        let mut cipher = Bench::new(PortSide::Cipher);
        cipher.set_policy(closed);
        // Protected TCP needs them, whatever becomes of other protocols.
        for error in [hard(ip), errors(ip)[0]] {
            assert_eq!(cipher.run(&about(to_client(ip), error)), XdpCounter::IcmpError);
            assert_eq!(cipher.run(&about(router(ip), error)), XdpCounter::IcmpError);
        }
        cipher.bind(false);
        for policy in [closed, open] {
            cipher.set_policy(policy);
            assert_eq!(cipher.run(&about(to_client(ip), errors(ip)[0])), XdpCounter::NoSocket);
        }
        let mut plain = Bench::new(PortSide::Plain);
        plain.set_policy(closed);
        assert_eq!(plain.run(&about(to_client(ip), hard(ip))), XdpCounter::OtherDropped);
        assert_eq!(plain.run(&about(router(ip), hard(ip))), XdpCounter::IcmpError);
        plain.bind(false);
        for policy in [closed, open] {
            plain.set_policy(policy);
            assert_eq!(plain.run(&about(router(ip), hard(ip))), XdpCounter::NoSocket);
            let cut = router(ip).icmp(hard(ip).0, 0, &quote[..header_len(ip)]);
            assert_eq!(plain.run(&cut), XdpCounter::IcmpQuote);
            let foreign = foreign(ip).tcp(40000, 80);
            let foreign = router(ip).icmp(hard(ip).0, 0, packet_of(&foreign));
            assert_eq!(plain.run(&foreign), XdpCounter::ToPeer);
        }
    }
}

#[test]
fn quotes_of_unprotected_traffic_pass() {
    if !privileged("quotes_of_unprotected_traffic_pass") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        let echo = if ip == Ip::V4 { 8 } else { 128 };
        let quotes = [
            foreign(ip).tcp(40000, 80),
            foreign(ip).other(50),
            foreign(ip).fragment((0, true)).tcp(40000, 80),
            foreign(ip).fragment((9, false)).tcp(40000, 80),
            to_server(ip).tcp(40000, 81),
            to_client(ip).tcp(81, 80),
            to_server(ip).udp(40000, 80),
            to_client(ip).udp(80, 40000),
            to_server(ip).icmp(echo, 0, b"ping"),
            to_server(ip).other(50),
        ];
        for side in SIDES {
            let mut bench = Bench::new(side);
            for (outer, passed) in outers(ip) {
                for (kind, code) in errors(ip) {
                    for (n, quote) in quotes.iter().enumerate() {
                        let frame = outer.icmp(kind, code, packet_of(quote));
                        let case = (ip, side, kind, code, n);
                        assert_eq!(bench.run(&frame), passed, "{case:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn messages_that_quote_nothing_pass_whatever_they_carry() {
    if !privileged("messages_that_quote_nothing_pass_whatever_they_carry") {
        return;
    }
    for (ip, kinds) in [
        (Ip::V4, vec![0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43]),
        (Ip::V6, (128..=255).filter(|&kind| kind != REDIRECT).collect()),
    ] {
        let carried = to_server(ip).tcp(40000, 80);
        for side in SIDES {
            let mut bench = Bench::new(side);
            for (outer, passed) in outers(ip) {
                for &kind in &kinds {
                    let frame = outer.icmp(kind, 0, packet_of(&carried));
                    assert_eq!(bench.run(&frame), passed, "{ip:?} {side:?} {kind}");
                    assert_eq!(bench.run(&outer.icmp(kind, 0, &[])), passed, "{kind}");
                }
            }
        }
    }
}

#[test]
fn quotes_cut_at_every_length_are_dropped_until_they_can_be_told() {
    if !privileged("quotes_cut_at_every_length_are_dropped_until_they_can_be_told") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        let (kind, code) = hard(ip);
        let header = header_len(ip);
        // From which length on the quote is known to be of unprotected traffic.
        let quotes = [
            (to_server(ip).tcp(40000, 80), usize::MAX),
            (to_client(ip).tcp(80, 40000), usize::MAX),
            (to_server(ip).tcp(40000, 81), header + 4),
            (to_server(ip).udp(40000, 80), header),
            (foreign(ip).tcp(40000, 80), header),
        ];
        for side in SIDES {
            let mut bench = Bench::new(side);
            for (outer, passed) in outers(ip) {
                for (quote, known_from) in &quotes {
                    let quote = packet_of(quote);
                    for len in 0..=quote.len() {
                        let expected = match len {
                            _ if len >= *known_from => passed,
                            _ if len < header + 4 => untold(side),
                            _ => XdpCounter::IcmpError,
                        };
                        let frame = outer.icmp(kind, code, &quote[..len]);
                        assert_eq!(bench.run(&frame), expected, "{ip:?} {side:?} {len}");
                        // Padding of short frames is no part of the quote.
                        let padded = [&frame[..], &quote[len..], &[0; 40]].concat();
                        assert_eq!(bench.run(&padded), expected, "{ip:?} {side:?} {len} padded");
                    }
                }
            }
        }
    }
}

#[test]
fn errors_cut_at_every_length_do_not_cross() {
    if !privileged("errors_cut_at_every_length_do_not_cross") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        let (kind, code) = hard(ip);
        let quote = to_server(ip).tcp(40000, 80);
        for side in SIDES {
            let mut bench = Bench::new(side);
            for (outer, passed) in outers(ip) {
                for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
                    let outer = outer.clone().tagged(tags);
                    let whole = outer.icmp(kind, code, packet_of(&quote));
                    let message = 14 + 4 * tags.len() + header_len(ip);
                    for len in 14..whole.len() {
                        let cut_short = passed == XdpCounter::OtherPassed || len < message;
                        let ports_end = message + 8 + header_len(ip) + 4;
                        let expected = match len {
                            _ if cut_short => XdpCounter::Truncated,
                            _ if len < ports_end => untold(side),
                            // A worker drops it: its IP header says that there is more.
                            _ => XdpCounter::IcmpError,
                        };
                        assert_eq!(bench.run(&whole[..len]), expected, "{ip:?} {side:?} {len}");
                    }
                    // Messages shorter than an ICMP header, by their own IP header.
                    for len in 0..8 {
                        let frame = outer.icmp(kind, code, &[]);
                        let mut frame = frame[..message + len].to_vec();
                        let field = message - header_len(ip) + if ip == Ip::V4 { 2 } else { 4 };
                        let said = if ip == Ip::V4 { 20 + len as u16 } else { len as u16 };
                        frame[field..field + 2].copy_from_slice(&said.to_be_bytes());
                        assert_eq!(bench.run(&frame), untold(side), "{ip:?} {side:?} {len}");
                    }
                }
            }
        }
    }
}

#[test]
fn quoted_fragments_of_protected_addresses_are_dropped() {
    if !privileged("quoted_fragments_of_protected_addresses_are_dropped") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        let (kind, code) = hard(ip);
        for side in SIDES {
            let mut bench = Bench::new(side);
            for fragment in [(0, true), (5, true), (5, false)] {
                for cut in [to_server(ip), to_client(ip)] {
                    let quote = cut.fragment(fragment).tcp(81, 81);
                    let frame = router(ip).icmp(kind, code, packet_of(&quote));
                    assert_eq!(bench.run(&frame), untold(side), "{ip:?} {fragment:?}");
                }
            }
        }
    }
}

#[test]
fn quoted_ip_headers_are_walked_within_bounds() {
    if !privileged("quoted_ip_headers_are_walked_within_bounds") {
        return;
    }
    for side in SIDES {
        let mut bench = Bench::new(side);
        let mut judge = |ip, quote: &[u8]| {
            bench.run(&router(ip).icmp(hard(ip).0, hard(ip).1, packet_of(quote)))
        };
        for words in 0..=10 {
            let packet = Below { option_words: words, ..to_server(Ip::V4) };
            assert_eq!(judge(Ip::V4, &packet.tcp(40000, 80)), XdpCounter::IcmpError, "{words}");
            assert_eq!(judge(Ip::V4, &packet.tcp(40000, 81)), XdpCounter::ToPeer, "{words}");
        }
        // Another version, or a header shorter than any: whose it is cannot be told.
        for first in [0x00, 0x44, 0x55, 0x65, 0xf5] {
            let mut quote = foreign(Ip::V4).tcp(40000, 80);
            quote[14] = first;
            assert_eq!(judge(Ip::V4, &quote), untold(side), "{first:02x}");
        }
        let mut quote = foreign(Ip::V6).tcp(40000, 80);
        quote[14] = 0x45;
        assert_eq!(judge(Ip::V6, &quote), untold(side));

        let walked = |list: &[(u8, usize)]| to_server(Ip::V6).extensions(list);
        for list in [
            &[(0, 8)][..],
            &[(60, 1024)],
            &[(0, 16), (60, 24), (43, 8)],
            &[(60, 8), (60, 8), (60, 8), (60, 8), (60, 8), (60, 8)],
        ] {
            assert_eq!(
                judge(Ip::V6, &walked(list).tcp(40000, 80)),
                XdpCounter::IcmpError,
                "{list:?}"
            );
            let other = judge(Ip::V6, &walked(list).tcp(40000, 81));
            assert_eq!(other, XdpCounter::ToPeer, "{list:?}");
        }
        for list in [
            &[(60, 8), (60, 8), (60, 8), (60, 8), (60, 8), (60, 8), (60, 8)][..],
            &[(51, 16)],
            &[(135, 8)],
            &[(0, 8), (51, 16)],
        ] {
            assert_eq!(judge(Ip::V6, &walked(list).tcp(40000, 81)), untold(side), "{list:?}");
            let foreign = foreign(Ip::V6).extensions(list).tcp(40000, 80);
            assert_eq!(judge(Ip::V6, &foreign), XdpCounter::ToPeer, "{list:?}");
        }
        let mut routed = walked(&[(43, 8)]).tcp(40000, 81);
        routed[14 + 40 + 3] = 1;
        assert_eq!(judge(Ip::V6, &routed), untold(side));
    }
}

#[test]
fn an_error_about_an_error_is_dropped() {
    if !privileged("an_error_about_an_error_is_dropped") {
        return;
    }
    for ip in [Ip::V4, Ip::V6] {
        let (kind, code) = hard(ip);
        for side in SIDES {
            let mut bench = Bench::new(side);
            for about in [to_server(ip), foreign(ip)] {
                let inner = router(ip).icmp(kind, code, packet_of(&about.tcp(40000, 80)));
                let frame = foreign(ip).icmp(kind, code, packet_of(&inner));
                assert_eq!(bench.run(&frame), untold(side), "{ip:?} {side:?}");
                // One that is cut before its type is none that can be told from these.
                let cut = &packet_of(&inner)[..header_len(ip)];
                let frame = foreign(ip).icmp(kind, code, cut);
                assert_eq!(bench.run(&frame), untold(side), "{ip:?} {side:?}");
            }
        }
    }
}

/// A neighbour discovery option of `words` times eight octets.
fn option(kind: u8, words: u8, body: &[u8]) -> Vec<u8> {
    let mut option = vec![kind, words];
    option.resize(8, 0);
    option.extend(body);
    option.resize(8 * usize::from(words.max(1)), 0);
    option
}

fn redirected(quote: &[u8]) -> Vec<u8> {
    option(4, (1 + quote.len().div_ceil(8)) as u8, quote)
}

/// A redirect with these options behind its two addresses.
fn redirect(outer: &Below, options: &[Vec<u8>]) -> Vec<u8> {
    outer.icmp(REDIRECT, 0, &[vec![0xfd; 32], options.concat()].concat())
}

#[test]
fn redirects_of_neighbour_discovery_are_judged_by_what_they_quote() {
    if !privileged("redirects_of_neighbour_discovery_are_judged_by_what_they_quote") {
        return;
    }
    let link = option(2, 1, &[]);
    let protected = to_server(Ip::V6).tcp(40000, 80);
    let elsewhere = foreign(Ip::V6).tcp(40000, 80);
    let about_error = router(Ip::V6).icmp(1, 4, packet_of(&protected));
    for side in SIDES {
        let mut bench = Bench::new(side);
        for (outer, passed) in outers(Ip::V6) {
            let mut judge = |options: &[Vec<u8>]| bench.run(&redirect(&outer, options));
            assert_eq!(judge(&[]), passed);
            assert_eq!(judge(std::slice::from_ref(&link)), passed);
            for (quote, expected) in
                [(&protected, untold(side)), (&about_error, untold(side)), (&elsewhere, passed)]
            {
                let quote = redirected(packet_of(quote));
                for before in 0..4 {
                    let mut options = vec![link.clone(); before];
                    options.push(quote.clone());
                    assert_eq!(judge(&options), expected, "{before}");
                }
            }
            assert_eq!(judge(&vec![link.clone(); 5]), untold(side), "too many options");
            assert_eq!(judge(&[option(1, 0, &[]), link.clone()]), untold(side), "no length");
            assert_eq!(judge(&[option(2, 2, &[])[..8].to_vec()]), untold(side), "too long");
            let whole = redirected(packet_of(&protected));
            for len in 1..whole.len() {
                assert_eq!(judge(&[whole[..len].to_vec()]), untold(side), "{len}");
            }
        }
    }
}

#[test]
fn errors_behind_other_headers_are_found() {
    if !privileged("errors_behind_other_headers_are_found") {
        return;
    }
    let quote4 = to_server(Ip::V4).tcp(40000, 80);
    let quote6 = to_server(Ip::V6).tcp(40000, 80);
    for side in SIDES {
        let mut bench = Bench::new(side);
        for words in 0..=10 {
            let outer = Below { option_words: words, ..router(Ip::V4) };
            let frame = outer.icmp(3, 3, packet_of(&quote4));
            assert_eq!(bench.run(&frame), XdpCounter::IcmpError, "{words}");
        }
        // A first fragment has what decides; later ones are of no error (RFC 1812, RFC 4443).
        for (ip, quote) in [(Ip::V4, &quote4), (Ip::V6, &quote6)] {
            let (kind, code) = hard(ip);
            for (fragment, expected) in [
                ((0, true), XdpCounter::IcmpError),
                ((9, true), XdpCounter::ToPeer),
                ((9, false), XdpCounter::ToPeer),
            ] {
                let frame = router(ip).fragment(fragment).icmp(kind, code, packet_of(quote));
                assert_eq!(bench.run(&frame), expected, "{ip:?} {fragment:?}");
            }
        }
        for list in [
            &[(0, 8)][..],
            &[(60, 2048)],
            &[(43, 24), (60, 8)],
            &[(51, 24)],
            &[(0, 8), (44, 8), (60, 8), (51, 12), (60, 8), (60, 8)],
        ] {
            let frame = router(Ip::V6).extensions(list).icmp(1, 4, packet_of(&quote6));
            assert_eq!(bench.run(&frame), XdpCounter::IcmpError, "{list:?}");
            let frame = router(Ip::V6).extensions(list).icmp(128, 0, packet_of(&quote6));
            assert_eq!(bench.run(&frame), XdpCounter::ToPeer, "{list:?}");
        }
        let beyond = router(Ip::V6).extensions(&[(60, 8); 7]);
        let frame = beyond.icmp(1, 4, packet_of(&quote6));
        let unknown =
            if side == PortSide::Plain { XdpCounter::ExtensionHeader } else { XdpCounter::ToPeer };
        assert_eq!(bench.run(&frame), unknown);
    }
}

#[test]
fn no_mangled_error_lets_its_quote_out() {
    if !privileged("no_mangled_error_lets_its_quote_out") {
        return;
    }
    // Bytes whose change makes it no error, or one about another host, port or protocol.
    let decisive4 =
        |n: usize| n < 15 || [20, 21, 23, 34, 42, 51].contains(&n) || (54..66).contains(&n);
    let decisive6 = |n: usize| n < 14 || [20, 54, 62, 68].contains(&n) || (70..106).contains(&n);
    let mut random = random_below(0x5EED);
    for (ip, decisive) in [(Ip::V4, &decisive4 as &dyn Fn(usize) -> bool), (Ip::V6, &decisive6)] {
        let mut bench = Bench::new(PortSide::Plain);
        let quote = to_server(ip).tcp_with(40000, 80, ACK, &[1; 12]);
        let whole = router(ip).icmp(hard(ip).0, hard(ip).1, packet_of(&quote));
        safe_when_mangled(&mut bench, &whole, decisive, &mut random, XdpCounter::IcmpError);
    }
}
