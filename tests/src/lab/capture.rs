//! Captures: tcpdump on one interface, its pcap stream read as it comes. Counts bytes, looks for the
//! canary in every frame, keeps the latest frames for timelines and replays.
//! Owns no verdict: whether a canary may be seen depends on the side (see `harness`).

use std::collections::VecDeque;
use std::io::Read;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::inject::Injector;
use super::namespace::Namespace;
use super::process::wait_until;
use super::{LabError, LabResult};

/// Occurs in all payloads that the lab sends, dense enough for every segment of 128 bytes to show it.
pub const CANARY: &[u8] = b"sekisho-CANARY-5e50-3263879";
/// What `iperf3 --repeating-payload` sends: a canary too.
pub const IPERF_CANARY: &[u8] = b"0123456789012345678901234567890123456789";

/// Bytes of each frame that are captured; the lab's MTU is smaller.
const SNAP: usize = 4096;
/// Kernel buffer of one capture in KiB: holds 16 k frames while the two cores are busy elsewhere.
const BUFFER_KIB: &str = "131072";
/// How many frames are kept, the latest ones: bulk transfers push each other out.
const KEEP_FRAMES: usize = 4096;
/// EtherType for local experiments (IEEE 802): marks the end of what a capture must have read.
const MARKER_TYPE: [u8; 2] = [0x88, 0xB5];
const MARKER_TEXT: &[u8] = b"sekisho-lab-marker-";
/// A link-local group that no bridge forwards.
const MARKER_DESTINATION: [u8; 6] = [0x01, 0x80, 0xC2, 0x00, 0x00, 0x0E];
/// tcpdump has nothing to do but to read: later than this something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// One captured frame.
#[derive(Clone, Debug)]
pub struct CapturedFrame {
    /// Microseconds since the epoch.
    pub micros: u64,
    /// From the Ethernet header on, at most [`SNAP`] bytes.
    pub bytes: Vec<u8>,
}

/// What a capture has seen.
#[derive(Clone, Debug, Default)]
pub struct CaptureReport {
    /// Where: for reports.
    pub label: String,
    /// Frames read.
    pub frames: u64,
    /// Bytes read and searched.
    pub bytes: u64,
    /// Frames that show a canary.
    pub canaries: u64,
    /// The first of them.
    pub first_hit: Option<CapturedFrame>,
    /// The latest frames, in order.
    pub kept: VecDeque<CapturedFrame>,
    /// Frames the kernel had to drop for want of buffer: not searched.
    pub dropped: u64,
}

impl CaptureReport {
    /// Adds a later capture of the same place.
    pub fn absorb(&mut self, later: Self) {
        self.frames += later.frames;
        self.bytes += later.bytes;
        self.canaries += later.canaries;
        self.dropped += later.dropped;
        self.first_hit = self.first_hit.take().or(later.first_hit);
        self.kept.extend(later.kept);
    }
}

/// A running capture.
pub struct Capture {
    child: Child,
    reader: Option<std::thread::JoinHandle<()>>,
    stderr: Option<std::thread::JoinHandle<String>>,
    shared: Arc<Shared>,
    injector: Injector,
}

#[derive(Default)]
struct Shared {
    report: Mutex<CaptureReport>,
    /// Number of the last marker read.
    marker: AtomicU64,
    ready: AtomicBool,
}

impl Capture {
    /// Starts tcpdump on `interface` of `namespace` and waits until it listens.
    pub fn start(namespace: &Namespace, interface: &str, label: &str) -> LabResult<Self> {
        let mut command = namespace.command("tcpdump");
        command.args(["-i", interface, "-n", "-U", "--immediate-mode", "-B", BUFFER_KIB]);
        command.args(["-Z", "root", "-s", &SNAP.to_string(), "-w", "-"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(LabError::io("start tcpdump"))?;
        let shared = Arc::new(Shared::default());
        lock(&shared.report).label = label.to_owned();
        let reader = child.stdout.take().map(|pipe| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || read_stream(pipe, &shared))
        });
        let stderr = child.stderr.take().map(|mut pipe| {
            std::thread::spawn(move || {
                let mut text = String::new();
                let _ = pipe.read_to_string(&mut text);
                text
            })
        });
        let injector = Injector::open(namespace, interface)?;
        let mut capture = Self { child, reader, stderr, shared, injector };
        // The file header is written when the socket is open: from then on frames are seen.
        let shared = Arc::clone(&capture.shared);
        wait_until("tcpdump listens", PATIENCE, || {
            if let Ok(Some(status)) = capture.child.try_wait() {
                return Err(LabError::Expectation(format!("tcpdump ended at once: {status}")));
            }
            Ok(shared.ready.load(Ordering::Acquire))
        })?;
        Ok(capture)
    }

    /// What has been seen until now, with every frame that passed before this call.
    pub fn report(&self) -> LabResult<CaptureReport> {
        self.settle()?;
        Ok(lock(&self.shared.report).clone())
    }

