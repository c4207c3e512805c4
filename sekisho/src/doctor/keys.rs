//! Key files and the files of a KDC.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use sekisho_config::{DeviceConfig, KdcConfig};
use sekisho_kdc::keyfile::{self, KeyFileError};

use super::Finding;

/// The key file of a gateway or a client agent.
pub(super) fn device(device: &DeviceConfig, role: &str) -> Finding {
    let path = device.key_file.display();
    let make = format!(
        "at the KDC: sekisho kdc device add --config KDC.toml --role {role} --key-out {path} {}; then bring the file \
         here",
        device.id
    );
    file("key.file", &device.key_file, make)
}

/// The files and listeners of a KDC.
pub(super) fn kdc(config_file: &Path, kdc: &KdcConfig) -> Vec<Finding> {
    let init = format!("sekisho kdc init --config {}", config_file.display());
    let mut findings = vec![file("kdc.master_key", &kdc.master_key_file, init.clone())];
    let registry = kdc.registry.display();
    findings.push(if kdc.registry.is_file() {
        Finding::pass("kdc.registry", registry.to_string())
    } else {
        Finding::fail("kdc.registry", format!("{registry} is not there"), init)
    });
    let udp = kdc.listen_udp.map(|at| listener("kdc.listen_udp", at, UdpSocket::bind(at).err()));
    let tcp = kdc.listen_tcp.map(|at| listener("kdc.listen_tcp", at, TcpListener::bind(at).err()));
    findings.extend(udp.into_iter().chain(tcp));
    findings
}

fn file(check: &str, path: &Path, make: String) -> Finding {
    // Reading is the check; the key itself is wiped at once.
    let shown = path.display();
    match keyfile::read(path) {
        Ok(_) => Finding::pass(check, format!("{shown}, readable by its owner alone")),
        Err(error @ KeyFileError::Mode { .. }) => {
            Finding::fail(check, error.to_string(), format!("chmod 600 {shown}"))
        }
        Err(KeyFileError::Io { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            let mend = format!("run as the user of the service, or: chown root: {shown}");
            Finding::fail(check, format!("{shown} may not be read"), mend)
        }
        Err(error) => Finding::fail(check, error.to_string(), make),
    }
}

fn listener(check: &str, at: SocketAddr, error: Option<io::Error>) -> Finding {
    match error {
        None => Finding::pass(check, format!("{at} is free")),
        // Most likely the KDC itself; whether it answers is for the process check.
        Some(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Finding::pass(check, format!("{at} is in use"))
        }
        Some(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            let mend = format!("ip address add {} dev DEVICE, or change it in [kdc]", at.ip());
            Finding::fail(check, format!("this machine has no address {}", at.ip()), mend)
        }
        Some(error) => {
            Finding::fail(check, format!("{at}: {error}"), format!("change {check} in the file"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::Verdict;
    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn device_with(path: &Path) -> DeviceConfig {
        let id = "name:gw1".parse().unwrap();
        DeviceConfig { id, key_file: path.to_owned(), key_version: 1 }
    }

    #[test]
    fn a_key_file_is_judged_by_mode_and_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gw1.key");
        let missing = device(&device_with(&path), "gateway");
        assert_eq!(missing.verdict, Verdict::Fail);
        assert!(missing.mend.unwrap().contains("kdc device add --config KDC.toml --role gateway"));
        write(&path, &format!("{}\n", "ab".repeat(32)), 0o600);
        assert_eq!(device(&device_with(&path), "gateway").verdict, Verdict::Pass);
        write(&path, &format!("{}\n", "ab".repeat(32)), 0o644);
        let open = device(&device_with(&path), "gateway");
        assert_eq!(open.mend.unwrap(), format!("chmod 600 {}", path.display()));
        write(&path, "short\n", 0o600);
        assert_eq!(device(&device_with(&path), "gateway").verdict, Verdict::Fail);
    }

    #[test]
    fn no_finding_shows_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gw1.key");
        for (text, mode) in
            [("ab".repeat(32), 0o600), ("ab".repeat(32), 0o644), ("ab".repeat(20), 0o600)]
        {
            write(&path, &text, mode);
            let found = device(&device_with(&path), "gateway");
            assert!(!format!("{found:?}").contains("abab"), "{found:?}");
        }
    }

    #[test]
    fn listeners_are_tried() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        assert_eq!(listener("c", at, TcpListener::bind(at).err()).verdict, Verdict::Pass);
        // An address of the documentation range (RFC 5737), which no machine has.
        let foreign: SocketAddr = "192.0.2.1:1089".parse().unwrap();
        let finding = listener("c", foreign, UdpSocket::bind(foreign).err());
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.mend.unwrap().contains("ip address add 192.0.2.1"));
    }

    #[test]
    fn a_kdc_without_its_files_is_told_to_make_them() {
        let text = "role = \"kdc\"\n[kdc]\nlisten_udp = \"127.0.0.1:1\"\nregistry = \"/nowhere/r\"\n\
                    master_key_file = \"/nowhere/m\"\n[[gateway]]\nid = \"name:gw1\"\nservices = [\"*\"]\n";
        let sekisho_config::Config::Kdc(config) = sekisho_config::Config::parse(text).unwrap()
        else {
            panic!("role")
        };
        let found = kdc(Path::new("/etc/kdc.toml"), &config);
        for finding in &found[..2] {
            assert_eq!(finding.mend.as_deref(), Some("sekisho kdc init --config /etc/kdc.toml"));
        }
    }
}
