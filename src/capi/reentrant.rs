//! The books as zyedidia/libmmap keeps them: what a callback hears may change
//! nothing, but a callback may call anything.
//!
//! `AddrSpace` reports inside of a change, while it is borrowed. Here no borrow is
//! alive across a callback: a call looks up the pieces of its own range, tells them,
//! and then makes the change, whatever the callbacks have done meanwhile.
//!
//! What is told will be recorded. So the memory for it comes first, and a call that
//! comes in from a callback leaves what the calls around it will need.

use super::failure::{Code, Host};
use super::mmap_c::MMapInfo;
use crate::space::Aim;
use crate::{
    AddrSpace, Backing, Error, MapFlags, Mapping, OpError, PageSize, Placement, Prot, Region, Span,
    Verb,
};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell, RefMut};
use core::ffi::c_int;
use core::iter::once;

/// A space whose callbacks may come back in, and its random numbers.
#[derive(Debug)]
pub(super) struct Books {
    space: RefCell<AddrSpace>,
    /// The state of the generator, if places are chosen at random.
    random: Cell<Option<u64>>,
    /// How many records the calls in progress still owe.
    owed: Cell<usize>,
    /// Counts the calls that may have changed something.
    changes: Cell<u64>,
}

/// Why a call changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Invalid,
    NoMemory,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        if matches!(error, Error::NoMemory { .. }) { Self::NoMemory } else { Self::Invalid }
    }
}

impl From<OpError<Code>> for Refusal {
    fn from(error: OpError<Code>) -> Self {
        match error {
            OpError::Refused(error) => error.into(),
            // No callback here refuses anything.
            OpError::Handler { .. } => Self::Invalid,
        }
    }
}

/// A piece of an entry, as it was when the call began.
#[derive(Clone, Copy)]
struct Piece {
    span: Span,
    info: MMapInfo,
}

/// The pieces of a call: a few in place, more on the heap.
struct Pieces {
    few: [Option<Piece>; 4],
    more: Vec<Piece>,
}

impl Piece {
    fn of(region: Region<'_>) -> Self {
        Self { span: region.span, info: info_of(&region) }
    }

    fn told_to(self, tell: impl Fn(usize, usize, MMapInfo)) {
        // 2^64 bytes are the one length that has to be told as one less.
        tell(narrow(self.span.start()), self.span.len().map_or(usize::MAX, narrow), self.info);
    }
}

impl Pieces {
    fn collect(mut found: impl Iterator<Item = Piece>) -> Result<Self, Refusal> {
        let mut pieces = Self { few: [None; 4], more: Vec::new() };
        for place in &mut pieces.few {
            *place = found.next();
            if place.is_none() {
                return Ok(pieces);
            }
        }
        for piece in found {
            pieces.more.try_reserve(1).map_err(|_| Refusal::NoMemory)?;
            pieces.more.push(piece);
        }
        Ok(pieces)
    }

    fn iter(&self) -> impl Iterator<Item = Piece> {
        self.few.iter().flatten().chain(&self.more).copied()
    }

    fn len(&self) -> usize {
        self.few.iter().flatten().count().saturating_add(self.more.len())
    }
}

impl Books {
    /// `start` is rounded down and `len` up to pages; nothing if that is no space.
    pub(super) fn new(start: usize, len: usize, page_size: usize) -> Option<Self> {
        let page_size = wide(page_size);
        let page = PageSize::new(page_size)?;
        let start = page.round_down(wide(start));
        let space = match page.round_up(wide(len)) {
            Some(len) => AddrSpace::new(start, len, page_size).ok()?,
            None if start == 0 => AddrSpace::whole(page_size).ok()?,
            None => return None,
        };
        // On a host of 32 bits no space reaches further than a pointer.
        let reachable = space.span().is_none_or(|span| usize::try_from(span.last()).is_ok());
        reachable.then(|| Self {
            space: RefCell::new(space),
            random: Cell::new(None),
            owed: Cell::new(0),
            changes: Cell::new(0),
        })
    }

    pub(super) fn query(&self, addr: usize) -> Option<MMapInfo> {
        self.space.borrow().query(wide(addr)).map(|region| info_of(&region))
    }

    pub(super) fn enable_random(&self, seed: u64) {
        self.random.set(Some(seed));
    }

    pub(super) fn reset(&self) -> Result<(), Refusal> {
        let mut space = self.change()?;
        if self.owed.get() == 0 {
            space.reset();
        } else if let Some(all) = space.span() {
            // Unlike a reset this gives no memory back that others count on.
            let all = space.aim_at(all);
            space.record_unmap(all);
        }
        Ok(())
    }

    pub(super) fn mark_original(&self) -> Result<(), Refusal> {
        self.change()?.mark_original();
        Ok(())
    }

