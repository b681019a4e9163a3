//! What was seen, for the report.

use core::fmt;

use super::rule::Rule;

/// Counts of calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) streams: u64,
    /// Calls that were made and compared.
    pub(crate) made: u64,
    /// Of these, the ones that were done, with something changed.
    pub(crate) changes: u64,
    /// Of these, the ones that were refused, by error number.
    refused: Vec<(i64, u64)>,
    rules: [u64; Rule::ALL.len()],
}

impl Tally {
    /// Of one child that has made no call yet.
    pub(crate) fn of_a_child() -> Self {
        Self { streams: 1, ..Self::default() }
    }

    /// Counts a call that was made.
    pub(crate) fn made(&mut self, answer: i64, changed: bool) {
        self.made += 1;
        self.changes += u64::from(changed);
        if answer < 0 {
            self.refusals(answer, 1);
        }
    }

    /// Counts a hit of a rule.
    pub(crate) fn hit(&mut self, rule: Rule) {
        self.rules_hit(rule, 1);
    }

    pub(crate) fn hits(&self, rule: Rule) -> u64 {
        Rule::ALL.iter().zip(self.rules).find(|(other, _)| **other == rule).map_or(0, |(_, n)| n)
    }

    /// Adds the counts of another stream.
    pub(crate) fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.made += other.made;
        self.changes += other.changes;
        for (errno, count) in &other.refused {
            self.refusals(*errno, *count);
        }
        for rule in Rule::ALL {
            self.rules_hit(rule, other.hits(rule));
        }
    }

    fn rules_hit(&mut self, rule: Rule, count: u64) {
        for (other, hits) in Rule::ALL.iter().zip(&mut self.rules) {
            if *other == rule {
                *hits += count;
            }
        }
    }

    fn refusals(&mut self, answer: i64, count: u64) {
        match self.refused.iter_mut().find(|(errno, _)| *errno == answer) {
            Some((_, counted)) => *counted += count,
            None => self.refused.push((answer, count)),
        }
        self.refused.sort_unstable_by_key(|(_, count)| u64::MAX - count);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { streams, made, changes, .. } = self;
        writeln!(f, "{made} calls in {streams} children, {changes} of them changes; refused:")?;
        for (answer, count) in &self.refused {
            writeln!(f, "{count:>12}  {}", errno(*answer))?;
        }
        writeln!(f, "by rules, not by the books alone:")?;
        for rule in Rule::ALL {
            writeln!(f, "{:>12}  {rule:?}: {}", self.hits(rule), rule.why())?;
        }
        Ok(())
    }
}

/// An answer in words.
pub(crate) fn errno(answer: i64) -> String {
    let names = [
        (libc::EPERM, "EPERM"),
        (libc::EBADF, "EBADF"),
        (libc::EAGAIN, "EAGAIN"),
        (libc::ENOMEM, "ENOMEM"),
        (libc::EACCES, "EACCES"),
        (libc::EFAULT, "EFAULT"),
        (libc::EEXIST, "EEXIST"),
        (libc::EINVAL, "EINVAL"),
        (libc::EOVERFLOW, "EOVERFLOW"),
    ];
    let name = names.iter().find(|(errno, _)| i64::from(*errno) == -answer);
    name.map_or_else(|| format!("{answer:#x}"), |(_, name)| (*name).to_owned())
}
