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
    who_keeps(&list, span)
}

/// Which of the two rules keeps `span`, by what is there.
fn who_keeps(list: &Iomem, span: Span) -> Why {
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
00001000-0009fbff : System RAM
  00010000-0001ffff : Kernel code
000f0000-000fffff : System ROM
c0000000-feffffff : PCI Bus 0000:00
  febd0000-febd3fff : 0000:00:04.0
    febd0800-febd0fff : nvme
  fec00000-fec00fff : 0000:00:05.0
";

    #[test]
    fn one_page_of_a_span_is_why_all_of_it_is_refused() {
        let list = Iomem::parse(LIST).unwrap();
        let driver = |name: &str| Rule::IoStrictDevmem { driver: Some(name.to_owned()) };
        let nobody = Rule::IoStrictDevmem { driver: None };
        let table = [
            (0x1_8000, 0x1_8fff, Rule::StrictDevmem, Some((0x1000, "System RAM"))),
            (0x9_fc00, 0x9_ffff, Rule::StrictDevmem, Some((0x1000, "System RAM"))), // its page
            (0x9_f000, 0xfebd_0fff, Rule::StrictDevmem, Some((0x1000, "System RAM"))),
            (0xfebd_0000, 0xfebd_3fff, driver("nvme"), Some((0xfebd_0800, "nvme"))),
            (0xfebd_0000, 0xfebd_0003, driver("nvme"), Some((0xfebd_0800, "nvme"))), // its page
            (0xfebd_1000, 0xfebd_3fff, nobody.clone(), Some((0xfebd_0000, "0000:00:04.0"))),
            (0xfec0_0000, 0xfec0_0fff, nobody.clone(), Some((0xfec0_0000, "0000:00:05.0"))),
            (0xa_0000, 0xa_0fff, nobody, None),
        ];
        for (first, last, rule, region) in table {
            let why = who_keeps(&list, Span::new(first, last).unwrap());
            let found = why.region.as_ref().map(|(span, name)| (span.start(), &**name));
            assert_eq!((why.rule, found), (rule, region), "{first:#x}..={last:#x}");
        }
    }

    #[test]
    fn why_a_device_does_not_open_is_told_by_the_number() {
        let table = [
            (Errno::NOENT, Rule::NoNode),
            (Errno::NOTDIR, Rule::NoNode),
            (Errno::NXIO, Rule::NoDriver),
            (Errno::NODEV, Rule::NoDriver),
            (Errno::ACCESS, Rule::Permissions),
            (Errno::IO, Rule::Other),
        ];
        for (errno, rule) in table {
            assert_eq!(open(errno), rule);
        }
        let rule =
            if has_rawio() == Some(false) { Rule::Capability } else { Rule::Lockdown(lockdown()) };
        assert_eq!(open(Errno::PERM), rule);
    }

    #[test]
    fn why_a_range_is_refused_is_told_by_call_and_number() {
        let span = Span::new(0x1000, 0x1fff).unwrap();
        let table = [
            (Access::Map, Errno::AGAIN, Rule::Caching),
            (Access::Map, Errno::INVAL, Rule::NoSuchAddress),
            (Access::Map, Errno::OVERFLOW, Rule::NoSuchAddress),
            (Access::Read, Errno::FAULT, Rule::BeyondSeek),
            (Access::Write, Errno::INVAL, Rule::BeyondSeek),
            (Access::Read, Errno::IO, Rule::Other),
        ];
        for (call, errno, rule) in table {
            assert_eq!(access(call, span, errno).rule, rule);
        }
    }
}
