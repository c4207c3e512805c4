//! Configuration files into checked types, with line and column for every error.
