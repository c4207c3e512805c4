//! The Sekisho program.
fn main() {}
