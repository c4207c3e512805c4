//! All benchmarks by name. Owns the list and the order; each module measures.

use crate::path::is_root;
use crate::report::Row;
use crate::{BenchResult, burst, cipher, forward, latency};

/// The name that stands for all of them.
pub const ALL: &str = "all";

/// One benchmark.
#[derive(Clone, Copy)]
pub struct Benchmark {
    /// Its name on the command line, and the first part of its rows' names.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    /// Whether it makes namespaces.
    pub needs_root: bool,
    run: fn() -> BenchResult<Vec<Row>>,
}

/// The benchmarks, quick ones first.
pub const BENCHMARKS: [Benchmark; 4] = [
    Benchmark {
        name: "cipher",
        about: "Seal and open of one segment with a warm key, in place, one core.",
        needs_root: false,
        run: cipher::run,
    },
    Benchmark {
        name: "burst",
        about: "`process_burst` of a gateway over in-memory ports, bursts of 32, real sessions, one \
                core; the frame source's time (`burst/source`) is subtracted. TCP timestamps in \
                every segment; checksums are verified as they come in.",
        needs_root: false,
        run: burst::run,
    },
    Benchmark {
        name: "forward",
        about: "One iperf3 TCP stream between network namespaces over veth, client → agent → router \
                → gateway → server, every process and the KDC on this machine's cores, workers \
                adaptive. `small`: segments of 88 octets, counted at the router. `gateway-on-core`: time \
                that the gateway's worker was on a core per packet meanwhile, system calls included, \
                and with them what veth does in the sender's context. Medians of \
                three rounds in turns.",
        needs_root: true,
        run: forward::run,
    },
    Benchmark {
        name: "latency",
        about: "Connects from client to server through the same chain: until connected (key delivery \
                and KDC included) and until the first octet of a server that speaks first. 120 \
                connects each, in turns.",
        needs_root: true,
        run: latency::run,
    },
];

impl Benchmark {
    /// The benchmark of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        BENCHMARKS.into_iter().find(|benchmark| benchmark.name == name)
    }

    /// Whether it can run with the privilege that there is.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        !self.needs_root || is_root()
    }

    /// Runs it.
    ///
    /// # Errors
    /// What kept it from a figure.
    pub fn run(&self) -> BenchResult<Vec<Row>> {
        (self.run)()
    }
}