    /// Maps at `hint` if it is not zero and all is free there, else at the lowest
    /// place or a random one.
    pub(super) fn map_any(
        &self,
        hint: usize,
        len: usize,
        info: MMapInfo,
    ) -> Result<usize, Refusal> {
        let mut space = self.change()?;
        let (at, len, mapping) = (wide(hint), wide(len), mapping_of(info));
        if hint != 0 {
            match alone(|host| space.map_at_no_replace(at, len, mapping, host)) {
                Err(OpError::Refused(error @ Error::NoMemory { .. })) => return Err(error.into()),
                Err(_) => {}
                Ok(()) => return Ok(hint),
            }
        }
        let Some(state) = self.random.get() else {
            let place = Placement::lowest();
            let addr = alone(|host| space.map_any(len, mapping, place, host))?;
            return Ok(narrow(addr));
        };
        let places = space.placements(len, Placement::lowest())?;
        let (state, bits) = splitmix64(state);
        let place = Placement::nth(bits.checked_rem(places).unwrap_or(0));
        let addr = alone(|host| space.map_any(len, mapping, place, host))?;
        self.random.set(Some(state)); // a draw that was of no use is none
        Ok(narrow(addr))
    }

    /// Tells the old pieces, then maps.
    pub(super) fn map_at<T: Fn(usize, usize, MMapInfo)>(
        &self,
        addr: usize,
        len: usize,
        info: MMapInfo,
        tell: Option<T>,
    ) -> Result<(), Refusal> {
        let mut space = self.change()?;
        let Some(tell) = tell else {
            let (addr, len) = (wide(addr), wide(len));
            return Ok(alone(|host| space.map_at(addr, len, mapping_of(info), host))?);
        };
        let mut aim = space.aim(Verb::Map, wide(addr), wide(len))?;
        let mut space = self.tell_all(space, &mut aim, tell)?;
        space.record_map(aim, mapping_of(info), false);
        Ok(())
    }

    /// Tells the pieces, then unmaps.
    pub(super) fn unmap<T: Fn(usize, usize, MMapInfo)>(
        &self,
        addr: usize,
        len: usize,
        tell: Option<T>,
    ) -> Result<(), Refusal> {
        let mut space = self.change()?;
        let Some(tell) = tell else {
            return Ok(alone(|host| space.unmap(wide(addr), wide(len), host))?);
        };
        let mut aim = space.aim(Verb::Unmap, wide(addr), wide(len))?;
        let mut space = self.tell_all(space, &mut aim, tell)?;
        space.record_unmap(aim);
        Ok(())
    }

    /// Tells a piece, then protects it, and so on with the next.
    pub(super) fn protect<T: Fn(usize, usize, MMapInfo)>(
        &self,
        addr: usize,
        len: usize,
        prot: c_int,
        tell: Option<T>,
    ) -> Result<(), Refusal> {
        let mut space = self.change()?;
        let Some(tell) = tell else {
            let (addr, len) = (wide(addr), wide(len));
            return Ok(alone(|host| space.protect(addr, len, prot_of(prot), host))?);
        };
        let aim = space.aim(Verb::Protect, wide(addr), wide(len))?;
        let pieces = Pieces::collect(space.aimed(&aim).map(Piece::of))?;
        // Also for several records, one for each piece: they cut nothing but the first
        // and the last piece, and one record more is good for two cuts anywhere.
        self.secure(&mut space)?;
        drop(space);
        let changes = self.changes.get();
        self.owe(pieces.len());
        for piece in pieces.iter() {
            piece.told_to(&tell);
            let Piece { span, info } = piece;
            let mut space = self.space.borrow_mut();
            let aim = space.aim_at(span);
            if self.changes.get() == changes {
                space.record_protect(aim, prot_of(prot));
            } else {
                // Whatever a callback did here, the piece comes back as it was told.
                space.record_map(aim, mapping_of(MMapInfo { prot, ..info }), info.original);
            }
            self.settle();
        }
        Ok(())
    }

