//! The protected services in the kernel's tables, and their change while traffic flows. Both
//! ports' programs share these tables.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, MapData};

use super::{FilterError, take_map};
use crate::service::{MAX_PORT_SETS, PortSet, Prefix, ServiceEntry, ServiceError, effective_table};

/// What a change of the services did, in prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceDiff {
    /// Newly protected.
    pub added: usize,
    /// With other ports than before.
    pub changed: usize,
    /// No longer protected.
    pub removed: usize,
}

pub(crate) struct ServiceMaps {
    prefixes4: LpmTrie<MapData, [u8; 4], u32>,
    prefixes6: LpmTrie<MapData, [u8; 16], u32>,
    port_sets: Array<MapData, [u8; 8192]>,
    count: Array<MapData, u32>,
    /// What the tries hold: prefix → slot in `port_sets`.
    loaded: BTreeMap<Prefix, u32>,
    /// What `port_sets` holds; none: free.
    slots: Vec<Option<PortSet>>,
}

impl ServiceMaps {
    /// Takes the shared tables out of one of the two loaded objects. They are empty.
    pub(crate) fn take(object: &mut Ebpf) -> Result<Self, FilterError> {
        Ok(Self {
            prefixes4: take_map(object, "services4")?,
            prefixes6: take_map(object, "services6")?,
            port_sets: take_map(object, "service_ports")?,
            count: take_map(object, "service_count")?,
            loaded: BTreeMap::new(),
            slots: vec![None; MAX_PORT_SETS],
        })
    }

    /// Makes the tables hold `entries` and nothing else. At no moment is a prefix that is in
    /// both the old and the new list unprotected: sets of ports are written before a prefix
    /// points to them, and prefixes go last.
    ///
    /// # Errors
    /// An impossible list is refused before anything changes. When the kernel refuses a change
    /// in the middle, more is protected than asked for, never less.
    pub(crate) fn update(&mut self, entries: &[ServiceEntry]) -> Result<ServiceDiff, FilterError> {
        let table = effective_table(entries)?;
        let target = self.assign_slots(&table)?;
        let mut diff = ServiceDiff::default();
        if target.is_empty() {
            self.set_count(0)?;
        }
        for (prefix, slot) in &target {
            match self.loaded.get(prefix) {
                Some(old) if old == slot => continue,
                Some(_) => diff.changed += 1,
                None => diff.added += 1,
            }
            self.insert(*prefix, *slot)?;
            self.loaded.insert(*prefix, *slot);
        }
        let stale: Vec<_> =
            self.loaded.keys().filter(|p| !target.contains_key(p)).copied().collect();
        for prefix in stale {
            self.remove(prefix)?;
            self.loaded.remove(&prefix);
            diff.removed += 1;
        }
        if !target.is_empty() {
            self.set_count(target.len() as u32)?;
        }
        self.forget_unused_slots();
        Ok(diff)
    }

    /// A slot for each prefix: one that holds its ports already, or a free one, written now.
    fn assign_slots(
        &mut self,
        table: &BTreeMap<Prefix, PortSet>,
    ) -> Result<BTreeMap<Prefix, u32>, FilterError> {
        let mut wanted: Vec<&PortSet> = table.values().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let held = |set: &PortSet| self.slots.iter().any(|s| s.as_ref() == Some(set));
        let missing: Vec<_> = wanted.into_iter().filter(|set| !held(set)).cloned().collect();
        let free: Vec<_> = (0..self.slots.len()).filter(|&n| self.slots[n].is_none()).collect();
        if missing.len() > free.len() {
            return Err(ServiceError::TooManyPortSets {
                count: MAX_PORT_SETS - free.len() + missing.len(),
            }
            .into());
        }
        for (set, slot) in missing.into_iter().zip(free) {
            self.port_sets.set(slot as u32, *set.bitmap(), 0)?;
            self.slots[slot] = Some(set);
        }
        let slot_of = |set: &PortSet| self.slots.iter().position(|s| s.as_ref() == Some(set));
        let target = table
            .iter()
            .filter_map(|(prefix, set)| Some((*prefix, slot_of(set)? as u32)))
            .collect();
        Ok(target)
    }

    fn forget_unused_slots(&mut self) {
        for (slot, set) in self.slots.iter_mut().enumerate() {
            if !self.loaded.values().any(|&used| used as usize == slot) {
                *set = None;
            }
        }
    }

    fn insert(&mut self, prefix: Prefix, slot: u32) -> Result<(), FilterError> {
        let bits = u32::from(prefix.bits);
        match prefix.address {
            IpAddr::V4(a) => self.prefixes4.insert(&Key::new(bits, a.octets()), slot, 0)?,
            IpAddr::V6(a) => self.prefixes6.insert(&Key::new(bits, a.octets()), slot, 0)?,
        }
        Ok(())
    }

    fn remove(&mut self, prefix: Prefix) -> Result<(), FilterError> {
        let bits = u32::from(prefix.bits);
        match prefix.address {
            IpAddr::V4(a) => self.prefixes4.remove(&Key::new(bits, a.octets()))?,
            IpAddr::V6(a) => self.prefixes6.remove(&Key::new(bits, a.octets()))?,
        }
        Ok(())
    }

    fn set_count(&mut self, count: u32) -> Result<(), FilterError> {
        Ok(self.count.set(0, count, 0)?)
    }
}
