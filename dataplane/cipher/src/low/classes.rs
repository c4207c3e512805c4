//! The segments of a batch by size.
//!
//! Owns: the order in which a kernel takes them; within a class they keep theirs.

use super::Job;
use crate::segment::BATCH;

/// Indices of the jobs in each of `N` classes of size.
pub(super) struct Classes<const N: usize> {
    orders: [[u8; BATCH]; N],
    lens: [usize; N],
}

impl<const N: usize> Classes<N> {
    /// Sorts at most [`BATCH`] jobs: payloads up to the first bound in octets, up to the second, and so on;
    /// the last class has all that are longer than `bounds[N - 2]`.
    #[inline]
    pub(super) fn of<'a, J: Job<'a>, const BOUNDS: usize>(
        jobs: &[J],
        bounds: [usize; BOUNDS],
    ) -> Self {
        const { assert!(BOUNDS + 1 == N, "a bound between each two classes") };
        let mut classes = Self { orders: [[0; BATCH]; N], lens: [0; N] };
        for (index, job) in jobs.iter().enumerate() {
            let len = usize::from(job.at().len);
            let class = bounds.iter().filter(|bound| len > **bound).count();
            classes.orders[class][classes.lens[class]] = index as u8;
            classes.lens[class] += 1;
        }
        classes
    }

    /// The indices, class by class.
    #[inline]
    pub(super) fn orders(&self) -> [&[u8]; N] {
        std::array::from_fn(|class| &self.orders[class][..self.lens[class]])
    }
}
