//! The sections and keys of each file: the one table behind unknown-key errors, defaults, ranges and the reference.

use crate::types::{
    CipherKernel, FailMode, Hold, KdcTransport, LogLevel, OtherTraffic, Policy, PollMode, Role,
    RxChecksum, XdpMode,
};

/// A section of the file.
pub(crate) struct Section {
    /// Its name; empty for the keys before the first section.
    pub(crate) name: &'static str,
    /// `[[name]]`, any number of times.
    pub(crate) repeated: bool,
    /// Whether it must be there at least once.
    pub(crate) required: bool,
    /// The files that it stands in.
    pub(crate) roles: &'static [Role],
    /// One or two sentences.
    pub(crate) help: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
}

/// A key of a section.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) fallback: Fallback,
    /// Whether a reload may change it.
    pub(crate) live: bool,
    pub(crate) help: &'static str,
}

/// What a value looks like.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A whole number within bounds.
    Integer(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// One of some words.
    Words(&'static [&'static str]),
    /// A string with a meaning, named here for the reference.
    Text(&'static str),
    /// Anything else, described here for the reference.
    Other(&'static str),
}

/// What holds if the key is not there.
#[derive(Clone, Copy)]
pub(crate) enum Fallback {
    /// It must be there.
    Required,
    /// Nothing; the help says what that means.
    Absent,
    /// This value.
    Value(&'static str),
}

use Fallback::{Absent, Required, Value};
use Kind::{Boolean, Integer, Other, Text, Words};

/// A key that needs a restart to change.
const fn fixed(name: &'static str, kind: Kind, fallback: Fallback, help: &'static str) -> Key {
    Key { name, kind, fallback, live: false, help }
}

/// A key that a reload may change.
const fn live(name: &'static str, kind: Kind, fallback: Fallback, help: &'static str) -> Key {
    Key { name, kind, fallback, live: true, help }
}

const NODE: &[Role] = &[Role::Gateway, Role::Client];
const GATEWAY: &[Role] = &[Role::Gateway];
const CLIENT: &[Role] = &[Role::Client];
const KDC: &[Role] = &[Role::Kdc];
const EVERY: &[Role] = &[Role::Gateway, Role::Client, Role::Kdc];

const DEADLINE: Key = fixed(
    "deadline_ms",
    Integer(4000, 60_000),
    Value("5000"),
    "How long opening segments wait for key delivery before the connection is refused.",
);
const DELIVERY_PORT: Key = fixed(
    "port",
    Integer(1, 65535),
    Value("1088"),
    "UDP port of key delivery; the same at client and gateway.",
);
const LINGER: Key = fixed(
    "linger_ms",
    Integer(100, 600_000),
    Value("10000"),
    "How long an ended session still seals and opens late segments before its keys are wiped.",
);
const IDLE: Key = fixed(
    "idle_s",
    Integer(1, 604_800),
    Value("10800"),
    "How long a silent session lives. Keep it above the hosts' TCP keep-alive.",
);

/// All sections, in the order of the reference.
pub(crate) static SECTIONS: &[Section] = &[
    Section {
        name: "",
        repeated: false,
        required: true,
        roles: EVERY,
        help: "Before the first section.",
        keys: &[fixed("role", Words(Role::WORDS), Required, "Which program the file is for.")],
    },
    Section {
        name: "device",
        repeated: false,
        required: true,
        roles: NODE,
        help: "Who this device is to the KDC.",
        keys: &[
            fixed(
                "id",
                Text("device identifier"),
                Required,
                "`ip:10.0.0.1`, `mac:02:00:00:00:00:01` or `name:gw1`.",
            ),
            fixed(
                "key_file",
                Text("path"),
                Required,
                "Long-term key: 64 hex digits and a newline, mode 0600.",
            ),
            fixed(
                "key_version",
                Integer(0, 4_294_967_295),
                Value("1"),
                "Version of that key in the KDC's registry.",
            ),
        ],
    },
    Section {
        name: "ports",
        repeated: false,
        required: true,
        roles: NODE,
        help: "The two interfaces that traffic passes between. They belong to Sekisho: no address, equal MTU.",
        keys: &[
            fixed(
                "cipher",
                Text("interface"),
                Required,
                "Where payload is ciphered: towards the network.",
            ),
            fixed(
                "plain",
                Text("interface"),
                Required,
                "Where payload is plain: servers, or a client's applications.",
            ),
            fixed(
                "mode",
                Words(XdpMode::WORDS),
                Value("auto"),
                "XDP attach mode; `auto` takes native if the driver can.",
            ),
            fixed(
                "rx_checksum",
                Other("`\"verify\"` or `\"offloaded\"`, or `{ cipher = …, plain = … }`"),
                Value("verify"),
                "`offloaded` where the sender leaves checksums to its device (veth, virtio); `doctor` finds such ports.",
            ),
        ],
    },
    Section {
        name: "workers",
        repeated: false,
        required: false,
        roles: NODE,
        help: "Dataplane threads. Each owns one queue of each port, its frames and its sessions.",
        keys: &[
            fixed(
                "count",
                Integer(1, 64),
                Value("1"),
                "Number of workers, at most the queues of a port.",
            ),
            fixed(
                "poll",
                Words(PollMode::WORDS),
                Value("adaptive"),
                "`busy` never sleeps; `adaptive` spins, then sleeps.",
            ),
            fixed(
                "cipher",
                Words(CipherKernel::WORDS),
                Value("auto"),
                "What seals and opens; `auto` is the fastest that the CPU runs. One that it cannot run is refused at start. The environment's `SEKISHO_CIPHER` goes before it.",
            ),
            fixed(
                "cores",
                Other("list of CPU numbers"),
                Absent,
                "One core for each worker; absent = unpinned.",
            ),
            fixed(
                "frames",
                Integer(256, 1_048_576),
                Value("4096"),
                "Frames (4 KiB) of each worker; at least twice `ring`.",
            ),
            fixed(
                "ring",
                Integer(64, 16_384),
                Value("2048"),
                "Entries of each ring; a power of two.",
            ),
            fixed(
                "sessions",
                Integer(64, 16_777_216),
                Value("65536"),
                "Sessions in each worker's table.",
            ),
        ],
    },
    Section {
        name: "service",
        repeated: true,
        required: true,
        roles: NODE,
        help: "What is protected: servers by address and TCP port. The longest prefix decides.",
        keys: &[
            live(
                "address",
                Text("address or prefix"),
                Required,
                "`10.0.2.10`, `10.0.2.0/24`, `fd00::/64`.",
            ),
            live(
                "ports",
                Other("list of ports and ranges, or `\"all\"`"),
                Required,
                "`[80, 443, \"8000-8100\"]`.",
            ),
            live(
                "policy",
                Words(Policy::WORDS),
                Value("require"),
                "Without a cipher request: `require` refuses, `prefer` and `off` pass in clear.",
            ),
            live(
                "name",
                Text("name"),
                Absent,
                "For people, and for key delivery where addresses are rewritten on the path.",
            ),
        ],
    },
    Section {
        name: "kdc",
        repeated: false,
        required: true,
        roles: GATEWAY,
        help: "Where session keys come from.",
        keys: &[
            live(
                "servers",
                Other("list of `address:port`"),
                Required,
                "1 to 8 KDCs, in order of preference.",
            ),
            live("transport", Words(KdcTransport::WORDS), Value("udp"), "How to talk to them."),
            live(
                "timeout_ms",
                Integer(100, 30_000),
                Value("1000"),
                "For one request, retries and fail-over included.",
            ),
        ],
    },
    Section {
        name: "delivery",
        repeated: false,
        required: false,
        roles: GATEWAY,
        help: "Key delivery and the life of a session.",
        keys: &[
            DELIVERY_PORT,
            fixed(
                "hold",
                Words(Hold::WORDS),
                Value("vouched"),
                "When the server sees a SYN: once the KDC vouches for the client, or once the client confirmed the key.",
            ),
            DEADLINE,
            LINGER,
            IDLE,
        ],
    },
    Section {
        name: "delivery",
        repeated: false,
        required: false,
        roles: CLIENT,
        help: "Key delivery and the life of a session. When the server sees a SYN (`hold`) is the gateway's choice.",
        keys: &[DELIVERY_PORT, DEADLINE, LINGER, IDLE],
    },
    Section {
        name: "options",
        repeated: false,
        required: false,
        roles: NODE,
        help: "The TCP option that carries requests and tags; the same at client and gateway.",
        keys: &[
            fixed(
                "kind",
                Integer(20, 254),
                Value("253"),
                "Option kind; 253 and 254 are for experiments (RFC 6994).",
            ),
            fixed(
                "exid",
                Integer(0, 65_534),
                Value("0x5E50"),
                "Experiment identifier, even; the next one is used too.",
            ),
        ],
    },
    Section {
        name: "other",
        repeated: false,
        required: false,
        roles: NODE,
        help: "Traffic of protected addresses that is not ciphered.",
        keys: &[
            fixed(
                "ip",
                Words(OtherTraffic::WORDS),
                Value("pass"),
                "IP protocols other than TCP (UDP, ICMP).",
            ),
            fixed(
                "fail",
                Words(FailMode::WORDS),
                Value("closed"),
                "Protected traffic while the program is away.",
            ),
        ],
    },
    Section {
        name: "kdc",
        repeated: false,
        required: true,
        roles: KDC,
        help: "The key distribution centre itself.",
        keys: &[
            fixed(
                "listen_udp",
                Text("address:port"),
                Absent,
                "UDP listener; at least one of the two must be there.",
            ),
            fixed("listen_tcp", Text("address:port"), Absent, "TCP listener."),
            fixed(
                "registry",
                Text("path"),
                Value("/var/lib/sekisho/kdc.redb"),
                "Database of devices.",
            ),
            fixed(
                "master_key_file",
                Text("path"),
                Required,
                "Master key: 64 hex digits and a newline, mode 0600.",
            ),
            fixed(
                "audit_log",
                Text("path"),
                Absent,
                "One line per request is added here; absent = none.",
            ),
            fixed(
                "derived_keys",
                Boolean,
                Value("false"),
                "Derive keys of unregistered devices from the master key.",
            ),
            live(
                "key_lifetime_s",
                Integer(60, 86_400),
                Value("3600"),
                "Life of a session key, told to both ends.",
            ),
        ],
    },
    Section {
        name: "gateway",
        repeated: true,
        required: true,
        roles: KDC,
        help: "Which services a gateway serves.",
        keys: &[
            live("id", Text("device identifier"), Required, "The gateway."),
            live(
                "services",
                Other("list of services"),
                Required,
                "`10.0.2.10:80`, `10.0.2.0/24:*`, `[fd00::1]:443`, `name:web`, `*`.",
            ),
        ],
    },
    Section {
        name: "permit",
        repeated: true,
        required: false,
        roles: KDC,
        help: "Which client may reach what. The first entry that matches decides; what none matches is forbidden.",
        keys: &[
            live(
                "client",
                Text("device identifier or `*`"),
                Required,
                "The client; `*` = every known client.",
            ),
            live(
                "gateway",
                Text("device identifier or `*`"),
                Required,
                "The gateway; `*` = every gateway.",
            ),
            live(
                "services",
                Other("list of services"),
                Absent,
                "As in `[[gateway]]`; absent = all that it serves.",
            ),
            live(
                "policy",
                Words(Policy::WORDS),
                Value("require"),
                "Told to the client, which keeps to it; `off` forbids.",
            ),
        ],
    },
    Section {
        name: "metrics",
        repeated: false,
        required: false,
        roles: EVERY,
        help: "Prometheus metrics.",
        keys: &[fixed(
            "listen",
            Text("address:port"),
            Value("127.0.0.1:9478"),
            "Where `/metrics` is served; `off` = nowhere.",
        )],
    },
    Section {
        name: "admin",
        repeated: false,
        required: false,
        roles: EVERY,
        help: "The socket that `status`, `sessions` and `doctor` ask.",
        keys: &[fixed(
            "socket",
            Text("path"),
            Absent,
            "Unix socket; absent = `/run/sekisho/ROLE.sock`.",
        )],
    },
    Section {
        name: "pin",
        repeated: false,
        required: false,
        roles: NODE,
        help: "What must outlive the process, so that protected traffic stays blocked without it.",
        keys: &[fixed(
            "directory",
            Text("path"),
            Value("/sys/fs/bpf/sekisho"),
            "A directory in a mounted bpffs.",
        )],
    },
    Section {
        name: "log",
        repeated: false,
        required: false,
        roles: EVERY,
        help: "Log lines on standard error.",
        keys: &[live(
            "level",
            Words(LogLevel::WORDS),
            Value("info"),
            "Addresses appear from `debug` on, packets at `trace`.",
        )],
    },
];

/// Words of `rx_checksum`, which may be a word or a table.
pub(crate) const RX_CHECKSUM_WORDS: &[&str] = RxChecksum::WORDS;

/// The section of a name in the file of a role.
pub(crate) fn section(role: Role, name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name && section.roles.contains(&role))
}

impl Section {
    /// The key of a name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// `[name]` or `[[name]]`.
    pub(crate) fn title(&self) -> String {
        if self.repeated { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}
