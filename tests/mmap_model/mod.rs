//! libmmap page by page, as dull as can be, and calls of it whose callbacks call back.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by tests and fuzz targets; not each calls all of it"
)]

pub mod capi;

use addrspace::capi::mmap_c::MMapInfo;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;

/// A call, and how a callback of it may look like from within another.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Any { hint: usize, len: usize, info: MMapInfo },
    At { addr: usize, len: usize, info: MMapInfo, told: bool },
    Unmap { addr: usize, len: usize, told: bool },
    Protect { addr: usize, len: usize, prot: i32, told: bool },
    Query { addr: usize },
    Mark,
    UnmapNonOriginal { told: bool },
    Reset,
    Random { seed: u64 },
}

/// What was seen: a callback, or the end of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Told { start: usize, len: usize, info: MMapInfo },
    Answer(Answer),
}

/// What a call answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Addr(usize),
    Error(i32),
    Info(Option<MMapInfo>),
    Nothing,
}

/// What hears of a piece.
pub type Tell<'a> = &'a dyn Fn(usize, usize, MMapInfo);

/// Something that answers like libmmap: the model, or the functions for C.
pub trait Mmap {
    fn call(&self, op: &Op, tell: Tell<'_>) -> Answer;
}

/// Makes calls, answers callbacks by further calls, and keeps what was seen.
pub struct Run<'a> {
    mmap: &'a dyn Mmap,
    /// What the next callbacks do.
    reactions: RefCell<VecDeque<Vec<Op>>>,
    depth: Cell<usize>,
    pub seen: RefCell<Vec<Event>>,
}

impl<'a> Run<'a> {
    pub fn new(mmap: &'a dyn Mmap, reactions: &[Vec<Op>]) -> Self {
        Self {
            mmap,
            reactions: RefCell::new(reactions.iter().cloned().collect()),
            depth: Cell::new(0),
            seen: RefCell::default(),
        }
    }

    pub fn call(&self, op: &Op) {
        let answer = self.mmap.call(op, &|start, len, info| self.hear(start, len, info));
        self.seen.borrow_mut().push(Event::Answer(answer));
    }

    fn hear(&self, start: usize, len: usize, info: MMapInfo) {
        self.seen.borrow_mut().push(Event::Told { start, len, info });
        if self.depth.get() == 3 {
            return;
        }
        let reaction = self.reactions.borrow_mut().pop_front().unwrap_or_default();
        self.depth.set(self.depth.get() + 1);
        for op in &reaction {
            self.call(op);
        }
        self.depth.set(self.depth.get() - 1);
    }
}

/// Every page with what it is.
pub struct Model {
    first: usize,
    page: usize,
    pages: RefCell<Vec<Option<MMapInfo>>>,
    random: Cell<Option<u64>>,
}

impl Model {
    /// The pages of the `len` bytes at `start`, which fit.
    pub fn new(start: usize, len: usize, page: usize) -> Self {
        let pages = RefCell::new(vec![None; len.div_ceil(page)]);
        Self { first: start - start % page, page, pages, random: Cell::new(None) }
    }

    pub fn addr(&self, page: usize) -> usize {
        self.first.wrapping_add(page * self.page)
    }

    pub fn len(&self) -> usize {
        self.pages.borrow().len()
    }

    fn range(&self, addr: usize, len: usize) -> Option<Range<usize>> {
        let from = addr.checked_sub(self.first)?;
        let pages = len.div_ceil(self.page);
        let room = self.len().checked_sub(pages)?;
        (len > 0 && from % self.page == 0 && from / self.page <= room)
            .then(|| from / self.page..from / self.page + pages)
    }

