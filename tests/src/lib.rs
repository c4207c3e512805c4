//! The netns lab, the impairment box, the hazard suite, the bodies of the fuzz targets, the end-to-end
//! tests on the real chain and the deterministic simulation.

pub mod demo;
pub mod fuzz;
pub mod hazards;
pub mod impair;
pub mod lab;
pub mod sim;
