//! The checked configuration: what the rest of the program reads. Every value in here has passed its checks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::names::{DeviceName, ServicePattern};
use crate::net::{IpPrefix, PortSet};

/// Declares an enum whose variants have a fixed word in the file, so parser, reference and output agree.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(into = "&'static str")]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// The words that a file may hold, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word of this variant.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The variant of a word, or none.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl From<$name> for &'static str {
            fn from(value: $name) -> Self { value.word() }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.word()) }
        }
    };
}

words! {
    /// Which of the three programs a file is for.
    Role {
        /// The cipher gateway in front of servers.
        Gateway = "gateway",
        /// The client agent in front of applications.
        Client = "client",
        /// The key distribution centre.
        Kdc = "kdc",
    }
}
words! {
    /// How the XDP program is attached.
    XdpMode {
        /// Native if the driver can, else skb; which one is reported.
        Auto = "auto",
        /// Native only; refuse to start otherwise.
        Native = "native",
        /// Generic (skb) only.
        Skb = "skb",
    }
}
words! {
    /// How checksums of received frames are treated on a port (hazard 5).
    RxChecksum {
        /// A frame with a bad checksum is dropped.
        Verify = "verify",
        /// The sender left the checksum to its device (veth, virtio): recompute it in full.
        Offloaded = "offloaded",
    }
}
words! {
    /// How a worker waits for frames.
    PollMode {
        /// Never sleeps: one core at 100 % each.
        Busy = "busy",
        /// Spins for a while, then sleeps in poll.
        Adaptive = "adaptive",
    }
}
words! {
    /// The implementation that seals and opens.
    CipherKernel {
        /// The fastest that the CPU runs.
        Auto = "auto",
        /// VAES and VPCLMULQDQ on 512 bits.
        Vaes512 = "vaes512",
        /// VAES and VPCLMULQDQ on 256 bits.
        Vaes256 = "vaes256",
        /// AES-NI and PCLMULQDQ.
        Aesni = "aesni",
        /// Plain and slow, on every CPU.
        Portable = "portable",
    }
}
words! {
    /// What becomes of a connection to a service that asks for no cipher.
    Policy {
        /// Refused.
        Require = "require",
        /// Passes in clear, counted. No protection from an active attacker.
        Prefer = "prefer",
        /// Passes in clear, always.
        Off = "off",
    }
}
words! {
    /// When the server may see a SYN.
    Hold {
        /// Once the KDC has vouched for the client.
        Vouched = "vouched",
        /// Once the client has proved that it holds the session key.
        Confirmed = "confirmed",
    }
}
words! {
    /// What becomes of IP protocols other than TCP of a protected address.
    OtherTraffic {
        /// Forwarded in the kernel.
        Pass = "pass",
        /// Dropped in XDP, counted.
        Drop = "drop",
    }
}
words! {
    /// What becomes of protected traffic while no program serves the ports.
    FailMode {
        /// Dropped.
        Closed = "closed",
        /// Segments without our options pass in clear.
        Open = "open",
    }
}
words! {
    /// How the gateway talks to the KDC.
    KdcTransport {
        /// Datagrams.
        Udp = "udp",
        /// One connection per server, kept.
        Tcp = "tcp",
    }
}
words! {
    /// The least severe log line that is written.
    LogLevel {
        /// Failures only.
        Error = "error",
        /// And what needs attention.
        Warn = "warn",
        /// And what happens to the program as a whole.
        Info = "info",
        /// And each session; addresses appear from here on.
        Debug = "debug",
        /// And each packet.
        Trace = "trace",
    }
}

/// One checked file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// `role = "gateway"`.
    Gateway(GatewayConfig),
    /// `role = "client"`.
    Client(ClientConfig),
    /// `role = "kdc"`.
    Kdc(KdcConfig),
}

impl Config {
    /// The role that the file is for.
    pub fn role(&self) -> Role {
        match self {
            Self::Gateway(_) => Role::Gateway,
            Self::Client(_) => Role::Client,
            Self::Kdc(_) => Role::Kdc,
        }
    }

    /// The part that gateway and client share; none for the KDC.
    pub fn node(&self) -> Option<&NodeConfig> {
        match self {
            Self::Gateway(gateway) => Some(&gateway.node),
            Self::Client(client) => Some(&client.node),
            Self::Kdc(_) => None,
        }
    }

    /// The admin socket.
    pub fn admin(&self) -> &AdminConfig {
        match self {
            Self::Gateway(gateway) => &gateway.node.admin,
            Self::Client(client) => &client.node.admin,
            Self::Kdc(kdc) => &kdc.admin,
        }
    }

    /// The metrics listener.
    pub fn metrics(&self) -> &MetricsConfig {
        match self {
            Self::Gateway(gateway) => &gateway.node.metrics,
            Self::Client(client) => &client.node.metrics,
            Self::Kdc(kdc) => &kdc.metrics,
        }
    }

    /// The log settings.
    pub fn log(&self) -> &LogConfig {
        match self {
            Self::Gateway(gateway) => &gateway.node.log,
            Self::Client(client) => &client.node.log,
            Self::Kdc(kdc) => &kdc.log,
        }
    }
}

/// A cipher gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// What a gateway and a client agent have in common.
    pub node: NodeConfig,
    /// Where session keys come from.
    pub kdc: KdcAccess,
}

/// A client agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// What a gateway and a client agent have in common.
    pub node: NodeConfig,
}