    /// The entries in `range`, cut to it: runs of equal pages.
    fn pieces(&self, range: Range<usize>) -> Vec<(Range<usize>, MMapInfo)> {
        let pages = self.pages.borrow();
        let mut pieces: Vec<(Range<usize>, MMapInfo)> = Vec::new();
        for at in range {
            let Some(info) = pages[at] else { continue };
            match pieces.last_mut() {
                Some((run, last)) if run.end == at && *last == info => run.end += 1,
                _ => pieces.push((at..at + 1, info)),
            }
        }
        pieces
    }

    fn tell_piece(&self, told: bool, tell: Tell<'_>, (run, info): &(Range<usize>, MMapInfo)) {
        if told {
            tell(self.addr(run.start), run.len() * self.page, *info);
        }
    }

    fn tell_all(&self, told: bool, tell: Tell<'_>, range: &Range<usize>) {
        for piece in self.pieces(range.clone()) {
            self.tell_piece(told, tell, &piece);
        }
    }

    fn set(&self, range: Range<usize>, info: Option<MMapInfo>) {
        self.pages.borrow_mut()[range].fill(info);
    }

    fn is_free(&self, range: Range<usize>) -> bool {
        self.pages.borrow()[range].iter().all(Option::is_none)
    }

    fn any(&self, hint: usize, len: usize) -> Option<Range<usize>> {
        if hint != 0
            && let Some(range) = self.range(hint, len)
            && self.is_free(range.clone())
        {
            return Some(range);
        }
        let pages = len.div_ceil(self.page);
        let last = self.len().checked_sub(pages).filter(|_| len > 0)?;
        let places: Vec<usize> = (0..=last).filter(|&at| self.is_free(at..at + pages)).collect();
        let mut nth = 0;
        if let Some(state) = self.random.get() {
            // splitmix64
            let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let count = u64::try_from(places.len()).unwrap();
            nth = usize::try_from((bits ^ (bits >> 31)).checked_rem(count)?).unwrap();
            self.random.set(Some(state));
        }
        places.get(nth).map(|&at| at..at + pages)
    }
}

const FAILED: Answer = Answer::Addr(usize::MAX);
const INVALID: Answer = Answer::Error(1);
const OK: Answer = Answer::Error(0);

impl Mmap for Model {
    fn call(&self, op: &Op, tell: Tell<'_>) -> Answer {
        match *op {
            Op::Any { hint, len, info } => {
                let Some(range) = self.any(hint, len) else { return FAILED };
                self.set(range.clone(), Some(info));
                Answer::Addr(self.addr(range.start))
            }
            Op::At { addr, len, info, told } => {
                let Some(range) = self.range(addr, len) else { return FAILED };
                self.tell_all(told, tell, &range);
                self.set(range, Some(info));
                Answer::Addr(addr)
            }
            Op::Unmap { addr, len, told } => {
                let Some(range) = self.range(addr, len) else { return INVALID };
                self.tell_all(told, tell, &range);
                self.set(range, None);
                OK
            }
            Op::Protect { addr, len, prot, told } => {
                let Some(range) = self.range(addr, len) else { return INVALID };
                for piece in self.pieces(range) {
                    self.tell_piece(told, tell, &piece);
                    self.set(piece.0, Some(MMapInfo { prot, ..piece.1 }));
                }
                OK
            }
            Op::Query { addr } => {
                let page = addr.checked_sub(self.first).map(|from| from / self.page);
                Answer::Info(page.and_then(|at| *self.pages.borrow().get(at)?))
            }
            Op::Mark => {
                for page in self.pages.borrow_mut().iter_mut().flatten() {
                    page.original = true;
                }
                Answer::Nothing
            }
            Op::UnmapNonOriginal { told } => {
                for (run, info) in self.pieces(0..self.len()) {
                    if !info.original {
                        self.tell_all(told, tell, &run);
                        self.set(run, None);
                    }
                }
                Answer::Nothing
            }
            Op::Reset => {
                self.set(0..self.len(), None);
                Answer::Nothing
            }
            Op::Random { seed } => {
                self.random.set(Some(seed));
                Answer::Nothing
            }
        }
    }
}
