//! The life of the ports: what is refused, what is changed and put back, links that flap, devices
//! that vanish, a predecessor that was killed. Needs root. The topology is drawn at `lab::Lab`.
#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

mod forward;
mod lab;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forward::*;
use lab::{Lab, privileged, until};
use sekisho_port::{
    AttachError, DeviceError, FilterError, PortError, PortPair, PortPairConfig, PortSide,
};

/// The pin directory, for the process that `killed_gateway…` starts.
const CHILD: &str = "SEKISHO_PORT_TEST_CHILD";

fn refused(lab: &Lab, config: &PortPairConfig) -> PortError {
    lab.gateway.run(|| PortPair::open(config)).expect_err("opened")
}

#[test]
fn what_cannot_work_is_refused_with_its_reason_and_changes_nothing() {
    if !privileged("what_cannot_work_is_refused_with_its_reason_and_changes_nothing") {
        return;
    }
    let lab = Lab::new(2);
    let good = config(&lab, 2);
    let before = features(&lab, "cipher");

    let mut config = good.clone();
    config.interfaces[1] = "nowhere".into();
    let error = refused(&lab, &config);
    assert!(matches!(
        error,
        PortError::Device { side: PortSide::Plain, error: DeviceError::Missing, .. }
    ));
    assert_eq!(
        error.to_string(),
        "plain port nowhere: there is no network device of this name: see `ip link`"
    );

    let mut config = good.clone();
    config.interfaces[1] = "cipher".into();
    assert!(matches!(refused(&lab, &config), PortError::SameDevice { .. }));

    let mut config = good.clone();
    config.queues = 1;
    let error = refused(&lab, &config).to_string();
    assert!(error.contains("uses 2 receive queues, 1 workers"), "{error}");

    let mut config = good.clone();
    config.ring = 1000;
    assert!(refused(&lab, &config).to_string().contains("not a power of two"));

    lab.gateway.sh("ip link set plain mtu 1400");
    let error = refused(&lab, &good);
    assert!(matches!(error, PortError::UnequalMtu { cipher: 1500, plain: 1400 }));
    lab.gateway.sh("ip link set plain mtu 9000\nip link set cipher mtu 9000");
    let error = refused(&lab, &good);
    assert!(matches!(error, PortError::Device { error: DeviceError::Mtu { mtu: 9000 }, .. }));
    lab.gateway.sh("ip link set plain mtu 1500\nip link set cipher mtu 1500");

    assert_eq!(features(&lab, "cipher"), before);
    assert!(!attached(&lab, "cipher") && !attached(&lab, "plain"));
}

#[test]
fn a_port_with_another_program_is_refused_and_the_first_port_is_given_back() {
    if !privileged("a_port_with_another_program_is_refused_and_the_first_port_is_given_back") {
        return;
    }
    let lab = Lab::new(1);
    let other = Lab::new(1);
    // A gateway of other pins, on our plain port and a third device.
    lab.gateway.sh("ip link add third type veth peer name fourth\nip link set third up");
    let mut theirs = config(&other, 1);
    theirs.interfaces = ["third".into(), "plain".into()];
    let (workers, control) = lab.gateway.run(|| PortPair::open(&theirs)).unwrap();

    let error = refused(&lab, &config(&lab, 1));
    let PortError::Filter { side: PortSide::Plain, error: FilterError::Attach(cause), .. } = &error
    else {
        unreachable!("{error}");
    };
    assert!(matches!(**cause, AttachError::Occupied { .. }), "{error}");
    assert!(!attached(&lab, "cipher"));
    assert!(lab.pins.names().is_empty());
    drop(workers);
    control.detach().unwrap();
    let (workers, control) = open(&lab, 1);
    drop(workers);
    control.detach().unwrap();
}

fn features(lab: &Lab, port: &str) -> Vec<String> {
    let (ok, text) = lab.gateway.try_sh(&format!("ethtool -k {port}"));
    assert!(ok, "{text}");
    text.lines().map(str::to_owned).collect()
}

fn attached(lab: &Lab, port: &str) -> bool {
    lab.gateway.try_sh(&format!("ip link show {port}")).1.contains("xdp")
}

fn ipv6_disabled(lab: &Lab, port: &str) -> String {
    let path = format!("/proc/sys/net/ipv6/conf/{port}/disable_ipv6");
    lab.gateway.run(|| std::fs::read_to_string(path).unwrap().trim().to_owned())
}