/// What a gateway and a client agent have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// `[device]`.
    pub device: DeviceConfig,
    /// `[ports]`.
    pub ports: PortsConfig,
    /// `[workers]`.
    pub workers: WorkersConfig,
    /// `[[service]]`, in the order of the file; at least one.
    pub services: Vec<ServiceConfig>,
    /// `[delivery]`.
    pub delivery: DeliveryConfig,
    /// `[options]`.
    pub options: OptionsConfig,
    /// `[other]`.
    pub other: OtherConfig,
    /// `[metrics]`.
    pub metrics: MetricsConfig,
    /// `[admin]`.
    pub admin: AdminConfig,
    /// `[pin]`.
    pub pin: PinConfig,
    /// `[log]`.
    pub log: LogConfig,
}

/// `[device]`: who this device is to the KDC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Its identifier.
    pub id: DeviceName,
    /// File with its long-term key: 64 hex digits and a newline, mode 0600.
    pub key_file: PathBuf,
    /// Version of that key.
    pub key_version: u32,
}

/// `[ports]`: the two interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortsConfig {
    /// Interface of the side where payload is ciphered.
    pub cipher: String,
    /// Interface of the side where payload is plain.
    pub plain: String,
    /// How the XDP program is attached.
    pub mode: XdpMode,
    /// Checksum treatment of frames from the cipher port.
    pub rx_checksum_cipher: RxChecksum,
    /// Checksum treatment of frames from the plain port.
    pub rx_checksum_plain: RxChecksum,
}

/// `[workers]`: threads and their memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkersConfig {
    /// Worker threads; each has one queue of each port.
    pub count: u16,
    /// How they wait.
    pub poll: PollMode,
    /// What they seal and open with; the environment's `SEKISHO_CIPHER` goes before it.
    pub cipher: CipherKernel,
    /// The core of each worker, one per worker and all different; empty = not pinned by the file.
    pub cores: Vec<u16>,
    /// Frames of each worker; at least twice `ring`.
    pub frames: u32,
    /// Entries of each ring, a power of two.
    pub ring: u32,
    /// Sessions that each worker's table holds.
    pub sessions: u32,
}

/// `[[service]]`: what is protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceConfig {
    /// A name for people, and the service name in key delivery where addresses are rewritten on the path.
    pub name: Option<String>,
    /// The server's address or prefix.
    pub address: IpPrefix,
    /// Its TCP ports.
    pub ports: PortSet,
    /// What becomes of connections without cipher request.
    pub policy: Policy,
}

/// `[delivery]`: key delivery and the life of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// UDP port of key delivery.
    pub port: u16,
    /// When the server may see a SYN (gateway only; `vouched` in a client).
    pub hold: Hold,
    /// How long the opening segments are held before the connection is refused; at least 4 s.
    pub deadline: Duration,
    /// How long an ended session still seals and opens.
    pub linger: Duration,
    /// How long a silent session lives.
    pub idle: Duration,
}

/// `[options]`: the TCP option that carries requests and tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionsConfig {
    /// TCP option kind.
    pub kind: u8,
    /// Experiment identifier (RFC 6994), even; the odd one above it is used for key phase 1.
    pub exid: u16,
}

/// `[other]`: what is not TCP of a protected service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherConfig {
    /// Other IP protocols of protected addresses.
    pub ip: OtherTraffic,
    /// Protected traffic while the program is away.
    pub fail: FailMode,
}

/// `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where `/metrics` is served; none = not at all.
    pub listen: Option<SocketAddr>,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// The Unix socket that `status`, `sessions` and `doctor` ask.
    pub socket: PathBuf,
}

/// `[pin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinConfig {
    /// Directory in a bpffs for the links and maps that must outlive the process.
    pub directory: PathBuf,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least severe line that is written.
    pub level: LogLevel,
}

/// `[kdc]` of a gateway: where session keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KdcAccess {
    /// KDC addresses in order of preference; 1 to 8, all different.
    pub servers: Vec<SocketAddr>,
    /// How to talk to them.
    pub transport: KdcTransport,
    /// How long one request may take in all, retries and fail-over included.
    pub timeout: Duration,
}

/// A key distribution centre.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KdcConfig {
    /// UDP listener; at least one of the two listeners is there.
    pub listen_udp: Option<SocketAddr>,
    /// TCP listener.
    pub listen_tcp: Option<SocketAddr>,
    /// The registry's database file.
    pub registry: PathBuf,
    /// File with the master key: 64 hex digits and a newline, mode 0600.
    pub master_key_file: PathBuf,
    /// File that gets one line per request; none = no audit log.
    pub audit_log: Option<PathBuf>,
    /// Whether keys of devices that are not in the registry are derived from the master key.
    pub derived_keys: bool,
    /// Life of a session key that is written into each answer.
    pub key_lifetime: Duration,
    /// `[[gateway]]`: which gateway serves what.
    pub gateways: Vec<KdcGateway>,
    /// `[[permit]]`: which client may reach what.
    pub permits: Vec<KdcPermit>,
    /// `[metrics]`.
    pub metrics: MetricsConfig,
    /// `[admin]`.
    pub admin: AdminConfig,
    /// `[log]`.
    pub log: LogConfig,
}

/// `[[gateway]]` of a KDC: which services a gateway serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KdcGateway {
    /// The gateway's identifier.
    pub id: DeviceName,
    /// What it serves; at least one.
    pub services: Vec<ServicePattern>,
}

/// `[[permit]]` of a KDC: which client may reach what. Nothing is permitted that no entry permits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KdcPermit {
    /// The client, or none for every client (`"*"`).
    pub client: Option<DeviceName>,
    /// The gateway, or none for every gateway (`"*"`).
    pub gateway: Option<DeviceName>,
    /// The services; empty = all that the gateway serves.
    pub services: Vec<ServicePattern>,
    /// The policy that the client is told.
    pub policy: Policy,
}
