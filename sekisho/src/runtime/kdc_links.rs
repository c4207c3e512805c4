//! The ways to all KDCs of a gateway, as the control loop polls them. Owns which link is which KDC.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;
use sekisho_config::{KdcAccess, KdcTransport};

use super::kdc_link::{Incoming, TcpLink, UdpLink};
use crate::control::{Control, KdcMessage};

enum Link {
    Udp(UdpLink),
    Tcp(TcpLink),
}

/// One link per KDC, in the order of the configuration. A client agent has none.
#[derive(Default)]
pub(super) struct KdcLinks {
    links: Vec<Link>,
}

impl KdcLinks {
    /// Links that open with their first request.
    pub(super) fn new(access: &KdcAccess) -> Self {
        let link = |address: &SocketAddr| match access.transport {
            KdcTransport::Udp => Link::Udp(UdpLink::new(*address)),
            KdcTransport::Tcp => Link::Tcp(TcpLink::new(*address)),
        };
        Self { links: access.servers.iter().map(link).collect() }
    }

    /// What to poll, in no particular order.
    pub(super) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.links.iter().filter_map(|link| match link {
            Link::Udp(link) => link.interest(),
            Link::Tcp(link) => link.interest(),
        })
    }

    /// Sends one message; a KDC that cannot be reached is told to `control`.
    pub(super) fn send(&mut self, message: KdcMessage, control: &mut Control, now: u64) {
        let (KdcMessage::Udp { kdc, .. } | KdcMessage::Tcp { kdc, .. } | KdcMessage::Close { kdc }) =
            message;
        let sent = match (self.links.get_mut(kdc), message) {
            (Some(Link::Udp(link)), KdcMessage::Udp { bytes, .. }) => link.send(&bytes),
            (Some(Link::Tcp(link)), KdcMessage::Tcp { bytes, .. }) => link.send(&bytes),
            (Some(Link::Tcp(link)), KdcMessage::Close { .. }) => {
                link.reset();
                Ok(())
            }
            // A message for a link of an earlier configuration.
            _ => Ok(()),
        };
        if let Err(error) = sent {
            tracing::warn!(kdc, %error, "cannot send to the KDC");
            control.on_kdc_unreachable(kdc, now);
        }
    }

    /// Hands everything that has come to `control`.
    pub(super) fn drive(&mut self, control: &mut Control, now: u64) {
        for (kdc, link) in self.links.iter_mut().enumerate() {
            match link {
                Link::Udp(link) => {
                    while let Some(incoming) = link.receive() {
                        match incoming {
                            Incoming::Data(bytes) => control.on_kdc_datagram(kdc, &bytes, now),
                            Incoming::Broken => control.on_kdc_unreachable(kdc, now),
                        }
                    }
                }
                Link::Tcp(link) => {
                    for incoming in link.drive() {
                        match incoming {
                            Incoming::Data(bytes) => control.on_kdc_stream(kdc, &bytes, now),
                            Incoming::Broken => control.on_kdc_unreachable(kdc, now),
                        }
                    }
                }
            }
        }
    }
}
