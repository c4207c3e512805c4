//! From flow to slot: a hash index of fixed size. Owns: slot numbers by hash, and the promise that
//! nothing is allocated after set-up. Not: the slots.

use hashbrown::HashTable;

/// Slot numbers by the hash of what is in them.
pub(crate) struct FlowIndex(HashTable<u32>);

impl FlowIndex {
    /// An index for `capacity` slots.
    ///
    /// A quarter more is reserved: a removal may leave a tombstone, and with that slack a rebuild
    /// falls due about once in `capacity` removals on a full table in the worst case (70 % of the
    /// buckets used), and next to never at the usual power of two (half of them).
    pub(crate) fn new(capacity: u32) -> Self {
        let slots = capacity as usize;
        Self(HashTable::with_capacity(slots + slots / 4 + 4))
    }

    /// The slot of that hash which `is` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.0.find(hash, |&slot| is(slot)).copied()
    }

    /// Adds a slot that is not in it. `hash_of` gives the hash of any occupied slot, `occupied`
    /// all that are in the index already.
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        slot: u32,
        hash_of: impl Fn(u32) -> u64,
        occupied: impl Iterator<Item = u32>,
    ) {
        if self.0.capacity() == self.0.len() {
            // Tombstones have eaten the slack. Left to itself the table would grow.
            self.0.clear();
            for other in occupied {
                self.0.insert_unique(hash_of(other), other, |&slot| hash_of(slot));
            }
        }
        self.0.insert_unique(hash, slot, |&slot| hash_of(slot));
    }

    /// Takes a slot out.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32) {
        if let Ok(entry) = self.0.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
    }

    /// Octets allocated.
    pub(crate) fn allocation_size(&self) -> usize {
        self.0.allocation_size()
    }
}
