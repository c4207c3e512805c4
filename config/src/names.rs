//! Device identifiers and service patterns as they stand in the file.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::net::{IpPrefix, PortSet, parse_port_range};

/// Longest name of a device or a service, in octets (spec: names are UTF-8 of `[a-z0-9._-]`).
const MAX_NAME: usize = 64;

/// A device identifier: `ip:10.0.0.1`, `mac:02:00:00:00:00:01` or `name:gw1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeviceName {
    /// By IPv4 or IPv6 address.
    Ip(IpAddr),
    /// By Ethernet address.
    Mac([u8; 6]),
    /// By name: 1 to 64 of `a-z`, `0-9`, `.`, `_`, `-`.
    Name(String),
}

/// Why a text names no device and no service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It does not start with a known kind.
    #[error("a device identifier starts with `ip:`, `mac:` or `name:`")]
    Kind,
    /// After `ip:` stands no address.
    #[error("`{0}` is no IP address")]
    Ip(String),
    /// After `mac:` stands no Ethernet address.
    #[error("`{0}` is no Ethernet address (six hex pairs with colons)")]
    Mac(String),
    /// After `name:` stands something else than a name.
    #[error("a name has 1 to 64 of a-z, 0-9, `.`, `_`, `-`")]
    Name,
    /// It is no service pattern.
    #[error(
        "`{0}` is no service: write `10.0.2.10:80`, `[fd00::1]:443`, `10.0.2.0/24:80-90`, `name:web` or `*`"
    )]
    Service(String),
}

impl FromStr for DeviceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once(':') {
            Some(("ip", rest)) => {
                parse_ip(rest).map(Self::Ip).ok_or_else(|| NameError::Ip(rest.to_owned()))
            }
            Some(("mac", rest)) => {
                parse_mac(rest).map(Self::Mac).ok_or_else(|| NameError::Mac(rest.to_owned()))
            }
            Some(("name", rest)) => parse_name(rest).map(Self::Name),
            _ => Err(NameError::Kind),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "ip:{address}"),
            Self::Mac([a, b, c, d, e, g]) => {
                write!(f, "mac:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            Self::Name(name) => write!(f, "name:{name}"),
        }
    }
}

impl Serialize for DeviceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Which services an entry of the KDC's policy covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServicePattern {
    /// `*`: every service.
    Any,
    /// `10.0.2.10:80`, `[fd00::1]:443`, `10.0.2.0/24:*`, `[fd00::/64]:80-90`.
    Address {
        /// The address part.
        prefix: IpPrefix,
        /// The port part.
        ports: PortSet,
    },
    /// `name:web`: a service that clients name.
    Name(String),
}

impl ServicePattern {
    /// Whether it covers a service that is named by address and port.
    pub fn covers_address(&self, service: SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Address { prefix, ports } => {
                prefix.contains(service.ip()) && ports.contains(service.port())
            }
            Self::Name(_) => false,
        }
    }

    /// Whether it covers a service that is named by name.
    pub fn covers_name(&self, service: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Address { .. } => false,
            Self::Name(name) => name == service,
        }
    }
}

impl FromStr for ServicePattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Service(text.to_owned());
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(name) = text.strip_prefix("name:") {
            return parse_name(name).map(Self::Name);
        }
        let (address, ports) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or_else(wrong)?,
            None => text
                .rsplit_once(':')
                .filter(|(address, _)| !address.contains(':'))
                .ok_or_else(wrong)?,
        };
        let prefix: IpPrefix = address.parse().map_err(|_| wrong())?;
        let ports = match ports {
            "*" => PortSet::all(),
            range => parse_port_range(range)
                .ok()
                .and_then(|range| PortSet::from_ranges([range]))
                .ok_or_else(wrong)?,
        };
        Ok(Self::Address { prefix, ports })
    }
}

