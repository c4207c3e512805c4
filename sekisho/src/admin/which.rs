//! Which sessions an operator means: by the address of their client, of their server, or both.
//!
//! Owns the form of such an address. Not: what is done to the sessions.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use sekisho_config::IpPrefix;
use serde::{Deserialize, Serialize};

/// The sessions whose client and server are those that are named. Who names neither, by mistake perhaps, means none:
/// all must be said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    /// All sessions.
    pub all: bool,
    /// Their clients.
    pub client: Option<Endpoint>,
    /// Their servers.
    pub server: Option<Endpoint>,
}

impl Which {
    /// Whether a session of these two is meant.
    pub fn means(&self, client: SocketAddr, server: SocketAddr) -> bool {
        let fits = |named: Option<Endpoint>, is| named.is_none_or(|named| named.contains(is));
        let is_named = self.client.is_some() || self.server.is_some();
        self.all || is_named && fits(self.client, client) && fits(self.server, server)
    }
}

/// `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS:PORT`, an IPv6 address before a port in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    prefix: IpPrefix,
    /// Any, where it is missing.
    port: Option<u16>,
}

/// A text that is no [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of ADDRESS, ADDRESS/LENGTH, ADDRESS:PORT, [IPV6]:PORT")]
pub struct NoEndpoint(String);

impl Endpoint {
    fn contains(&self, address: SocketAddr) -> bool {
        self.prefix.contains(address.ip()) && self.port.is_none_or(|port| port == address.port())
    }
}

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { prefix: IpPrefix::host(address.ip()), port: Some(address.port()) });
        }
        let prefix = text.parse().map_err(|_| NoEndpoint(text.to_owned()))?;
        Ok(Self { prefix, port: None })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = NoEndpoint;

    fn try_from(text: String) -> Result<Self, NoEndpoint> {
        text.parse()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.prefix.address(), port).fmt(f),
            None => self.prefix.fmt(f),
        }
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(client: &str, server: &str) -> Which {
        let named = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        Which { all: false, client: named(client), server: named(server) }
    }

    #[test]
    fn what_is_named_must_fit_and_the_rest_may_be_anything() {
        let means = |client, server| {
            which(client, server)
                .means("10.0.1.5:40000".parse().unwrap(), "10.0.2.10:443".parse().unwrap())
        };
        for client in ["10.0.1.5", "10.0.1.0/24", "10.0.1.5:40000"] {
            assert!(means(client, "") && means(client, "10.0.2.10:443"), "{client}");
            assert!(!means(client, "10.0.2.10:80") && !means(client, "10.0.1.5"), "{client}");
        }
        assert!(means("", "10.0.2.0/24") && !means("", "10.0.2.10:80"));
        for client in ["10.0.1.6", "10.0.0.0/24", "10.0.1.5:40001", "2001:db8::5"] {
            assert!(!means(client, "") && !means(client, "10.0.2.10"), "{client}");
        }
        let v6 = "[2001:db8::5]:40000".parse().unwrap();
        assert!(which("[2001:db8::5]:40000", "2001:db8::/32").means(v6, v6));
        assert!(Which { all: true, ..Which::default() }.means(v6, v6));
        assert!(!Which::default().means(v6, v6), "nothing said is not all");
    }

    #[test]
    fn an_endpoint_is_written_as_it_is_read() {
        for text in ["10.0.1.5/32", "10.0.0.0/8", "10.0.1.5:443", "[2001:db8::5]:443", "::/0"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in ["", "host", "10.0.1.5/33", "10.0.1.5:65536", "10.0.1.5/8", "2001:db8::5:x"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
