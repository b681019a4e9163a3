//! What can go wrong, and which rule of the machine said so.

use super::sys::Errno;
use crate::{Prot, Span};
use core::fmt;
use core::time::Duration;
use std::path::PathBuf;

/// What was asked of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// `pread`.
    Read,
    /// `pwrite`.
    Write,
    /// `mmap`.
    Map,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Map => "map",
        })
    }
}

/// The rule by which the machine refuses.
///
/// The text of each names a way out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// The device node does not exist (`ENOENT`).
    NoNode,
    /// The node exists, and the kernel was built without what it is for (`ENXIO`,
    /// `ENODEV`): `CONFIG_DEVMEM`.
    NoDriver,
    /// The node's mode keeps this user out (`EACCES`).
    Permissions,
    /// This thread has no `CAP_SYS_RAWIO` (`EPERM` from `open`).
    Capability,
    /// The kernel is locked down, in this mode if it can be told (`EPERM`).
    Lockdown(Option<String>),
    /// `CONFIG_STRICT_DEVMEM`: memory that the kernel manages is nobody else's
    /// (`EPERM`). No boot parameter changes that.
    StrictDevmem,
    /// `CONFIG_IO_STRICT_DEVMEM`: a driver has the range (`EPERM`).
    IoStrictDevmem {
        /// Who, as `/proc/iomem` says.
        driver: Option<String>,
    },
    /// Refused by one of the two, and `/proc/iomem` does not say what is there.
    Strict,
    /// `pread` and `pwrite` reach memory that the kernel has mapped itself, and no
    /// further (`EFAULT`, or `EINVAL` from 2^63 on).
    BeyondSeek,
    /// Somebody has the page mapped with the other caching (`EAGAIN`).
    Caching,
    /// The processor has no such physical address (`EINVAL`).
    NoSuchAddress,
    /// None that is known.
    Other,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NoNode => "`mknod -m 600 /dev/mem c 1 1` makes the node of physical memory",
            Self::NoDriver => {
                "this kernel was built without the device (CONFIG_DEVMEM); boot one that has it"
            }
            Self::Permissions => "the mode of the device node keeps this user out; be root",
            Self::Capability => {
                "this thread has no CAP_SYS_RAWIO; keep it, or open the device before dropping it \
                 and pass the descriptor on"
            }
            Self::Lockdown(mode) => {
                let mode = mode.as_deref().unwrap_or("it seems");
                return write!(
                    f,
                    "the kernel is locked down ({mode}); boot without `lockdown=`, with secure \
                     boot off"
                );
            }
            Self::StrictDevmem => {
                "CONFIG_STRICT_DEVMEM keeps memory that the kernel manages; keep a range from it \
                 with `memmap=SIZE$ADDRESS`, or boot a kernel without the option"
            }
            Self::IoStrictDevmem { driver } => {
                let driver = driver.as_deref().unwrap_or("a driver");
                return write!(
                    f,
                    "CONFIG_IO_STRICT_DEVMEM keeps what a driver has, here `{driver}`; unbind it, \
                     or boot with `iomem=relaxed`"
                );
            }
            Self::Strict => {
                "CONFIG_STRICT_DEVMEM or CONFIG_IO_STRICT_DEVMEM keeps it, and /proc/iomem does \
                 not say what it is; read that with CAP_SYS_ADMIN, or try `iomem=relaxed`"
            }
            Self::BeyondSeek => {
                "reading and writing end with the memory that the kernel has mapped; use a window, \
                 or mapped mode"
            }
            Self::Caching => {
                "it is mapped with the other caching already; open the device cached if it was \
                 uncached, and the other way round"
            }
            Self::NoSuchAddress => "the processor has no such physical address",
            Self::Other => "no rule of /dev/mem explains it",
        };
        f.write_str(text)
    }
}

/// Why the machine refused: the rule, and what lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Why {
    /// The rule, with a way out in its text.
    pub rule: Rule,
    /// What `/proc/iomem` has there, and its span: of those that nest the one that
    /// the rule is about.
    pub region: Option<(Span, String)>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((span, name)) = &self.region {
            write!(f, "`{name}` is at {span}: ")?;
        }
        self.rule.fmt(f)
    }
}

/// Why a virtual address has no frame that could be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Untranslated {
    /// Nothing is mapped there.
    NotMapped,
    /// Nobody has touched the page yet, or the kernel has taken it back.
    NotPresent,
    /// It is in swap space.
    Swapped,
    /// A device's own memory, mapped without page structures (`VM_PFNMAP`):
    /// `pagemap` skips it. A mapping of `/dev/mem` is of this kind; its address is
    /// its offset.
    Device,
    /// The kernel shows frames to `CAP_SYS_ADMIN` alone.
    Hidden,
}

impl fmt::Display for Untranslated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMapped => "nothing is mapped there",
            Self::NotPresent => "the page is not there yet; touch it, or lock it",
            Self::Swapped => "the page is swapped out; lock it",
            Self::Device => "it is memory of a device, which pagemap skips",
            Self::Hidden => "frames are shown to CAP_SYS_ADMIN alone",
        })
    }
}

