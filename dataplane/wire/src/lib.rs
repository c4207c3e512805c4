//! Views and builders for Ethernet, VLAN, IPv4, IPv6, TCP, UDP and ICMP, TCP options and checksums.
//!
//! This crate owns the bytes of a frame: what they mean, whether they can be trusted to lie within
//! the frame, and how to rewrite headers in place. It knows no session, no key, no clock, no I/O.
//! No function here panics on any input, and none allocates.
//!
//! | module | owns |
//! |---|---|
//! | [`frame`] | one bounded parse per frame into a `Copy` view of offsets |
//! | [`layers`], [`ip`], [`tcp`] | the steps of that parse: where layers begin, flags, segments |
//! | [`options`] | TCP options: the walk, ours, the rewriting ladder |
//! | [`edit`] | in-place changes: option block, lengths, urgent pointer |
//! | [`checksum`] | Internet checksums: full, verify, incremental |
//! | [`build`] | frames of our own making: UDP datagrams, RST, bare ACK |
//! | [`quote`] | the TCP packet that an ICMP error quotes, the MTU that it names |
//! | [`l2`] | the layer-2 header that our own frames borrow |
//! | [`seq`] | 32-bit sequence numbers |

pub mod build;
pub mod checksum;
pub mod edit;
pub mod error;
pub mod frame;
pub mod ip;
pub mod l2;
pub mod layers;
pub mod options;
pub mod quote;
pub mod seq;
pub mod tcp;

mod bytes;
#[cfg(test)]
mod fixtures;

pub use edit::{apply_options, clear_urgent};
pub use error::{BuildError, OptionError, ParseError};
pub use frame::{FrameView, IcmpView, Span, Transport, UdpView, parse_frame};
pub use ip::IpKind;
pub use l2::L2Header;
pub use layers::Layers;
pub use options::{
    AcceptOption, MssRule, OptionBlock, OptionCodes, RequestOption, ResyncOption, Rewrite,
    Rewritten, SekishoOption, TagOption, TcpOptionsSummary,
};
pub use quote::QuotedTcp;
pub use seq::SeqNum;
pub use tcp::{TcpFlags, TcpView};
