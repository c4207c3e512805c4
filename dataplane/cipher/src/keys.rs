//! Keys of one direction, of one epoch, and their expanded form.
//!
//! Owns: the bytes, their wiping, the refusal of equal keys. Not: where keys come from (key
//! delivery) nor when they end (the session).
//!
//! The types have neither `Clone` nor `Debug` (M6.5). Bytes are copied from place to place and the
//! source is left to its owner to drop, because a Rust move would leave an unwiped copy behind.

use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::kernel::Kernel;
#[cfg(target_arch = "x86_64")]
use crate::low;
use crate::model;

/// Keys of one direction in one epoch: AES-256 key `K` and GHASH key `H` (M3.1).
///
/// 48 bytes, the cold form that a session stores; wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct TrafficKeys {
    aes: [u8; 32],
    ghash: [u8; 16],
}

impl TrafficKeys {
    /// Copies the two keys; the caller's bytes stay the caller's to wipe.
    #[must_use]
    pub fn from_bytes(aes: &[u8; 32], ghash: &[u8; 16]) -> Self {
        Self { aes: *aes, ghash: *ghash }
    }

    /// Compares both keys in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> Choice {
        self.aes.ct_eq(&other.aes) & self.ghash.ct_eq(&other.ghash)
    }

    /// True if either of the two keys is the same; constant time.
    fn shares_a_key_with(&self, other: &Self) -> bool {
        (self.aes.ct_eq(&other.aes) | self.ghash.ct_eq(&other.ghash)).into()
    }

    fn vacant() -> Self {
        Self { aes: [0; 32], ghash: [0; 16] }
    }

    fn copy_from(&mut self, from: &Self) {
        self.aes.copy_from_slice(&from.aes);
        self.ghash.copy_from_slice(&from.ghash);
    }
}

/// The two directions were given the same key (M3.2).
///
/// With it a segment reflected to its sender would verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("both directions have the same traffic key: the key schedule of one end is wrong")]
pub struct EqualKeys;

/// Keys of both directions of one epoch, never equal; wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EpochKeys {
    client_to_server: TrafficKeys,
    server_to_client: TrafficKeys,
}

impl EpochKeys {
    /// Pairs the keys of an epoch.
    ///
    /// Boxed from the start: keys that are built on the stack and then moved leave a copy there.
    ///
    /// # Errors
    /// [`EqualKeys`] if the two directions share their AES key or their GHASH key.
    pub fn new(
        client_to_server: &TrafficKeys,
        server_to_client: &TrafficKeys,
    ) -> Result<Box<Self>, EqualKeys> {
        if client_to_server.shares_a_key_with(server_to_client) {
            return Err(EqualKeys);
        }
        let mut keys = Box::new(Self::vacant());
        keys.client_to_server.copy_from(client_to_server);
        keys.server_to_client.copy_from(server_to_client);
        Ok(keys)
    }

    /// An empty place (all zero) for keys to be copied into by [`EpochKeys::copy_from`].
    ///
    /// Its owner must never seal or open with it; `sekisho-session` hands out keys by state only.
    #[must_use]
    pub fn vacant() -> Self {
        Self { client_to_server: TrafficKeys::vacant(), server_to_client: TrafficKeys::vacant() }
    }

    /// Overwrites these keys with another epoch's, in place.
    pub fn copy_from(&mut self, from: &Self) {
        self.client_to_server.copy_from(&from.client_to_server);
        self.server_to_client.copy_from(&from.server_to_client);
    }

    /// Keys of segments from client to server.
    #[must_use]
    pub fn client_to_server(&self) -> &TrafficKeys {
        &self.client_to_server
    }

    /// Keys of segments from server to client.
    #[must_use]
    pub fn server_to_client(&self) -> &TrafficKeys {
        &self.server_to_client
    }
}

/// The hot form of [`TrafficKeys`]: AES key schedule and GHASH powers, as the kernel in use
/// wants them.
///
/// Rebuilt on first use in a burst and cached per worker; wiped on drop.
pub struct KeyContext(pub(crate) Expanded);

/// Expanded keys, by kernel. Those of the fast kernels lie in place, where a cache wants them; the
/// model's, which are larger, in a box.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Expanded {
    Portable(Box<model::Context>),
    #[cfg(target_arch = "x86_64")]
    Low(low::Context),
}

