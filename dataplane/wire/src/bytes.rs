//! Bounded big-endian access: every read and write answers `Option`, so no caller can step outside.

/// `N` bytes at `at`, or `None` where the slice ends before them.
#[inline]
pub(crate) fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>()
}

/// `N` bytes at `at` for writing, or `None` where the slice ends before them.
#[inline]
pub(crate) fn chunk_mut<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut::<N>()
}

/// Big-endian 16 bits at `at`.
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    chunk::<2>(bytes, at).map(|b| u16::from_be_bytes(*b))
}

/// Writes big-endian 16 bits at `at`; `None` where they do not fit.
#[inline]
pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) -> Option<()> {
    *chunk_mut::<2>(bytes, at)? = value.to_be_bytes();
    Some(())
}
