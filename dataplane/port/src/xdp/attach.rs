//! The link between a program and a port: made or taken over, pinned so that it outlives the
//! process, and removed only on purpose.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::pin::PinError;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode as Hook};
use libbpf_sys::{bpf_get_link_xdp_info, xdp_link_info};
use thiserror::Error;
use tracing::{info, warn};

use super::pin::PinPlace;

/// Which XDP mode to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeChoice {
    /// Native, and skb mode where the driver has no native XDP.
    #[default]
    Auto,
    /// Native or an error.
    Native,
    /// Skb (generic) mode.
    Skb,
}

/// The mode a program runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, before the kernel allocates anything.
    Native,
    /// On the kernel's packet buffers: slower.
    Skb,
}

impl XdpMode {
    /// Label for status and metrics: `native` or `skb`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }
}

/// Why a program is not attached to a port.
#[derive(Debug, Error)]
pub enum AttachError {
    /// Somebody else's program is there.
    #[error(
        "another XDP program (id {id}) is attached; see it with `ip link show` and remove it with \
         `ip link set dev PORT xdp off`, or remove the pin that holds it"
    )]
    Occupied {
        /// The other program.
        id: u32,
    },
    /// The driver refused the program in the mode wanted.
    #[error("the kernel refused to attach: {0}")]
    Refused(#[source] ProgramError),
    /// The kernel has no links for XDP (before 5.9): what is attached could not be pinned.
    #[error("this kernel has no BPF links for XDP: Linux 5.9 or later is needed: {0}")]
    NoLink(#[source] LinkError),
    /// The link could not be pinned.
    #[error("cannot pin the link: {0}")]
    Pin(#[from] PinError),
    /// The pin could not be removed.
    #[error("cannot remove the pin {path}: {error}")]
    Unpin {
        /// The pin.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The port's program could not be asked for.
    #[error("cannot ask for the port's XDP program: {0}")]
    Query(#[source] io::Error),
    /// The program that runs is not the one we attached.
    #[error("XDP program {found} runs on the port where {expected} was attached")]
    Replaced {
        /// Ours.
        expected: u32,
        /// The one that runs, 0 for none.
        found: u32,
    },
}

/// A program's place on a port. Dropped before [`keep`](Self::keep) it undoes itself if it was
/// made here; afterwards it stays until [`detach`](Self::detach), process or not.
pub(crate) struct Attachment {
    link: Option<FdLink>,
    pin: PinPlace,
    mode: XdpMode,
    taken_over: bool,
    keep: bool,
}

impl Attachment {
    pub(super) fn make(
        program: &mut Xdp,
        index: u32,
        choice: ModeChoice,
        pin: PinPlace,
    ) -> Result<Self, AttachError> {
        let expected = program.info().map_err(AttachError::Refused)?.id();
        let path = pin.link();
        let taken = take_over(program, index, choice, &path)?;
        let taken_over = taken.is_some();
        let link = match taken {
            Some(link) => link,
            None => attach(program, index, choice, &path)?,
        };
        let mut attachment =
            Self { link: Some(link), pin, mode: XdpMode::Skb, taken_over, keep: taken_over };
        attachment.mode = verify(index, expected)?;
        Ok(attachment)
    }

    pub(crate) fn mode(&self) -> XdpMode {
        self.mode
    }

    /// True if a predecessor's pinned link was taken over, so that no frame was unfiltered.
    pub(crate) fn taken_over(&self) -> bool {
        self.taken_over
    }

    /// From now on the program stays attached when this is dropped: fail closed.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Takes the program off the port: the kernel forwards nothing between the ports then.
    pub(crate) fn detach(mut self) -> Result<(), AttachError> {
        self.keep = true;
        self.remove()
    }

    fn remove(&mut self) -> Result<(), AttachError> {
        let path = self.pin.link();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(AttachError::Unpin { path, error });
            }
            _ => {}
        }
        self.link = None;
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = self.remove()
        {
            warn!(%error, "an XDP program stays attached");
        }
    }
}

/// Puts our program in place of a predecessor's, without a moment in which none is attached.
/// None if there is no pinned link, or one that is of no use.
fn take_over(
    program: &mut Xdp,
    index: u32,
    choice: ModeChoice,
    pin: &Path,
) -> Result<Option<FdLink>, AttachError> {
    if !pin.exists() {
        return Ok(None);
    }
    let ours = program.info().map_err(AttachError::Refused)?.id();
    let before = attached_program(index)?.map(|(_, mode)| mode);
    let wrong_mode = match before {
        Some(XdpMode::Skb) => choice == ModeChoice::Native,
        Some(XdpMode::Native) => choice == ModeChoice::Skb,
        None => true,
    };
    if !wrong_mode {
        match replace(program, pin) {
            // The link may belong to a device of the same name that is gone.
            Ok(link) if attached_program(index)?.is_some_and(|(id, _)| id == ours) => {
                info!(pin = %pin.display(), "took over the pinned link");
                return Ok(Some(link));
            }
            Ok(_) => warn!(pin = %pin.display(), "the pinned link belongs to another device"),
            Err(error) => warn!(pin = %pin.display(), %error, "the pinned link is of no use"),
        }
    }
    fs::remove_file(pin).map_err(|error| AttachError::Unpin { path: pin.to_owned(), error })?;
    Ok(None)
}

#[derive(Debug, Error)]
enum ReplaceError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Program(#[from] ProgramError),
}

fn replace(program: &mut Xdp, pin: &Path) -> Result<FdLink, ReplaceError> {
    let pinned: FdLink = PinnedLink::from_pin(pin)?.into();
    let id = program.attach_to_link(XdpLink::try_from(pinned)?)?;
    Ok(program.take_link(id)?.try_into()?)
}

fn attach(
    program: &mut Xdp,
    index: u32,
    choice: ModeChoice,
    pin: &Path,
) -> Result<FdLink, AttachError> {
    if let Some((id, _)) = attached_program(index)? {
        return Err(AttachError::Occupied { id });
    }
    let native = || Hook::Driver;
    let id = match choice {
        ModeChoice::Native => program.attach_to_if_index(index, native()),
        ModeChoice::Skb => program.attach_to_if_index(index, Hook::Skb),
        ModeChoice::Auto => program.attach_to_if_index(index, native()).or_else(|error| {
            warn!(%error, index, "no native XDP on this port, falling back to skb mode");
            program.attach_to_if_index(index, Hook::Skb)
        }),
    };
    let id = id.map_err(AttachError::Refused)?;
    let link = program.take_link(id).map_err(AttachError::Refused)?;
    let link: FdLink = link.try_into().map_err(AttachError::NoLink)?;
    Ok(link.pin(pin)?.into())
}

fn verify(index: u32, expected: u32) -> Result<XdpMode, AttachError> {
    match attached_program(index)? {
        Some((id, mode)) if id == expected => Ok(mode),
        other => Err(AttachError::Replaced { expected, found: other.map_or(0, |(id, _)| id) }),
    }
}

/// The program that runs on a port and its mode, if there is one.
pub(crate) fn attached_program(index: u32) -> Result<Option<(u32, XdpMode)>, AttachError> {
    /// `XDP_ATTACHED_SKB` of linux/if_link.h.
    const ATTACHED_SKB: u8 = 2;
    let mut info =
        xdp_link_info { prog_id: 0, drv_prog_id: 0, hw_prog_id: 0, skb_prog_id: 0, attach_mode: 0 };
    // SAFETY: `info` is a valid, writable structure of the size given; the call keeps no pointer.
    let result =
        unsafe { bpf_get_link_xdp_info(index as i32, &mut info, size_of_val(&info) as u64, 0) };
    if result < 0 {
        return Err(AttachError::Query(io::Error::from_raw_os_error(-result)));
    }
    if info.prog_id == 0 {
        return Ok(None);
    }
    let mode = if info.attach_mode == ATTACHED_SKB { XdpMode::Skb } else { XdpMode::Native };
    Ok(Some((info.prog_id, mode)))
}
