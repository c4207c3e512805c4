//! Small TCP peers of our own inside namespaces: for what no ready program does, or not measurably.
//! Owns listeners and their threads; the sockets stay in the namespace they were made in.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::capture::CANARY;
use super::namespace::Namespace;
use super::{LabError, LabResult};

/// Time limit of one read or write of a peer.
const IO_LIMIT: Duration = Duration::from_secs(20);

/// A listener that hands each connection to `serve` on a thread of its own; ends on drop.
pub struct Server {
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `port`, both families, in `namespace`.
    pub fn start(
        namespace: &Namespace,
        port: u16,
        serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> LabResult<Self> {
        let listener = namespace
            .enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?
            .map_err(LabError::io(format!("listen on port {port}")))?;
        // The standard library's backlog is 128: too few for many connections at once.
        rustix::net::listen(&listener, 1024)
            .map_err(|error| LabError::io("widen the backlog")(error.into()))?;
        let listener = Arc::new(listener);
        let accepting = Arc::clone(&listener);
        let serve = Arc::new(serve);
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                let serve = Arc::clone(&serve);
                // A client that goes away is the client's business: its own test notices.
                std::thread::spawn(move || prepare(&stream).and_then(|()| serve(stream)));
            }
        });
        Ok(Self { listener, thread: Some(thread) })
    }

    /// Sends back all that comes.
    pub fn echo(namespace: &Namespace, port: u16) -> LabResult<Self> {
        Self::start(namespace, port, |mut stream| {
            let mut buffer = [0; 16 << 10];
            loop {
                let length = stream.read(&mut buffer)?;
                if length == 0 {
                    return Ok(());
                }
                stream.write_all(&buffer[..length])?;
            }
        })
    }

    /// Speaks first: a line with the canary, then echoes until the client closes.
    pub fn banner(namespace: &Namespace, port: u16) -> LabResult<Self> {
        Self::start(namespace, port, |mut stream| {
            stream.write_all(&banner())?;
            std::io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Shutting a listening socket down wakes the accept call.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a banner server says.
pub fn banner() -> Vec<u8> {
    let mut line = b"220 ".to_vec();
    line.extend(CANARY);
    line.extend(b" ready\r\n");
    line
}

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IO_LIMIT))?;
    stream.set_write_timeout(Some(IO_LIMIT))
}

/// Connects from `namespace`; the error is the one a program would see.
pub fn connect(
    namespace: &Namespace,
    address: IpAddr,
    port: u16,
    limit: Duration,
) -> LabResult<std::io::Result<TcpStream>> {
    namespace.enter(|| {
        let stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), limit)?;
        prepare(&stream)?;
        Ok(stream)
    })
}

/// The same where only success will do.
pub fn dial(namespace: &Namespace, address: IpAddr, port: u16) -> LabResult<TcpStream> {
    connect(namespace, address, port, IO_LIMIT)?
        .map_err(LabError::io(format!("connect to {address} port {port}")))
}

/// Time from the call of connect to the whole banner.
pub fn banner_delay(namespace: &Namespace, address: IpAddr, port: u16) -> LabResult<Duration> {
    let started = Instant::now();
    let mut stream = dial(namespace, address, port)?;
    let mut line = vec![0; banner().len()];
    stream.read_exact(&mut line).map_err(LabError::io("read the banner"))?;
    let took = started.elapsed();
    if line == banner() {
        return Ok(took);
    }
    Err(LabError::Expectation(format!("banner: {}", String::from_utf8_lossy(&line))))
}

/// Sends `message` to an echo server and reads it back.
pub fn exchange(stream: &mut TcpStream, message: &[u8]) -> LabResult {
    let io = |error| LabError::io("exchange with the echo server")(error);
    let mut answer = vec![0; message.len()];
    // A writer of its own: a message larger than the buffers on the way would block both ends.
    let mut writer = stream.try_clone().map_err(io)?;
    let written = std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all(message));
        let read = stream.read_exact(&mut answer);
        let written = writing.join().unwrap_or(Ok(()));
        read.and(written)
    });
    written.map_err(io)?;
    if answer == message {
        return Ok(());
    }
    Err(LabError::Expectation(format!("{} bytes came back changed", message.len())))
}
