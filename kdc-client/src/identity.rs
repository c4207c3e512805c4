//! Names of devices and services: wire form, text form, and what is a valid one.
//!
//! Owns `DeviceId` and `Service` (spec §4.2). Does not own keys or look-ups.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Longest name of a device or service, in octets.
pub const MAX_NAME: usize = 64;

const KIND_IPV4: u8 = 1;
const KIND_IPV6: u8 = 2;
const KIND_MAC: u8 = 3;
const DEVICE_KIND_NAME: u8 = 4;
const SERVICE_KIND_NAME: u8 = 3;

/// Why an identifier is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not one of the known forms.
    #[error("unknown kind of identifier; use ip:…, mac:… or name:…")]
    Kind,
    /// The address does not parse, or is IPv4 in IPv6 clothes.
    #[error("not a valid address")]
    Address,
    /// The name is empty, longer than 64 octets or holds a character outside `[a-z0-9._-]`.
    #[error("a name is 1 to 64 characters of a-z, 0-9, '.', '_' and '-'")]
    Name,
}

/// The identifier of a device: client or gateway (`IDcl`, `IDgw`; M4.6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceId {
    /// An IP address; never an IPv4-mapped IPv6 address.
    Ip(IpAddr),
    /// A MAC address.
    Mac([u8; 6]),
    /// A name, checked at construction.
    Name(Name),
}

/// A valid name: 1 to 64 octets of `[a-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`IdError::Name`] if it is empty, too long or holds another character.
    pub fn new(text: &str) -> Result<Name, IdError> {
        let valid = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(valid) {
            return Err(IdError::Name);
        }
        Ok(Name(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_wire(bytes: &[u8]) -> Result<Name, IdError> {
        Name::new(std::str::from_utf8(bytes).map_err(|_| IdError::Name)?)
    }
}

impl DeviceId {
    /// An identifier made of a name.
    ///
    /// # Errors
    /// [`IdError::Name`] as for [`Name::new`].
    pub fn name(text: &str) -> Result<DeviceId, IdError> {
        Name::new(text).map(DeviceId::Name)
    }

    /// The wire form: kind octet, then the bytes. At most 65 octets.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        match self {
            DeviceId::Ip(IpAddr::V4(a)) => tagged(KIND_IPV4, &a.octets()),
            DeviceId::Ip(IpAddr::V6(a)) => tagged(KIND_IPV6, &a.octets()),
            DeviceId::Mac(a) => tagged(KIND_MAC, a),
            DeviceId::Name(n) => tagged(DEVICE_KIND_NAME, n.0.as_bytes()),
        }
    }

    /// Reads the wire form; one identifier has exactly one.
    ///
    /// # Errors
    /// [`IdError`] if it is not a valid identifier.
    pub fn from_wire(bytes: &[u8]) -> Result<DeviceId, IdError> {
        let (kind, rest) = bytes.split_first().ok_or(IdError::Kind)?;
        match *kind {
            KIND_IPV4 => Ok(DeviceId::Ip(IpAddr::V4(ipv4(rest)?))),
            KIND_IPV6 => Ok(DeviceId::Ip(IpAddr::V6(ipv6(rest)?))),
            KIND_MAC => rest.try_into().map(DeviceId::Mac).map_err(|_| IdError::Address),
            DEVICE_KIND_NAME => Name::from_wire(rest).map(DeviceId::Name),
            _ => Err(IdError::Kind),
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceId::Ip(a) => write!(f, "ip:{a}"),
            DeviceId::Mac([a, b, c, d, e, g]) => {
                write!(f, "mac:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            DeviceId::Name(n) => write!(f, "name:{}", n.0),
        }
    }
}

impl FromStr for DeviceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<DeviceId, IdError> {
        let (kind, value) = text.split_once(':').ok_or(IdError::Kind)?;
        match kind {
            "ip" => {
                let address: IpAddr = value.parse().map_err(|_| IdError::Address)?;
                Ok(DeviceId::Ip(address.to_canonical()))
            }
            "mac" => parse_mac(value).map(DeviceId::Mac),
            "name" => DeviceId::name(value),
            _ => Err(IdError::Kind),
        }
    }
}

/// What the client dialled: an address and port, or a configured name where destination NAT hides
/// it (M4.7, M4.13).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Address and TCP port; IPv6 without flow label and scope, never IPv4-mapped.
    Address(SocketAddr),
    /// A name, configured at both ends.
    Name(Name),
}

impl Service {
    /// A service that is known by name.
    ///
    /// # Errors
    /// [`IdError::Name`] as for [`Name::new`].
    pub fn name(text: &str) -> Result<Service, IdError> {
        Name::new(text).map(Service::Name)
    }