#[test]
fn devices_are_made_bare_wires_and_restored() {
    if !privileged("devices_are_made_bare_wires_and_restored") {
        return;
    }
    let lab = Lab::new(1);
    lab.gateway.sh("ip link set cipher down\nip addr add 10.1.1.1/24 dev plain");
    let is_on = |name: &str| {
        let lines = features(&lab, "cipher");
        lines.iter().any(|l| l.trim().starts_with(&format!("{name}: on")))
    };
    assert!(is_on("tx-vlan-offload") && is_on("rx-vlan-offload"));

    let (workers, control) = open(&lab, 1);
    let report = control.report(PortSide::Cipher);
    assert!(!is_on("tx-vlan-offload") && !is_on("rx-vlan-offload"));
    assert!(report.switched_off.iter().any(|name| name == "tx-vlan-hw-insert"), "{report:?}");
    assert!(control.link_state(PortSide::Cipher).unwrap().up);
    assert_eq!(ipv6_disabled(&lab, "cipher"), "1");
    let plain = control.report(PortSide::Plain);
    assert!(plain.warnings.iter().any(|w| w.contains("IPv4 address")), "{plain:?}");
    let (_, shown) = lab.gateway.try_sh("ip -d link show cipher");
    assert!(shown.contains("promiscuity 1"), "{shown}");

    drop(workers);
    control.detach().unwrap();
    assert!(is_on("tx-vlan-offload") && is_on("rx-vlan-offload"));
    assert_eq!(ipv6_disabled(&lab, "cipher"), "0");
    let (_, shown) = lab.gateway.try_sh("ip -d link show cipher");
    assert!(shown.contains("promiscuity 0") && shown.contains("state DOWN"), "{shown}");
    assert!(!attached(&lab, "cipher") && !attached(&lab, "plain"));
}

/// A veth looks at its far end's GRO when it is switched on, and not again.
#[test]
fn a_veth_switched_on_before_its_far_end_had_gro_still_carries_foreign_traffic() {
    if !privileged("a_veth_switched_on_before_its_far_end_had_gro_still_carries_foreign_traffic") {
        return;
    }
    let lab = Lab::new(1);
    for (host, port) in [(&lab.client, "cipher"), (&lab.server, "plain")] {
        lab.gateway.sh(&format!("ip link set {port} down"));
        host.sh("ip link set h0 down\nethtool -K h0 gro off");
        lab.gateway.sh(&format!("ip link set {port} up"));
        host.sh("ethtool -K h0 gro on\nip link set h0 up\nip addr flush dev h0 scope global");
    }
    lab.client.sh("ip addr add 10.9.0.1/24 dev h0");
    lab.server.sh("ip addr add 10.9.0.2/24 dev h0");
    let (workers, control) = open(&lab, 1);
    for side in PortSide::BOTH {
        assert!(control.report(side).warnings.is_empty(), "{:?}", control.report(side));
    }
    assert!(ping(&lab, SERVER4));
    drop(workers);
    control.detach().unwrap();

    // Without GRO at the far end nothing can be done but say so.
    lab.server.sh("ethtool -K h0 gro off");
    let (workers, control) = open(&lab, 1);
    let warnings = &control.report(PortSide::Plain).warnings;
    assert!(warnings.iter().any(|w| w.contains("gro on")), "{warnings:?}");
    drop(workers);
    control.detach().unwrap();
}

#[test]
fn a_link_that_flaps_recovers_and_its_state_is_passed_through() {
    if !privileged("a_link_that_flaps_recovers_and_its_state_is_passed_through") {
        return;
    }
    let lab = Lab::new(1);
    let (workers, mut control) = open(&lab, 1);
    let forwarder = Forwarder::start(workers);
    echo_server(&lab, PROTECTED);
    exchange(&lab, SERVER4, PROTECTED, 100_000).unwrap();
    let server_carrier = || lab.server.try_sh("ip link show h0").1.contains("LOWER_UP");

    control.pass_link_state().unwrap();
    assert!(server_carrier());
    lab.client.sh("ip link set h0 down");
    until("the client's link is seen down", Duration::from_secs(3), || {
        !control.link_state(PortSide::Cipher).unwrap().carrier
    });
    control.pass_link_state().unwrap();
    until("the server sees it", Duration::from_secs(3), || !server_carrier());
    // Again and again: what is held down must not hold the other down.
    control.pass_link_state().unwrap();
    control.pass_link_state().unwrap();
    assert!(control.link_state(PortSide::Cipher).unwrap().up);

    lab.client.sh("ip link set h0 up");
    until("both links are up again", Duration::from_secs(5), || {
        control.pass_link_state().unwrap();
        server_carrier()
    });
    until("traffic flows again", Duration::from_secs(10), || {
        exchange(&lab, SERVER4, PROTECTED, 100_000).is_ok()
    });
    let mut workers = forwarder.stop();
    until("frames come back", Duration::from_secs(5), || settled(&mut workers));
    drop(workers);
    control.detach().unwrap();
}

