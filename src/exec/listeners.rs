//! Those who hear of each change.

use crate::Update;
use core::any::Any;
use core::fmt;
use core::mem;
use core::panic::AssertUnwindSafe;
use std::panic::{catch_unwind, resume_unwind};

type Listener = Box<dyn FnMut(Update<'_>) + Send>;

/// The listeners of an executor.
#[derive(Default)]
pub(super) struct Listeners {
    all: Vec<Listener>,
    /// The first panic of one of them, until the books are true again.
    panic: Option<Box<dyn Any + Send>>,
}

impl Listeners {
    pub(super) fn add(&mut self, listener: Listener) {
        self.all.push(listener);
    }

    /// Tells all of a change that the kernel has made.
    #[inline]
    pub(super) fn tell(&mut self, update: Update<'_>) {
        if !self.all.is_empty() {
            self.tell_each(update);
        }
    }

    #[cold]
    fn tell_each(&mut self, update: Update<'_>) {
        for listener in &mut self.all {
            // The change is made and has to be recorded, and the others have to
            // hear of it, whatever one of them does.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| listener(update))) {
                match &self.panic {
                    None => self.panic = Some(panic),
                    // Dropping it could panic in turn.
                    Some(_) => mem::forget(panic),
                }
            }
        }
    }

    /// Goes on with the panic of a listener, if there was one.
    #[inline]
    pub(super) fn resume(&mut self) {
        if let Some(panic) = self.panic.take() {
            resume_unwind(panic);
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.all.len())
    }
}
