//! Steps through a child one instruction at a time.
//!
//! Owns: ptrace, decoding, what a trace is and how two differ. Not: what the child does.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, Register};
use nix::libc::user_regs_struct;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::traced::KERNEL;

/// The longest instruction there is.
const LONGEST: usize = 15;
/// No window is as long: the child is lost.
const TOO_MANY: usize = 20_000_000;

/// The instructions of a window in their order, and the addresses that each touched.
#[derive(Default)]
pub(crate) struct Trace {
    events: Vec<Event>,
    /// How many instructions were of AES.
    pub(crate) rounds: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Executes(u64),
    Touches(u64),
}

/// The first difference of two traces.
pub(crate) struct Difference {
    /// The instruction: which touched another address, or behind which the path was another.
    pub(crate) at: u64,
    step: usize,
    path: bool,
}

impl Trace {
    /// Appends an instruction and what it touches.
    pub(crate) fn push(&mut self, at: u64, touched: impl IntoIterator<Item = u64>) {
        self.events.push(Event::Executes(at));
        self.events.extend(touched.into_iter().map(Event::Touches));
    }

    pub(crate) fn steps(&self) -> usize {
        executed(&self.events).count()
    }

    pub(crate) fn difference(&self, other: &Self) -> Option<Difference> {
        let both = self.events.iter().zip(&other.events);
        let same = both.take_while(|(one, other)| one == other).count();
        let next = [self.events.get(same), other.events.get(same)];
        if next == [None, None] {
            return None;
        }
        let step = executed(&self.events[..same]).count();
        let at = executed(&self.events[..same]).last().unwrap_or_default();
        let touches = |event: Option<&Event>| matches!(event, Some(Event::Touches(_)));
        Some(Difference { at, step, path: !next.into_iter().any(touches) })
    }
}

fn executed(events: &[Event]) -> impl Iterator<Item = u64> {
    events.iter().filter_map(|event| match event {
        Event::Executes(at) => Some(*at),
        Event::Touches(_) => None,
    })
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.path { "the path differs behind" } else { "another address in" };
        write!(f, "{what} step {}", self.step)
    }
}

/// A child of this test, stopped; killed on drop.
pub(crate) struct Tracee {
    child: Child,
    /// Of its threads the one that is traced: the harness of tests gives each test its own.
    thread: Pid,
    program: PathBuf,
    /// Where the program lies.
    base: u64,
    memory: File,
    decoded: HashMap<u64, Instruction>,
    info: InstructionInfoFactory,
    /// Whether it stands before a window.
    stands: bool,
    /// Its id may be another process's by now.
    ended: bool,
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
        }
        while !self.ended && self.wait().is_ok() {}
    }
}

