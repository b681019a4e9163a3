//! The figures of all rounds, and their medians.

use std::fmt;

/// A workload and the number of ranges.
type Row = (&'static str, usize);

/// Nanoseconds of ours, rangemap, and rangemap with an index, by round.
#[derive(Default)]
pub struct Table {
    rows: Vec<(Row, Vec<[f64; 3]>)>,
}

impl Table {
    pub fn add(&mut self, row: Row, nanos: [f64; 3]) {
        match self.rows.iter_mut().find(|(known, _)| *known == row) {
            Some((_, rounds)) => rounds.push(nanos),
            None => self.rows.push((row, vec![nanos])),
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<20} {:>7} {:>11} {:>11} {:>11} {:>9} {:>9}",
            "", "", "ours", "rangemap", "+gap index", "ours /", "ours /"
        )?;
        writeln!(
            f,
            "{:<20} {:>7} {:>11} {:>11} {:>11} {:>9} {:>9}",
            "", "ranges", "ns", "ns", "ns", "rangemap", "+index"
        )?;
        // Sorted by workload, each in ascending size.
        let mut names: Vec<&str> = Vec::new();
        for ((name, _), _) in &self.rows {
            if !names.contains(name) {
                names.push(name);
            }
        }
        for name in names {
            for ((_, ranges), rounds) in self.rows.iter().filter(|((row, _), _)| *row == name) {
                let nanos = |who: usize| median(rounds.iter().map(|round| round[who]));
                let ratio = |peer: usize| median(rounds.iter().map(|round| round[0] / round[peer]));
                writeln!(
                    f,
                    "{name:<20} {ranges:>7} {:>11.1} {:>11.1} {:>11.1} {:>9.4} {:>9.4}",
                    nanos(0),
                    nanos(1),
                    nanos(2),
                    ratio(1),
                    ratio(2)
                )?;
            }
        }
        Ok(())
    }
}