    /// Tells an entry that is not original, then unmaps it, and so on with the next
    /// of those that there were when the call began.
    pub(super) fn unmap_non_original(
        &self,
        tell: Option<&dyn Fn(usize, usize, MMapInfo)>,
    ) -> Result<(), Refusal> {
        let mut space = self.change()?;
        let Some(tell) = tell else {
            if self.owed.get() == 0 {
                space.retain(|region| region.original);
                return Ok(());
            }
            // Unlike this, the long way gives no memory back that others count on.
            drop(space);
            return self.unmap_non_original(Some(&tell_nobody));
        };
        let others = space.regions().filter(|region| !region.original);
        let entries = Pieces::collect(others.map(Piece::of))?;
        drop(space);
        let changes = self.changes.get();
        self.owe(entries.len());
        for entry in entries.iter() {
            let mut space = self.space.borrow_mut();
            let aim = space.aim_at(entry.span);
            let pieces = if self.changes.get() == changes {
                Pieces::collect(once(entry))
            } else {
                Pieces::collect(space.aimed(&aim).map(Piece::of))
            };
            drop(space);
            match pieces {
                Ok(pieces) => pieces.iter().for_each(|piece| piece.told_to(tell)),
                Err(_) => self.tell_one_by_one(entry.span, tell),
            }
            let mut space = self.space.borrow_mut();
            let aim = space.aim_at(entry.span);
            space.record_unmap(aim);
            self.settle();
        }
        Ok(())
    }

    /// The space, for a call that may change it.
    ///
    /// If calls are in progress, the memory for what they owe is secured: it was only
    /// in case that nothing is changed before.
    #[inline]
    fn change(&self) -> Result<RefMut<'_, AddrSpace>, Refusal> {
        self.changes.set(self.changes.get().wrapping_add(1));
        let mut space = self.space.borrow_mut();
        if self.owed.get() > 0 {
            self.secure(&mut space)?;
        }
        Ok(space)
    }

    /// Secures memory for what is owed and for one record more.
    fn secure(&self, space: &mut AddrSpace) -> Result<(), Refusal> {
        Ok(space.prepare(self.owed.get().saturating_add(1))?)
    }

    /// Tells the pieces of `aim`; its one record is to follow.
    #[inline]
    fn tell_all<'s>(
        &'s self,
        space: RefMut<'s, AddrSpace>,
        aim: &mut Aim,
        tell: impl Fn(usize, usize, MMapInfo),
    ) -> Result<RefMut<'s, AddrSpace>, Refusal> {
        if aim.is_gap() {
            return Ok(space);
        }
        let changes = self.changes.get();
        // Nearly always there is one piece, and no need for a list.
        if let Some(only) = space.only_aimed(aim).map(Piece::of) {
            drop(space);
            self.owe(1);
            only.told_to(&tell);
        } else {
            let pieces = Pieces::collect(space.aimed(aim).map(Piece::of))?;
            drop(space);
            self.owe(1);
            pieces.iter().for_each(|piece| piece.told_to(&tell));
        }
        self.settle();
        let mut space = self.space.borrow_mut();
        if self.changes.get() != changes {
            space.aim_again(aim);
        }
        Ok(space)
    }

    /// Tells the pieces of `span` where there is no memory to list them: each as it is
    /// when it is told.
    #[cold]
    fn tell_one_by_one(&self, span: Span, tell: &dyn Fn(usize, usize, MMapInfo)) {
        let mut rest = Some(span);
        while let Some(span) = rest {
            let mut space = self.space.borrow_mut();
            let aim = space.aim_at(span);
            let Some(piece) = space.aimed(&aim).next().map(Piece::of) else { return };
            drop(space);
            piece.told_to(tell);
            rest = piece.span.end().and_then(|next| Span::new(next, span.last()));
        }
    }

    fn owe(&self, records: usize) {
        self.owed.set(self.owed.get().saturating_add(records));
    }

    fn settle(&self) {
        self.owed.set(self.owed.get().saturating_sub(1));
    }
}

/// Makes a call whose host nobody hears of.
fn alone<R>(call: impl FnOnce(Host<'_>) -> R) -> R {
    call(&mut |_| Ok(()))
}

fn tell_nobody(_start: usize, _len: usize, _info: MMapInfo) {}

/// What a page of `region` is told to be.
fn info_of(region: &Region<'_>) -> MMapInfo {
    let (fd, offset) = match region.backing {
        Backing::Tag { handle, value } => (handle.cast_signed(), value.cast_signed()),
        // Nothing else is ever mapped.
        _ => (-1, 0),
    };
    MMapInfo {
        prot: region.prot.bits().cast_signed(),
        flags: region.flags.bits().cast_signed(),
        fd,
        offset,
        original: region.original,
    }
}

/// The mapping whose numbers are kept as they are: a tag, not a file.
fn mapping_of(info: MMapInfo) -> Mapping {
    let flags = MapFlags::from_bits_retain(info.flags.cast_unsigned());
    Mapping::tag(prot_of(info.prot), info.fd.cast_unsigned(), info.offset.cast_unsigned())
        .with_flags(flags)
}

fn prot_of(prot: c_int) -> Prot {
    Prot::from_bits_retain(prot.cast_unsigned())
}

/// An address or a length of this host.
fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The same back; what does not fit is the length of a whole space.
fn narrow(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The generator's next state and output.
const fn splitmix64(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state, bits ^ (bits >> 31))
}
