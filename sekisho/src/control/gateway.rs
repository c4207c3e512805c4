//! The gateway's end: key delivery on one hand, requests to the KDCs on the other.

use std::net::SocketAddr;

use sekisho_cipher::{EpochKeys, TrafficKeys};
use sekisho_dataplane::Command;
use sekisho_kdc_client::requester::{Requester, RequesterConfig, RequesterOutput};
use sekisho_kdc_client::schedule::TrafficKeyBytes;
use sekisho_kdc_client::{
    GatewayDelivery, GatewayOutput, KdcFailure, RefuseCode, SessionRef, TrafficSecrets,
};

use super::{Board, Effect, KdcOutcomes};

/// Something for the way to one KDC.
#[derive(Debug)]
pub enum KdcMessage {
    /// Send one datagram.
    Udp {
        /// Which KDC, by its place in the configuration.
        kdc: usize,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Write to the connection, after connecting if there is none.
    Tcp {
        /// Which KDC.
        kdc: usize,
        /// The octets, framed.
        bytes: Vec<u8>,
    },
    /// Close the connection.
    Close {
        /// Which KDC.
        kdc: usize,
    },
}

/// Key delivery and KDC requests of a gateway.
pub struct GatewayEnd {
    delivery: GatewayDelivery,
    requester: Requester,
    /// `hold = vouched`: the server sees the SYN once the KDC vouches for the client.
    release_syn: bool,
    outcomes: KdcOutcomes,
    now: u64,
}

impl GatewayEnd {
    /// A gateway's end. `release_syn` is true under `hold = vouched`; `kdcs` is how many there are.
    #[must_use]
    pub fn new(
        delivery: GatewayDelivery,
        requester: Requester,
        release_syn: bool,
        kdcs: usize,
    ) -> Self {
        let outcomes = KdcOutcomes { sent: vec![0; kdcs], ..KdcOutcomes::default() };
        Self { delivery, requester, release_syn, outcomes, now: 0 }
    }

    /// From now on ask other KDCs, under the key that key delivery has. Requests under way are begun
    /// anew by the clients' resends.
    pub fn replace_kdcs(&mut self, config: RequesterConfig, kdcs: usize) {
        self.requester.reconfigure(config);
        self.outcomes.sent = vec![0; kdcs];
        self.delivery.abandon_exchanges(self.now);
    }

    /// Whether the KDC at this place is held for dead.
    #[must_use]
    pub fn kdc_is_dead(&self, kdc: usize) -> bool {
        self.requester.is_dead(kdc)
    }

    /// A datagram came from a KDC.
    pub fn on_kdc_datagram(&mut self, kdc: usize, bytes: &[u8], now: u64) {
        self.now = now;
        self.requester.on_datagram(kdc, bytes, now);
    }

    /// Octets came on the connection to a KDC.
    pub fn on_kdc_stream(&mut self, kdc: usize, bytes: &[u8], now: u64) {
        self.now = now;
        self.requester.on_stream_data(kdc, bytes, now);
    }

    /// The way to a KDC broke or cannot be had.
    pub fn on_kdc_unreachable(&mut self, kdc: usize, now: u64) {
        self.now = now;
        self.requester.on_unreachable(kdc, now);
    }

    pub(super) fn on_syn(
        &mut self,
        session: SessionRef,
        request_id: u64,
        option: [u8; 13],
        now: u64,
    ) {
        self.now = now;
        self.delivery.on_syn(session, request_id, option, now);
    }

    pub(super) fn on_datagram(&mut self, src: SocketAddr, dst: SocketAddr, bytes: &[u8], now: u64) {
        self.now = now;
        self.delivery.on_datagram(src, dst, bytes, now);
    }

    pub(super) fn on_synchronised(&mut self, session: &SessionRef, now: u64) {
        self.delivery.on_synchronised(session, now);
    }

    pub(super) fn on_closed(&mut self, session: &SessionRef, now: u64) {
        self.delivery.on_closed(session, now);
    }

