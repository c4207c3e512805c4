//! The cases of the hazard suite, by subject. Each file says which rows it shows.

pub mod attacks;
pub mod frames;
pub mod handshake;
pub mod impaired;
pub mod narrow;
pub mod paths;
pub mod peer;
pub mod programs;
pub mod segments;