impl Tracee {
    /// Starts this program again as the child; returns when it stands before its first window.
    pub(crate) fn start(kernel: &str) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(&program);
        command.args(["--exact", "traced_child", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(KERNEL, kernel).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let thread = Pid::from_raw(child.id().cast_signed());
        let memory = File::open(format!("/proc/{thread}/mem")).map_err(|error| {
            let _ = child.kill();
            let _ = child.wait();
            format!("the child's memory cannot be read: {error}")
        })?;
        let (decoded, info) = (HashMap::new(), InstructionInfoFactory::new());
        let mut tracee = Self {
            child,
            thread,
            program,
            base: 0,
            memory,
            decoded,
            info,
            stands: false,
            ended: false,
        };
        tracee.reach_stop().map_err(|error| {
            let why = "is ptrace denied here, by seccomp or because this is traced itself?";
            format!("the child cannot be traced ({why}): {error}")
        })?;
        ptrace::setoptions(tracee.thread, ptrace::Options::PTRACE_O_EXITKILL)
            .map_err(|error| format!("options of ptrace: {error}"))?;
        tracee.base = tracee.base()?;
        Ok(tracee)
    }

    /// Steps through a window, and on to the next or to the end.
    pub(crate) fn window(&mut self) -> Result<Trace, String> {
        let mut trace = Trace::default();
        for _ in 0..TOO_MANY {
            let registers =
                ptrace::getregs(self.thread).map_err(|error| format!("registers: {error}"))?;
            self.record(&registers, &mut trace)?;
            ptrace::step(self.thread, None).map_err(|error| format!("single step: {error}"))?;
            match self.wait()? {
                WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
                WaitStatus::Stopped(_, Signal::SIGSTOP) => {
                    self.go_on()?;
                    return Ok(trace);
                }
                other => return Err(format!("the child in a window: {other:?}")),
            }
        }
        Err(format!("a window without end: {TOO_MANY} steps"))
    }

    /// Sees the child end well behind its last window.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        if self.stands {
            return Err("the child has more windows than there are cases".to_owned());
        }
        while !self.ended {
            match self.wait()? {
                WaitStatus::Exited(_, 0) => {}
                other => return Err(format!("the child behind its last window: {other:?}")),
            }
        }
        Ok(())
    }

    /// For a reader of a failure: where an instruction stands.
    pub(crate) fn place(&self, at: u64) -> String {
        format!("addr2line -fiCe {} {:#x}", self.program.display(), at.wrapping_sub(self.base))
    }

    fn go_on(&mut self) -> Result<(), String> {
        self.stands = false;
        ptrace::cont(self.thread, None).map_err(|error| format!("continue: {error}"))?;
        self.reach_stop()
    }

    /// Waits for the stop before a window, or the end behind the last.
    fn reach_stop(&mut self) -> Result<(), String> {
        match self.wait()? {
            WaitStatus::Stopped(thread, Signal::SIGSTOP) => {
                (self.thread, self.stands) = (thread, true);
                Ok(())
            }
            WaitStatus::Exited(_, 0) if self.base != 0 => Ok(()),
            other => Err(format!("the child between windows: {other:?}")),
        }
    }

    /// Waits for what started here only: this thread's child and the traced thread of it.
    fn wait(&mut self) -> Result<WaitStatus, String> {
        let ours = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let status = waitpid(None, Some(ours)).map_err(|error| format!("wait: {error}"))?;
        let child = Pid::from_raw(self.child.id().cast_signed());
        self.ended = status.pid() == Some(child)
            && matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..));
        Ok(status)
    }

    /// The instruction that is next, and the addresses that it will touch.
    fn record(&mut self, registers: &user_regs_struct, trace: &mut Trace) -> Result<(), String> {
        let instruction = self.decode(registers.rip)?;
        trace.rounds += usize::from(is_aes(instruction.mnemonic()));
        let touched = self.info.info(&instruction).used_memory().iter().map(|memory| {
            let address = memory.virtual_address(0, |register, _, _| value(registers, register));
            address.ok_or_else(|| {
                format!("{:?} at {:#x} gathers", instruction.mnemonic(), registers.rip)
            })
        });
        let touched: Vec<u64> = touched.collect::<Result<_, _>>()?;
        trace.push(registers.rip, touched);
        Ok(())
    }

    fn decode(&mut self, at: u64) -> Result<Instruction, String> {
        if let Some(known) = self.decoded.get(&at) {
            return Ok(*known);
        }
        let mut octets = [0; LONGEST];
        let read =
            self.memory.read_at(&mut octets, at).map_err(|error| format!("{at:#x}: {error}"))?;
        let instruction = Decoder::with_ip(64, &octets[..read], at, DecoderOptions::NONE).decode();
        if instruction.is_invalid() {
            return Err(format!("no instruction at {at:#x}: {octets:02x?}"));
        }
        self.decoded.insert(at, instruction);
        Ok(instruction)
    }

    fn base(&self) -> Result<u64, String> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.thread));
        let maps = maps.map_err(|error| error.to_string())?;
        let program = self.program.to_string_lossy();
        let first = maps.lines().find(|line| line.ends_with(&*program));
        let from = first.and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok());
        from.ok_or_else(|| format!("{program} is not in the child's memory"))
    }
}

fn is_aes(mnemonic: Mnemonic) -> bool {
    use Mnemonic::{Aesenc, Aesenclast, Aeskeygenassist, Vaesenc, Vaesenclast, Vaeskeygenassist};
    matches!(
        mnemonic,
        Aesenc | Aesenclast | Aeskeygenassist | Vaesenc | Vaesenclast | Vaeskeygenassist
    )
}

/// What a register holds that is part of an address; `None` for a vector register.
fn value(registers: &user_regs_struct, register: Register) -> Option<u64> {
    let whole = match register.full_register() {
        Register::RAX => registers.rax,
        Register::RBX => registers.rbx,
        Register::RCX => registers.rcx,
        Register::RDX => registers.rdx,
        Register::RSI => registers.rsi,
        Register::RDI => registers.rdi,
        Register::RBP => registers.rbp,
        Register::RSP => registers.rsp,
        Register::R8 => registers.r8,
        Register::R9 => registers.r9,
        Register::R10 => registers.r10,
        Register::R11 => registers.r11,
        Register::R12 => registers.r12,
        Register::R13 => registers.r13,
        Register::R14 => registers.r14,
        Register::R15 => registers.r15,
        Register::FS => registers.fs_base,
        Register::GS => registers.gs_base,
        Register::ES | Register::CS | Register::SS | Register::DS => 0,
        _ => return None,
    };
    Some(if register.is_gpr32() { whole & 0xffff_ffff } else { whole })
}
