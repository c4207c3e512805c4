//! Decisions over requests.