impl fmt::Display for ServicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Name(name) => write!(f, "name:{name}"),
            Self::Address { prefix, ports } => {
                let host = *prefix == IpPrefix::host(prefix.address());
                let address = if host { prefix.address().to_string() } else { prefix.to_string() };
                let ports = if ports.is_all() { "*".to_owned() } else { ports.to_string() };
                if prefix.address().is_ipv6() {
                    write!(f, "[{address}]:{ports}")
                } else {
                    write!(f, "{address}:{ports}")
                }
            }
        }
    }
}

impl Serialize for ServicePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Checks a name of a device or a service.
pub(crate) fn parse_name(text: &str) -> Result<String, NameError> {
    let valid =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(valid) {
        return Err(NameError::Name);
    }
    Ok(text.to_owned())
}

/// An address; IPv4 in the form of IPv6 is refused, or one device would have two identifiers.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    (address == address.to_canonical()).then_some(address)
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut pairs = text.split(':');
    for octet in &mut mac {
        let pair = pairs
            .next()
            .filter(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_round_trip() {
        for text in
            ["ip:10.0.0.1", "ip:fd00::1", "mac:02:00:00:0a:ff:01", "name:gw1", "name:a.b_c-9"]
        {
            assert_eq!(text.parse::<DeviceName>().unwrap().to_string(), text);
        }
        assert_eq!("mac:02:00:00:0A:FF:01".parse(), Ok(DeviceName::Mac([2, 0, 0, 10, 255, 1])));
    }

    #[test]
    fn wrong_device_names_say_why() {
        let error = |text: &str| text.parse::<DeviceName>().unwrap_err();
        assert_eq!(error("gw1"), NameError::Kind);
        assert_eq!(error("IP:10.0.0.1"), NameError::Kind);
        assert_eq!(error("ip:10.0.0"), NameError::Ip("10.0.0".into()));
        assert_eq!(error("ip:::ffff:10.0.0.1"), NameError::Ip("::ffff:10.0.0.1".into()));
        assert_eq!(error("mac:02:00:00:00:00"), NameError::Mac("02:00:00:00:00".into()));
        assert_eq!(error("mac:02:00:00:00:00:+1"), NameError::Mac("02:00:00:00:00:+1".into()));
        assert_eq!(
            error("mac:02:00:00:00:00:01:02"),
            NameError::Mac("02:00:00:00:00:01:02".into())
        );
        for text in ["name:", "name:GW1", "name:a b", "name:é", &format!("name:{}", "a".repeat(65))]
        {
            assert_eq!(error(text), NameError::Name, "{text}");
        }
    }

    #[test]
    fn service_patterns_cover_what_they_say() {
        let pattern = |text: &str| text.parse::<ServicePattern>().unwrap();
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(pattern("10.0.2.10:80").covers_address(at("10.0.2.10:80")));
        assert!(!pattern("10.0.2.10:80").covers_address(at("10.0.2.10:81")));
        assert!(!pattern("10.0.2.10:80").covers_address(at("10.0.2.11:80")));
        assert!(pattern("10.0.2.0/24:80-90").covers_address(at("10.0.2.77:85")));
        assert!(pattern("[fd00::/64]:*").covers_address(at("[fd00::5]:443")));
        assert!(pattern("name:web").covers_name("web") && !pattern("name:web").covers_name("web2"));
        assert!(!pattern("name:web").covers_address(at("10.0.2.10:80")));
        assert!(pattern("*").covers_address(at("10.0.2.10:80")) && pattern("*").covers_name("web"));
        for text in
            ["10.0.2.10:80", "10.0.2.0/24:80-90", "[fd00::1]:443", "[fd00::/64]:*", "name:web", "*"]
        {
            assert_eq!(pattern(text).to_string(), text);
        }
        for text in [
            "10.0.2.10",
            "fd00::1:443",
            "[fd00::1]",
            "web:80",
            "10.0.2.10:0",
            "10.0.2.10:http",
            "",
            "[",
            "name:",
        ] {
            assert!(text.parse::<ServicePattern>().is_err(), "{text}");
        }
    }
}
