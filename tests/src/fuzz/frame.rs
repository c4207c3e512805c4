//! Reading and rewriting of frames: views stay within the frame, a rewritten frame reads back as what it
//! was but for its options.

use sekisho_wire::build::{TcpSegment, tcp_segment};
use sekisho_wire::{
    FrameView, L2Header, MssRule, OptionCodes, RequestOption, Rewrite, SekishoOption, TagOption,
    TcpOptionsSummary, TcpView, Transport, apply_options, checksum, clear_urgent, parse_frame,
};

/// Room that a rewrite may need: options grow by 40 octets at most.
const ROOM: usize = 64;

/// Reads `data` as a frame and rewrites it in every way that the pipeline knows.
///
/// # Panics
/// Where a view leaves its frame, or a rewritten frame is not what it should be.
pub fn frame(data: &[u8]) {
    let Ok(view) = parse_frame(data) else { return };
    lies_within(&view, data);
    shorter_is_refused(&view, data);
    // No answer is wrong here; there has to be one.
    let _ = (checksum::verify_ipv4_header(data, &view), checksum::verify_transport(data, &view));
    let _ = checksum::is_partial(data, &view);
    let Some(tcp) = view.tcp() else { return };
    if let Some(l2) = L2Header::from_frame(data, &view) {
        answers(&view, &l2);
    }
    let codes = OptionCodes::default();
    let tag = SekishoOption::Tag(TagOption { phase: 1, tag: [0xa5; 12] });
    let request = SekishoOption::Request(RequestOption { request_id: 7 });
    for rewrite in [
        Rewrite::strip(codes),
        Rewrite::insert(codes, tag),
        Rewrite::insert(codes, request).with_mss(MssRule::for_ip(view.ip)),
    ] {
        rewritten(data, &view, tcp, &rewrite);
    }
}

fn lies_within(view: &FrameView, data: &[u8]) {
    let (l3, l4, end) = (usize::from(view.l3), usize::from(view.l4), view.frame_len());
    assert!(l3 < l4 && l4 <= end && end <= data.len(), "{view:?}");
    let span = match &view.transport {
        Transport::Tcp(tcp) => {
            assert_eq!(tcp.payload.end(), end, "{view:?}");
            assert_eq!(tcp.options(data).len(), usize::from(tcp.header_len) - 20, "{view:?}");
            tcp.payload
        }
        Transport::Udp(udp) => udp.payload,
        Transport::Icmp(icmp) => icmp.message,
        Transport::Other(_) => return,
    };
    assert!(usize::from(span.start) >= l4 && span.end() <= end, "{view:?}");
    assert_eq!(span.slice(data).len(), usize::from(span.len));
}

/// Padding behind the packet changes nothing, and a packet that lacks its last octet is none.
fn shorter_is_refused(view: &FrameView, data: &[u8]) {
    let end = view.frame_len();
    assert_eq!(parse_frame(&data[..end]).as_ref(), Ok(view));
    assert!(parse_frame(&data[..end - 1]).is_err(), "{view:?}");
}

fn answers(view: &FrameView, l2: &L2Header) {
    let Some(reset) = TcpSegment::reset_answering(view) else { return };
    // On no honest wire, and no answer's address (M7.1).
    if [view.src, view.dst].iter().any(|address| *address != address.to_canonical()) {
        return;
    }
    let mut out = [0; 256];
    let built = tcp_segment(l2, &reset, &mut out);
    assert!(built.is_ok(), "{view:?}");
    let len = built.unwrap_or_default();
    let answer = parse_frame(&out[..len]);
    assert!(answer.is_ok_and(|answer| answer.src == view.dst && answer.dst == view.src));
}

fn rewritten(data: &[u8], view: &FrameView, tcp: &TcpView, rewrite: &Rewrite) {
    let summary = TcpOptionsSummary::walk(tcp.options(data), &rewrite.codes);
    let done = match rewrite.apply(tcp.options(data), &summary) {
        Ok(done) => done,
        Err(error) => {
            assert!(summary.malformed, "{error} for a list that is well-formed: {view:?}");
            return;
        }
    };
    let payload = tcp.payload.slice(data);
    let mut out = data[..view.frame_len()].to_vec();
    out.resize(out.len() + ROOM, 0);
    let Ok(mut new) = apply_options(&mut out, view, &done.block, tcp.payload.len) else { return };
    if let Some(place) = new.tcp().map(|tcp| tcp.payload.range()) {
        out[place].copy_from_slice(payload);
    }
    out.truncate(new.frame_len());
    clear_urgent(&mut out, &mut new);
    assert!(checksum::fill_transport(&mut out, &new) && checksum::verify_transport(&out, &new));
    let again = parse_frame(&out).map(without_checksum);
    assert_eq!(again, Ok(without_checksum(new)), "{view:?}");
    let Some(read) = new.tcp() else { return };
    assert_eq!((new.src, new.dst, read.seq, read.ack), (view.src, view.dst, tcp.seq, tcp.ack));
    assert_eq!(read.payload.slice(&out), payload);
    let found = TcpOptionsSummary::walk(read.options(&out), &rewrite.codes);
    assert!(!found.fast_open && !found.mptcp, "{:02x?}", read.options(&out));
    assert_eq!(found.sekisho(), Ok(rewrite.insert), "{:02x?}", read.options(&out));
    if rewrite.mss == MssRule::Keep {
        assert_eq!(found.timestamps, summary.timestamps, "{:02x?}", read.options(&out));
    }
}

/// A view holds the checksum as it was read, before it was filled in.
fn without_checksum(view: FrameView) -> FrameView {
    match view.transport {
        Transport::Tcp(tcp) => {
            FrameView { transport: Transport::Tcp(TcpView { checksum: 0, ..tcp }), ..view }
        }
        _ => view,
    }
}
