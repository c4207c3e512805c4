//! Seal and open in one process: every kernel, by size, singly and in batches, beside peers and beside
//! what the CPU's units allow at most.
//!
//! All that is compared at one size takes turns in one group. Opening gets its ciphertext back before
//! each round, and that is not counted, neither for us nor for a peer.
//!
//! | module | owns |
//! |---|---|
//! | `shape` | passes, sizes, frames |
//! | `ours`, `peers`, `suite` | the sides |
//! | `ipsec_mb` | a peer in C where it is installed, in a process of its own |
//! | `masked` | the comparison without wide instructions, in a process of its own |
//! | `tables`, `plot` | bench/RESULTS.md's form of the rows |

mod ipsec_mb;
mod masked;
mod ours;
mod peers;
mod plot;
mod shape;
#[cfg(feature = "peers")]
pub(crate) mod suite;
mod tables;

use std::hint::black_box;

use sekisho_cipher::{kernel_name, measure};

use crate::BenchResult;
use crate::report::Row;
use crate::timing::{Plan, Probe, Subject, interleaved, interleaved_probes, pinned, whole};
use ours::{Distance, Ours, keys};
use shape::{Form, Pass, SIZES, Shape, Side};

pub use tables::render;

/// Name of the bound where it stands as a peer.
const BOUND: &str = "AES and CLMUL units alone";

/// Rows `cipher/seal/N`, `cipher/open/N/batch` and so on for the kernel in use, with ratios to the main
/// peer; `cipher/WHO/…` for other kernels, distances and peers; `cipher/bound/N` and
/// `cipher/of-bound/…`; `cipher/context`; `cipher/sums/…`. Nanoseconds per packet.
///
/// # Errors
/// The child process that measures without wide instructions gave no figures, or the peer in C is installed
/// and gave none.
pub fn run() -> BenchResult<Vec<Row>> {
    if masked::is_child() {
        return Ok(pinned(masked::measured));
    }
    let mut rows = pinned(|| {
        let shapes = Pass::BOTH.into_iter().flat_map(|pass| SIZES.map(|size| (pass, size)));
        let mut rows: Vec<Row> = shapes.flat_map(|(pass, size)| group(pass, size)).collect();
        rows.extend(contexts());
        rows.extend(sums());
        rows
    });
    if cfg!(feature = "peers") {
        rows.extend(ipsec_mb::rows()?);
    }
    rows.extend(masked::rows()?);
    // Rows of the kernel in use have no name between, and come first.
    rows.sort_by_key(|row| {
        !["cipher/seal", "cipher/open"].iter().any(|own| row.name.starts_with(own))
    });
    Ok(rows)
}

/// A side in its group.
struct Entry {
    /// Between `cipher/` and the pass: nothing, or a name and a slash.
    who: String,
    form: Form,
    /// Whether it is held against the main peer.
    ours: bool,
    side: Box<dyn Side>,
}

/// All that is compared at one size in one pass.
fn group(pass: Pass, size: u16) -> Vec<Row> {
    eprintln!("  cipher/{}/{size}", pass.name());
    let mut entries: Vec<Entry> = Vec::new();
    for form in Form::BOTH {
        entries.extend(entries_of(Shape { pass, form, size }));
    }
    let has_peer = |form| entries.iter().position(|entry| entry.form == form && entry.who == MAIN);
    let main = Form::BOTH.map(has_peer);
    let mut probes: Vec<Probe<'_>> = Vec::with_capacity(entries.len() + 1);
    let names: Vec<(String, Form, bool)> =
        entries.iter().map(|entry| (entry.who.clone(), entry.form, entry.ours)).collect();
    probes.extend(entries.iter_mut().map(|entry| entry.side.probe()));
    let has_bound = measure::bound(1, size);
    if has_bound {
        probes.push(whole(Box::new(move |n| _ = measure::bound(n, size))));
    }
    let times = interleaved_probes(&mut probes, Plan::MANY);
    let bound = if has_bound { times.last().copied() } else { None };

    let mut rows = Vec::new();
    for ((who, form, ours), &time) in names.iter().zip(&times) {
        let suffix = form.suffix();
        let name = |who: &str| format!("cipher/{who}{}/{size}{suffix}", pass.name());
        rows.push(match main[*form as usize] {
            Some(at) if *ours => Row::less_is_better(name(who), time, UNIT, peers::MAIN, times[at]),
            _ => Row::alone(name(who), time, UNIT),
        });
        if let (true, Some(bound)) = (who.is_empty(), bound) {
            rows.push(Row::less_is_better(name("of-bound/"), time, UNIT, BOUND, bound));
        }
    }
    if let (Pass::Seal, Some(bound)) = (pass, bound) {
        rows.push(Row::alone(format!("cipher/bound/{size}"), bound, UNIT));
    }
    rows
}

