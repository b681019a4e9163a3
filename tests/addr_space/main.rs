//! What a space decides, one test for each decision.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test"
)]

mod arguments;
mod changes;
mod merging;
mod places;
mod queries;
mod remap;
mod snapshots;
mod text;

use addrspace::{AddrSpace, Backing, Mapping, Prot, Region, Span, Update, ignore};

const R: Prot = Prot::READ;
const RW: Prot = Prot::READ.union(Prot::WRITE);
const RX: Prot = Prot::READ.union(Prot::EXEC);
const PAGE: u64 = 0x1000;

/// Sixteen pages at 0x10000.
fn space() -> AddrSpace {
    AddrSpace::new(0x10000, 16 * PAGE, PAGE).unwrap()
}

/// A space in which the letters of `picture` are mapped, as [`AddrSpace::picture`]
/// draws them; capitals are marked as original.
fn drawn(picture: &str) -> AddrSpace {
    let mut space = AddrSpace::new(0, picture.len() as u64 * PAGE, PAGE).unwrap();
    for originals in [true, false] {
        for (page, letter) in (0..).zip(picture.chars()) {
            let prot = match letter.to_ascii_lowercase() {
                'r' => R,
                'w' => RW,
                'x' => RX,
                '-' | '=' => Prot::empty(),
                _ => continue,
            };
            if (letter.is_ascii_uppercase() || letter == '=') == originals {
                space.map_at(page * PAGE, PAGE, Mapping::anonymous(prot), ignore).unwrap();
            }
        }
        if originals {
            space.mark_original();
        }
    }
    assert_eq!(space.picture().to_string(), picture);
    space
}

fn span(first: u64, last: u64) -> Span {
    Span::new(first, last).unwrap()
}

/// The spans that `verb` reports.
fn spans(verb: impl FnOnce(&mut dyn FnMut(Update<'_>))) -> Vec<Span> {
    let mut spans = Vec::new();
    verb(&mut |update| spans.push(update.span()));
    spans
}

fn offset(region: Option<Region<'_>>) -> u64 {
    match region.unwrap().backing {
        Backing::File { offset, .. } => offset,
        other => panic!("no file: {other:?}"),
    }
}
