//! The key distribution centre: registry of devices, issuing of session keys, server.