impl KeyContext {
    /// Expands the keys of one direction. Where the outcome is moved, a copy stays behind: see [`KeyContext::place`].
    ///
    /// # Panics
    /// As [`crate::kernel_name`].
    #[must_use]
    #[inline]
    pub fn new(keys: &TrafficKeys) -> Self {
        Self::for_kernel(Kernel::chosen(), keys)
    }

    pub(crate) fn for_kernel(kernel: Kernel, keys: &TrafficKeys) -> Self {
        let mut context = Self::vacant(kernel);
        context.rekey(keys);
        context
    }

    /// Expands the keys of one direction in a slot, where [`KeyContext::new`] would leave a copy on its way there.
    ///
    /// # Panics
    /// As [`crate::kernel_name`].
    #[inline]
    pub fn place(slot: &mut Option<Self>, keys: &TrafficKeys) {
        slot.get_or_insert_with(|| Self::vacant(Kernel::chosen())).rekey(keys);
    }

    /// Expands other keys in the place of these, for the same kernel.
    #[inline]
    pub fn rekey(&mut self, keys: &TrafficKeys) {
        match &mut self.0 {
            Expanded::Portable(context) => {
                **context = model::Context::new(&keys.aes, &keys.ghash);
            }
            #[cfg(target_arch = "x86_64")]
            Expanded::Low(context) => context.expand(&keys.aes, &keys.ghash),
        }
    }

    /// A place for keys, not to be handed out without.
    fn vacant(kernel: Kernel) -> Self {
        match kernel {
            Kernel::Portable => {
                Self(Expanded::Portable(Box::new(model::Context::new(&[0; 32], &[0; 16]))))
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Low(available) => Self(Expanded::Low(low::Context::vacant(available))),
        }
    }

    /// Who may seal and open with this context.
    #[inline]
    pub(crate) fn kernel(&self) -> Kernel {
        match &self.0 {
            Expanded::Portable(_) => Kernel::Portable,
            #[cfg(target_arch = "x86_64")]
            Expanded::Low(context) => Kernel::Low(context.kernel()),
        }
    }

    /// The context of a kernel of `low`.
    ///
    /// # Panics
    /// If it is one of the model's: a batch is split by kernel before.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(crate) fn low(&self) -> &low::Context {
        match &self.0 {
            Expanded::Low(context) => Some(context),
            Expanded::Portable(_) => None,
        }
        .expect("invariant: a job in `low` has a context of `low`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(aes: u8, ghash: u8) -> TrafficKeys {
        TrafficKeys::from_bytes(&[aes; 32], &[ghash; 16])
    }

    /// M3.2, M6.4.
    #[test]
    fn equal_directions_are_refused() {
        assert!(EpochKeys::new(&keys(1, 2), &keys(3, 4)).is_ok());
        assert_eq!(EpochKeys::new(&keys(1, 2), &keys(1, 2)).err(), Some(EqualKeys));
        assert_eq!(EpochKeys::new(&keys(1, 2), &keys(1, 4)).err(), Some(EqualKeys));
        assert_eq!(EpochKeys::new(&keys(1, 2), &keys(3, 2)).err(), Some(EqualKeys));
    }

    #[test]
    fn vacant_places_do_not_make_an_epoch() {
        let vacant = EpochKeys::vacant();
        assert!(EpochKeys::new(vacant.client_to_server(), vacant.server_to_client()).is_err());
    }

    /// M3.1.
    #[test]
    fn an_epoch_keeps_its_directions_apart() {
        let (up, down) = (keys(1, 2), keys(3, 4));
        let epoch = EpochKeys::new(&up, &down).unwrap();
        assert!(bool::from(epoch.client_to_server().ct_eq(&up)));
        assert!(bool::from(epoch.server_to_client().ct_eq(&down)));
        assert!(!bool::from(epoch.client_to_server().ct_eq(&down)));

        let mut place = EpochKeys::vacant();
        place.copy_from(&epoch);
        assert!(bool::from(place.client_to_server().ct_eq(&up)));
        assert!(bool::from(place.server_to_client().ct_eq(&down)));
    }

    /// M6.5.
    #[test]
    fn wiping_leaves_zeros() {
        let mut epoch = EpochKeys::new(&keys(1, 2), &keys(3, 4)).unwrap();
        epoch.zeroize();
        assert_eq!(epoch.client_to_server.aes, [0; 32]);
        assert_eq!(epoch.client_to_server.ghash, [0; 16]);
        assert_eq!(epoch.server_to_client.aes, [0; 32]);
        assert_eq!(epoch.server_to_client.ghash, [0; 16]);
    }
}
