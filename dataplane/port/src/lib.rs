//! Burst packet I/O: AF_XDP rings, in-memory rings, the XDP program and its loader.
