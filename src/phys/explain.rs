//! After a refusal: which rule of the machine it was.

use super::error::{Access, Rule, Why};
use super::iomem::Iomem;
use super::sys::Errno;
use crate::Span;
use rustix::thread::{CapabilitySet, capabilities};
use std::fs;

/// Why a device cannot be opened.
pub(super) fn open(errno: Errno) -> Rule {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Rule::NoNode,
        Errno::NXIO | Errno::NODEV => Rule::NoDriver,
        Errno::ACCESS => Rule::Permissions,
        Errno::PERM => match (lockdown(), has_rawio()) {
            // The kernel asks for the capability first.
            (_, Some(false)) => Rule::Capability,
            (mode, _) => Rule::Lockdown(mode),
        },
        _ => Rule::Other,
    }
}

/// Why `/dev/mem` refuses access to `span`.
pub(super) fn access(access: Access, span: Span, errno: Errno) -> Why {
    let rule = match (access, errno) {
        (_, Errno::PERM) => return not_permitted(span),
        (Access::Map, Errno::AGAIN) => Rule::Caching,
        (Access::Map, Errno::INVAL | Errno::OVERFLOW) => Rule::NoSuchAddress,
        (Access::Read | Access::Write, Errno::FAULT | Errno::INVAL) => Rule::BeyondSeek,
        _ => Rule::Other,
    };
    let region = Iomem::read().ok().and_then(|list| {
        let region = list.at(span.start())?;
        Some((region.span(), region.name().to_owned()))
    });
    Why { rule, region }
}

fn not_permitted(span: Span) -> Why {
    if let Some(mode) = lockdown() {
        return Why { rule: Rule::Lockdown(Some(mode)), region: None };
    }
    let Some(list) = Iomem::read().ok().filter(|list| !list.is_hidden()) else {
        return Why { rule: Rule::Strict, region: None };
    };
    // The whole of a range is refused for one page of it, and one byte of memory in a
    // page makes the page memory.
    let page = rustix::param::page_size().try_into().unwrap_or(1_u64).saturating_sub(1);
    let pages = Span::new(span.start() & !page, span.last() | page).unwrap_or(span);
    if let Some(ram) = list.first_ram(pages) {
        let region = Some((ram.span(), ram.name().to_owned()));
        return Why { rule: Rule::StrictDevmem, region };
    }
    match list.first_driver(pages) {
        Some(held) => Why {
            rule: Rule::IoStrictDevmem { driver: Some(held.name().to_owned()) },
            region: Some((held.span(), held.name().to_owned())),
        },
        None => Why {
            rule: Rule::IoStrictDevmem { driver: None },
            region: list.at(span.start()).map(|found| (found.span(), found.name().to_owned())),
        },
    }
}

/// The mode of lockdown, if there is one.
fn lockdown() -> Option<String> {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (_, rest) = modes.split_once('[')?;
    let (mode, _) = rest.split_once(']')?;
    (mode != "none").then(|| mode.to_owned())
}

fn has_rawio() -> Option<bool> {
    let sets = capabilities(None).ok()?;
    Some(sets.effective.contains(CapabilitySet::SYS_RAWIO))
}
