//! What can be done to a map, made from random words.

/// A deterministic source of words for runs too long for proptest (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn words(&mut self) -> Words {
        std::array::from_fn(|_| self.next() as u32)
    }
}

/// How often to repeat what runs `default` times: more if `PROPTEST_CASES` asks
/// for more than proptest's own 256 cases.
pub fn effort(default: u64) -> u64 {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    cases.map_or(default, |cases: u64| default.max(default * cases / 256))
}

/// What one operation is made of; all words zero is the simplest one.
pub type Words = [u32; 6];

/// What becomes of the iterator that `insert` and `remove` answer with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Dropped at once.
    Ignored,
    /// Run to the end, from the front.
    All,
    /// Run to the end, from the back.
    AllFromBack,
    /// That many steps, bit by bit of `ends` from the front or the back, then dropped.
    Some { steps: u32, ends: u32 },
    /// That many steps, then leaked.
    Forgotten { steps: u32, ends: u32 },
}

/// What `update` does to the piece with the given number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Nothing,
    Set(u8),
    Add(u8),
    Alternate(u8),
}

impl Change {
    pub fn apply(self, piece: usize, tag: u8) -> u8 {
        match self {
            Self::Nothing => tag,
            Self::Set(new) => new,
            Self::Add(more) => (tag + more) % TAGS,
            Self::Alternate(new) => (new + (piece % 2) as u8) % TAGS,
        }
    }
}

/// The piece at which the closure of an `update` panics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PanicAt {
    pub piece: usize,
    /// Whether that piece has been changed when it does.
    pub changed: bool,
}

/// One step. Positions are cuts of a window, taken modulo their number; a range
/// may be empty or reversed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    Insert {
        from: usize,
        to: usize,
        tag: u8,
        taken: Taken,
    },
    Remove {
        from: usize,
        to: usize,
        taken: Taken,
    },
    Update {
        from: usize,
        to: usize,
        change: Change,
        panic: Option<PanicAt>,
    },
    /// Keeps a range if the bit of `kept` for its number and tag is set.
    Retain {
        kept: u32,
    },
    Clear,
    Extend {
        from: usize,
        step: usize,
        count: usize,
        tag: u8,
    },
    /// Goes on with a clone, and compares it with what it was made from.
    Clone,
    /// Goes on with a map built from the contents.
    Rebuild {
        sorted: bool,
    },
    ReserveEdit {
        from: usize,
        to: usize,
    },
    Get {
        at: usize,
        salt: u32,
    },
    Query {
        from: usize,
        to: usize,
        ends: u32,
    },
    Search {
        from: usize,
        to: usize,
        len: Length,
        align: u64,
        n: u32,
    },
}

/// A length to search for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    Exactly(u64),
    /// That of a gap, and a little more or less.
    OfGap {
        which: usize,
        plus: i8,
    },
}

/// Number of different values; few, so that neighbours often become equal.
pub const TAGS: u8 = 3;

/// How often which kind of operation is made, out of the sum of all.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    pub insert: u32,
    pub remove: u32,
    pub update: u32,
    pub extend: u32,
    /// Retain, clear, clone and rebuild: they touch everything.
    pub whole: u32,
    pub reserve: u32,
    pub queries: u32,
    /// Edits of more cells than this are cut to it.
    pub reach: usize,
    /// Whether displaced values may be leaked and updates panic.
    pub rough: bool,
}

impl Weights {
    pub const EVEN: Self = Self {
        insert: 30,
        remove: 16,
        update: 14,
        extend: 4,
        whole: 6,
        reserve: 4,
        queries: 26,
        reach: usize::MAX,
        rough: true,
    };
    pub const GROW: Self = Self {
        insert: 70,
        remove: 6,
        update: 10,
        extend: 4,
        whole: 0,
        queries: 10,
        reach: 3,
        ..Self::EVEN
    };
    pub const SHRINK: Self = Self {
        insert: 6,
        remove: 70,
        update: 10,
        extend: 0,
        whole: 0,
        queries: 10,
        reach: 12,
        ..Self::EVEN
    };
    pub const CHURN: Self = Self {
        insert: 40,
        remove: 40,
        update: 10,
        extend: 0,
        whole: 0,
        queries: 10,
        reach: 4,
        ..Self::EVEN
    };

