//! The netns lab, the impairment box, the hazard suite, the bodies of the fuzz targets and the end-to-end
//! tests on the real chain.

pub mod demo;
pub mod fuzz;
pub mod hazards;
pub mod impair;
pub mod lab;