    pub(super) fn on_timer(&mut self, now: u64) {
        self.now = now;
        self.delivery.on_timer(now);
        self.requester.on_timer(now);
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        [self.delivery.next_deadline(), self.requester.next_deadline()].into_iter().flatten().min()
    }

    pub(super) fn outcomes(&self) -> KdcOutcomes {
        self.outcomes.clone()
    }

    pub(super) fn ignored(&self) -> sekisho_kdc_client::delivery::Ignored {
        self.delivery.ignored()
    }

    /// Carries out what both machines want, until neither wants more: a KEY-REQUEST of the one is
    /// the other's input and the other way round.
    pub(super) fn settle(&mut self, board: &mut Board) {
        loop {
            if let Some(output) = self.requester.poll() {
                self.on_requester(output, board);
            } else if let Some(output) = self.delivery.poll() {
                self.on_delivery(output, board);
            } else {
                return;
            }
        }
    }

    fn on_requester(&mut self, output: RequesterOutput, board: &mut Board) {
        match output {
            RequesterOutput::SendUdp { kdc, bytes } => {
                self.count_sent(kdc);
                board.effects.push_back(Effect::Kdc(KdcMessage::Udp { kdc, bytes }));
            }
            RequesterOutput::SendTcp { kdc, bytes } => {
                self.count_sent(kdc);
                board.effects.push_back(Effect::Kdc(KdcMessage::Tcp { kdc, bytes }));
            }
            RequesterOutput::CloseTcp { kdc } => {
                board.effects.push_back(Effect::Kdc(KdcMessage::Close { kdc }))
            }
            RequesterOutput::Done { exchange, result, .. } => {
                match &result {
                    Ok(_) => self.outcomes.replied += 1,
                    Err(KdcFailure::Refused(code)) => {
                        *self.outcomes.refused.entry(code.label()).or_default() += 1
                    }
                    Err(_) => self.outcomes.unavailable += 1,
                }
                let outcome = result.as_deref().map_err(|failure| *failure);
                self.delivery.on_kdc(exchange, outcome, self.now);
            }
        }
    }

    fn count_sent(&mut self, kdc: usize) {
        if let Some(sent) = self.outcomes.sent.get_mut(kdc) {
            *sent += 1;
        }
    }

    fn on_delivery(&mut self, output: GatewayOutput, board: &mut Board) {
        match output {
            GatewayOutput::Send { session, src, dst, datagram } => {
                board.send(session.as_ref(), src, dst, &datagram)
            }
            GatewayOutput::KeyRequest { exchange, message } => {
                self.requester.start(exchange, &message, self.now);
            }
            GatewayOutput::Install { session, secrets, .. } => {
                let Some(keys) = epoch_keys(&secrets) else {
                    return board.fail(&session, RefuseCode::Internal);
                };
                let release_syn = self.release_syn;
                board.command(&session, |owner| Command::Install {
                    flow: owner.flow,
                    client_isn: session.client_isn,
                    generation: owner.generation,
                    keys,
                    synced: false,
                    release_syn,
                });
            }
            GatewayOutput::Synchronised { session } => {
                board.command(&session, |owner| Command::Synchronise {
                    flow: owner.flow,
                    client_isn: session.client_isn,
                    generation: owner.generation,
                })
            }
            GatewayOutput::Failed { session, code } => board.fail(&session, code),
            GatewayOutput::Outcome { result, latency, .. } => {
                board.outcomes.delivery(result, latency)
            }
        }
    }
}

/// The traffic keys of an epoch; `None` if both directions came out equal, which no honest schedule does.
pub(super) fn epoch_keys(secrets: &TrafficSecrets) -> Option<Box<EpochKeys>> {
    let keys = |half: &TrafficKeyBytes| TrafficKeys::from_bytes(&half.aes, &half.ghash);
    EpochKeys::new(&keys(&secrets.client_to_server), &keys(&secrets.server_to_client)).ok()
}
