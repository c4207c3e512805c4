//! Non-blocking sockets to the KDCs, polled by the control loop. Owns sockets alone: framing, and
//! which KDC gets which request and when again, is `sekisho_kdc_client::requester`'s.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

/// Octets read at once; more than the largest datagram of the KDC protocol.
const READ_MAX: usize = 4096;
/// Bytes that may wait for a KDC that does not read; beyond it new requests are refused.
const BACKLOG_MAX: usize = 256 * 1024;

/// What came from a KDC.
pub(super) enum Incoming {
    /// One datagram, or the next octets of a connection.
    Data(Vec<u8>),
    /// The connection is gone; what was sent on it may be lost.
    Broken,
}

/// The way to one KDC over UDP. The socket is connected, so the kernel drops what does not
/// come from that KDC.
pub(super) struct UdpLink {
    address: SocketAddr,
    socket: Option<UdpSocket>,
}

impl UdpLink {
    /// A link that opens its socket with the first request.
    #[must_use]
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, socket: None }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the socket cannot be opened or the message not be sent; the request may be repeated.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open_udp(self.address)?,
        };
        socket.send(message)?;
        self.socket = Some(socket);
        Ok(())
    }

    /// The next message, if one waits. A port that is closed at the KDC shows as [`Incoming::Broken`].
    pub(super) fn receive(&mut self) -> Option<Incoming> {
        let mut buffer = [0; READ_MAX];
        match self.socket.as_ref()?.recv(&mut buffer) {
            Ok(length) => Some(Incoming::Data(buffer[..length].to_vec())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => {
                self.socket = None;
                Some(Incoming::Broken)
            }
        }
    }

    /// What to poll, and for which events.
    #[must_use]
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.socket.as_ref().map(|socket| (socket.as_fd(), PollFlags::IN))
    }
}

fn open_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(socket)
}

/// The way to one KDC over TCP: one connection, opened when there is something to send.
pub(super) struct TcpLink {
    address: SocketAddr,
    stream: Option<TcpStream>,
    connected: bool,
    outgoing: VecDeque<u8>,
}

impl TcpLink {
    /// A link that connects with the first request.
    #[must_use]
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, connected: false, outgoing: VecDeque::new() }
    }

    /// Queues octets; [`Self::drive`] writes them.
    ///
    /// # Errors
    /// When no connection can be begun, or the KDC has stopped reading.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.outgoing.len() + bytes.len() > BACKLOG_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.stream.is_none() {
            self.stream = Some(begin_connect(self.address)?);
            self.connected = false;
        }
        self.outgoing.extend(bytes);
        Ok(())
    }

    /// Drives the connection; returns what has come. Call when the socket is ready and after [`Self::send`].
    pub(super) fn drive(&mut self) -> Vec<Incoming> {
        let mut out = Vec::new();
        if let Err(error) = self.write().and_then(|()| self.read(&mut out))
            && error.kind() != io::ErrorKind::WouldBlock
        {
            self.reset();
            out.push(Incoming::Broken);
        }
        out
    }

    /// What to poll, and for which events.
    #[must_use]
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let wants_write = !self.connected || !self.outgoing.is_empty();
        let flags = if wants_write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        self.stream.as_ref().map(|stream| (stream.as_fd(), flags))
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if !self.connected {
            // A connect in progress that failed shows here; one that is still pending shows at the write.
            sockopt::socket_error(&*stream)?.map_err(io::Error::from)?;
        }
        while !self.outgoing.is_empty() {
            let (front, _) = self.outgoing.as_slices();
            match stream.write(front) {
                Ok(written) => {
                    self.connected = true;
                    self.outgoing.drain(..written);
                }
                Err(error) if is_pending(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, out: &mut Vec<Incoming>) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut buffer = [0; READ_MAX];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => out.push(Incoming::Data(buffer[..length].to_vec())),
                Err(error) if is_pending(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the connection and forgets what was not yet written.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.address);
    }
}

fn is_pending(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::NotConnected
}

fn begin_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;

    fn until<T>(mut step: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if let Some(value) = step() {
                return value;
            }
            std::thread::yield_now();
        }
        panic!("nothing came in time");
    }

    #[test]
    fn tcp_octets_cross_both_ways_and_the_end_shows() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut link = TcpLink::new(listener.local_addr().unwrap());
        link.send(b"one").unwrap();
        link.send(&[7; 1200]).unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut all = vec![0; 3 + 1200];
            peer.read_exact(&mut all).unwrap();
            peer.write_all(&all).unwrap();
            peer
        });
        let mut echo = Vec::new();
        until(|| {
            for incoming in link.drive() {
                match incoming {
                    Incoming::Data(bytes) => echo.extend(bytes),
                    Incoming::Broken => panic!("broken"),
                }
            }
            (echo.len() == 3 + 1200).then_some(())
        });
        assert!(echo.starts_with(b"one\x07"));
        drop(server.join().unwrap());
        until(|| matches!(link.drive()[..], [Incoming::Broken]).then_some(()));
        assert!(link.interest().is_none());
    }

    #[test]
    fn a_refused_connection_is_broken_and_can_be_tried_again() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut link = TcpLink::new(address);
        link.send(b"x").unwrap();
        until(|| matches!(link.drive()[..], [Incoming::Broken]).then_some(()));
        let _listener = TcpListener::bind(address).unwrap();
        link.send(b"x").unwrap();
        until(|| {
            assert!(link.drive().is_empty());
            link.connected.then_some(())
        });
    }

    #[test]
    fn udp_answers_come_from_the_kdc_alone() {
        let kdc = UdpSocket::bind("127.0.0.1:0").unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut link = UdpLink::new(kdc.local_addr().unwrap());
        link.send(b"request").unwrap();
        let mut buffer = [0; 16];
        let (_, gateway) = kdc.recv_from(&mut buffer).unwrap();
        stranger.send_to(b"forged", gateway).unwrap();
        kdc.send_to(b"reply", gateway).unwrap();
        let first = until(|| link.receive());
        assert!(matches!(first, Incoming::Data(bytes) if bytes == b"reply"));
    }
}
