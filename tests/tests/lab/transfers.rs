//! Unmodified programs through the whole chain: bulk both ways, many streams, many connections, small
//! messages, a server that speaks first, a closed port.

use std::time::{Duration, Instant};

use sekisho_tests::expect_that;
use sekisho_tests::lab::chain::{Chain, Node, on_chain, on_silent_chain};
use sekisho_tests::lab::config::{BANNER, CLOSED, ECHO, IPERF, REDIS, Setup, WEB};
use sekisho_tests::lab::peers::{Server, banner_delay, connect, dial, exchange};
use sekisho_tests::lab::process::wait_until;
use sekisho_tests::lab::programs::{
    Curl, IperfRun, Nginx, canary_text, iperf, iperf_server, redis, redis_benchmark, redis_server,
    sha256, url_host,
};
use sekisho_tests::lab::topology::{Family, Host, Plan};
use sekisho_tests::lab::{LabError, LabResult};

const BULK: usize = 100 << 20;
const BULK_LIMIT: Duration = Duration::from_secs(90);

/// Downloads and uploads `size` bytes over `family` and compares digests.
fn both_ways(chain: &Chain, nginx: &Nginx, family: Family, size: usize) -> LabResult {
    let client = chain.host(Host::Client1);
    let host = url_host(Host::Server1.address(family));
    let served = nginx.publish("bulk", size)?;
    let digest = sha256(&served)?;
    let got = chain.topology.site.file("got");
    let down = Curl::new(client, &format!("http://{host}:{WEB}/bulk"), BULK_LIMIT).output(&got);
    let down = down.fetch()?;
    expect_that!(sha256(&got)? == digest, "{}: the download differs", family.label());
    let up = Curl::new(client, &format!("http://{host}:{WEB}/put"), BULK_LIMIT).upload(&served);
    let up = up.fetch()?;
    expect_that!(sha256(&nginx.root.join("put"))? == digest, "{}: upload differs", family.label());
    println!("{}: down {:.2} s, up {:.2} s", family.label(), down.seconds, up.seconds);
    Ok(())
}

#[test]
fn a_hundred_mebibytes_arrive_unchanged_both_ways() -> LabResult {
    on_chain("bulk", Setup::default(), |chain| {
        let nginx = Nginx::start(&chain.topology.site, chain.host(Host::Server1), "nginx", WEB)?;
        Family::BOTH.into_iter().try_for_each(|family| both_ways(chain, &nginx, family, BULK))
    })
}

#[test]
fn iperf3_runs_both_directions_and_eight_streams() -> LabResult {
    on_chain("iperf3", Setup::default(), |chain| {
        let _server = iperf_server(&chain.topology.site, chain.host(Host::Server1), IPERF)?;
        for family in Family::BOTH {
            for (streams, reverse) in [(1, false), (1, true), (8, false), (8, true)] {
                let run = IperfRun { port: IPERF, seconds: 1, streams, reverse };
                let address = Host::Server1.address(family);
                let bits = iperf(chain.host(Host::Client1), address, run)?;
                println!(
                    "{} {streams} streams{}: {:.0} Mbit/s",
                    family.label(),
                    if reverse { ", reverse" } else { "" },
                    bits / 1e6
                );
                expect_that!(bits > 10e6, "{run:?}: only {bits} bit/s");
            }
        }
        Ok(())
    })
}

#[test]
fn redis_answers_fifty_clients() -> LabResult {
    on_chain("redis", Setup::default(), |chain| {
        let server = chain.host(Host::Server1);
        let client = chain.host(Host::Client1);
        let _redis = redis_server(&chain.topology.site, server, REDIS)?;
        for family in Family::BOTH {
            let address = Host::Server1.address(family);
            let value = canary_text(1000);
            redis(client, address, REDIS, &["set", "k", &value])?;
            expect_that!(redis(client, address, REDIS, &["get", "k"])? == value.trim(), "value");
            let rate = redis_benchmark(client, address, REDIS, 5000)?;
            println!("{}: {rate:.0} requests/s", family.label());
        }
        Ok(())
    })
}

/// Median of several delays, in which a busy machine's one bad moment does not count.
fn median_banner_delay(chain: &Chain, family: Family) -> LabResult<Duration> {
    let mut delays = Vec::new();
    for _ in 0..9 {
        let address = Host::Server1.address(family);
        delays.push(banner_delay(chain.host(Host::Client1), address, BANNER)?);
    }
    delays.sort();
    Ok(delays[delays.len() / 2])
}

#[test]
fn a_server_that_speaks_first_is_not_kept_waiting() -> LabResult {
    // The direct path is the same lab before the boxes start: what it shows in clear is no leak.
    if !sekisho_tests::lab::harness::privileged("banner")? {
        return Ok(());
    }
    let mut direct = Vec::new();
    {
        let chain = Chain::prepare(Setup::default())?;
        let _server = Server::banner(chain.host(Host::Server1), BANNER)?;
        for family in Family::BOTH {
            direct.push(median_banner_delay(&chain, family)?);
        }
    }
    on_chain("banner", Setup::default(), |chain| {
        let _server = Server::banner(chain.host(Host::Server1), BANNER)?;
        for (family, direct) in Family::BOTH.into_iter().zip(direct) {
            let ciphered = median_banner_delay(chain, family)?;
            println!("{}: banner after {ciphered:?}, direct {direct:?}", family.label());
            let limit = direct * 2 + Duration::from_millis(50);
            expect_that!(ciphered <= limit, "{ciphered:?}, more than {limit:?}");
        }
        Ok(())
    })
}

