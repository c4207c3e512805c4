//! Translation between the two stations: one public address for all clients, other ports, and
//! numbers moved by some constant. Owns the mappings.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use sekisho_wire::parse_frame;

use super::dice::Dice;
use super::frame::readdress;
use super::isn::IsnShift;
use super::plan::{Feature, Plan};

/// A translator.
pub(super) struct Nat {
    public: Option<IpAddr>,
    /// By (is it UDP, the client's end).
    ports: BTreeMap<(bool, SocketAddr), u16>,
    clients: BTreeMap<(bool, u16), SocketAddr>,
    next_port: u16,
    shifts: bool,
    client_isn: IsnShift,
    server_isn: IsnShift,
    dice: Dice,
}

impl Nat {
    /// The translator of a plan: addresses, numbers, both or neither.
    pub(super) fn new(plan: &Plan) -> Self {
        let public = match plan.features.has(Feature::IPv6) {
            true => "2001:db8::99",
            false => "192.0.2.99",
        };
        let public: Option<IpAddr> = public.parse().ok();
        let mut dice = Dice::new(plan.seed, "NAT");
        Self {
            public: public.filter(|_| plan.features.has(Feature::Nat)),
            ports: BTreeMap::new(),
            clients: BTreeMap::new(),
            next_port: dice.within(1024, 30_000) as u16,
            shifts: plan.features.has(Feature::ShiftIsn),
            client_isn: IsnShift::default(),
            server_isn: IsnShift::default(),
            dice,
        }
    }

    /// A frame on its way to the server.
    pub(super) fn up(&mut self, frame: &mut [u8]) {
        if self.shifts {
            let isn = self.dice.word();
            self.client_isn.outbound(frame, || isn);
            self.server_isn.inbound(frame);
        }
        let (Some(public), Some((is_udp, Some(client), _))) = (self.public, ends(frame)) else {
            return;
        };
        let port = *self.ports.entry((is_udp, client)).or_insert_with(|| {
            self.next_port += 1;
            self.clients.insert((is_udp, self.next_port), client);
            self.next_port
        });
        readdress(frame, Some(SocketAddr::new(public, port)), None);
    }

    /// The client's end of a connection that the server sees as coming from `seen`.
    pub(super) fn client_of(&self, seen: SocketAddr) -> SocketAddr {
        let known = self.clients.get(&(false, seen.port()));
        known.copied().filter(|_| self.public == Some(seen.ip())).unwrap_or(seen)
    }

    /// A frame on its way to a client. What nobody asked for stays addressed to the translator.
    pub(super) fn down(&mut self, frame: &mut [u8]) {
        if let (Some(_), Some((is_udp, _, Some(public)))) = (self.public, ends(frame))
            && let Some(client) = self.clients.get(&(is_udp, public.port()))
        {
            readdress(frame, None, Some(*client));
        }
        if self.shifts {
            let isn = self.dice.word();
            self.server_isn.outbound(frame, || isn);
            self.client_isn.inbound(frame);
        }
    }
}

/// Whether it is UDP; source and destination.
fn ends(frame: &[u8]) -> Option<(bool, Option<SocketAddr>, Option<SocketAddr>)> {
    let view = parse_frame(frame).ok()?;
    Some((view.udp().is_some(), view.source(), view.destination()))
}
