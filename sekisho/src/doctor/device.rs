//! The two ports: there, up, alike, and handing over whole frames with whole checksums.

use sekisho_config::{NodeConfig, RxChecksum};
use sekisho_port::{DeviceError, DeviceFacts, MAX_MTU, inspect};

use super::Finding;
use crate::status::StatusSnapshot;

/// Drivers that hand over frames whose checksum the sender left to its device (hazard 5).
const PARTIAL_CHECKSUM_DRIVERS: [&str; 5] =
    ["veth", "virtio_net", "tun", "vmxnet3", "xen_netfront"];
/// Label of the drop reason for a wrong checksum.
const BAD_CHECKSUM: &str = "bad_checksum";

/// One port as the file has it.
struct Port<'a> {
    side: &'static str,
    interface: &'a str,
    checksum: RxChecksum,
}

/// Checks of both ports. `running` is what the process that uses them says, if there is one.
pub(super) fn ports(node: &NodeConfig, running: Option<&StatusSnapshot>) -> Vec<Finding> {
    let port = |side, interface, checksum| Port { side, interface, checksum };
    let both = [
        port("cipher", node.ports.cipher.as_str(), node.ports.rx_checksum_cipher),
        port("plain", node.ports.plain.as_str(), node.ports.rx_checksum_plain),
    ];
    let facts = both.each_ref().map(|port| inspect(port.interface));
    let mut findings = Vec::new();
    for (port, facts) in both.iter().zip(&facts) {
        findings.extend(judge(port, facts, node.workers.count, running));
    }
    if let [Ok(cipher), Ok(plain)] = &facts {
        findings.push(equal_mtu(&both, cipher.link.mtu, plain.link.mtu));
    }
    findings
}

fn judge(
    port: &Port<'_>,
    facts: &Result<DeviceFacts, DeviceError>,
    workers: u16,
    running: Option<&StatusSnapshot>,
) -> Vec<Finding> {
    let check = |what: &str| format!("ports.{}.{what}", port.side);
    let interface = port.interface;
    let facts = match facts {
        Ok(facts) => facts,
        Err(DeviceError::Missing) => {
            let what = format!("there is no interface {interface}");
            return vec![Finding::fail(
                check("device"),
                what,
                format!("ip link; set [ports] {}", port.side),
            )];
        }
        Err(error) => {
            return vec![Finding::fail(
                check("device"),
                format!("{interface}: {error}"),
                "ip link",
            )];
        }
    };
    vec![
        device(check("device"), interface, facts),
        link(check("link"), interface, facts, running.is_some()),
        mtu(check("mtu"), interface, facts.link.mtu),
        queues(check("queues"), interface, facts, workers),
        offloads(check("offloads"), interface, facts),
        checksum(check("checksum"), port, facts, running),
        redirect(check("redirect"), interface, facts, running.is_some()),
    ]
}

fn device(check: String, interface: &str, facts: &DeviceFacts) -> Finding {
    let driver = facts.driver.as_deref().unwrap_or("unknown");
    if facts.has_ipv4_address {
        let what =
            format!("{interface} has an IPv4 address, which nothing reaches while it is a port");
        return Finding::warn(check, what, format!("ip address flush dev {interface}"));
    }
    Finding::pass(check, format!("{interface}, driver {driver}"))
}

fn link(check: String, interface: &str, facts: &DeviceFacts, running: bool) -> Finding {
    let mend = format!("ip link set dev {interface} up");
    match (facts.link.up, facts.link.carrier) {
        (true, true) => Finding::pass(check, "up"),
        (true, false) => {
            let what = format!("{interface} is on and has no carrier");
            Finding::fail(check, what, "check the cable, or that the other end is up")
        }
        // A running process switches a port off while the other one has no carrier.
        (false, _) if running => {
            let what = format!(
                "{interface} is off: so is the other port's carrier, or somebody switched it off"
            );
            Finding::fail(check, what, format!("check the other port's cable; else {mend}"))
        }
        (false, _) => {
            Finding::warn(check, format!("{interface} is off; it is switched on at start"), mend)
        }
    }
}

/// Whether traffic that is not protected can leave by the port.
fn redirect(check: String, interface: &str, facts: &DeviceFacts, running: bool) -> Finding {
    // Some drivers can send for XDP only while a program is attached: before that it means little.
    if facts.is_redirect_target == Some(false) && running {
        let what =
            format!("native XDP cannot send by {interface}: traffic that is not protected is lost");
        let mend =
            "ethtool -K PEER gro on (at the far end of a veth) and restart, or mode = \"skb\"";
        return Finding::warn(check, what, mend);
    }
    Finding::pass(check, "the other port's program can send by it, or none is attached")
}