/// Opens `count` connections at once, exchanges over all of them while all are open.
fn many_at_once(chain: &Chain, family: Family, count: usize) -> LabResult {
    let client = chain.host(Host::Client1);
    let address = Host::Server1.address(family);
    let results: Vec<LabResult> = std::thread::scope(|scope| {
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(count));
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let barrier = barrier.clone();
                scope.spawn(move || {
                    let stream = dial(client, address, ECHO);
                    barrier.wait();
                    let message = format!("{number} {}", canary_text(900));
                    exchange(&mut stream?, message.as_bytes())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(()))).collect()
    });
    let failed: Vec<LabError> = results.into_iter().filter_map(Result::err).collect();
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(LabError::Expectation(format!(
            "{}: {} of {count} connections failed, the first: {first}",
            family.label(),
            failed.len()
        ))),
    }
}

#[test]
fn five_hundred_connections_at_once() -> LabResult {
    on_chain("connections", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        let started = Instant::now();
        many_at_once(chain, Family::V4, 500)?;
        println!("500 connections, all open at once, in {:?}", started.elapsed());
        many_at_once(chain, Family::V6, 100)
    })
}

#[test]
fn one_byte_ping_pong() -> LabResult {
    // Single bytes show no canary.
    on_silent_chain("ping-pong", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        for family in Family::BOTH {
            let address = Host::Server1.address(family);
            let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
            let started = Instant::now();
            for round in 0..1000u32 {
                exchange(&mut stream, &[round as u8])?;
            }
            println!("{}: {:?} a round", family.label(), started.elapsed() / 1000);
        }
        Ok(())
    })
}

#[test]
fn a_closed_port_is_refused_at_once() -> LabResult {
    on_silent_chain("closed-port", Setup::default(), |chain| {
        for family in Family::BOTH {
            let address = Host::Server1.address(family);
            let started = Instant::now();
            let limit = Duration::from_secs(10);
            let outcome = connect(chain.host(Host::Client1), address, CLOSED, limit)?;
            let took = started.elapsed();
            let error = match outcome {
                Ok(_) => return Err(LabError::Expectation("connected to nobody".to_owned())),
                Err(error) => error,
            };
            let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
            expect_that!(refused, "{}: {error} instead of refused", family.label());
            expect_that!(took < Duration::from_secs(1), "{}: after {took:?}", family.label());
        }
        Ok(())
    })
}

#[test]
fn two_servers_and_two_clients_share_the_boxes() -> LabResult {
    on_chain("hosts", Setup::default(), |chain| {
        let _first = Server::echo(chain.host(Host::Server1), ECHO)?;
        let _second = Server::echo(chain.host(Host::Server2), ECHO)?;
        let mut open = Vec::new();
        for client in [Host::Client1, Host::Client2] {
            for server in [Host::Server1, Host::Server2] {
                for family in Family::BOTH {
                    open.push(dial(chain.host(client), server.address(family), ECHO)?);
                }
            }
        }
        let text = canary_text(50_000);
        for stream in &mut open {
            exchange(stream, text.as_bytes())?;
        }
        let synced = chain.count(Node::Gateway, "sessions", "synced")?;
        expect_that!(synced == 8, "{synced} synchronised sessions instead of 8");
        Ok(())
    })
}

#[test]
fn two_workers_on_two_queues_hand_frames_over() -> LabResult {
    let setup = Setup { plan: Plan { queues: 2, ..Plan::default() }, ..Setup::default() };
    on_chain("two-queues", setup, |chain| {
        let nginx = Nginx::start(&chain.topology.site, chain.host(Host::Server1), "nginx", WEB)?;
        let _echo = Server::echo(chain.host(Host::Server1), ECHO)?;
        let before = chain.frames_at_rest(Node::Gateway)?;
        for family in Family::BOTH {
            both_ways(chain, &nginx, family, 8 << 20)?;
            many_at_once(chain, family, 50)?;
        }
        let status = chain.status(Node::Gateway)?;
        let workers = status["workers"].as_array().cloned().unwrap_or_default();
        expect_that!(workers.len() == 2, "{} workers", workers.len());
        let handed: u64 = workers.iter().filter_map(|w| w["exchange_out"].as_u64()).sum();
        println!("{handed} frames handed over");
        expect_that!(handed > 0, "no frame came to the other worker: nothing was shown");
        wait_until("all frames are back in their pools", Duration::from_secs(10), || {
            Ok(chain.frames_at_rest(Node::Gateway)? == before)
        })
    })
}

#[test]
fn the_confirmed_hold_works_too() -> LabResult {
    let setup = Setup { hold: "confirmed", ..Setup::default() };
    on_chain("confirmed", setup, |chain| {
        let _server = Server::banner(chain.host(Host::Server1), BANNER)?;
        for family in Family::BOTH {
            let address = Host::Server1.address(family);
            banner_delay(chain.host(Host::Client1), address, BANNER)?;
        }
        Ok(())
    })
}

#[test]
fn vlan_tags_are_kept() -> LabResult {
    let setup = Setup { plan: Plan { vlan: Some(100), ..Plan::default() }, ..Setup::default() };
    on_chain("vlan", setup, |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        for family in Family::BOTH {
            let address = Host::Server1.address(family);
            let mut stream = dial(chain.host(Host::Client1), address, ECHO)?;
            exchange(&mut stream, canary_text(500_000).as_bytes())?;
        }
        Ok(())
    })
}
