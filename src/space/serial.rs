//! A space as data, and back (feature `serde`).

use super::area::Area;
use super::error::{Error, Verb};
use super::region::{Backing, Mapping};
use super::usage::Limits;
use super::{AddrSpace, Call, Gaps};
use crate::page::Fault;
use alloc::vec::Vec;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// The bounds of a space and what it holds. A length of 2^64 is none.
#[derive(Serialize, Deserialize)]
struct Books<F> {
    start: u64,
    len: Option<u64>,
    page_size: u64,
    gaps: Gaps,
    limits: Limits,
    regions: Vec<Entry<F>>,
}

#[derive(Serialize, Deserialize)]
struct Entry<F> {
    start: u64,
    len: Option<u64>,
    mapping: Mapping<F>,
    original: bool,
}

/// As a structure of `start`, `len`, `page_size`, `gaps`, `limits` and `regions`,
/// each with `start`, `len`, `mapping` and `original`; all in bytes. The length of
/// 2^64 bytes is written as none.
impl<F: Clone + PartialEq + Serialize> Serialize for AddrSpace<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut regions = Vec::new();
        regions.try_reserve(self.areas.len()).map_err(ser::Error::custom)?;
        regions.extend(self.regions().map(|region| Entry {
            start: region.span.start(),
            len: region.span.len(),
            mapping: Mapping { prot: region.prot, flags: region.flags, backing: region.backing },
            original: region.original,
        }));
        let books = Books {
            start: self.geometry.start(),
            // A space without a span has no byte.
            len: self.span().map_or(Some(0), crate::Span::len),
            page_size: self.page_size().bytes(),
            gaps: self.gaps,
            limits: self.limits,
            regions,
        };
        books.serialize(serializer)
    }
}

/// Every number is checked: what is refused to [`AddrSpace::new`] and
/// [`AddrSpace::map_at_no_replace`] is refused here. Regions may come in any order.
impl<'de, F: Clone + PartialEq + Deserialize<'de>> Deserialize<'de> for AddrSpace<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let books = Books::deserialize(deserializer)?;
        let Books { start, len, page_size, .. } = books;
        let space = match len {
            Some(len) => Self::new(start, len, page_size),
            None if start == 0 => Self::whole(page_size),
            None => Err(Error::Geometry { start, len: u64::MAX, page_size }),
        };
        let mut space = space.map_err(de::Error::custom)?.with_gaps(books.gaps);
        for entry in books.regions {
            space.admit(entry).map_err(de::Error::custom)?;
        }
        space.set_limits(books.limits);
        Ok(space)
    }
}

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Books a region as it was written, if it can be.
    fn admit(&mut self, entry: Entry<F>) -> Result<(), Error> {
        let Entry { start, len, mapping, original } = entry;
        let call = Call { verb: Verb::Map, addr: start, len: len.unwrap_or(u64::MAX) };
        // Only memory without an offset can be 2^64 bytes long.
        let endless = matches!(mapping.backing, Backing::Anonymous | Backing::Tag { .. });
        let whole = start == 0 && self.span().is_some_and(|all| all.len().is_none());
        let range = match len {
            Some(_) => self.check_map(call, &mapping)?,
            None if whole && endless => self.geometry.all(),
            None => return Err(call.error(Fault::Outside)),
        };
        if let Some((conflict, _)) = self.areas.overlapping(range.clone()).next() {
            return Err(call.occupied(self.geometry.span_of(conflict.start, conflict.end)));
        }
        self.areas.try_reserve_edit(range.clone()).map_err(|_| call.no_memory())?;
        let mut area = Area::new(start, mapping);
        area.set_original(original);
        self.tally.count(area.prot, area.flags, &range);
        self.areas.insert(range, area);
        Ok(())
    }
}
