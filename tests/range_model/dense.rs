//! A model so dull that it cannot be wrong: one `Option` per cell.

use std::ops::Range;

/// What a map holds, cell by cell, as the tags of the values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dense {
    cells: Vec<Option<u8>>,
}

impl Dense {
    pub fn new(cells: usize) -> Self {
        Self { cells: vec![None; cells] }
    }

    pub fn get(&self, cell: usize) -> Option<u8> {
        self.cells[cell]
    }

    /// Sets the cells of the range; an empty or reversed one has none.
    pub fn set(&mut self, cells: Range<usize>, tag: Option<u8>) {
        for cell in cells {
            self.cells[cell] = tag;
        }
    }

    /// The maximal stretches of equal cells in the range, those of `None` too.
    fn stretches(&self, cells: Range<usize>) -> Vec<(Range<usize>, Option<u8>)> {
        let mut all: Vec<(Range<usize>, Option<u8>)> = Vec::new();
        for cell in cells {
            match all.last_mut() {
                Some((range, tag)) if *tag == self.cells[cell] => range.end = cell + 1,
                _ => all.push((cell..cell + 1, self.cells[cell])),
            }
        }
        all
    }

    /// The ranges of the map, clipped to the cells.
    pub fn pieces(&self, cells: Range<usize>) -> Vec<(Range<usize>, u8)> {
        self.stretches(cells).into_iter().filter_map(|(range, tag)| Some((range, tag?))).collect()
    }

    /// All ranges of the map.
    pub fn ranges(&self) -> Vec<(Range<usize>, u8)> {
        self.pieces(0..self.cells.len())
    }

    /// The ranges that have a cell in the range, whole.
    pub fn overlapping(&self, cells: &Range<usize>) -> Vec<(Range<usize>, u8)> {
        let touches = |range: &Range<usize>| range.clone().any(|cell| cells.contains(&cell));
        self.ranges().into_iter().filter(|(range, _)| touches(range)).collect()
    }

    /// The range around a cell.
    pub fn range_around(&self, cell: usize) -> Option<(Range<usize>, u8)> {
        self.ranges().into_iter().find(|(range, _)| range.contains(&cell))
    }

    /// The maximal stretches without a value in the range.
    pub fn gaps(&self, cells: Range<usize>) -> Vec<Range<usize>> {
        self.stretches(cells)
            .into_iter()
            .filter(|(_, tag)| tag.is_none())
            .map(|(range, _)| range)
            .collect()
    }
}

/// Where `len` keys at a multiple of `align` fit, over a list of gaps in wide
/// keys; never lists the placements, since there may be 2^64 of them.
pub struct Places {
    /// First placement and number of placements, by gap.
    runs: Vec<(i128, i128)>,
    align: i128,
}

impl Places {
    pub fn new(gaps: impl IntoIterator<Item = Range<i128>>, len: u64, align: u64) -> Self {
        let (len, align) = (i128::from(len), i128::from(align.max(1)));
        let mut runs = Vec::new();
        for gap in gaps {
            let first = gap.start + (-gap.start).rem_euclid(align);
            if len > 0 && first + len <= gap.end {
                runs.push((first, (gap.end - len - first) / align + 1));
            }
        }
        Self { runs, align }
    }

    pub fn count(&self) -> u64 {
        u64::try_from(self.runs.iter().map(|&(_, count)| count).sum::<i128>()).unwrap()
    }

    pub fn nth(&self, n: u64) -> Option<i128> {
        let mut n = i128::from(n);
        for &(first, count) in &self.runs {
            if n < count {
                return Some(first + n * self.align);
            }
            n -= count;
        }
        None
    }

    pub fn last(&self) -> Option<i128> {
        self.nth(self.count().checked_sub(1)?)
    }
}
