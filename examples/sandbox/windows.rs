//! Where the addresses of a recorded program lie in the reservation.
//!
//! A program's addresses span 47 bits and most of them are never used. So each
//! stretch that is used gets a window of its own in the guest, in which it lies as
//! it did, down to its place in a large page.

use addrspace::{AddrSpace, Error, Mapping, Placement, Prot, ignore};

use super::recording::{Act, Step};

/// What windows begin at and end at: a large page of most machines.
const LARGE: u64 = 2 << 20;
/// Stretches so close to each other share a window.
const CLOSE: u64 = 1 << 30;

/// The windows, ascending.
#[derive(Debug)]
pub(crate) struct Windows {
    windows: Vec<Window>,
    /// How many stretches there was no room for.
    pub(crate) left_out: usize,
}

/// The addresses from `start` up to, but without, `end` are in the guest at `to`.
#[derive(Clone, Copy, Debug)]
struct Window {
    start: u64,
    end: u64,
    to: u64,
}

impl Windows {
    /// Finds a place in `books` for all that `steps` map.
    pub(crate) fn around(steps: &[Step], books: &AddrSpace) -> Result<Self, Error> {
        // The places are tried out in a copy.
        let mut books = books.clone();
        let place = Placement::lowest().aligned(LARGE).guarded(LARGE, LARGE);
        let (mut windows, mut left_out) = (Vec::new(), 0_usize);
        for (start, end) in stretches(steps) {
            let taken = Mapping::anonymous(Prot::empty());
            match books.map_any(end.abs_diff(start), taken, place, ignore) {
                Ok(to) => windows.push(Window { start, end, to }),
                Err(Error::NoRoom { .. } | Error::ByteLimit { .. }) => {
                    left_out = left_out.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self { windows, left_out })
    }

    pub(crate) fn len(&self) -> usize {
        self.windows.len()
    }

    /// Where the `len` bytes at `at` are in the guest, if they are in one window.
    pub(crate) fn place(&self, at: u64, len: u64) -> Option<u64> {
        let end = at.checked_add(len)?;
        let window = self.windows.iter().find(|window| (window.start..window.end).contains(&at))?;
        (end <= window.end).then(|| window.to.saturating_add(at.abs_diff(window.start)))
    }

    /// Those of the `len` bytes at `at` that are in the guest: addresses there, and
    /// lengths.
    pub(crate) fn pieces(&self, at: u64, len: u64) -> impl Iterator<Item = (u64, u64)> {
        let end = at.saturating_add(len);
        self.windows.iter().filter_map(move |window| {
            let (first, last) = (at.max(window.start), end.min(window.end));
            let to = window.to.saturating_add(first.saturating_sub(window.start));
            (first < last).then(|| (to, last.abs_diff(first)))
        })
    }
}

/// The stretches that are used, ascending, with some distance between them.
fn stretches(steps: &[Step]) -> Vec<(u64, u64)> {
    let mut used = Vec::new();
    for step in steps {
        let range = match step.act {
            Act::Map { at, len, .. } => (at, len),
            Act::Remap { from, new_len, to, .. } => (to.unwrap_or(from), new_len),
            _ => continue,
        };
        used.push(range);
    }
    used.sort_unstable();
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    for (at, len) in used {
        let start = at & LARGE.wrapping_neg();
        let end = at.saturating_add(len).checked_next_multiple_of(LARGE);
        // What ends so high fits nowhere; its calls will find no window.
        let Some(end) = end.filter(|end| *end > start) else { continue };
        match stretches.last_mut() {
            Some(last) if start.saturating_sub(last.1) < CLOSE => last.1 = last.1.max(end),
            _ => stretches.push((start, end)),
        }
    }
    stretches
}
