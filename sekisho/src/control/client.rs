//! The client agent's end: key delivery alone; the KDC is the gateway's to ask.

use std::collections::HashSet;
use std::net::SocketAddr;

use sekisho_dataplane::Command;
use sekisho_kdc_client::{ClientDelivery, ClientOutput, Policy, RefuseCode, Service, SessionRef};

use super::gateway::epoch_keys;
use super::{Board, Effect};

/// Key delivery of a client agent.
pub struct ClientEnd {
    delivery: ClientDelivery,
    /// Services that the KDC said require cipher.
    pinned: HashSet<sekisho_dataplane::ServiceId>,
}

impl ClientEnd {
    /// A client's end with nothing in progress.
    #[must_use]
    pub fn new(delivery: ClientDelivery) -> Self {
        Self { delivery, pinned: HashSet::new() }
    }

    pub(super) fn on_syn(
        &mut self,
        session: SessionRef,
        request_id: u64,
        option: [u8; 13],
        now: u64,
    ) {
        self.delivery.on_syn_sent(
            session,
            request_id,
            option,
            Service::Address(session.server),
            now,
        );
    }

    pub(super) fn on_datagram(&mut self, src: SocketAddr, dst: SocketAddr, bytes: &[u8], now: u64) {
        self.delivery.on_datagram(src, dst, bytes, now);
    }

    pub(super) fn on_closed(&mut self, session: &SessionRef, now: u64) {
        self.delivery.on_closed(session, now);
    }

    pub(super) fn on_timer(&mut self, now: u64) {
        self.delivery.on_timer(now);
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.delivery.next_deadline()
    }

    pub(super) fn ignored(&self) -> sekisho_kdc_client::delivery::Ignored {
        self.delivery.ignored()
    }

    pub(super) fn forget_pins(&mut self) {
        self.pinned.clear();
    }

    pub(super) fn settle(&mut self, board: &mut Board) {
        while let Some(output) = self.delivery.poll() {
            self.on_delivery(output, board);
        }
    }

    fn on_delivery(&mut self, output: ClientOutput, board: &mut Board) {
        match output {
            ClientOutput::Send { session, src, dst, datagram } => {
                board.send(Some(&session), src, dst, &datagram)
            }
            ClientOutput::Install { session, secrets, policy, .. } => {
                let Some(keys) = epoch_keys(&secrets) else {
                    return board.fail(&session, RefuseCode::Internal);
                };
                if policy == Policy::Require {
                    self.pin(&session, board);
                }
                board.command(&session, |owner| Command::Install {
                    flow: owner.flow,
                    client_isn: session.client_isn,
                    generation: owner.generation,
                    keys,
                    synced: true,
                    release_syn: false,
                });
            }
            ClientOutput::Completed { .. } => {}
            ClientOutput::Failed { session, code } => board.fail(&session, code),
            ClientOutput::Outcome { result, latency, .. } => {
                board.outcomes.delivery(result, latency)
            }
        }
    }

    /// A client that learnt `require` from the KDC never again goes on in clear.
    fn pin(&mut self, session: &SessionRef, board: &mut Board) {
        let Some(service) = board.owners.get(session).map(|owner| owner.service) else { return };
        if self.pinned.insert(service) {
            board.effects.push_back(Effect::Pin(service));
        }
    }
}
