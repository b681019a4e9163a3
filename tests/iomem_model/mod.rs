//! `/proc/iomem` as dull as can be: a list of rows that every question goes through.

#![allow(
    clippy::arithmetic_side_effects,
    unreachable_pub,
    reason = "shared by tests and a fuzz target; what it counts are rows and characters"
)]

use addrspace::Span;
use addrspace::phys::{Error, Iomem, Ram};

/// A line of the list.
struct Row {
    depth: usize,
    span: Span,
    name: String,
}

/// Holds what is read from `text`, and every answer from it, against the model's;
/// whether the text is a list at all.
pub fn check(text: &str) -> bool {
    let (list, rows) = match (Iomem::parse(text), rows(text)) {
        (Ok(list), Ok(rows)) => (list, rows),
        (Err(error), Err(line)) => {
            assert_eq!(error, Error::Syntax { line });
            return false;
        }
        (list, rows) => panic!("{list:?} is not what the model reads: {:?}", rows.err()),
    };
    assert_eq!(list.resources().count(), rows.len());
    for (resource, row) in list.resources().zip(&rows) {
        assert_eq!(resource.span(), row.span);
        assert_eq!((resource.name(), resource.depth()), (&*row.name, row.depth));
    }
    assert_eq!(Iomem::parse(&print(&list)), Ok(list.clone()), "printed and read again");
    let zero = Span::new(0, 0);
    let hidden = !rows.is_empty() && !rows.iter().any(|row| Some(row.span) != zero);
    assert_eq!(list.is_hidden(), hidden);
    let pieces = pieces(&rows);
    for piece in &pieces {
        look(&list, &rows, piece.start());
        look(&list, &rows, piece.last());
    }
    sums(&list, &rows, &pieces);
    true
}

/// The rows, or the number of the first line that is none.
fn rows(text: &str) -> Result<Vec<Row>, usize> {
    let mut rows = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        rows.push(row(line).ok_or(nth + 1)?);
        let lies = match (rows[nth].depth, around(&rows, nth)) {
            (0, _) => true,
            (depth, Some(outer)) => {
                let (inner, outer) = (&rows[nth], &rows[outer]);
                outer.depth + 1 == depth
                    && outer.span.contains(inner.span.start())
                    && outer.span.contains(inner.span.last())
            }
            (_, None) => false,
        };
        if !lies {
            return Err(nth + 1);
        }
    }
    Ok(rows)
}

fn row(line: &str) -> Option<Row> {
    let mut rest = line;
    let mut depth = 0;
    while let Some(deeper) = rest.strip_prefix("  ") {
        (rest, depth) = (deeper, depth + 1);
    }
    let first = number(&mut rest)?;
    rest = rest.strip_prefix('-')?;
    let last = number(&mut rest)?;
    let name = rest.strip_prefix(" : ")?.to_owned();
    Some(Row { depth, span: Span::new(first, last)?, name })
}

/// Takes the digits in front.
fn number(rest: &mut &str) -> Option<u64> {
    let digits;
    (digits, *rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_hexdigit())?);
    let mut number = (!digits.is_empty()).then_some(0_u64)?;
    for digit in digits.chars() {
        number = number.checked_mul(16)?.checked_add(digit.to_digit(16)?.into())?;
    }
    Some(number)
}

/// The row that the `nth` lies in.
fn around(rows: &[Row], nth: usize) -> Option<usize> {
    rows[..nth].iter().rposition(|outer| outer.depth < rows[nth].depth)
}

/// The last row with `addr`, and those that it lies in.
fn path(rows: &[Row], addr: u64) -> Vec<&Row> {
    let innermost = rows.iter().rposition(|row| row.span.contains(addr));
    std::iter::successors(innermost, |nth| around(rows, *nth)).map(|nth| &rows[nth]).collect()
}

fn is_ram(path: &[&Row]) -> bool {
    path.iter().any(|row| row.name.starts_with("System RAM"))
}

fn print(list: &Iomem) -> String {
    let line = |resource: &addrspace::phys::Resource| {
        let (indent, span) = (2 * resource.depth(), resource.span());
        // With a carriage return, since the name may end in one, which is not to be lost.
        format!("{:indent$}{:x}-{:x} : {}\r\n", "", span.start(), span.last(), resource.name())
    };
    list.resources().map(line).collect()
}

/// The whole of 2^64 in pieces that no row begins or ends in the midst of.
fn pieces(rows: &[Row]) -> Vec<Span> {
    let mut starts = vec![0];
    for row in rows {
        starts.push(row.span.start());
        starts.extend(row.span.last().checked_add(1));
    }
    starts.sort_unstable();
    starts.dedup();
    let lasts = starts[1..].iter().map(|next| next - 1).chain([u64::MAX]);
    starts.iter().zip(lasts).map(|(start, last)| Span::new(*start, last).unwrap()).collect()
}

/// What is at an address.
fn look(list: &Iomem, rows: &[Row], addr: u64) {
    let expected = path(rows, addr);
    let found: Vec<_> = list.path(addr).map(|r| (r.depth(), r.span(), r.name())).collect();
    let dull: Vec<_> = expected.iter().map(|r| (r.depth, r.span, &*r.name)).collect();
    assert_eq!(found, dull, "{addr:#x}");
    assert!(found.iter().all(|(_, span, _)| span.contains(addr)), "{addr:#x}");
    assert!(found.iter().rev().map(|(depth, ..)| *depth).eq(0..found.len()), "{addr:#x}");
    assert_eq!(list.at(addr), list.path(addr).next());
    if let Some(driver) = list.driver(addr) {
        assert!(!driver.is_empty() && !is_ram(&expected));
        assert_eq!(driver, expected[0].name);
    }
}

/// How much of the ranges from any piece to one not far, or to the end, is memory.
fn sums(list: &Iomem, rows: &[Row], pieces: &[Span]) {
    let ram: Vec<_> = pieces.iter().map(|piece| is_ram(&path(rows, piece.start()))).collect();
    for from in 0..pieces.len() {
        for to in (from..pieces.len().min(from + 5)).chain([pieces.len() - 1]) {
            let in_range = &ram[from..=to];
            let expected = match (in_range.contains(&true), in_range.contains(&false)) {
                (true, false) => Ram::All,
                (true, true) => Ram::Part,
                (false, _) => Ram::None,
            };
            let (low, high) = (pieces[from], pieces[to]);
            assert_eq!(list.ram(low.start()..=high.last()), expected, "{low} to {high}");
            // A byte of each of the two at the ends is as good as the whole.
            assert_eq!(list.ram(low.last()..=high.start().max(low.last())), expected);
        }
    }
}