    /// The wire form: kind octet, then address and port, or the name. At most 65 octets.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        match self {
            Service::Address(SocketAddr::V4(a)) => {
                let mut out = tagged(KIND_IPV4, &a.ip().octets());
                out.extend_from_slice(&a.port().to_be_bytes());
                out
            }
            Service::Address(SocketAddr::V6(a)) => {
                let mut out = tagged(KIND_IPV6, &a.ip().octets());
                out.extend_from_slice(&a.port().to_be_bytes());
                out
            }
            Service::Name(n) => tagged(SERVICE_KIND_NAME, n.0.as_bytes()),
        }
    }

    /// Reads the wire form; one service has exactly one.
    ///
    /// # Errors
    /// [`IdError`] if it is not a valid service.
    pub fn from_wire(bytes: &[u8]) -> Result<Service, IdError> {
        let (kind, rest) = bytes.split_first().ok_or(IdError::Kind)?;
        if *kind == SERVICE_KIND_NAME {
            return Name::from_wire(rest).map(Service::Name);
        }
        let (address, port) = rest.split_last_chunk::<2>().ok_or(IdError::Address)?;
        let ip = match *kind {
            KIND_IPV4 => IpAddr::V4(ipv4(address)?),
            KIND_IPV6 => IpAddr::V6(ipv6(address)?),
            _ => return Err(IdError::Kind),
        };
        Ok(Service::Address(SocketAddr::new(ip, u16::from_be_bytes(*port))))
    }
}

impl From<SocketAddr> for Service {
    fn from(address: SocketAddr) -> Service {
        Service::Address(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Address(a) => write!(f, "{a}"),
            Service::Name(n) => write!(f, "name:{}", n.0),
        }
    }
}

impl FromStr for Service {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Service, IdError> {
        match text.strip_prefix("name:") {
            Some(name) => Service::name(name),
            None => Ok(Service::from(text.parse::<SocketAddr>().map_err(|_| IdError::Address)?)),
        }
    }
}

fn tagged(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 3);
    out.push(kind);
    out.extend_from_slice(bytes);
    out
}

fn ipv4(bytes: &[u8]) -> Result<Ipv4Addr, IdError> {
    <[u8; 4]>::try_from(bytes).map(Ipv4Addr::from).map_err(|_| IdError::Address)
}

fn ipv6(bytes: &[u8]) -> Result<Ipv6Addr, IdError> {
    let address = <[u8; 16]>::try_from(bytes).map(Ipv6Addr::from).map_err(|_| IdError::Address)?;
    // One device, one wire form: a mapped address would be a second spelling of an IPv4 one.
    if address.to_ipv4_mapped().is_some() {
        return Err(IdError::Address);
    }
    Ok(address)
}

fn parse_mac(text: &str) -> Result<[u8; 6], IdError> {
    let mut out = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut out {
        let part = parts.next().filter(|p| p.len() == 2).ok_or(IdError::Address)?;
        if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(IdError::Address);
        }
        *octet = u8::from_str_radix(part, 16).map_err(|_| IdError::Address)?;
    }
    if parts.next().is_some() { Err(IdError::Address) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_round_trip() {
        for text in ["ip:10.0.0.1", "ip:fd00::1", "mac:aa:bb:cc:00:01:ff", "name:gw1.site_a-b"] {
            let id: DeviceId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(DeviceId::from_wire(&id.to_wire()).unwrap(), id);
        }
        for text in ["10.0.2.10:80", "[fd00::1]:443", "name:web"] {
            let service: Service = text.parse().unwrap();
            assert_eq!(service.to_string(), text);
            assert_eq!(Service::from_wire(&service.to_wire()).unwrap(), service);
        }
    }

    #[test]
    fn invalid_text_is_refused() {
        let long = format!("name:{}", "a".repeat(65));
        for text in [
            "",
            "name:",
            "name:Upper",
            "name:sp ace",
            &long,
            "ip:10.0.0",
            "ip:10.0.0.1:80",
            "mac:aa:bb:cc:dd:ee",
            "mac:aa:bb:cc:dd:ee:ff:00",
            "mac:a:bb:cc:dd:ee:ff",
            "mac:+a:bb:cc:dd:ee:ff",
            "host:x",
            "gw1",
        ] {
            assert!(text.parse::<DeviceId>().is_err(), "{text}");
        }
        for text in ["", "10.0.0.1", "name:", "[fd00::1]", "host:80", "10.0.0.1:65536"] {
            assert!(text.parse::<Service>().is_err(), "{text}");
        }
    }

    /// M4.6, M4.7.
    #[test]
    fn one_wire_form_per_identifier() {
        let mapped = "::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap();
        assert!(DeviceId::from_wire(&tagged(KIND_IPV6, &mapped.octets())).is_err());
        assert_eq!("ip:::ffff:10.0.0.1".parse::<DeviceId>(), "ip:10.0.0.1".parse());
        assert_eq!(
            Service::from("[::ffff:10.0.0.1]:80".parse::<SocketAddr>().unwrap()),
            "10.0.0.1:80".parse().unwrap()
        );
        for bytes in [&[][..], &[1], &[1, 2, 3], &[1, 1, 2, 3, 4, 5], &[4], &[9, 1], &[4, 0xff]] {
            assert!(DeviceId::from_wire(bytes).is_err(), "{bytes:?}");
        }
        for bytes in [&[][..], &[1], &[1, 10, 0, 0, 1, 0], &[3], &[0, 0, 0], &[2, 0, 80]] {
            assert!(Service::from_wire(bytes).is_err(), "{bytes:?}");
        }
    }
}
