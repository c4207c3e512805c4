//! The cases of the hazard suite, by subject. Each file says which rows it shows.

pub mod programs;
