//! The netns lab, the impairment box, the hazard suite and the end-to-end tests on the real chain.

pub mod demo;
pub mod hazards;
pub mod impair;
pub mod lab;
