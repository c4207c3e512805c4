//! The pipeline under a script: an agent's worker and a gateway's back to back, hosts at both ends, a
//! network that the script owns, control that installs keys. Owns the steps; `world` has the parties,
//! `segments` what they send, `checks` what must hold.

mod checks;
mod segments;
mod world;

use sekisho_dataplane::{CloseCause, Command, FrameBuf};
use sekisho_port::PortSide;

use self::segments::{hosts_segment, keyed_segment, strangers_segment, with_checksums};
use self::world::World;
use super::script::Script;

/// Most steps of one script.
const STEPS: usize = 400;

/// Runs one script.
///
/// # Panics
/// Where a frame is lost or doubled, a canary leaves in clear on a cipher side, an option of ours on a
/// plain side, or octets that no host sent are handed over as its own.
pub fn burst(data: &[u8]) {
    let _ = run(data);
}

/// What a run came to; the replay of named scripts wants them to reach what their name says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reached {
    pub(super) sealed: u64,
    pub(super) opened: u64,
    pub(super) dropped: u64,
    pub(super) closed: u64,
}

pub(super) fn run(data: &[u8]) -> Reached {
    let mut script = Script::new(data);
    let mut world = World::new(&mut script);
    for _ in 0..STEPS {
        if script.is_over() {
            break;
        }
        step(&mut world, &mut script);
    }
    world.finish()
}

fn step(world: &mut World, script: &mut Script<'_>) {
    match script.u8() % 16 {
        0..=2 => {
            let end = script.below(2);
            let seg = hosts_segment(script, end);
            world.give(end, PortSide::Plain, &seg);
        }
        3..=5 => deliver(world, script, false),
        6 => deliver(world, script, true),
        7 => mangle(world, script),
        8 | 9 => control(world, script),
        10 => world.pass_time(script),
        11 => {
            // Anything at all, anywhere.
            let (end, side) = (script.below(2), side(script));
            let frame = script.piece();
            world.taint(side);
            world.give(end, side, frame);
        }
        12 => {
            let end = script.below(2);
            let frame = strangers_segment(script, end);
            world.give(end, PortSide::Cipher, &frame);
        }
        13 => {
            let end = script.below(2);
            let frame = keyed_segment(script, end);
            world.give(end, PortSide::Cipher, &frame);
        }
        14 => {
            // A port that takes nothing for a while, and one that takes again.
            let (end, side, blocked) = (script.below(2), side(script), script.flag());
            world.ends[end].wire.set_blocked(side, blocked);
        }
        _ => {
            // Several frames in one burst.
            let (end, count) = (script.below(2), script.below(8) + 1);
            for _ in 0..count {
                let seg = hosts_segment(script, end);
                world.ends[end].wire.push(PortSide::Plain, &seg);
            }
            world.turn(end);
        }
    }
}

fn side(script: &mut Script<'_>) -> PortSide {
    PortSide::BOTH[script.below(2)]
}

/// A frame that is under way arrives; with `again`, it will once more.
fn deliver(world: &mut World, script: &mut Script<'_>, again: bool) {
    if world.network.is_empty() {
        return;
    }
    let at = script.below(world.network.len());
    let (end, frame) = if again { world.network[at].clone() } else { world.network.remove(at) };
    world.give(end, PortSide::Cipher, &frame);
}

/// A frame that is under way arrives changed, perhaps with checksums that hold, perhaps at the
/// wrong end.
fn mangle(world: &mut World, script: &mut Script<'_>) {
    if world.network.is_empty() {
        return;
    }
    let at = script.below(world.network.len());
    let (end, mut frame) = world.network[at].clone();
    script.mutate(&mut frame);
    let how = script.u8();
    if how & 1 == 0 {
        with_checksums(&mut frame);
    }
    let end = if how & 2 == 0 { end } else { 1 - end };
    world.give(end, PortSide::Cipher, &frame);
}

fn control(world: &mut World, script: &mut Script<'_>) {
    let end = script.below(2);
    let names = &world.ends[end].names;
    let from_last = script.below(names.len());
    let Some(&name) = names.iter().rev().nth(from_last) else { return };
    let (flow, client_isn, generation) = name;
    let command = match script.u8() % 12 {
        0..=4 => {
            let how = script.u8();
            Command::Install {
                flow,
                client_isn,
                generation,
                keys: segments::keys(how >> 4 & 3),
                synced: how & 1 == 1,
                release_syn: how & 2 == 0,
            }
        }
        5 | 6 => Command::Synchronise { flow, client_isn, generation },
        7 => {
            let cause = CloseCause::ALL[script.below(CloseCause::ALL.len())];
            Command::Abort { flow, client_isn, generation, cause }
        }
        8 => Command::Close { flow, client_isn, generation },
        9 => {
            let frame = segments::delivery_datagram(script);
            match FrameBuf::from_slice(&frame) {
                Some(frame) => Command::Transmit { side: side(script), frame },
                None => return,
            }
        }
        10 => return world.change_services(end, script),
        _ if script.u8() == 0xff => Command::Drain,
        _ => return world.list_sessions(end),
    };
    world.command(end, command);
}
