//! What was asked of the books.

use std::cell::{Cell, RefCell};

use addrspace::{MapFlags, Mapping, Prot};

use crate::compare::Stretch;
use crate::plain::Destination;

/// The number of a space.
pub(crate) type Space = usize;

/// One thing that was asked of a space, and not refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) space: Space,
    pub(crate) ask: Ask,
}

/// What was asked. New spaces and children are numbered in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    New {
        page_size: u64,
    },
    Fork,
    Gone,
    Map {
        addr: u64,
        len: u64,
        mapping: Mapping,
    },
    Unmap {
        addr: u64,
        len: u64,
    },
    Protect {
        addr: u64,
        len: u64,
        prot: Prot,
    },
    SetFlags {
        addr: u64,
        len: u64,
        set: MapFlags,
        clear: MapFlags,
    },
    Remap {
        addr: u64,
        old_len: u64,
        new_len: u64,
        to: Destination,
    },
    /// The region around an address.
    Query {
        addr: u64,
    },
    /// The first so many regions in a stretch.
    Walk {
        within: Stretch,
        count: usize,
    },
    /// The first gap in a stretch.
    Gap {
        within: Stretch,
    },
}

thread_local! {
    static STEPS: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
    static SPACES: Cell<Space> = const { Cell::new(0) };
}

pub(crate) fn note(space: Space, ask: Ask) {
    STEPS.with_borrow_mut(|steps| steps.push(Step { space, ask }));
}

/// The number of a space that is new.
pub(crate) fn next_space() -> Space {
    SPACES.replace(SPACES.get() + 1)
}

/// The steps since the last call of this; spaces are counted from 0 again.
pub(crate) fn take() -> Vec<Step> {
    SPACES.set(0);
    STEPS.take()
}