fn mtu(check: String, interface: &str, mtu: u32) -> Finding {
    if mtu > MAX_MTU {
        let what =
            format!("{mtu} is more than the {MAX_MTU} that native XDP with 4 KiB frames takes");
        return Finding::fail(check, what, format!("ip link set dev {interface} mtu {MAX_MTU}"));
    }
    Finding::pass(check, mtu.to_string())
}

fn equal_mtu([cipher, plain]: &[Port<'_>; 2], cipher_mtu: u32, plain_mtu: u32) -> Finding {
    const CHECK: &str = "ports.mtu";
    if cipher_mtu == plain_mtu {
        return Finding::pass(CHECK, "equal");
    }
    let (wider, least) =
        if cipher_mtu > plain_mtu { (cipher, plain_mtu) } else { (plain, cipher_mtu) };
    let what = format!("{cipher_mtu} on the cipher port, {plain_mtu} on the plain port");
    Finding::fail(CHECK, what, format!("ip link set dev {} mtu {least}", wider.interface))
}

fn queues(check: String, interface: &str, facts: &DeviceFacts, workers: u16) -> Finding {
    match facts.receive_queues {
        None => Finding::pass(check, "the driver does not say"),
        Some(queues) if queues == u32::from(workers) => {
            Finding::pass(check, format!("{queues}, as workers"))
        }
        Some(queues) => {
            let what = format!(
                "{queues} receive queues for {workers} workers: one without a worker drops its traffic"
            );
            let set = if facts.driver.as_deref() == Some("veth") {
                format!("rx {workers} tx {workers}")
            } else {
                format!("combined {workers}")
            };
            Finding::fail(
                check,
                what,
                format!("ethtool -L {interface} {set}, or set [workers] count = {queues}"),
            )
        }
    }
}

fn offloads(check: String, interface: &str, facts: &DeviceFacts) -> Finding {
    if !facts.fixed_offloads.is_empty() {
        let what = format!("{} cannot be switched off", facts.fixed_offloads.join(", "));
        let mend = format!(
            "use another driver or device for {interface}; segments put together are dropped"
        );
        return Finding::warn(check, what, mend);
    }
    if facts.switchable_offloads.is_empty() {
        return Finding::pass(check, "no harmful one is on");
    }
    Finding::pass(
        check,
        format!("{} on; switched off while running", facts.switchable_offloads.join(", ")),
    )
}

fn checksum(
    check: String,
    port: &Port<'_>,
    facts: &DeviceFacts,
    running: Option<&StatusSnapshot>,
) -> Finding {
    let driver = facts.driver.as_deref().unwrap_or("unknown");
    if port.checksum == RxChecksum::Offloaded {
        return Finding::pass(check, "recomputed, as rx_checksum = \"offloaded\" says");
    }
    if !PARTIAL_CHECKSUM_DRIVERS.contains(&driver) {
        return Finding::pass(check, "verified");
    }
    let dropped = running.map_or(0, |status| {
        status
            .drops
            .iter()
            .find(|reason| reason.label == BAD_CHECKSUM)
            .map_or(0, |reason| reason.count)
    });
    let mend = format!(
        "at the other end of {}: ethtool -K DEVICE tx off tso off gso off; or set [ports] rx_checksum = {{ {} = \
         \"offloaded\" }}",
        port.interface, port.side
    );
    if dropped > 0 {
        let what = format!(
            "{dropped} frames were dropped for a bad checksum, and {driver} hands over partial ones"
        );
        return Finding::fail(check, what, mend);
    }
    let what =
        format!("verified, and {driver} hands over partial ones if its sender offloads them");
    Finding::warn(check, what, mend)
}

#[cfg(test)]
mod tests {
    use sekisho_port::LinkState;

    use super::super::Verdict;
    use super::*;
    use crate::status::Counted;

    fn facts() -> DeviceFacts {
        DeviceFacts {
            index: 3,
            link: LinkState { up: true, carrier: true, mtu: 1500 },
            driver: Some("ixgbe".into()),
            receive_queues: Some(2),
            switchable_offloads: Vec::new(),
            fixed_offloads: Vec::new(),
            has_ipv4_address: false,
            is_redirect_target: None,
        }
    }

    fn port(checksum: RxChecksum) -> Port<'static> {
        Port { side: "cipher", interface: "eth0", checksum }
    }

    /// The findings that are not as they should be, as `check: mend`.
    fn wrong(facts: DeviceFacts) -> Vec<String> {
        let found = judge(&port(RxChecksum::Verify), &Ok(facts), 2, None);
        found
            .into_iter()
            .filter_map(|finding| Some(format!("{}: {}", finding.check, finding.mend?)))
            .collect()
    }

    #[test]
    fn a_good_port_passes() {
        assert_eq!(wrong(facts()), Vec::<String>::new());
    }

    #[test]
    fn a_missing_port_is_one_failure() {
        let found = judge(&port(RxChecksum::Verify), &Err(DeviceError::Missing), 2, None);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].verdict, found[0].what.as_str()),
            (Verdict::Fail, "there is no interface eth0")
        );
    }

    #[test]
    fn each_fault_names_its_command() {
        type Fault = fn(&mut DeviceFacts);
        let cases: [(Fault, &str); 6] = [
            (|f| f.has_ipv4_address = true, "ports.cipher.device: ip address flush dev eth0"),
            (|f| f.link.up = false, "ports.cipher.link: ip link set dev eth0 up"),
            (
                |f| f.link.carrier = false,
                "ports.cipher.link: check the cable, or that the other end is up",
            ),
            (|f| f.link.mtu = 9000, "ports.cipher.mtu: ip link set dev eth0 mtu 3400"),
            (
                |f| f.receive_queues = Some(8),
                "ports.cipher.queues: ethtool -L eth0 combined 2, or set [workers] count = 8",
            ),
            (
                |f| f.fixed_offloads = vec!["rx-lro".into()],
                "ports.cipher.offloads: use another driver or device for eth0; segments put together are dropped",
            ),
        ];
        for (change, expected) in cases {
            let mut changed = facts();
            change(&mut changed);
            assert_eq!(wrong(changed), [expected]);
        }
    }

    #[test]
    fn veth_counts_its_queues_apart() {
        let facts = DeviceFacts { driver: Some("veth".into()), receive_queues: Some(1), ..facts() };
        assert!(wrong(facts).contains(
            &"ports.cipher.queues: ethtool -L eth0 rx 2 tx 2, or set [workers] count = 1".into()
        ));
    }

    #[test]
    fn switchable_offloads_are_no_fault() {
        let facts = DeviceFacts { switchable_offloads: vec!["rx-gro-hw".into()], ..facts() };
        assert_eq!(wrong(facts), Vec::<String>::new());
    }

    #[test]
    fn partial_checksums_are_suspected_then_proved() {
        let veth = DeviceFacts { driver: Some("veth".into()), ..facts() };
        let judged = |checksum, status: Option<&StatusSnapshot>| {
            super::checksum("c".into(), &port(checksum), &veth, status)
        };
        let suspected = judged(RxChecksum::Verify, None);
        assert_eq!(suspected.verdict, Verdict::Warn);
        let mend = suspected.mend.unwrap();
        assert!(
            mend.contains("ethtool -K DEVICE tx off")
                && mend.contains("{ cipher = \"offloaded\" }"),
            "{mend}"
        );
        let mut status = StatusSnapshot {
            drops: vec![Counted::new(BAD_CHECKSUM, "", 0)],
            ..StatusSnapshot::default()
        };
        assert_eq!(judged(RxChecksum::Verify, Some(&status)).verdict, Verdict::Warn);
        status.drops[0].count = 5;
        assert_eq!(judged(RxChecksum::Verify, Some(&status)).verdict, Verdict::Fail);
        assert_eq!(judged(RxChecksum::Offloaded, Some(&status)).verdict, Verdict::Pass);
    }

    /// The label by which checksum drops are found is one of the dataplane's.
    #[test]
    fn the_dataplane_has_that_reason() {
        assert!(
            sekisho_dataplane::DropReason::ALL.iter().any(|reason| reason.label() == BAD_CHECKSUM)
        );
    }

    #[test]
    fn unequal_mtu_lowers_the_wider_port() {
        let both = [
            port(RxChecksum::Verify),
            Port { side: "plain", interface: "eth1", checksum: RxChecksum::Verify },
        ];
        assert_eq!(equal_mtu(&both, 1500, 1500).verdict, Verdict::Pass);
        assert_eq!(equal_mtu(&both, 1500, 3000).mend.unwrap(), "ip link set dev eth1 mtu 1500");
        assert_eq!(equal_mtu(&both, 3000, 1400).mend.unwrap(), "ip link set dev eth0 mtu 1400");
    }
}
