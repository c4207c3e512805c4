//! KDC messages, requests with fail-over, and both ends of key delivery, sans-I/O.
