//! Which end of a protected path this worker is, and what that makes of the two ports.
//! Owns no state; the pipeline asks here for the direction of a frame.

use sekisho_port::PortSide;
use sekisho_session::Direction;

/// The end of the protected path that a process plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// In front of servers: detects the cipher request; its plain port leads to servers.
    Gateway,
    /// In front of applications: inserts the cipher request; its plain port leads to clients.
    Client,
}

impl Role {
    /// The direction of a frame that came in on `ingress`.
    #[must_use]
    pub fn direction(self, ingress: PortSide) -> Direction {
        match (self, ingress) {
            (Self::Gateway, PortSide::Cipher) | (Self::Client, PortSide::Plain) => {
                Direction::ClientToServer
            }
            (Self::Gateway, PortSide::Plain) | (Self::Client, PortSide::Cipher) => {
                Direction::ServerToClient
            }
        }
    }
}
