//! The rows of docs/hazards.md and the cases that show each. Owns the table only.

use super::Row;
use super::cases::{attacks, frames, handshake, impaired, narrow, paths, programs, segments};

/// All rows, in the order of docs/hazards.md.
pub const ROWS: &[Row] = &[
    Row {
        id: 1,
        hazard: "a segment grows beyond the MTU",
        meaningless: None,
        cases: &[handshake::MSS, handshake::NO_MSS, impaired::FULL_SEGMENTS],
    },
    Row {
        id: 2,
        hazard: "40 option bytes are not enough",
        meaningless: None,
        cases: &[segments::SACK, impaired::NO_ROOM],
    },
    Row {
        id: 3,
        hazard: "TSO, GSO, GRO, LRO: frames longer than the MTU",
        meaningless: None,
        cases: &[frames::OVERSIZE],
    },
    Row {
        id: 4,
        hazard: "a tag or padding left behind",
        meaningless: None,
        cases: &[segments::TRACELESS],
    },
    Row {
        id: 5,
        hazard: "partial or corrupt checksums",
        meaningless: None,
        cases: &[frames::CORRUPT, programs::PARTIAL, programs::DOCTOR],
    },
    Row {
        id: 6,
        hazard: "ICMP names an MTU that ignores the tag",
        meaningless: None,
        cases: &[paths::TOO_BIG, narrow::NARROWED],
    },
    Row {
        id: 7,
        hazard: "TCP Fast Open, data in SYN",
        meaningless: None,
        cases: &[handshake::FAST_OPEN],
    },
    Row {
        id: 8,
        hazard: "keep-alive with a garbage octet",
        meaningless: None,
        cases: &[segments::KEEP_ALIVE],
    },
    Row {
        id: 9,
        hazard: "zero-window probe with one new octet",
        meaningless: None,
        cases: &[segments::PROBE],
    },
    Row {
        id: 10,
        hazard: "urgent pointer",
        meaningless: None,
        cases: &[segments::URGENT, attacks::URGENT],
    },
    Row { id: 11, hazard: "simultaneous open", meaningless: None, cases: &[handshake::CROSSED] },
    Row {
        id: 12,
        hazard: "streams beyond 4 GiB",
        meaningless: None,
        cases: &[segments::LONG, paths::BEYOND, impaired::WRAP],
    },
    Row {
        id: 13,
        hazard: "retransmission with other borders, flags, acknowledgement",
        meaningless: None,
        cases: &[segments::BORDERS, impaired::BORDERS],
    },
    Row {
        id: 14,
        hazard: "a path that re-segments",
        meaningless: None,
        cases: &[paths::CUT, impaired::RESEGMENTED],
    },
    Row {
        id: 15,
        hazard: "4-tuple reuse, spoofed SYN on a live 4-tuple",
        meaningless: None,
        cases: &[attacks::SPOOFED, attacks::REUSED, narrow::REUSED],
    },
    Row {
        id: 16,
        hazard: "SYN retransmitted",
        meaningless: None,
        cases: &[handshake::REPEATED, narrow::SYN_AGAIN],
    },
    Row { id: 17, hazard: "RST and FIN injected", meaningless: None, cases: &[attacks::INJECTED] },
    Row {
        id: 18,
        hazard: "NAT between client and gateway",
        meaningless: None,
        cases: &[paths::NAT, impaired::NAT],
    },
    Row {
        id: 19,
        hazard: "a firewall rewrites ISNs",
        meaningless: None,
        cases: &[paths::SHIFTED, impaired::ISN],
    },
    Row { id: 20, hazard: "SYN flood, request flood", meaningless: None, cases: &[attacks::FLOOD] },
    Row { id: 21, hazard: "MPTCP", meaningless: None, cases: &[handshake::MULTIPATH] },
    Row {
        id: 22,
        hazard: "ECN, AccECN, CWR",
        meaningless: None,
        cases: &[segments::ECN, impaired::ECN],
    },
    Row {
        id: 23,
        hazard: "option stripped in one direction or in mid-flow",
        meaningless: None,
        cases: &[paths::STRIPPED, impaired::TAGS_STRIPPED, impaired::REQUEST_STRIPPED],
    },
    Row {
        id: 24,
        hazard: "IPv4 options, IPv6 extension headers",
        meaningless: None,
        cases: &[frames::HEADERS],
    },
    Row { id: 25, hazard: "IP fragments", meaningless: None, cases: &[frames::FRAGMENTS] },
    Row { id: 26, hazard: "VLAN, QinQ", meaningless: None, cases: &[frames::QINQ, frames::DEEP] },
    Row { id: 27, hazard: "asymmetric routing", meaningless: None, cases: &[paths::ONE_WAY] },
    Row {
        id: 28,
        hazard: "a queue with no socket; two directions at two workers",
        meaningless: None,
        cases: &[programs::TWO_WORKERS, programs::UNBOUND, programs::KILLED],
    },
    Row {
        id: 29,
        hazard: "data before the key",
        meaningless: None,
        cases: &[attacks::EARLY_DATA, programs::HELD],
    },
    Row {
        id: 30,
        hazard: "the process dies",
        meaningless: None,
        cases: &[programs::KILLED, programs::KILLED_OPEN],
    },
    Row {
        id: 31,
        hazard: "data offset 20 to 60, no timestamps",
        meaningless: None,
        cases: &[segments::LAYOUTS, narrow::BARE],
    },
    Row {
        id: 32,
        hazard: "a client forges our options towards the server",
        meaningless: None,
        cases: &[attacks::OPTIONS],
    },
    Row {
        id: 33,
        hazard: "TIME_WAIT, half close, late retransmits after FIN",
        meaningless: None,
        cases: &[segments::LATE, impaired::LATE],
    },
    Row {
        id: 34,
        hazard: "frames left in a transmit ring",
        meaningless: None,
        cases: &[segments::BURST, segments::BURST_AWAKE],
    },
    Row {
        id: 35,
        hazard: "authenticated state moved by a forged segment",
        meaningless: None,
        cases: &[attacks::FORGED],
    },
    Row {
        id: 36,
        hazard: "the same offset again with other octets",
        meaningless: None,
        cases: &[segments::CHANGED],
    },
    Row {
        id: 37,
        hazard: "gateway restarts while the policy is prefer",
        meaningless: None,
        cases: &[paths::UNKNOWN, paths::RESTARTED],
    },
    Row {
        id: 38,
        hazard: "a second SYN-ACK with another ISN",
        meaningless: None,
        cases: &[handshake::ORIGIN],
    },
    Row {
        id: 39,
        hazard: "RST that answers a SYN",
        meaningless: None,
        cases: &[programs::CLOSED_PORT, handshake::REFUSED],
    },
    Row { id: 40, hazard: "TCP-MD5 or TCP-AO", meaningless: None, cases: &[handshake::SIGNED] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_the_cases_of_each_row() {
        let document = include_str!("../../../docs/hazards.md");
        for row in ROWS {
            let start = format!("| {} |", row.id);
            let line = document.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
            let written: Vec<&str> = line
                .split('`')
                .filter(|word| ROWS.iter().any(|row| names(row).contains(word)))
                .collect();
            assert_eq!(written, names(row), "row {} of docs/hazards.md", row.id);
        }
    }

    fn names(row: &Row) -> Vec<&'static str> {
        row.cases.iter().map(|case| case.name).collect()
    }

    #[test]
    fn every_row_has_a_case() {
        assert!(ROWS.iter().all(|row| !row.cases.is_empty()));
    }

    #[test]
    fn forty_rows_in_order() {
        let ids: Vec<u8> = ROWS.iter().map(|row| row.id).collect();
        assert_eq!(ids, (1..=40).collect::<Vec<u8>>());
    }

    #[test]
    fn a_name_means_one_case() {
        let mut names: Vec<(&str, usize)> = ROWS
            .iter()
            .flat_map(|row| row.cases)
            .map(|case| (case.name, case.run as usize))
            .collect();
        names.sort_unstable();
        names.dedup();
        let count = names.len();
        names.dedup_by_key(|row| row.0);
        assert_eq!(names.len(), count, "two cases share a name");
    }
}
