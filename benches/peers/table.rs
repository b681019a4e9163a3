//! The figures of all rounds, and what they amount to.

use std::fmt::{self, Write};

use crate::contenders::{COUNT, NAMES};

/// What the figures of a row are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Nanoseconds, all contenders in one process.
    Nanos,
    /// Bytes of heap per mapping.
    Bytes,
    /// Nanoseconds, each contender in a process of its own.
    NanosAlone,
}

/// A figure of each contender, by round.
struct Row {
    unit: Unit,
    name: String,
    mappings: usize,
    rounds: Vec<[f64; COUNT]>,
}

/// Who is compared with whom.
const RATIOS: [(usize, usize); 5] = [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3)];

/// From which number of mappings to the largest one growth is reckoned.
const GROWS_FROM: usize = 4096;

#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    /// What does not compare contenders: name, mappings, what, and how much.
    single: Vec<(String, usize, &'static str, f64)>,
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Row {
    fn median(&self, who: usize) -> f64 {
        median(self.rounds.iter().map(|round| round[who]))
    }

    fn ratio(&self, (one, other): (usize, usize)) -> f64 {
        median(self.rounds.iter().map(|round| round[one] / round[other]))
    }
}

impl Table {
    /// Adds the figures of a round.
    pub fn add(&mut self, unit: Unit, name: &str, mappings: usize, figures: [f64; COUNT]) {
        let known = |row: &&mut Row| (row.unit, &*row.name, row.mappings) == (unit, name, mappings);
        if let Some(row) = self.rows.iter_mut().find(known) {
            row.rounds.push(figures);
        } else {
            self.rows.push(Row { unit, name: name.to_owned(), mappings, rounds: vec![figures] });
        }
    }

    /// Adds a figure that stands alone.
    pub fn add_single(&mut self, name: &str, mappings: usize, what: &'static str, figure: f64) {
        self.single.push((name.to_owned(), mappings, what, figure));
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows of a unit, those of a workload together.
    fn of(&self, unit: Unit) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| row.unit == unit).collect();
        rows.sort_by_key(|row| self.rows.iter().position(|first| first.name == row.name));
        rows
    }

    /// How many times as long each contender takes for the most mappings as for some.
    fn growths(&self) -> Vec<(&str, usize, [f64; COUNT])> {
        let rows = self.of(Unit::Nanos);
        let mut growths = Vec::new();
        for few in rows.iter().filter(|row| row.mappings == GROWS_FROM) {
            let same = rows.iter().filter(|row| row.name == few.name);
            let Some(many) = same.max_by_key(|row| row.mappings) else { continue };
            if many.mappings > few.mappings {
                let grown = std::array::from_fn(|who| many.median(who) / few.median(who));
                growths.push((&*few.name, many.mappings, grown));
            }
        }
        growths
    }

    /// All figures, one a line.
    pub fn csv(&self) -> String {
        let mut csv = "table,name,mappings,column,value\n".to_owned();
        let mut line = |table: &str, name: &str, mappings: usize, column: &str, value: f64| {
            writeln!(csv, "{table},{name},{mappings},{column},{value}").expect("strings grow");
        };
        for row in &self.rows {
            let unit = match row.unit {
                Unit::Nanos => "ns",
                Unit::Bytes => "bytes",
                Unit::NanosAlone => "ns alone",
            };
            for (who, name) in NAMES.iter().enumerate() {
                line(unit, &row.name, row.mappings, name, row.median(who));
            }
            for (one, other) in RATIOS {
                let column = format!("{}/{}", NAMES[one], NAMES[other]);
                line(
                    &format!("{unit} ratio"),
                    &row.name,
                    row.mappings,
                    &column,
                    row.ratio((one, other)),
                );
            }
        }
        for (name, mappings, grown) in self.growths() {
            for (who, times) in NAMES.iter().zip(grown) {
                line("growth", name, mappings, who, times);
            }
        }
        for (name, mappings, what, figure) in &self.single {
            line("longest", name, *mappings, what, *figure);
        }
        csv
    }

    fn head(f: &mut fmt::Formatter<'_>, title: &str) -> fmt::Result {
        write!(f, "\n{title:<24} {:>8}", "mappings")?;
        NAMES.iter().try_for_each(|name| write!(f, " {name:>10}"))?;
        writeln!(f)
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, title: &str, unit: Unit) -> fmt::Result {
        write!(f, "\n{title:<24} {:>8} {:>10} {:>10}", "", "", "")?;
        writeln!(f, " {:>10} {:>10} {:>10}  RangeMap / .. {:>16} AddrSpace / ..", "", "", "", "")?;
        write!(f, "{:<24} {:>8}", "", "mappings")?;
        NAMES.iter().try_for_each(|name| write!(f, " {name:>10}"))?;
        RATIOS.iter().try_for_each(|(_, other)| write!(f, " {:>10}", NAMES[*other]))?;
        writeln!(f)?;
        for row in self.of(unit) {
            write!(f, "{:<24} {:>8}", row.name, row.mappings)?;
            (0..COUNT).try_for_each(|who| write!(f, " {:>10.1}", row.median(who)))?;
            RATIOS.iter().try_for_each(|&pair| write!(f, " {:>10.4}", row.ratio(pair)))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, "ns", Unit::Nanos)?;
        let growths = self.growths();
        if let Some((_, most, _)) = growths.first() {
            Self::head(f, &format!("times what {GROWS_FROM} take"))?;
            for (name, _, grown) in &growths {
                write!(f, "{name:<24} {most:>8}")?;
                grown.iter().try_for_each(|times| write!(f, " {times:>10.1}"))?;
                writeln!(f)?;
            }
        }
        self.show(f, "bytes of heap, each", Unit::Bytes)?;
        self.show(f, "ns, alone", Unit::NanosAlone)?;
        writeln!(f, "\nthe longest operation")?;
        for (name, mappings, what, figure) in &self.single {
            writeln!(f, "{name:<34} {mappings:>8} {figure:>12.0} {what}")?;
        }
        Ok(())
    }
}
