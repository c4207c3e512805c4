//! The netns lab: a network of namespaces on one machine, real programs at its ends, captures in its
//! middle, and the real `sekisho` processes in its boxes.
//!
//! | file | noun |
//! |---|---|
//! | `error` | what can go wrong |
//! | `process` | a child process, a wait |
//! | `namespace`, `veth` | a network namespace, a cable |
//! | `unbind` | a queue of a living box without its socket |
//! | `packet`, `tagger` | a socket for whole frames, VLAN tags on a cable |
//! | `impaired` | the impairment box in a cable |
//! | `site` | the directory of a lab |
//! | `hosts`, `topology` | who is there, the network, drawn |
//! | `capture`, `seen` | frames seen, frames read |
//! | `forge`, `inject`, `flood` | frames forged, frames sent, at a rate |
//! | `programs`, `peers`, `streams` | unchanged programs, small TCP peers of our own, long streams |
//! | `scapy`, `guests` | the independent peer: a process, its places in the lab |
//! | `config`, `chain` | configuration files, the running processes |
//! | `claims` | the claims, checked on a running chain |
//! | `harness` | what all lab tests share |

mod error;

pub mod capture;
pub mod chain;
pub mod claims;
pub mod config;
pub mod flood;
pub mod forge;
pub mod guests;
pub mod harness;
pub mod hosts;
pub mod impaired;
pub mod inject;
pub mod namespace;
pub mod packet;
pub mod peers;
pub mod process;
pub mod programs;
pub mod scapy;
pub mod seen;
pub mod site;
pub mod streams;
pub mod tagger;
pub mod topology;
pub mod unbind;
pub mod veth;

pub use error::{LabError, LabResult};
