//! Operations out of numbers, as a fuzzer or proptest brings them.

use super::{File, Model, Op, Pair, Place, Policy, Refusal, Target};
use addrspace::{Backing, Gaps, MapFlags, Mapping, Prot};

/// A source of numbers, which gives zeroes when it is at its end.
pub struct Numbers<I>(pub I);

impl<I: Iterator<Item = u16>> Numbers<I> {
    fn raw(&mut self) -> u64 {
        self.0.next().unwrap_or(0).into()
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.raw() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    /// 64 bits.
    fn bits(&mut self) -> u64 {
        (0..4).fold(0, |bits, _| bits << 16 | self.raw())
    }

    /// Mostly the start of a page of the space, or of one beside it; also its last byte,
    /// what lies outside, and any number at all.
    pub fn addr(&mut self, model: &Model) -> u64 {
        let page = self.below(model.pages.len() as u64 + 2) as usize;
        let addr = model.addr(page);
        let addr = match self.below(40) {
            0..=36 => addr,
            37 => addr.wrapping_sub(2 * model.page),
            38 => addr.wrapping_sub(1),
            _ => return self.anything(),
        };
        let odd = u64::from(self.one_in(20));
        (addr as u64).wrapping_add(odd)
    }

    /// 64 bits, or few of them.
    fn anything(&mut self) -> u64 {
        let bits = self.bits();
        match self.below(3) {
            0 => bits,
            1 => bits & bits.wrapping_neg(),
            _ => (bits & bits.wrapping_neg()).wrapping_neg(),
        }
    }

    /// Mostly a few pages.
    pub fn len(&mut self, model: &Model) -> u64 {
        let pages = match self.below(8) {
            0..=4 => 1 + self.below(4),
            5 | 6 => 1 + self.below(model.pages.len() as u64 + 2),
            _ => match self.below(6) {
                4 => return self.anything(),
                // To the end of the space, or of all addresses, from one of its pages.
                5 => {
                    let page = self.below(model.pages.len() as u64 + 1) as usize;
                    let end = if self.one_in(2) { 0 } else { model.addr(model.pages.len()) };
                    let len = end.wrapping_sub(model.addr(page)) as u64;
                    return len.wrapping_add(self.below(3)).wrapping_sub(1);
                }
                nth => return [0, 1, u64::MAX, u64::MAX / 2][nth as usize],
            },
        };
        let len = u64::try_from(model.page * u128::from(pages)).unwrap_or(u64::MAX);
        len - u64::from(self.one_in(4) && len > 1)
    }

    fn prot(&mut self) -> Prot {
        Prot::from_bits_retain([1, 3, 5, 0, 7, 0x13][self.below(6) as usize])
    }

    fn flags(&mut self) -> MapFlags {
        let unknown = MapFlags::from_bits_retain(1 << 31);
        let all = [MapFlags::empty(), MapFlags::DONT_FORK, MapFlags::LOCKED, unknown];
        all[self.below(4) as usize]
    }

    fn mapping(&mut self, model: &Model) -> Mapping {
        let prot = self.prot();
        // Few offsets, so that neighbours often continue each other.
        let offset = match self.below(12) {
            0..=9 => u64::try_from(model.page * u128::from(self.below(4))).unwrap_or(0),
            10 => (0_u128.wrapping_sub(model.page * u128::from(1 + self.below(4)))) as u64,
            _ => 1,
        };
        let file = self.below(2) as u32;
        let backing = match self.below(8) {
            0..=2 => Backing::Anonymous,
            3..=5 => Backing::File { file, offset },
            6 => Backing::Physical { addr: offset },
            _ => Backing::Tag { handle: file, value: offset },
        };
        let flags = if self.one_in(3) { self.flags() } else { MapFlags::empty() };
        let shared = if self.one_in(3) { MapFlags::SHARED } else { MapFlags::empty() };
        Mapping { prot, flags: flags | shared, backing }
    }

    pub fn place(&mut self, model: &Model) -> Place {
        let policy = match self.below(4) {
            0 => Policy::Lowest,
            1 => Policy::Highest,
            2 => Policy::Nth(self.below(model.pages.len() as u64 + 1)),
            _ => Policy::Random(self.bits()),
        };
        let page = u64::try_from(model.page).unwrap_or(1);
        let few = |n: u64| page.checked_mul(n).unwrap_or(page);
        let align = match self.below(6) {
            0..=2 => 1,
            3 => few(1 + self.below(5)),
            4 => self.below(page.min(5)),
            _ => page | 1,
        };
        let offset = few(self.below(4)) + u64::from(self.one_in(20));
        Place {
            policy,
            hint: self.one_in(3).then(|| self.addr(model)),
            within: self.one_in(3).then(|| (self.addr(model), self.len(model))),
            align,
            offset: if self.one_in(3) { offset } else { 0 },
            guard: if self.one_in(3) { (few(self.below(3)), few(self.below(3))) } else { (0, 0) },
        }
    }

    pub fn op(&mut self, model: &Model) -> Op {
        let (addr, len) = (self.addr(model), self.len(model));
        match self.below(32) {
            0..=3 => Op::MapAny { len, mapping: self.mapping(model), place: self.place(model) },
            4..=11 => {
                let (mapping, replace) = (self.mapping(model), !self.one_in(4));
                Op::MapAt { addr, len, mapping, replace }
            }
            12..=14 => Op::Unmap { addr, len },
            15..=17 => Op::Protect { addr, len, prot: self.prot() },
            18 | 19 => {
                let (set, clear) = (self.flags(), self.flags());
                let set = if self.one_in(20) { set | MapFlags::SHARED } else { set };
                Op::SetFlags { addr, len, set, clear }
            }
            20..=25 => {
                let target = match self.below(4) {
                    0 => Target::InPlace,
                    1 => Target::Anywhere(self.place(model)),
                    _ => Target::At(self.addr(model)),
                };
                let new_len = if self.one_in(2) { len } else { self.len(model) };
                let old_len = if self.one_in(6) { 0 } else { len };
                Op::Remap { addr, old_len, new_len, target, keep_source: self.one_in(3) }
            }
            26 => Op::MarkOriginal,
            27 => Op::UnmapNonOriginal,
            28 => Op::Snapshot,
            29 => Op::Restore,
            30 => Op::Limit {
                pages: self.one_in(3).then(|| self.below(model.pages.len() as u64 + 1)),
                regions: self.one_in(3).then(|| self.below(8) as usize),
            },
            _ => match self.below(8) {
                0 => Op::Reset,
                _ => Op::MarkOriginal,
            },
        }
    }

    /// One operation in four is refused somewhere.
    pub fn refusal(&mut self) -> Option<Refusal> {
        let refusal = self.some_refusal();
        self.one_in(4).then_some(refusal)
    }

    pub fn some_refusal(&mut self) -> Refusal {
        let made = if self.one_in(3) { None } else { Some(self.below(8)) };
        Refusal { at: self.below(3) as usize, made, panics: self.one_in(2) }
    }

    /// Both sides of an empty space; or of a larger one in which so much is mapped that
    /// the books are a tree of several nodes.
    pub fn pair<F: File>(&mut self) -> Pair<F> {
        if !self.one_in(8) {
            return Pair::new(self.model());
        }
        let mut model = Model::new(0x10000, 0x1000, 160);
        if self.one_in(3) {
            model.gaps = Gaps::Owned;
        }
        let mut pair = Pair::new(model);
        let (stride, most) = (1 + self.below(2), self.below(161));
        let (marked, saved) = (self.below(161), self.below(161));
        for page in 0..most {
            let prot = Prot::from_bits_retain((page * page % 7 % 3) as u32);
            if page % stride == 0 {
                pair.map_page(page as usize, prot);
            }
            if page == marked {
                pair.mark_original();
            }
            if page == saved {
                pair.save();
            }
        }
        pair.model.compare(&pair.space);
        pair
    }

    /// An empty space of one of many kinds.
    pub fn model(&mut self) -> Model {
        let top = |page: u64, pages: u64| 0_u64.wrapping_sub(page.wrapping_mul(pages));
        let (start, page, pages) = match self.below(10) {
            0..=2 => (0x10000, 0x1000, 24),
            3 => (top(0x1000, 24), 0x1000, 24),
            4 => (top(1, 24), 1, 24),
            5 => (7, 1, 24),
            6 => (0, 1 << 59, 32), // all 2^64 bytes
            7 => (0, 1 << 63, 2),
            8 => (1 << 62, 1 << 60, 12),
            _ => [(1 << 63, 1 << 63, 1), (0x4000, 0x1000, 0)][self.below(2) as usize],
        };
        let mut model = Model::new(start, page, pages);
        if self.one_in(3) {
            model.gaps = Gaps::Owned;
        }
        model
    }
}
