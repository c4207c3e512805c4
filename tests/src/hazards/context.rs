//! What a case is given: a running chain, ports nobody else uses, and the counters of both boxes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lab::LabResult;
use crate::lab::chain::{Chain, Node};
use crate::lab::guests::{Guests, PORTS};
use crate::lab::process::wait_until;

/// Patience for a counter or a frame: the machine may be busy.
pub const SOON: Duration = Duration::from_secs(10);
/// Tables of `sekisho status` that make evidence.
const TABLES: [&str; 2] = ["drops", "events"];
/// Events that every segment counts: they tell nothing about a rule.
const COMMON: [&str; 10] = [
    "consumed",
    "events",
    "key_expansions",
    "made",
    "sealed_segments",
    "sealed_bytes",
    "opened_segments",
    "opened_bytes",
    "sessions_opened",
    "sessions_closed",
];

/// A chain and what cases need beside it.
pub struct Context {
    /// The running chain.
    pub chain: Chain,
    guests: Option<Guests>,
    next_port: u16,
}

/// Counters of gateway and agent at one moment.
pub struct Counters(BTreeMap<(&'static str, String), u64>);

impl Context {
    /// Takes a running chain.
    pub fn new(chain: Chain) -> Self {
        Self { chain, guests: None, next_port: *PORTS.start() }
    }

    /// A client port that no other case of this chain uses.
    pub fn port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    /// The independent peer in its places; started when the first case asks for it.
    pub fn guests(&mut self) -> LabResult<&Guests> {
        if self.guests.is_none() {
            self.guests = Some(Guests::start(&self.chain)?);
        }
        Ok(self.guests.as_ref().expect("invariant: just made"))
    }

    /// All counters that make evidence; a box without a running process has none.
    pub fn counters(&self) -> Counters {
        let mut all = BTreeMap::new();
        for (node, word) in [(Node::Gateway, "gateway"), (Node::Agent, "agent")] {
            let Ok(status) = self.chain.status(node) else { continue };
            for table in TABLES {
                for (label, count) in status[table].as_object().into_iter().flatten() {
                    if let (Some(count), false) = (count.as_u64(), COMMON.contains(&&**label)) {
                        all.insert((word, label.clone()), count);
                    }
                }
            }
        }
        Counters(all)
    }

    /// Runs `work` and waits until the drop reason `reason` of `node` has risen by `by` at least.
    pub fn dropped<T>(
        &self,
        (node, reason, by): (Node, &str, u64),
        work: impl FnOnce() -> LabResult<T>,
    ) -> LabResult<T> {
        self.counted((node, "drops", reason, by), work)
    }

    /// The same for any table of `status`: (node, table, label, rise).
    pub fn counted<T>(
        &self,
        (node, table, label, by): (Node, &str, &str, u64),
        work: impl FnOnce() -> LabResult<T>,
    ) -> LabResult<T> {
        let before = self.chain.count(node, table, label)?;
        let result = work()?;
        wait_until(&format!("{node:?} counts {by} more {table} {label}"), SOON, || {
            Ok(self.chain.count(node, table, label)? >= before + by)
        })?;
        Ok(result)
    }
}

impl Counters {
    /// What rose since `self` was taken: `gateway no_session +3, agent bad_tag +1`.
    pub fn rises(&self, later: &Self) -> String {
        let rises: Vec<String> = later
            .0
            .iter()
            .filter_map(|(key, &now)| {
                let before = self.0.get(key).copied().unwrap_or(0);
                (now > before).then(|| format!("{} {} +{}", key.0, key.1, now - before))
            })
            .collect();
        rises.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_rose_is_evidence() {
        let before = Counters([(("agent", "bad_tag".to_owned()), 2)].into());
        let rows = [(("agent", "bad_tag"), 5), (("gateway", "fragment"), 1), (("agent", "x"), 0)];
        let later = Counters(rows.map(|((node, label), n)| ((node, label.to_owned()), n)).into());
        assert_eq!(before.rises(&later), "agent bad_tag +3, gateway fragment +1");
    }
}
