//! What the kernel has to do: each call as verbs of the books, and the named rules.

mod advise;
mod map;
mod protect;
mod remap;
mod remap_before;

use core::fmt;

use addrspace::{Error, PageSize};

use super::books::Books;
use super::call::{Call, Name};
use super::kernel::Area;
use super::rule::Rule;

/// Which rules `mremap` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mremap {
    /// Those before Linux 6.17.
    Before617,
    /// Those from Linux 6.17 on, which the books follow.
    From617,
}

/// What is to be expected of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// This answer, because the books say so.
    Books(i64),
    /// This answer, because of a rule.
    Rule(Rule, i64),
    /// One of two answers, because of a rule.
    Either(Rule, [i64; 2]),
    /// Any answer.
    Anything(Rule),
    /// It is not to be made.
    LeftOut(Rule),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Books(_) => Ok(()),
            Self::Rule(rule, _)
            | Self::Either(rule, _)
            | Self::Anything(rule)
            | Self::LeftOut(rule) => write!(f, " (by the rule {rule:?})"),
        }
    }
}

impl Expected {
    /// The rule that decides, if one does.
    pub(crate) const fn rule(self) -> Option<Rule> {
        match self {
            Self::Books(_) => None,
            Self::Rule(rule, _)
            | Self::Either(rule, _)
            | Self::Anything(rule)
            | Self::LeftOut(rule) => Some(rule),
        }
    }

    /// An answer that would do, if not every one does, unless `answer` does.
    pub(crate) fn misses(self, answer: i64) -> Option<i64> {
        match self {
            Self::Books(wanted) | Self::Rule(_, wanted) => (answer != wanted).then_some(wanted),
            Self::Either(_, wanted) => (!wanted.contains(&answer)).then_some(wanted[0]),
            Self::Anything(_) | Self::LeftOut(_) => None,
        }
    }
}

/// What the call is made upon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) page: PageSize,
    /// The lowest address that this process may map.
    pub(crate) low: u64,
    /// The end of user memory.
    pub(crate) end: u64,
    /// The kernel's list of the window, before the call.
    pub(crate) areas: &'a [Area],
    pub(crate) mremap: Mremap,
    /// How many shared memories have been made.
    pub(crate) made: usize,
}

impl Scene<'_> {
    /// Where the kernel's area around `addr` ends, if there is one.
    fn area_end(&self, addr: u64) -> Option<u64> {
        let area = self.areas.iter().find(|area| area.start <= addr && addr < area.end)?;
        Some(area.end)
    }
}

/// Does the call to the books as the kernel has to do it, and says what is to be
/// expected. `books` have begun with the call.
pub(crate) fn expect(call: &Call, books: &mut Books, scene: &Scene<'_>) -> Expected {
    let expected = match call.name {
        Name::Mmap => map::mmap(call, books, scene),
        Name::Munmap => {
            said(books.change(|space, note| space.unmap(call.args[0], call.args[1], note)))
        }
        Name::Mprotect => protect::mprotect(call, books, scene),
        Name::Mremap => remap::mremap(call, books, scene),
        Name::Madvise => advise::madvise(call, books, scene),
    };
    // What is mapped around the window could also grow or be duplicated into it.
    let from_outside = call.name == Name::Mremap && !books.in_window(call.args[0], call.args[0]);
    if books.strayed() || (from_outside && books.changed()) {
        return Expected::LeftOut(Rule::OwnMemory);
    }
    // The kernel looks for room there, and refuses to use it.
    let below = scene.low.saturating_sub(scene.page.bytes());
    if expected == Expected::Books(ENOMEM) && books.no_room().is_some_and(|len| len <= below) {
        return Expected::Either(Rule::LowAddress, [ENOMEM, EPERM]);
    }
    expected
}

/// The answer of a verb that tells nothing but success.
fn said(result: Result<(), Error>) -> Expected {
    Expected::Books(answer(result.map(|()| 0)))
}

/// The answer of a verb that tells an address.
fn answer(result: Result<u64, Error>) -> i64 {
    // User addresses are below 2^63.
    result.map_or_else(|error| -i64::from(error.errno()), u64::cast_signed)
}

const fn refused(errno: i32) -> i64 {
    // Error numbers are small, and nothing is lost.
    #[expect(clippy::as_conversions, reason = "`From` is not const")]
    -(errno as i64)
}

const EPERM: i64 = refused(libc::EPERM);
const EBADF: i64 = refused(libc::EBADF);
const ENOMEM: i64 = refused(libc::ENOMEM);
const EACCES: i64 = refused(libc::EACCES);
const EFAULT: i64 = refused(libc::EFAULT);
const EINVAL: i64 = refused(libc::EINVAL);
const EOVERFLOW: i64 = refused(libc::EOVERFLOW);
