//! All benchmarks by name. Owns the list and the order; each module measures.

use crate::markdown::{Rendered, plain};
use crate::path::is_root;
use crate::report::Row;
use crate::{BenchResult, burst, cipher, constant_time, flood, forward, latency};

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
    show: fn(&[Row]) -> Rendered,
}

/// The benchmarks, quick ones first.
pub const BENCHMARKS: [Benchmark; 6] = [
    Benchmark {
        name: "cipher",
        about: "Seal and open with warm keys on one core, frames in cache, the payload 66 octets into its \
                frame. `distance`: how far it moves meanwhile; plain rows move as on the wire, +16 to \
                seal, −16 to open, and give both sums for TCP's checksum. Peers work in place with 16 octets of associated \
                data; aes-gcm, aes-gcm-siv, ring and aws-lc-rs's GCM-SIV one at a time only. `ipsec-mb`, where it is \
                installed, takes no turns with the others; its batch is one of its bursts of jobs, \
                `ipsec-mb-calls` is 32 calls under 32 keys. `bound`: \
                14 AES rounds and 4 products of 512 bits per 64 octets and one block per segment, on \
                registers; `of-bound` holds the kernel in use against it. `masked`: the AES-NI kernel against \
                aws-lc-rs kept from AVX-512 and VAES, in a process of its own.",
        needs_root: false,
        run: cipher::run,
        show: cipher::render,
    },
    Benchmark {
        name: "constant-time",
        about: "Welch's t of the times of two classes of input, 10^7 measurements each in random order, the \
                largest |t| over several limits to what counts as interrupted; `ratio` above 1 is no \
                difference found. `control` compares tags octet by octet and leaves at the first that \
                differs: there a ratio above 1 is a difference found, as there is.",
        needs_root: false,
        run: constant_time::run,
        show: plain,
    },
    Benchmark {
        name: "burst",
        about: "`process_burst` of a gateway over in-memory ports, bursts of 32, real sessions, one \
                core; the frame source's time (`burst/source`) is subtracted. `burst/cipher`: \
                `seal_batch` or `open_batch` alone over the same segments; `burst/over-cipher`: how \
                many times that the whole takes. TCP timestamps in every segment; checksums are \
                verified as they come in.",
        needs_root: false,
        run: burst::run,
        show: plain,
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
        show: plain,
    },
    Benchmark {
        name: "latency",
        about: "Connects from client to server through the same chain: until connected (key delivery \
                and KDC included) and until the first octet of a server that speaks first. 120 \
                connects each, in turns.",
        needs_root: true,
        run: latency::run,
        show: plain,
    },
    Benchmark {
        name: "flood",
        about: "Four established iperf3 streams through the same chain while 20,000 frames a second come to \
                the gateway's cipher port for 50 s, beside the same streams while the same frames go past it \
                to an unprotected address (25 s before and 25 s after). `syn`: SYNs with a cipher request, \
                each from another address. `forged-tag`: segments of the streams themselves with 600 octets, \
                sequence numbers anywhere. `rss`: the gateway's resident memory at the end of the flood, \
                `rss-growth`: what it grew by meanwhile. No session may be lost.",
        needs_root: true,
        run: flood::run,
        show: plain,
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

    /// Its rows as bench/RESULTS.md shows them.
    #[must_use]
    pub fn show(&self, rows: &[Row]) -> Rendered {
        (self.show)(rows)
    }
}
