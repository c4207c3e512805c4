//! Floods: frames out of an interface at a steady rate, from a thread of its own, and what strangers
//! flood with. Owns the pace; the frames come from the caller.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sekisho_wire::options::TAG_LEN;
use sekisho_wire::{OptionCodes, RequestOption, TagOption};

use super::forge::{Flow, Segment, flag};
use super::inject::Injector;
use super::{LabError, LabResult};

/// Pause of the sender between two looks at the clock.
const STEP: Duration = Duration::from_millis(1);
/// What is sent at once at most: a sender that was kept waiting catches up in pieces.
const MOST_AT_ONCE: u64 = 256;

/// A running flood; ends on drop.
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<LabResult>>,
}

impl Flood {
    /// Sends `rate` frames a second; `frame` makes the one of a number.
    pub fn start(
        injector: Injector,
        rate: u64,
        mut frame: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                let due = (started.elapsed().as_micros() as u64).saturating_mul(rate) / 1_000_000;
                for _ in 0..due.saturating_sub(number).min(MOST_AT_ONCE) {
                    match injector.send(&frame(number)) {
                        Ok(()) => number += 1,
                        // The interface has no room at this moment: the frame goes with the next ones.
                        Err(error) if has_no_room(&error) => break,
                        Err(error) => return Err(error),
                    }
                }
                count.store(number, Ordering::Relaxed);
                std::thread::sleep(STEP);
            }
            Ok(())
        });
        Self { stop, sent, thread: Some(thread) }
    }

    /// Frames sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it; the frames that were sent.
    pub fn stop(mut self) -> LabResult<u64> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended.map(|()| self.sent()),
            _ => Err(LabError::Expectation("the flood's thread panicked".to_owned())),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn has_no_room(error: &LabError) -> bool {
    let code = rustix::io::Errno::NOBUFS.raw_os_error();
    matches!(error, LabError::Io { source, .. } if source.raw_os_error() == Some(code))
}

/// SplitMix64 of a number: addresses, ports and tags that look like chance and are the same in every run.
pub fn scattered(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A SYN with a cipher request to `service` from an address and port of nobody.
pub fn syn(macs: ([u8; 6], [u8; 6]), service: SocketAddr, number: u64) -> Vec<u8> {
    let chance = scattered(number);
    let host = (chance >> 32) as u16;
    let address = match service.ip() {
        // Benchmark addresses of RFC 2544 and RFC 5180: nobody's.
        IpAddr::V4(_) => IpAddr::from([198, 18, (host >> 8) as u8, host as u8]),
        IpAddr::V6(_) => IpAddr::from([0x2001, 0x2, 0, 0, 0, 0, 0, host]),
    };
    let src = SocketAddr::new(address, 1024 + (chance >> 48) as u16 % 60_000);
    let request = RequestOption { request_id: scattered(chance) };
    let mut options = vec![2, 4, 5, 0xb4];
    options.extend(request.encode(&OptionCodes::default()));
    options.resize(20, 1);
    let segment =
        Segment { seq: chance as u32, flags: flag::SYN, options: &options, ..Segment::default() };
    Flow { macs, src, dst: service }.segment(&segment)
}

/// A tag of nobody's, as an option.
pub fn forged_tag(number: u64) -> [u8; 16] {
    let chance = [scattered(number).to_be_bytes(), scattered(!number).to_be_bytes()].concat();
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&chance[..TAG_LEN]);
    TagOption { phase: 0, tag }.encode(&OptionCodes::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sekisho_wire::checksum::verify_transport;
    use sekisho_wire::{SekishoOption, TcpOptionsSummary, parse_frame};

    #[test]
    fn floods_are_what_they_claim() {
        for service in ["10.0.2.10:7", "[fd00:2::10]:7"] {
            let service: SocketAddr = service.parse().unwrap();
            let mut sources = std::collections::HashSet::new();
            for number in 0..1000 {
                let frame = syn(([2; 6], [4; 6]), service, number);
                let view = parse_frame(&frame).unwrap();
                assert!(verify_transport(&frame, &view));
                let tcp = view.tcp().unwrap();
                let options = TcpOptionsSummary::walk(tcp.options(&frame), &Default::default());
                assert!(tcp.flags.syn() && matches!(options.ours, Some(SekishoOption::Request(_))));
                sources.insert(view.source().unwrap());
            }
            assert!(sources.len() > 990, "{}", sources.len());
        }
        assert_ne!(forged_tag(1), forged_tag(2));
    }
}
