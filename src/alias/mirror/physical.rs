//! A second way to private pages: by their frames, through `/dev/mem`.
//!
//! A page is where `pagemap` says for as long as the kernel leaves it there, and nothing
//! holds it: a lock (`mlock`) keeps it in memory, not in its place. So the frames are
//! looked at before and after they are mapped, and again whenever somebody asks.

use super::super::error::AliasError;
use super::super::sys::{Errno, Held, Mapped};
use super::sources::{Part, Parts};
use super::{Guarantee, Missing};
use crate::exec::system_page;
use crate::phys::{Error, Frame, Pagemap, PhysMem};
use crate::{Prot, Span};
use std::fs;

/// What a physical alias keeps: where the pages were, and their locks.
#[derive(Debug)]
pub(super) struct Frames {
    /// Of all pages, in the order of the mirror.
    frames: Vec<u64>,
    /// The sources are let go when this ends.
    _held: Vec<Held>,
}

/// Maps the frames of `parts`.
pub(super) fn map(parts: &Parts, prot: Prot) -> Result<(Mapped, Frames), AliasError> {
    let held = parts.iter().map(hold).collect::<Result<Vec<_>, _>>()?;
    let frames = look(parts)?;
    let memory = Mapped::anonymous(parts.len, Prot::empty()).map_err(AliasError::kernel("mmap"))?;
    let device = PhysMem::options().cached();
    let device = if prot.contains(Prot::WRITE) { device.writable() } else { device };
    let device = device.open()?;
    let page = system_page().bytes();
    let mut at = memory.span().start();
    for run in frames.chunk_by(|one, next| one.checked_add(page) == Some(*next)) {
        let Some(&first) = run.first() else { continue };
        let len = u64::try_from(run.len()).unwrap_or(0).saturating_mul(page);
        let part = Span::of(at, len).ok_or(AliasError::Range { at, len, of: parts.len })?;
        memory.device(part, &device, first, prot).map_err(|errno| {
            let refused = Error::System {
                path: format!("/dev/mem at {first:#x}"),
                errno: errno.raw_os_error(),
            };
            AliasError::Phys(refused)
        })?;
        // Parts are side by side in the mirror.
        at = at.saturating_add(len);
    }
    let frames = Frames { frames, _held: held };
    if !frames.are_current(parts)? {
        return Err(AliasError::Moved);
    }
    Ok((memory, frames))
}

impl Frames {
    /// Whether the pages are where they were.
    pub(super) fn are_current(&self, parts: &Parts) -> Result<bool, AliasError> {
        match look(parts) {
            Ok(now) => Ok(now == self.frames),
            // Unmapped, or swapped out after somebody unlocked it.
            Err(AliasError::NotMapped { .. } | AliasError::Moved) => Ok(false),
            Err(other) => Err(other),
        }
    }
}

/// Where all pages are.
fn look(parts: &Parts) -> Result<Vec<u64>, AliasError> {
    let pagemap = Pagemap::of_self()?;
    let mut frames = Vec::new();
    for Part { source, .. } in parts.iter() {
        for page in pagemap.pages(source.start(), source.len().unwrap_or(0))? {
            frames.push(match page.frame {
                Frame::At(frame) => frame,
                Frame::Hidden => {
                    let (guarantee, missing) = (Guarantee::Live, Missing::Frames);
                    return Err(AliasError::Missing { guarantee, missing });
                }
                Frame::Swapped { .. } => return Err(AliasError::Moved),
                Frame::Absent => return Err(AliasError::NotMapped { span: source }),
            });
        }
    }
    Ok(frames)
}

/// Locks a source, keeps it out of children, and has its pages be there for writing, so
/// that none is shared with somebody until it is written.
fn hold(part: Part) -> Result<Held, AliasError> {
    let (locked, stays) = flags(part.source)?;
    let held = Held::new(part.source, !locked, !stays).map_err(AliasError::kernel("mlock"))?;
    held.populate().map_err(|errno| match errno {
        Errno::FAULT | Errno::NOMEM => AliasError::NotMapped { span: part.source },
        errno => AliasError::kernel("madvise")(errno),
    })?;
    Ok(held)
}

/// Whether a part of `span` is locked already, and whether one is kept out of children.
fn flags(span: Span) -> Result<(bool, bool), AliasError> {
    let listed = fs::read_to_string("/proc/self/smaps").map_err(|error| AliasError::Kernel {
        call: "reading /proc/self/smaps",
        errno: error.raw_os_error().unwrap_or(0),
    })?;
    let (mut inside, mut locked, mut stays) = (false, false, false);
    for line in listed.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or("");
        let hex = |digits| u64::from_str_radix(digits, 16).ok();
        let ends = first.split_once('-').and_then(|(a, b)| hex(a).zip(hex(b)));
        if let Some((start, end)) = ends {
            inside = start <= span.last() && span.start() < end;
        } else if inside && first == "VmFlags:" {
            for flag in words {
                locked |= flag == "lo";
                stays |= flag == "dc";
            }
        }
    }
    Ok((locked, stays))
}

/// Whether frames of private memory can be mapped here: tried with a page of our own.
pub(super) fn check() -> Result<(), Missing> {
    let own = Mapped::anonymous(system_page().bytes(), Prot::READ | Prot::WRITE);
    let own = own.map_err(|errno| Missing::Device { errno: errno.raw_os_error() })?;
    let made = Parts::new(&[own.span()]).and_then(|parts| map(&parts, Prot::READ));
    made.map(drop).map_err(|error| match error {
        AliasError::Missing { missing, .. } => missing,
        other => Missing::Device { errno: other.errno() },
    })
}