#[test]
fn a_device_that_vanishes_stops_no_worker_and_hangs_nothing() {
    if !privileged("a_device_that_vanishes_stops_no_worker_and_hangs_nothing") {
        return;
    }
    let lab = Lab::new(1);
    let (workers, mut control) = open(&lab, 1);
    let forwarder = Forwarder::start(workers);
    echo_server(&lab, PROTECTED);
    exchange(&lab, SERVER4, PROTECTED, 100_000).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| exchange(&lab, SERVER4, PROTECTED, 200 << 20).unwrap_err());
        std::thread::sleep(Duration::from_millis(200));
        lab.gateway.sh("ip link del plain");
        let state = control.link_state(PortSide::Plain);
        assert!(matches!(state, Err(PortError::Device { error: DeviceError::Missing, .. })));
        assert!(control.check_attached(PortSide::Plain).is_err());
        assert!(control.pass_link_state().is_err());
        lab.client.sh("ip link set h0 down");
    });
    // Workers still turn, and every frame is accounted for.
    let workers = forwarder.stop();
    assert_eq!(sekisho_port::PacketIo::accounting(&workers[0]).in_hand(), 0);
    drop(workers);
    let started = Instant::now();
    // The device's own switches are gone with it.
    control.detach().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(lab.pins.names().is_empty());
    assert!(!attached(&lab, "cipher"));
}

/// Not a test of its own: the process that the next one kills.
#[test]
fn child_gateway() {
    let Some(pins) = std::env::var_os(CHILD) else {
        return;
    };
    let mut config = template();
    config.pin_directory = PathBuf::from(pins);
    let (workers, _control) = PortPair::open(&config).unwrap();
    let _forwarder = Forwarder::start(workers);
    // Ends if the test that started it forgets to.
    std::thread::sleep(Duration::from_secs(60));
}

struct Gateway(Child);

impl Gateway {
    fn start(lab: &Lab) -> Self {
        let pins = lab.pins.path().to_owned();
        let child = lab.gateway.run(|| {
            Command::new(std::env::current_exe().unwrap())
                .args(["child_gateway", "--exact", "--nocapture"])
                .env(CHILD, pins)
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        });
        Self(child)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // SIGKILL: nothing in the process runs any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_gateway_fails_closed_and_its_successor_takes_over() {
    if !privileged("a_killed_gateway_fails_closed_and_its_successor_takes_over") {
        return;
    }
    let lab = Lab::new(2);
    // The directory is a bpffs before the child starts: its mount is then everybody's.
    echo_server(&lab, PROTECTED);
    echo_server(&lab, UNPROTECTED);
    let gateway = Gateway::start(&lab);
    until("the gateway forwards", Duration::from_secs(10), || {
        exchange(&lab, SERVER4, PROTECTED, 1000).is_ok()
    });
    drop(gateway);

    assert_eq!(lab.pins.names(), ["cipher", "plain"]);
    assert!(attached(&lab, "cipher") && attached(&lab, "plain"));
    for address in [SERVER4, SERVER6] {
        assert!(exchange(&lab, address, PROTECTED, 1000).is_err(), "{address}");
        exchange(&lab, address, UNPROTECTED, 100_000).unwrap();
        assert!(ping(&lab, address), "{address}");
    }

    let (workers, control) = open(&lab, 2);
    for side in PortSide::BOTH {
        assert!(control.report(side).taken_over, "{side}");
    }
    let forwarder = Forwarder::start(workers);
    for address in [SERVER4, SERVER6] {
        exchange(&lab, address, PROTECTED, 1 << 20).unwrap();
    }
    let mut workers = forwarder.stop();
    until("frames come back", Duration::from_secs(5), || settled(&mut workers));
    drop(workers);
    control.detach().unwrap();
    assert!(lab.pins.names().is_empty());
}

#[test]
fn the_links_of_a_living_gateway_are_not_taken_over() {
    if !privileged("the_links_of_a_living_gateway_are_not_taken_over") {
        return;
    }
    let lab = Lab::new(1);
    let (workers, control) = open(&lab, 1);
    let forwarder = Forwarder::start(workers);
    echo_server(&lab, PROTECTED);
    let error = refused(&lab, &config(&lab, 1));
    assert!(error.to_string().contains("a gateway runs with it"), "{error}");
    exchange(&lab, SERVER4, PROTECTED, 100_000).unwrap();
    drop(forwarder.stop());
    control.detach().unwrap();
    assert!(lab.pins.names().is_empty());
}

#[test]
fn a_pin_left_by_a_device_that_is_gone_is_replaced() {
    if !privileged("a_pin_left_by_a_device_that_is_gone_is_replaced") {
        return;
    }
    let lab = Lab::new(1);
    let (workers, control) = open(&lab, 1);
    drop((workers, control));
    assert_eq!(lab.pins.names(), ["cipher", "plain"]);
    lab.gateway.sh("ip link del cipher
         ip link add cipher type veth peer name other
         ip link set cipher up");
    let (workers, control) = open(&lab, 1);
    assert!(!control.report(PortSide::Cipher).taken_over);
    assert!(control.report(PortSide::Plain).taken_over);
    drop(workers);
    control.detach().unwrap();
    assert!(lab.pins.names().is_empty());
}
