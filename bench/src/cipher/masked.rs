//! The AES-NI kernel against the main peer without wide instructions.
//!
//! Owns: the process that this takes, as the peer reads its environment variable once, before `main`.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::ours::{Distance, Ours};
use super::peers;
use super::shape::{Form, Pass, SIZES, Shape, Side};
use crate::report::Row;
use crate::timing::{Plan, Probe, interleaved_probes};
use crate::{BenchError, BenchResult};

/// The peer's variable, and what takes AVX-512 (F, DQ, IFMA, BW, VL), VAES and VPCLMULQDQ from it: in the
/// second word EBX of CPUID leaf 7 lies low and ECX high.
const VARIABLE: &str = "OPENSSL_ia32cap";
const MASK: &str = "~0x0:~0x600c0230000";
/// The kernel, and the peer as it is named in rows.
const KERNEL: &str = "aesni";
const PEER: &str = "aws-lc-rs AES-256-GCM, AES-NI only";
const UNIT: &str = "ns/packet";

/// Whether this process is the one without wide instructions.
pub(super) fn is_child() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == MASK)
}

/// Rows `cipher/masked/seal/1448/batch` and so on, measured in a process of their own.
pub(super) fn rows() -> BenchResult<Vec<Row>> {
    let failed = |source| BenchError::Io { what: "run the masked benchmark".to_owned(), source };
    let program = std::env::current_exe().map_err(failed)?;
    let output = Command::new(program)
        .args(["cipher", "--json"])
        .env(VARIABLE, MASK)
        .stderr(Stdio::inherit())
        .output()
        .map_err(failed)?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| BenchError::Invalid(format!("the masked benchmark printed: {error}")))?;
    let rows = report["results"].as_array().into_iter().flatten();
    Ok(rows.filter_map(row).collect())
}

fn row(json: &Value) -> Option<Row> {
    let name = json["name"].as_str()?.to_owned();
    let value = json["value"].as_f64()?;
    Some(match json["ratio"].as_f64() {
        Some(ratio) => Row::less_is_better(name, value, UNIT, PEER, ratio * value),
        None => Row::alone(name, value, UNIT),
    })
}

/// What the child measures; nothing where the kernel or the peer is missing.
pub(super) fn measured() -> Vec<Row> {
    let mut rows = Vec::new();
    for pass in Pass::BOTH {
        for form in Form::BOTH {
            rows.extend(SIZES.into_iter().filter_map(|size| compare(Shape { pass, form, size })));
        }
    }
    rows
}

fn compare(shape: Shape) -> Option<Row> {
    let mut ours = Ours::new(KERNEL, shape, Distance::Wire)?;
    let mut peer = peers::main(shape)?;
    let mut probes: [Probe<'_>; 2] = [ours.probe(), peer.probe()];
    let times = interleaved_probes(&mut probes, Plan::MANY);
    let Shape { pass, form, size } = shape;
    let name = format!("cipher/masked/{}/{size}{}", pass.name(), form.suffix());
    eprintln!("  {name}");
    Some(Row::less_is_better(name, times[0], UNIT, PEER, times[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_from_json() {
        let there =
            Row::less_is_better("cipher/masked/seal/64".to_owned(), 50.0, UNIT, PEER, 100.0);
        let back = row(&serde_json::to_value(&there).unwrap()).unwrap();
        assert_eq!((back.name, back.value, back.ratio), (there.name, there.value, there.ratio));
    }
}