    /// Makes an operation over `cells` cells.
    pub fn op(&self, cells: usize, words: Words) -> Op {
        let [kind, from, to, a, b, c] = words;
        let from = from as usize % (cells + 1);
        let anywhere = to as usize % (cells + 1);
        let to = match anywhere.abs_diff(from) {
            near if near <= self.reach => anywhere,
            // Some stay reversed.
            _ if b % 8 == 7 => from.saturating_sub(1),
            _ => (from + 1 + anywhere % self.reach).min(cells),
        };
        let tag = (a % u32::from(TAGS)) as u8;
        let total = self.insert
            + self.remove
            + self.update
            + self.extend
            + self.whole
            + self.reserve
            + self.queries;
        let mut kind = kind % total;
        let mut is = |weight: u32| {
            let hit = kind < weight;
            kind = kind.wrapping_sub(weight);
            hit
        };
        if is(self.insert) {
            Op::Insert { from, to, tag, taken: self.taken(b, c) }
        } else if is(self.remove) {
            Op::Remove { from, to, taken: self.taken(b, c) }
        } else if is(self.update) {
            let change = match b % 6 {
                0 => Change::Set(tag),
                1 | 2 => Change::Add(tag),
                3 | 4 => Change::Alternate(tag),
                _ => Change::Nothing,
            };
            let panic = (self.rough && c % 4 == 1)
                .then_some(PanicAt { piece: (c >> 3) as usize % 4, changed: c & 4 != 0 });
            Op::Update { from, to, change, panic }
        } else if is(self.extend) {
            Op::Extend { from, step: 1 + to % 3, count: b as usize % 12, tag }
        } else if is(self.whole) {
            match a % 6 {
                0 | 1 => Op::Clone,
                2 => Op::Rebuild { sorted: b % 2 == 0 },
                3 if b % 4 == 0 => Op::Clear,
                // Keeps half, or nearly all.
                _ => Op::Retain {
                    kept: if b % 2 == 0 { c } else { c | c.rotate_left(7) | c.rotate_left(19) },
                },
            }
        } else if is(self.reserve) {
            Op::ReserveEdit { from, to }
        } else {
            match a % 4 {
                0 => Op::Get { at: from.min(cells - 1), salt: b },
                1 => Op::Query { from, to: anywhere, ends: b },
                _ => Op::Search { from, to: anywhere, len: length(b), align: align(c), n: a >> 2 },
            }
        }
    }

    /// Makes operations of bytes, as a fuzzer has them; what is left over at the
    /// end makes none.
    pub fn ops_of_bytes(&self, cells: usize, bytes: &[u8]) -> impl Iterator<Item = Op> {
        bytes.chunks_exact(size_of::<Words>()).map(move |chunk| {
            let word =
                |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| chunk[at * 4 + byte]));
            self.op(cells, std::array::from_fn(word))
        })
    }

    fn taken(&self, how: u32, ends: u32) -> Taken {
        let steps = (how >> 4) % 6;
        match how % 16 {
            0..=5 => Taken::Ignored,
            6..=8 => Taken::All,
            9 | 10 => Taken::AllFromBack,
            11 | 12 if self.rough => Taken::Forgotten { steps, ends },
            _ => Taken::Some { steps, ends },
        }
    }
}

fn length(word: u32) -> Length {
    let more = word >> 3;
    match word % 8 {
        0 | 1 => Length::Exactly(u64::from(more % 12)),
        2 => Length::Exactly(u64::MAX >> (more % 64)),
        _ => Length::OfGap { which: more as usize % 64, plus: (more >> 8) as i8 % 3 },
    }
}

fn align(word: u32) -> u64 {
    let more = word >> 2;
    match word % 4 {
        0 => 1,
        1 => u64::from(more % 20),
        2 => 1 << (more % 64),
        _ => u64::MAX / u64::from(more % 1000 + 1),
    }
}
