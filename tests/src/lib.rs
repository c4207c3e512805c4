//! The netns lab and the end-to-end tests on the real chain.

pub mod demo;
pub mod lab;
