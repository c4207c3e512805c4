//! The lab itself, with kernel bridges in place of the boxes: whatever fails here is not the product.
//! Positive control of every capture: without cipher the canary shows on the cipher side.

use std::time::Duration;

use sekisho_tests::expect_that;
use sekisho_tests::lab::LabResult;
use sekisho_tests::lab::harness::{Side, Watch, guarded, no_leak, privileged, show_logs, totals};
use sekisho_tests::lab::peers::{Server, banner_delay, dial, exchange};
use sekisho_tests::lab::programs::{
    Curl, IperfRun, Nginx, iperf, iperf_server, redis, redis_benchmark, redis_server, sha256,
    url_host,
};
use sekisho_tests::lab::topology::{Family, Host, Plan, Topology};

fn with_bridges(
    test: &str,
    plan: Plan,
    body: impl FnOnce(&mut Topology) -> LabResult,
) -> LabResult {
    if !privileged(test)? {
        return Ok(());
    }
    let mut topology = Topology::build(plan)?;
    guarded(&mut topology, body, |topology, error| {
        println!("{test}: {error}");
        show_logs(topology, test);
    })
}

#[test]
fn programs_talk_over_bridges_and_captures_see_the_canary() -> LabResult {
    with_bridges("baseline_programs", Plan::default(), |topology| {
        let mut watch = Watch::start(topology)?;
        let server = topology.host(Host::Server1);
        let client = topology.host(Host::Client1);
        let nginx = Nginx::start(&topology.site, server, "nginx", 80)?;
        let served = nginx.publish("file", 4 << 20)?;
        let _iperf = iperf_server(&topology.site, server, 5201)?;
        let _redis = redis_server(&topology.site, server, 6379)?;
        let _banner = Server::banner(server, 2525)?;
        let _echo = Server::echo(server, 7)?;
        for family in Family::BOTH {
            let address = Host::Server1.address(family);
            let url = format!("http://{}/file", url_host(address));
            let got = topology.site.file("got");
            Curl::new(client, &url, Duration::from_secs(20)).output(&got).fetch()?;
            expect_that!(sha256(&got)? == sha256(&served)?, "the download differs");
            let put = format!("http://{}/put-{}", url_host(address), family.label());
            Curl::new(client, &put, Duration::from_secs(20)).upload(&served).fetch()?;
            let stored = nginx.root.join(format!("put-{}", family.label()));
            expect_that!(sha256(&stored)? == sha256(&served)?, "the upload differs");
            let run = IperfRun { port: 5201, seconds: 1, streams: 2, reverse: false };
            expect_that!(iperf(client, address, run)? > 1e6, "iperf3 below 1 Mbit/s");
            expect_that!(redis(client, address, 6379, &["ping"])? == "PONG", "redis");
            expect_that!(redis_benchmark(client, address, 6379, 500)? > 10.0, "redis-benchmark");
            banner_delay(client, address, 2525)?;
            exchange(&mut dial(client, address, 7)?, &[42; 300_000])?;
        }
        let reports = watch.stop()?;
        for side in [Side::Cipher, Side::Plain] {
            let (frames, bytes, canaries, _) = totals(&reports, side);
            expect_that!(canaries > 1000, "{side:?}: {canaries} in {frames} frames, {bytes} B");
        }
        expect_that!(no_leak(&reports).is_err(), "a lab without cipher must be seen to leak");
        Ok(())
    })
}

#[test]
fn two_queues_and_vlan_tags_cross_the_boxes() -> LabResult {
    let plain = Plan::default();
    for plan in [Plan { queues: 2, ..plain }, Plan { vlan: Some(100), ..plain }] {
        with_bridges("baseline_plans", plan, |topology| {
            let _echo = Server::echo(topology.host(Host::Server2), 7)?;
            for (host, family) in [(Host::Client2, Family::V4), (Host::Stranger, Family::V6)] {
                let server = Host::Server2.address(family);
                exchange(&mut dial(topology.host(host), server, 7)?, &[7; 100_000])?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