/// Why physical memory could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device cannot be opened. Nothing has changed.
    #[error("cannot open {}: {}; {rule}", path.display(), reason(*errno))]
    Open {
        /// The device file.
        path: PathBuf,
        /// The error number, positive.
        errno: i32,
        /// What it is due to.
        rule: Rule,
    },
    /// The descriptor cannot be read from. Nothing has changed.
    #[error("the descriptor is not open for reading")]
    NotReadable,
    /// The device was opened for reading. Nothing has changed.
    #[error("cannot write to {span}: the device is open for reading only")]
    ReadOnly {
        /// The bytes that were to be written.
        span: Span,
    },
    /// No bytes, or more than there are addresses. Nothing has changed.
    #[error("{len:#x} bytes at {addr:#x} are no range of physical memory that fits in here")]
    Range {
        /// The physical address.
        addr: u64,
        /// The length in bytes.
        len: u64,
    },
    /// A part lies outside of what is mapped. Nothing has changed.
    #[error("{len:#x} bytes at {addr:#x} are not all in {within}")]
    Outside {
        /// The physical address.
        addr: u64,
        /// The length in bytes.
        len: u64,
        /// What is mapped.
        within: Span,
    },
    /// A register is accessed at a multiple of its width. Nothing has changed.
    #[error("{addr:#x} is not a multiple of {width} bytes")]
    Unaligned {
        /// The physical address.
        addr: u64,
        /// The width in bytes.
        width: u64,
    },
    /// The window was mapped without this. Nothing has changed.
    #[error("{span} is mapped {prot:?}, which is not enough")]
    Protection {
        /// The window.
        span: Span,
        /// How it is mapped.
        prot: Prot,
    },
    /// The machine refused. The first `done` bytes are transferred.
    #[error("cannot {access} {span}{}: {}; {why}", Done(*done), reason(*errno))]
    Refused {
        /// The call.
        access: Access,
        /// All bytes that were asked for.
        span: Span,
        /// How many of them were transferred before.
        done: u64,
        /// The error number, positive.
        errno: i32,
        /// Which rule it is due to.
        why: Box<Why>,
    },
    /// The device ends within the range. The first `done` bytes are transferred; of a
    /// range to map, nothing is mapped.
    #[error("cannot {access} {span}: the device ends after {done:#x} bytes of it")]
    End {
        /// The call.
        access: Access,
        /// All bytes that were asked for.
        span: Span,
        /// How many of them there are.
        done: u64,
    },
    /// A register did not become what was waited for.
    #[error("the register at {addr:#x} was still {last:#x} after {waited:?}")]
    Timeout {
        /// The physical address.
        addr: u64,
        /// What was read last.
        last: u64,
        /// How long was waited.
        waited: Duration,
    },
    /// A file of the system cannot be read.
    #[error("cannot read {path}: {}", reason(*errno))]
    System {
        /// Its path.
        path: String,
        /// The error number, positive.
        errno: i32,
    },
    /// A line of a list of resources is not one.
    #[error("line {line} of the list of resources is none")]
    Syntax {
        /// Its number, from 1 on.
        line: usize,
    },
    /// A virtual address has no frame that could be told.
    #[error("{addr:#x} has no frame to be told: {why}")]
    Untranslated {
        /// The virtual address.
        addr: u64,
        /// Why.
        why: Untranslated,
    },
    /// The file of a dump refused. It has the first `done` bytes, or zeroes.
    #[error("cannot {call} {}{}: {}", path.display(), Done(*done), reason(*errno))]
    Target {
        /// Its path.
        path: PathBuf,
        /// What was tried.
        call: &'static str,
        /// How many bytes were written before.
        done: u64,
        /// The error number, positive.
        errno: i32,
    },
    /// The listener of a dump said so. The file has the first `done` bytes.
    #[error("stopped after {done:#x} bytes")]
    Stopped {
        /// How many bytes were read.
        done: u64,
    },
}

impl Error {
    /// The error number that fits, positive: the kernel's own, or what Linux answers
    /// to such a call.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::{PhysMem, Rule, Error};
    ///
    /// let missing = PhysMem::options().path("/dev/no-such-device").open().unwrap_err();
    /// assert_eq!(missing.errno(), 2); // ENOENT
    /// assert!(matches!(missing, Error::Open { rule: Rule::NoNode, .. }));
    /// ```
    pub const fn errno(&self) -> i32 {
        match self {
            Self::Open { errno, .. }
            | Self::Refused { errno, .. }
            | Self::System { errno, .. }
            | Self::Target { errno, .. } => *errno,
            Self::NotReadable | Self::ReadOnly { .. } => Errno::BADF.raw_os_error(),
            Self::Outside { .. } => Errno::FAULT.raw_os_error(),
            Self::Protection { .. } => Errno::ACCESS.raw_os_error(),
            Self::End { .. } => Errno::NXIO.raw_os_error(),
            Self::Timeout { .. } => Errno::TIMEDOUT.raw_os_error(),
            Self::Untranslated { why: Untranslated::Hidden, .. } => Errno::PERM.raw_os_error(),
            Self::Untranslated { .. } => Errno::NOENT.raw_os_error(),
            Self::Stopped { .. } => Errno::CANCELED.raw_os_error(),
            Self::Range { .. } | Self::Unaligned { .. } | Self::Syntax { .. } => {
                Errno::INVAL.raw_os_error()
            }
        }
    }

    /// The rule that the machine refused by, if it did.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::{PhysMem, Rule};
    ///
    /// let missing = PhysMem::options().path("/dev/no-such-device").open().unwrap_err();
    /// assert_eq!(missing.rule(), Some(&Rule::NoNode));
    /// ```
    pub fn rule(&self) -> Option<&Rule> {
        match self {
            Self::Open { rule, .. } => Some(rule),
            Self::Refused { why, .. } => Some(&why.rule),
            _ => None,
        }
    }
}

/// The system's words for an error number.
fn reason(errno: i32) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno)
}

struct Done(u64);

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            done => write!(f, " (after {done:#x} bytes)"),
        }
    }
}
