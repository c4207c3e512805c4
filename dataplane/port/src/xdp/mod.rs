//! The XDP program in the kernel: its object, its settings and maps, one loaded copy for each
//! port. Where it is attached is `attach`'s, what is protected is `services`'.

mod attach;
mod bpffs;
mod counters;
mod pin;
mod services;
#[cfg(test)]
mod tests;

use std::path::Path;

use aya::maps::xdp::XdpMapError;
use aya::maps::{Array, DevMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use thiserror::Error;

pub use attach::{AttachError, ModeChoice, XdpMode};
pub(crate) use attach::{Attachment, attached_program};
pub(crate) use bpffs::prepare as prepare_pin_directory;
pub use counters::{XdpCounter, XdpCounters};
pub(crate) use pin::PinPlace;
pub use services::ServiceDiff;
pub(crate) use services::ServiceMaps;

use crate::io::PortSide;
use crate::service::ServiceError;

/// The compiled object, eight-byte aligned as the ELF reader wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sekisho.bpf.o"));

const PROGRAM: &str = "sekisho";

/// Maps that both ports' programs use.
const SHARED_MAPS: [&str; 5] =
    ["services4", "services6", "service_ports", "service_count", "clear_flows"];

/// Queues that `xsks_map` has room for (`MAX_QUEUES` of the XDP program).
pub(crate) const MAX_QUEUES: usize = 64;

/// What could not be done with the XDP program or its maps.
#[derive(Debug, Error)]
pub enum FilterError {
    /// The object cannot be loaded: privilege (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON) or kernel.
    #[error("cannot load the XDP program's object: {0}")]
    Load(#[source] Box<EbpfError>),
    /// The kernel refused the program.
    #[error("the kernel refused the XDP program: {0}")]
    Program(#[source] Box<ProgramError>),
    /// A map operation failed.
    #[error("XDP map: {0}")]
    Map(#[source] Box<MapError>),
    /// The device map refused the other port.
    #[error("cannot name the other port to the XDP program: {0}")]
    Peer(#[source] Box<XdpMapError>),
    /// The object lacks a map or the program: the build is broken.
    #[error("the XDP object has no `{0}`: rebuild")]
    Missing(&'static str),
    /// The list of services is impossible.
    #[error(transparent)]
    Services(#[from] ServiceError),
    /// The directory that programs and maps are pinned in cannot be used.
    #[error("{path}: {error}; links are pinned there, so it must be a bpffs or an empty directory")]
    PinDirectory {
        /// The directory.
        path: std::path::PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A gateway that lives has its links there.
    #[error(
        "{path} is locked: a gateway runs with it; stop that one, or configure another [pin] \
         directory"
    )]
    InUse {
        /// The port's place within the pin directory.
        path: std::path::PathBuf,
    },
    /// Attaching failed.
    #[error(transparent)]
    Attach(Box<AttachError>),
}

/// Errors of the loader are large, and rare: boxed.
macro_rules! boxed {
    ($($error:ty => $variant:ident,)*) => {
        $(impl From<$error> for FilterError {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        })*
    };
}

boxed! {
    EbpfError => Load,
    ProgramError => Program,
    MapError => Map,
    XdpMapError => Peer,
    AttachError => Attach,
}

/// What becomes of a protected address's traffic that is neither TCP nor key delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherTraffic {
    /// It passes to the other port, as it came.
    #[default]
    Pass,
    /// It is dropped, neighbour discovery excepted.
    Drop,
}

/// What becomes of protected TCP while no worker is bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailMode {
    /// It is dropped.
    #[default]
    Closed,
    /// Connections that begin meanwhile pass in clear; those that began before stay dropped.
    Open,
}

/// What the XDP program is told besides the services; may change at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterPolicy {
    /// UDP port of key delivery.
    pub key_delivery_port: u16,
    /// Other protocols of protected addresses.
    pub other: OtherTraffic,
    /// Protected TCP without a gateway.
    pub fail: FailMode,
    /// Kind of our TCP options, for `fail = open`.
    pub option_kind: u8,
    /// Experiment identifier of our TCP options; its last bit is the key phase.
    pub option_exid: u16,
}

impl Default for FilterPolicy {
    /// Design defaults: key delivery on port 1088, other traffic passes, fail closed.
    fn default() -> Self {
        Self {
            key_delivery_port: 1088,
            other: OtherTraffic::Pass,
            fail: FailMode::Closed,
            option_kind: 253,
            option_exid: 0x5E50,
        }
    }
}

/// `struct settings` of the XDP program.
#[derive(Clone, Copy)]
#[repr(C)]
struct Settings {
    valid: u32,
    protected_is_destination: u32,
    key_delivery_port: u32,
    other_pass: u32,
    fail_open: u32,
    option_kind: u32,
    option_exid: u32,
    plain: u32,
}

// SAFETY: eight u32 without padding; every bit pattern is valid.
unsafe impl Pod for Settings {}

/// One port's loaded program with its own maps.
pub(crate) struct Filter {
    object: Ebpf,
    settings: Array<MapData, Settings>,
    tx_port: DevMap<MapData>,
    /// True where a protected address is the destination of what comes in by this port.
    protected_is_destination: bool,
    /// The port that opened payload leaves by.
    plain: bool,
}

impl Filter {
    /// Loads the program for the port `side`. It drops everything until it has settings.
    ///
    /// Shared maps are pinned in `shared` by the first object that is loaded and found there by
    /// the second; without `shared` all maps are this object's own.
    fn load(
        side: PortSide,
        servers_behind: PortSide,
        shared: Option<&Path>,
    ) -> Result<Self, FilterError> {
        let mut loader = EbpfLoader::new();
        if let Some(directory) = shared {
            for name in SHARED_MAPS {
                loader.map_pin_path(name, directory.join(name));
            }
        }
        let mut object = loader.load(OBJECT)?;
        let settings = take_map(&mut object, "settings")?;
        let tx_port = take_map(&mut object, "tx_port")?;
        let mut filter = Self {
            object,
            settings,
            tx_port,
            protected_is_destination: side != servers_behind,
            plain: side == PortSide::Plain,
        };
        filter.program()?.load()?;
        Ok(filter)
    }

    /// Loads both ports' programs over one set of service tables, which are empty: IP is dropped
    /// until they are filled.
    pub(crate) fn load_pair(
        servers_behind: PortSide,
        pin_directory: &Path,
    ) -> Result<([Self; 2], ServiceMaps), FilterError> {
        let shared = bpffs::ScratchDirectory::create(pin_directory)?;
        let load = |side| Self::load(side, servers_behind, Some(shared.path()));
        let mut filters = [load(PortSide::Cipher)?, load(PortSide::Plain)?];
        let services = ServiceMaps::take(&mut filters[0].object)?;
        Ok((filters, services))
    }

    fn program(&mut self) -> Result<&mut Xdp, FilterError> {
        let program = self.object.program_mut(PROGRAM);
        Ok(program.ok_or(FilterError::Missing(PROGRAM))?.try_into()?)
    }

    /// Makes `policy` the program's from the next frame on.
    pub(crate) fn set_policy(&mut self, policy: &FilterPolicy) -> Result<(), FilterError> {
        let settings = Settings {
            valid: 1,
            protected_is_destination: self.protected_is_destination.into(),
            key_delivery_port: policy.key_delivery_port.into(),
            other_pass: (policy.other == OtherTraffic::Pass).into(),
            fail_open: (policy.fail == FailMode::Open).into(),
            option_kind: policy.option_kind.into(),
            option_exid: (policy.option_exid & !1).into(),
            plain: self.plain.into(),
        };
        Ok(self.settings.set(0, settings, 0)?)
    }

    /// Names the port that foreign traffic is sent to.
    pub(crate) fn set_peer(&mut self, interface_index: u32) -> Result<(), FilterError> {
        Ok(self.tx_port.set(0, interface_index, None, 0)?)
    }

    pub(crate) fn counters(&self) -> Result<XdpCounters, FilterError> {
        let map = self.object.map("counters").ok_or(FilterError::Missing("counters"))?;
        Ok(XdpCounters::read(&PerCpuArray::try_from(map)?)?)
    }

    /// The kernel's number for the loaded program.
    pub(crate) fn program_id(&mut self) -> Result<u32, FilterError> {
        Ok(self.program()?.info()?.id())
    }

    pub(crate) fn attach(
        &mut self,
        interface_index: u32,
        choice: ModeChoice,
        pin: PinPlace,
    ) -> Result<Attachment, FilterError> {
        Ok(Attachment::make(self.program()?, interface_index, choice, pin)?)
    }
}

fn take_map<M: TryFrom<Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<M, FilterError> {
    let map = object.take_map(name).ok_or(FilterError::Missing(name))?;
    Ok(M::try_from(map)?)
}