    /// Ends the capture.
    pub fn stop(mut self) -> LabResult<CaptureReport> {
        self.settle()?;
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)
            .map_err(|error| LabError::io("stop tcpdump")(error.into()))?;
        self.child.wait().map_err(LabError::io("wait for tcpdump"))?;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let mut report = std::mem::take(&mut *lock(&self.shared.report));
        report.dropped = dropped_by_kernel(&stderr);
        Ok(report)
    }

    /// Sends a marker frame and waits until it has been read: then so has all before it.
    fn settle(&self) -> LabResult {
        let before = self.shared.marker.load(Ordering::Acquire);
        let number = before + 1;
        let mut frame = MARKER_DESTINATION.to_vec();
        frame.extend(self.injector.mac());
        frame.extend(MARKER_TYPE);
        frame.extend(MARKER_TEXT);
        frame.extend(number.to_be_bytes());
        frame.resize(60, 0);
        self.injector.send(&frame)?;
        wait_until("the capture catches up", PATIENCE, || {
            Ok(self.shared.marker.load(Ordering::Acquire) >= number)
        })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads a pcap stream (host byte order: tcpdump runs on this machine) until its end.
fn read_stream(pipe: ChildStdout, shared: &Shared) {
    let mut pipe = std::io::BufReader::with_capacity(1 << 18, pipe);
    let mut file_header = [0; 24];
    if pipe.read_exact(&mut file_header).is_err() {
        return;
    }
    shared.ready.store(true, Ordering::Release);
    let mut header = [0; 16];
    let mut bytes = Vec::with_capacity(SNAP);
    while pipe.read_exact(&mut header).is_ok() {
        let word = |at: usize| {
            u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let length = (word(8) as usize).min(SNAP);
        bytes.resize(length, 0);
        if pipe.read_exact(&mut bytes).is_err() {
            return;
        }
        let micros = u64::from(word(0)) * 1_000_000 + u64::from(word(4));
        match marker(&bytes) {
            Some(number) => shared.marker.store(number, Ordering::Release),
            None => note(&mut lock(&shared.report), micros, &bytes),
        }
    }
}

fn marker(frame: &[u8]) -> Option<u64> {
    let rest = frame.strip_prefix(&MARKER_DESTINATION)?.get(6..)?;
    let number = rest.strip_prefix(&MARKER_TYPE)?.strip_prefix(MARKER_TEXT)?.get(..8)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

fn note(report: &mut CaptureReport, micros: u64, bytes: &[u8]) {
    report.frames += 1;
    report.bytes += bytes.len() as u64;
    if contains(bytes, CANARY) || contains(bytes, IPERF_CANARY) {
        report.canaries += 1;
        if report.first_hit.is_none() {
            report.first_hit = Some(CapturedFrame { micros, bytes: bytes.to_vec() });
        }
    }
    if report.kept.len() == KEEP_FRAMES {
        report.kept.pop_front();
    }
    report.kept.push_back(CapturedFrame { micros, bytes: bytes.to_vec() });
}

/// Whether `needle` occurs in `hay`: Horspool's search, since captures run to gigabytes.
fn contains(hay: &[u8], needle: &[u8]) -> bool {
    let last = needle.len() - 1;
    let mut end = last;
    while end < hay.len() {
        let byte = hay[end];
        if byte == needle[last] && hay[end - last..end] == needle[..last] {
            return true;
        }
        // Shift to the last earlier place where this byte occurs in the needle.
        let earlier = needle[..last].iter().rev().position(|&candidate| candidate == byte);
        end += earlier.map_or(needle.len(), |distance| distance + 1);
    }
    false
}

/// The count in tcpdump's closing words.
fn dropped_by_kernel(stderr: &str) -> u64 {
    stderr
        .lines()
        .find_map(|line| line.strip_suffix(" packets dropped by kernel")?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_agrees_with_the_plain_one() {
        let mut hay: Vec<u8> =
            (0..600u32).map(|i| b"sekiho-CANRY"[(i * 7 % 12) as usize]).collect();
        assert!(!contains(&hay, CANARY));
        for at in 0..hay.len() - CANARY.len() {
            let mut planted = hay.clone();
            planted[at..at + CANARY.len()].copy_from_slice(CANARY);
            assert!(contains(&planted, CANARY), "at {at}");
        }
        let cut = hay.len() - CANARY.len() + 1;
        hay[cut..].copy_from_slice(&CANARY[..CANARY.len() - 1]);
        assert!(!contains(&hay, CANARY), "a canary cut short is none");
        assert!(!contains(b"", CANARY));
    }

    #[test]
    fn tcpdump_tells_what_the_kernel_dropped() {
        let words = "tcpdump: listening\n7 packets captured\n9 packets received by filter\n2 packets dropped by kernel\n";
        assert_eq!(dropped_by_kernel(words), 2);
    }

    #[test]
    fn a_marker_is_no_traffic() {
        let mut frame = MARKER_DESTINATION.to_vec();
        frame.extend([2; 6]);
        frame.extend(MARKER_TYPE);
        frame.extend(MARKER_TEXT);
        frame.extend(7u64.to_be_bytes());
        assert_eq!(marker(&frame), Some(7));
        frame[13] ^= 1;
        assert_eq!(marker(&frame), None);
    }
}
