//! Which keys the cells of the dense model stand for.

use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Range;

use addrspace::range_map::Key;

/// A key whose value the tests can compute with, whatever its type: wide enough
/// that nothing overflows, and not by way of [`Key`], which is under test.
pub trait TestKey: Key + Debug + Hash {
    const LEAST: i128;
    const GREATEST: i128;
    fn wide(self) -> i128;
    fn narrow(wide: i128) -> Self;
}

macro_rules! integers {
    ($($int:ident),*) => {$(
        impl TestKey for $int {
            const LEAST: i128 = $int::MIN as i128;
            const GREATEST: i128 = $int::MAX as i128;
            fn wide(self) -> i128 {
                self as i128
            }
            fn narrow(wide: i128) -> Self {
                Self::try_from(wide).unwrap()
            }
        }
    )*};
}

integers!(u8, u16, u32, u64, usize, i8, i16, i32, i64);

/// A newtype as an embedder would write one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Frame(pub u32);

impl Key for Frame {
    fn to_index(self) -> u64 {
        self.0.to_index()
    }
    fn from_index(index: u64) -> Self {
        Self(u32::from_index(index))
    }
}

impl TestKey for Frame {
    const LEAST: i128 = 0;
    const GREATEST: i128 = u32::MAX as i128;
    fn wide(self) -> i128 {
        self.0.wide()
    }
    fn narrow(wide: i128) -> Self {
        Self(u32::narrow(wide))
    }
}

/// A newtype whose zero is neither its least key nor in the middle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Celsius(pub i32);

impl Celsius {
    const COLDEST: i32 = -273;
}

impl Key for Celsius {
    const ORIGIN: u64 = 273;

    fn to_index(self) -> u64 {
        u64::try_from(self.0 - Self::COLDEST).unwrap()
    }
    fn from_index(index: u64) -> Self {
        Self(i32::try_from(index).unwrap() + Self::COLDEST)
    }
}

impl TestKey for Celsius {
    const LEAST: i128 = -273;
    const GREATEST: i128 = 1_000_000;
    fn wide(self) -> i128 {
        self.0.wide()
    }
    fn narrow(wide: i128) -> Self {
        Self(i32::narrow(wide))
    }
}

/// The ascending keys that bound the cells: cell `i` is `cuts[i]..cuts[i + 1]`.
#[derive(Clone, Debug)]
pub struct Window<K> {
    cuts: Vec<K>,
}

impl<K: TestKey> Window<K> {
    /// `cells` neighbouring keys from `first` on.
    pub fn of_keys(first: i128, cells: usize) -> Self {
        Self { cuts: (first..=first + cells as i128).map(K::narrow).collect() }
    }

    /// The lowest `cells` keys of the type.
    pub fn lowest(cells: usize) -> Self {
        Self::of_keys(K::LEAST, cells)
    }

    /// The highest `cells` keys that can lie in a range.
    pub fn highest(cells: usize) -> Self {
        Self::of_keys(K::GREATEST - cells as i128, cells)
    }

    /// The `cells` keys around zero.
    pub fn around_zero(cells: usize) -> Self {
        Self::of_keys(-(cells as i128) / 2, cells)
    }

    /// `cells` cells of very different widths, over all keys of the type.
    pub fn spread(cells: usize) -> Self {
        let step = (K::GREATEST - K::LEAST) / cells as i128;
        let cut = |cell: usize| {
            // Every other cell is narrow: one to seven keys.
            let narrow = if cell % 2 == 1 { step - (cell % 7) as i128 - 1 } else { 0 };
            K::narrow(K::LEAST + cell as i128 * step + if cell == cells { 0 } else { narrow })
        };
        let mut cuts: Vec<K> = (0..=cells).map(cut).collect();
        *cuts.last_mut().unwrap() = K::narrow(K::GREATEST);
        assert!(cuts.is_sorted_by(|a, b| a < b), "{cuts:?}");
        Self { cuts }
    }

    pub fn cells(&self) -> usize {
        self.cuts.len() - 1
    }

    pub fn cut(&self, at: usize) -> K {
        self.cuts[at]
    }

    /// The keys of the cells, also of an empty or reversed range of cells.
    pub fn keys(&self, cells: Range<usize>) -> Range<K> {
        self.cuts[cells.start]..self.cuts[cells.end]
    }

    /// Some key of a cell; `salt` chooses which.
    pub fn key_in(&self, cell: usize, salt: u32) -> K {
        let (start, end) = (self.cuts[cell].wide(), self.cuts[cell + 1].wide());
        K::narrow(match salt % 3 {
            0 => start,
            1 => end - 1,
            _ => start + i128::from(salt) % (end - start),
        })
    }
}
