//! The simulation as part of the ordinary tests: 200 seeds hold, and a seed decides everything.

use std::process::Command;

use sekisho_tests::sim::report::Runner;

/// Seeds of every test run; `cargo xtask sim --seeds` runs more.
const SEEDS: u64 = 200;

fn program(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sekisho-sim"))
        .args(args)
        .output()
        .expect("the program runs");
    (output.status.success(), String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn everything_holds_in_200_seeds() {
    let mut runner = Runner::default();
    let summary = runner.seeds(0..SEEDS, |_| {});
    let shown: Vec<_> = summary.failed.iter().map(|outcome| runner.explain(outcome)).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    // The run was one: octets were delivered, segments sealed, forged ones refused.
    let [events, octets, sealed, bad_tags] = summary.tallies;
    assert!(events > 10_000 && octets > 1_000_000, "{events} events, {octets} octets");
    assert!(sealed > 1000 && bad_tags > 50, "{sealed} sealed, {bad_tags} bad tags");
}

/// Seeds that showed a fault once, in the product or in how it was judged.
#[test]
fn seeds_that_failed_once_hold() {
    let mut runner = Runner::default();
    // A host's stack stood still behind a window of zero that was older than an open one; and with
    // a FIN that it forgot, while it went on to acknowledge.
    for seed in [93_822, 1720] {
        let outcome = runner.seed(seed);
        assert!(outcome.violation.is_none(), "{}", runner.explain(&outcome));
    }
}

#[test]
fn one_seed_gives_one_trace_in_any_process() {
    let mut runner = Runner::default();
    for seed in [1, 7, 42] {
        let first = runner.seed(seed);
        assert_eq!(runner.seed(seed).trace_hash, first.trace_hash, "the same process");
        assert_eq!(Runner::default().seed(seed).trace_hash, first.trace_hash, "fresh memory");
        let expected = format!("{}\n", first.to_json());
        let argument = seed.to_string();
        for _ in 0..2 {
            let said = program(&["--seed", &argument, "--json"]);
            assert_eq!(said, (true, expected.clone()), "another process");
        }
    }
    assert_ne!(runner.seed(1).trace_hash, runner.seed(2).trace_hash);
}

#[test]
fn many_seeds_are_summed_up_as_one_object() {
    let (held, said) = program(&["--seeds", "3", "--json"]);
    assert!(held, "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["seeds"], &said["failed"]), (&3.into(), &serde_json::json!([])));
    assert!(said["seeds_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
    assert!(!program(&["--seeds"]).0, "a number is missing");
}
