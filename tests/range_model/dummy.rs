//! A value that counts its copies and panics when told to.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::panic::resume_unwind;

/// What a [`Dummy`] can be told to panic in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Clone,
    Eq,
    Drop,
}

thread_local! {
    static ARMED: Cell<Option<(Call, u32)>> = const { Cell::new(None) };
    static LIVE: RefCell<HashSet<u64>> = RefCell::new(HashSet::new());
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// Makes the call after `after` others of its kind panic, on this thread.
pub fn arm(call: Call, after: u32) {
    ARMED.set(Some((call, after)));
}

/// Makes nothing panic any more; says whether it would still have.
pub fn disarm() -> bool {
    ARMED.take().is_some()
}

/// How many dummies of this thread are alive.
pub fn live() -> usize {
    LIVE.with_borrow(HashSet::len)
}

fn step(call: Call) {
    match ARMED.get() {
        Some((armed, 0)) if armed == call && !std::thread::panicking() => {
            ARMED.set(None);
            // Not `panic!`, which would print each of some thousand expected ones.
            resume_unwind(Box::new("a dummy's panic"));
        }
        Some((armed, left)) if armed == call && left > 0 => ARMED.set(Some((armed, left - 1))),
        _ => {}
    }
}

/// A value with an identity of its own; equal when the tag is.
#[derive(Debug)]
pub struct Dummy {
    pub tag: u8,
    id: u64,
}

impl Dummy {
    pub fn new(tag: u8) -> Self {
        let id = NEXT.get();
        NEXT.set(id + 1);
        LIVE.with_borrow_mut(|live| live.insert(id));
        Self { tag, id }
    }

    fn assert_alive(&self) {
        assert!(LIVE.with_borrow(|live| live.contains(&self.id)), "a dead value is used");
    }
}

impl Clone for Dummy {
    fn clone(&self) -> Self {
        self.assert_alive();
        step(Call::Clone);
        Self::new(self.tag)
    }
}

impl PartialEq for Dummy {
    fn eq(&self, other: &Self) -> bool {
        self.assert_alive();
        other.assert_alive();
        step(Call::Eq);
        self.tag == other.tag
    }
}

impl Drop for Dummy {
    fn drop(&mut self) {
        let was_alive = LIVE.with_borrow_mut(|live| live.remove(&self.id));
        assert!(was_alive || std::thread::panicking(), "dropped twice");
        step(Call::Drop);
    }
}
