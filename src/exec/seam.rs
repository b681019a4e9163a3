//! The seam at which a test makes a system call fail.
//!
//! Every call of a verb, and every look at the kernel's own list or at a file, goes
//! through [`gate`]; what gives memory back in a `drop` does not. Outside of tests it
//! is nothing.

use super::error::Syscall;
use super::sys::Errno;
use crate::Span;

#[cfg(not(test))]
#[inline]
pub(super) fn gate(
    _call: Syscall,
    span: Span,
    make: impl FnOnce(Span) -> Result<(), Errno>,
) -> Result<(), Errno> {
    make(span)
}

/// The same for a call that can lose nothing of `span`, because it maps elsewhere.
pub(super) fn gate_elsewhere(
    call: Syscall,
    span: Span,
    make: impl FnOnce(Span) -> Result<(), Errno>,
) -> Result<(), Errno> {
    #[cfg(test)]
    if Plan::next(call, span).is_some() {
        return Err(Errno::NOMEM);
    }
    #[cfg(not(test))]
    let _ = call;
    make(span)
}

/// The same for a question about a file.
pub(super) fn gate_file<T>(ask: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    #[cfg(test)]
    if Plan::next(Syscall::Fstat, Span::new(0, 0).ok_or(Errno::FAULT)?).is_some() {
        return Err(Errno::NOMEM);
    }
    ask()
}

#[cfg(test)]
pub(super) use plan::{Failure, Plan, gate};

#[cfg(test)]
mod plan {
    use super::super::sys;
    use super::{Errno, Span, Syscall};
    use core::cell::RefCell;

    /// What happens instead of a call.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) enum Failure {
        /// Nothing is done.
        Refused,
        /// What was in the range is gone and nothing is there, as by a driver whose
        /// own `mmap` fails; for calls that replace, otherwise `Refused`.
        Lost,
        /// The first half of the range is changed, as by `mprotect` over a region
        /// that cannot be; for calls that do this, otherwise `Refused`.
        Half,
    }

    /// Which calls of this thread fail, and which calls there were.
    #[derive(Debug, Default)]
    pub(in super::super) struct Plan {
        /// The number of calls that go well before.
        pub(in super::super) passes: usize,
        /// How many calls fail after those, and how.
        pub(in super::super) fails: Option<(usize, Failure)>,
        /// Whether the kernel's own list can be read all the same.
        pub(in super::super) sees: bool,
        /// Whether the kernel's own list is read as text, as of an older kernel.
        pub(in super::super) text: bool,
        /// All calls since the plan was made.
        pub(in super::super) calls: Vec<(Syscall, Span)>,
    }

    thread_local! {
        static PLAN: RefCell<Plan> = RefCell::default();
    }

    impl Plan {
        /// Puts the plan into force and hands out the one before, with its calls.
        pub(in super::super) fn install(self) -> Self {
            PLAN.replace(self)
        }

        /// Whether `PROCMAP_QUERY` is not to be had.
        pub(in super::super) fn text_alone() -> bool {
            PLAN.with_borrow(|plan| plan.text)
        }

        /// How the next call fails, if it does.
        pub(in super::super) fn next(call: Syscall, span: Span) -> Option<Failure> {
            PLAN.with_borrow_mut(|plan| {
                plan.calls.push((call, span));
                if call == Syscall::Maps && plan.sees {
                    return None;
                }
                let (left, failure) = plan.fails.as_mut()?;
                if let Some(passes) = plan.passes.checked_sub(1) {
                    plan.passes = passes;
                    return None;
                }
                *left = left.checked_sub(1)?;
                Some(*failure)
            })
        }
    }

    pub(in super::super) fn gate(
        call: Syscall,
        span: Span,
        make: impl FnOnce(Span) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let Some(failure) = Plan::next(call, span) else { return make(span) };
        match (failure, call) {
            (Failure::Lost, Syscall::Mmap | Syscall::Mremap) => sys::lose(span),
            (
                Failure::Half,
                Syscall::Mprotect | Syscall::Madvise | Syscall::Mlock | Syscall::Munlock,
            ) => {
                let half = span.len().map(|len| (len >> 1) & !0xfff);
                if let Some(half) = half.and_then(|half| Span::of(span.start(), half)) {
                    make(half)?;
                }
            }
            _ => {}
        }
        Err(Errno::NOMEM)
    }
}
