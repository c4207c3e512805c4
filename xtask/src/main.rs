//! One command each: demo, test, ci, bench, lab.
fn main() {}
