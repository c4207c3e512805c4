//! Long streams whose every octet is accounted for: sent, digested and compared without being stored.
//! Owns a small protocol of our own; both ends end it by half close.
//!
//! The client sends a letter (`U` upload, `D` download) and the length (u64). The sender's octets end
//! with its half close. On an upload the server then answers with the SHA-256 of what it got; on a
//! download it sends the SHA-256 of what it sent behind the octets.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::capture::CANARY;
use super::config::STREAM;
use super::namespace::Namespace;
use super::peers::{Server, connect};
use super::process::{failed, run_any};
use super::programs::canary_text;
use super::topology::{Host, Topology};
use super::{LabError, LabResult};
use crate::impair::spec::Way;

/// A stream that stands still for so long is dead. Under a fifth of loss TCP takes breaks of seconds, and
/// doubles them with each segment lost again: from a second to a minute is five losses in a row, which
/// happens; this is seven.
pub const STALL: Duration = Duration::from_secs(180);
/// Limit of a connect while set-up segments are lost.
const CONNECT: Duration = Duration::from_secs(60);
/// Octets sent at a time; each begins with its number, so that none equals another.
const BLOCK: usize = 64 << 10;
const DIGEST: usize = 32;

/// Serves streams on `port` of `namespace`.
pub fn serve(namespace: &Namespace, port: u16) -> LabResult<Server> {
    Server::start(namespace, port, |mut stream| {
        limits(&stream, STALL)?;
        let mut order = [0; 9];
        stream.read_exact(&mut order)?;
        let [letter, length @ ..] = order;
        let length = u64::from_be_bytes(length);
        if letter == b'U' {
            let digest = receive(&mut stream, length)?;
            end_of(&mut stream)?;
            stream.write_all(&digest)?;
        } else {
            let digest = send(&mut stream, length)?;
            stream.write_all(&digest)?;
        }
        stream.shutdown(Shutdown::Write)?;
        end_of(&mut stream)
    })
}

/// Carries `length` octets one way over a connection of its own; how long it took from the call of
/// connect to the last octet.
pub fn carry(
    namespace: &Namespace,
    address: IpAddr,
    port: u16,
    way: Way,
    length: u64,
) -> LabResult<Duration> {
    let what = format!("{} {length} octets, {address} port {port}", way.label());
    let started = Instant::now();
    let stream = connect(namespace, address, port, CONNECT)?;
    let carried = stream.and_then(|stream| run(stream, way, length, STALL));
    carried.map_err(LabError::io(what))?;
    Ok(started.elapsed())
}

/// The program that carries a stream from a sequence number of its choice.
const REPAIR: &str = include_str!("repair.py");

/// Like [`carry`] from a client whose initial sequence number is `isn`, which takes a program beside
/// this one: the socket options for it are not within reach of safe Rust.
pub fn carry_from(
    topology: &Topology,
    address: IpAddr,
    way: Way,
    length: u64,
    isn: u32,
) -> LabResult<Duration> {
    let program = topology.site.write("repair.py", REPAIR)?;
    let mut command = topology.host(Host::Client1).command("python3");
    command.arg(program).arg(address.to_string()).arg(STREAM.to_string()).arg(way.label());
    command.arg(length.to_string()).arg(isn.to_string());
    command.arg(String::from_utf8_lossy(CANARY).as_ref());
    let finished = run_any(&mut command, "", CONNECT + STALL * 4)?;
    match finished.status.success() {
        true => Ok(finished.took),
        false => Err(failed(&command, &finished)),
    }
}

/// The client's part on a stream that is open; an error once nothing has moved for `stall`.
pub fn run(mut stream: TcpStream, way: Way, length: u64, stall: Duration) -> Result<()> {
    limits(&stream, stall)?;
    let mut order = vec![if way == Way::Up { b'U' } else { b'D' }];
    order.extend(length.to_be_bytes());
    stream.write_all(&order)?;
    let here = match way {
        Way::Up => {
            let digest = send(&mut stream, length)?;
            stream.shutdown(Shutdown::Write)?;
            digest
        }
        Way::Down => receive(&mut stream, length)?,
    };
    let mut there = [0; DIGEST];
    stream.read_exact(&mut there)?;
    end_of(&mut stream)?;
    if here == there {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidData, "the digests of both ends differ"))
}

fn limits(stream: &TcpStream, stall: Duration) -> Result<()> {
    stream.set_read_timeout(Some(stall))?;
    stream.set_write_timeout(Some(stall))
}

fn send(stream: &mut TcpStream, length: u64) -> Result<[u8; DIGEST]> {
    let mut block = canary_text(BLOCK).into_bytes();
    let mut digest = Sha256::new();
    let mut left = length;
    let mut number = 0u64;
    while left > 0 {
        block[..8].copy_from_slice(&number.to_be_bytes());
        let part = &block[..left.min(BLOCK as u64) as usize];
        digest.update(part);
        stream.write_all(part)?;
        left -= part.len() as u64;
        number += 1;
    }
    Ok(digest.finalize().into())
}

fn receive(stream: &mut TcpStream, length: u64) -> Result<[u8; DIGEST]> {
    let mut buffer = vec![0; BLOCK];
    let mut digest = Sha256::new();
    let mut left = length;
    while left > 0 {
        let wanted = left.min(BLOCK as u64) as usize;
        let got = stream.read(&mut buffer[..wanted])?;
        if got == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        digest.update(&buffer[..got]);
        left -= got as u64;
    }
    Ok(digest.finalize().into())
}

/// Wants the other end's half close, and no octet before it.
fn end_of(stream: &mut TcpStream) -> Result<()> {
    match stream.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(Error::new(ErrorKind::InvalidData, "an octet behind the end")),
    }
}
