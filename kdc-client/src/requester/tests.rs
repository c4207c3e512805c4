//! Requests in virtual time.
