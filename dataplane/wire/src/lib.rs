//! Views and builders for Ethernet, VLAN, IPv4, IPv6, TCP and UDP, TCP options and checksums.