const UNIT: &str = "ns/packet";
/// The main peer's part of a row's name.
const MAIN: &str = "aws-lc-rs/";

fn entries_of(shape: Shape) -> Vec<Entry> {
    let Shape { pass, form, .. } = shape;
    let entry = |who: String, ours, side| Entry { who, form, ours, side };
    let mut entries = Vec::new();
    if let Some(side) = peers::main(shape) {
        entries.push(entry(MAIN.to_owned(), false, side));
    }
    let mut kernel = |who: String, name: &str, distance| {
        if let Some(side) = Ours::new(name, shape, distance) {
            entries.push(entry(who, true, Box::new(side)));
        }
    };
    kernel(String::new(), kernel_name(), Distance::Wire);
    for distance in [Distance::Zero, Distance::Against] {
        kernel(format!("{}/", distance.name(pass)), kernel_name(), distance);
    }
    for name in measure::kernels().into_iter().filter(|name| *name != kernel_name()) {
        kernel(format!("{name}/"), name, Distance::Wire);
    }
    // Peers have no batches; one of them shows what 32 keys cost.
    if form == Form::Single {
        let others = peers::others(shape).into_iter();
        entries.extend(others.map(|(name, side)| entry(format!("{name}/"), false, side)));
    }
    entries
}

/// Rows `cipher/context` and `cipher/KERNEL/context`: keys to hot form, in the place of others.
fn contexts() -> Vec<Row> {
    eprintln!("  cipher/context");
    let kernels = measure::kernels();
    let mut subjects: Vec<Subject<'_>> =
        kernels.iter().filter_map(|name| expansion(name)).collect();
    let peer = peers::main_context();
    let has_peer = peer.is_some();
    subjects.extend(peer);
    let times = interleaved(&mut subjects);
    let rows = kernels.iter().zip(&times).map(|(&kernel, &time)| {
        let own = kernel == kernel_name();
        let name =
            if own { "cipher/context".to_owned() } else { format!("cipher/{kernel}/context") };
        match times.last() {
            Some(&peer) if has_peer => Row::less_is_better(name, time, "ns", peers::MAIN, peer),
            _ => Row::alone(name, time, "ns"),
        }
    });
    rows.collect()
}

/// Row `cipher/sums/1448/batch`: what the checksums folded in cost; the peer is the same without them.
fn sums() -> Option<Row> {
    eprintln!("  cipher/sums");
    let shape = Shape { pass: Pass::Seal, form: Form::Batch, size: 1448 };
    let mut with = Ours::new(kernel_name(), shape, Distance::Wire)?;
    let mut without = Ours::new(kernel_name(), shape, Distance::Wire)?;
    let mut subjects = vec![with.seal(), without.unsummed()?];
    let times = interleaved(&mut subjects);
    let name = "cipher/sums/1448/batch".to_owned();
    Some(Row::less_is_better(name, times[0], UNIT, "the same without sums", times[1]))
}

fn expansion(kernel: &str) -> Option<Subject<'static>> {
    let keys: Vec<_> = (0..shape::BATCH).map(keys).collect();
    let mut context = measure::context(kernel, &keys[0])?;
    let mut next = 0;
    Some(Box::new(move |n| {
        for _ in 0..n {
            context.rekey(black_box(&keys[next]));
            black_box(&context);
            next = (next + 1) % keys.len();
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sides_do_their_work() {
        for pass in Pass::BOTH {
            for form in Form::BOTH {
                for size in [64, 1448] {
                    for mut entry in entries_of(Shape { pass, form, size }) {
                        let mut probe = entry.side.probe();
                        probe(40);
                        probe(3);
                    }
                }
            }
        }
        contexts_expand();
    }

    fn contexts_expand() {
        for kernel in measure::kernels() {
            expansion(kernel).unwrap()(40);
        }
    }
}
