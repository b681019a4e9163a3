//! Who keeps the books, and the play of a journal.

use addrspace::{AddrSpace, Backing, MapFlags, Mapping, Prot, Region, Remap, Span, Update};

use crate::compare::Stretch;
use crate::journal::{Ask, Step};
use crate::plain::{Books, Destination};

/// Where a keeper tells of what a change displaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) pieces: u64,
    pub(crate) bytes: u64,
}

impl Heard {
    pub(crate) fn piece(&mut self, len: u64) {
        self.pieces += 1;
        self.bytes = self.bytes.wrapping_add(len);
    }
}

/// The verbs that programs were recorded with. None is asked what it would refuse.
pub(crate) trait Keeper {
    fn empty(page_size: u64) -> Self;
    fn fork(&self) -> Self;
    fn map(&mut self, addr: u64, len: u64, mapping: Mapping, heard: &mut Heard);
    fn unmap(&mut self, addr: u64, len: u64, heard: &mut Heard);
    fn protect(&mut self, addr: u64, len: u64, prot: Prot, heard: &mut Heard);
    fn set_flags(&mut self, addr: u64, len: u64, set: MapFlags, clear: MapFlags, heard: &mut Heard);
    fn remap(&mut self, addr: u64, old_len: u64, new_len: u64, to: Destination);
    /// The end of the region around `addr`.
    fn query(&self, addr: u64) -> Option<u64>;
    /// The sum of the ends of the first `count` pieces.
    fn walk(&self, within: Stretch, count: usize) -> u64;
    /// The start of the first gap.
    fn gap(&self, within: Stretch) -> Option<u64>;
    fn regions(&self) -> usize;
    /// Shows each region: start, end, protection, flags, backing at the start.
    fn each(&self, show: impl FnMut(u64, u64, Prot, MapFlags, Backing<u32>));
}

/// What a play amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    heard: Heard,
    answers: u64,
    /// Of all spaces when they end.
    pub(crate) most_regions: usize,
    contents: u64,
}

/// Asks a keeper all that the journal has. `SUMMED` is whether the outcome has the
/// contents, which takes longer than all the rest.
pub(crate) fn play<K: Keeper, const SUMMED: bool>(steps: &[Step]) -> Outcome {
    let mut spaces: Vec<Option<K>> = Vec::new();
    let Outcome { mut heard, mut answers, mut most_regions, mut contents } = Outcome::default();
    let mut add = |answer: u64| answers = answers.wrapping_mul(31).wrapping_add(answer);
    for &Step { space, ask } in steps {
        if let Ask::New { page_size } = ask {
            spaces.push(Some(K::empty(page_size)));
            continue;
        }
        let keeper = spaces[space].as_mut().expect("a space that is there");
        match ask {
            Ask::New { .. } => {}
            Ask::Fork => {
                let child = keeper.fork();
                spaces.push(Some(child));
            }
            Ask::Gone => {
                if SUMMED {
                    most_regions = most_regions.max(keeper.regions());
                    contents = digest(keeper, contents);
                }
                spaces[space] = None;
            }
            Ask::Map { addr, len, mapping } => keeper.map(addr, len, mapping, &mut heard),
            Ask::Unmap { addr, len } => keeper.unmap(addr, len, &mut heard),
            Ask::Protect { addr, len, prot } => keeper.protect(addr, len, prot, &mut heard),
            Ask::SetFlags { addr, len, set, clear } => {
                keeper.set_flags(addr, len, set, clear, &mut heard);
            }
            Ask::Remap { addr, old_len, new_len, to } => keeper.remap(addr, old_len, new_len, to),
            Ask::Query { addr } => add(keeper.query(addr).unwrap_or(0)),
            Ask::Walk { within, count } => add(keeper.walk(within, count)),
            Ask::Gap { within } => add(keeper.gap(within).unwrap_or(0)),
        }
    }
    assert!(spaces.iter().all(Option::is_none), "all spaces have ended");
    Outcome { heard, answers, most_regions, contents }
}

fn digest(keeper: &impl Keeper, before: u64) -> u64 {
    let mut sum = before;
    let mut add = |word: u64| sum = (sum ^ word).wrapping_mul(0x0100_0000_01b3);
    keeper.each(|start, end, prot, flags, backing| {
        let (kind, handle, offset) = match backing {
            Backing::Anonymous => (0, 0, 0),
            Backing::Physical { addr } => (1, 0, addr),
            Backing::File { file, offset } => (2, file, offset),
            Backing::Tag { handle, value } => (3, handle, value),
        };
        let words =
            [start, end, prot.bits().into(), flags.bits().into(), kind, handle.into(), offset];
        words.into_iter().for_each(&mut add);
    });
    sum
}

fn len_of(region: &Region<'_>) -> u64 {
    region.len().expect("no space has 2^64 bytes")
}

/// Hears what is displaced.
fn hear(heard: &mut Heard) -> impl FnMut(Update<'_>) {
    |update| {
        for piece in update.pieces() {
            heard.piece(len_of(&piece));
        }
    }
}

const GOOD: &str = "what was not refused before";

impl Keeper for AddrSpace {
    fn empty(page_size: u64) -> Self {
        Self::new(0, Books::everything().end, page_size).expect(GOOD)
    }
    fn fork(&self) -> Self {
        self.fork(|region| !region.flags.contains(MapFlags::DONT_FORK))
    }
    fn map(&mut self, addr: u64, len: u64, mapping: Mapping, heard: &mut Heard) {
        self.map_at(addr, len, mapping, hear(heard)).expect(GOOD);
    }
    fn unmap(&mut self, addr: u64, len: u64, heard: &mut Heard) {
        self.unmap(addr, len, hear(heard)).expect(GOOD);
    }
    fn protect(&mut self, addr: u64, len: u64, prot: Prot, heard: &mut Heard) {
        self.protect(addr, len, prot, hear(heard)).expect(GOOD);
    }
    fn set_flags(
        &mut self,
        addr: u64,
        len: u64,
        set: MapFlags,
        clear: MapFlags,
        heard: &mut Heard,
    ) {
        self.set_flags(addr, len, set, clear, hear(heard)).expect(GOOD);
    }
    fn remap(&mut self, addr: u64, old_len: u64, new_len: u64, to: Destination) {
        let how = match to {
            Destination::InPlace => Remap::in_place(),
            Destination::At { addr, keep_source: false } => Remap::to(addr),
            Destination::At { addr, keep_source: true } => Remap::to(addr).keep_source(),
        };
        self.remap(addr, old_len, new_len, how, addrspace::ignore).expect(GOOD);
    }
    fn query(&self, addr: u64) -> Option<u64> {
        self.query(addr).and_then(|region| region.end())
    }
    fn walk(&self, within: Stretch, count: usize) -> u64 {
        let pieces = self.regions_in(within.start, within.end.saturating_sub(within.start));
        let ends = pieces.take(count).filter_map(|piece| piece.end());
        ends.fold(0, u64::wrapping_add)
    }
    fn gap(&self, within: Stretch) -> Option<u64> {
        let len = within.end.saturating_sub(within.start);
        self.gaps_in(within.start, len).next().map(Span::start)
    }
    fn regions(&self) -> usize {
        self.regions().len()
    }
    fn each(&self, mut show: impl FnMut(u64, u64, Prot, MapFlags, Backing<u32>)) {
        for region in self.regions() {
            let end = region.end().expect("no space ends at 2^64");
            show(region.start(), end, region.prot, region.flags, region.backing.cloned());
        }
    }
}
