//! The segments of a batch by size.
//!
//! Owns: the order in which a kernel takes them; within a class they keep theirs.

use super::Job;
use crate::segment::BATCH;

/// Indices of the jobs in each of two classes of size.
pub(super) struct Classes {
    orders: [[u8; BATCH]; 2],
    lens: [usize; 2],
}

impl Classes {
    /// Sorts at most [`BATCH`] jobs: payloads up to `bound` octets, and longer.
    #[inline]
    pub(super) fn of<'a, J: Job<'a>>(jobs: &[J], bound: usize) -> Self {
        let mut classes = Self { orders: [[0; BATCH]; 2], lens: [0; 2] };
        for (index, job) in jobs.iter().enumerate() {
            let len = usize::from(job.at().len);
            let class = usize::from(len > bound);
            classes.orders[class][classes.lens[class]] = index as u8;
            classes.lens[class] += 1;
        }
        classes
    }

    /// The indices, class by class.
    #[inline]
    pub(super) fn orders(&self) -> [&[u8]; 2] {
        [0, 1].map(|class| &self.orders[class][..self.lens[class]])
    }
}
