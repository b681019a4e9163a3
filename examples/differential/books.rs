//! The books' side: an `AddrSpace` of all user memory, of which the calls are to change
//! the window only.

use addrspace::{
    AddrSpace, Backing, Error, MapFlags, Mapping, Placement, Prot, Region, Span, Update,
};

use super::kernel::Area;

/// What a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// A file, by number.
    File(u64),
    /// Shared memory without a file, by the order of making.
    Shared(usize),
    /// What is around the window.
    Outside,
}

/// The books, and how they were before the call at hand.
#[derive(Debug)]
pub(crate) struct Books {
    space: AddrSpace<Object>,
    before: AddrSpace<Object>,
    window: Span,
    strayed: bool,
    no_room: Option<u64>,
}

impl Books {
    /// Books of the addresses below `end`, in which all areas are of others.
    ///
    /// # Errors
    ///
    /// If the library refuses them.
    pub(crate) fn new(
        end: u64,
        page_size: u64,
        window: Span,
        areas: &[Area],
    ) -> Result<Self, Error> {
        let mut space = AddrSpace::new(0, end, page_size)?;
        for area in areas {
            let prot = Prot::from_bits_retain(area.prot);
            let mapping = Mapping::tag(prot, Object::Outside, area.start);
            let mapping = if area.shared { mapping.shared() } else { mapping };
            space.map_at(area.start, area.end - area.start, mapping, |_| ())?;
        }
        Ok(Self { before: space.clone(), space, window, strayed: false, no_room: None })
    }

    pub(crate) const fn space(&self) -> &AddrSpace<Object> {
        &self.space
    }

    /// Begins with another call.
    pub(crate) fn begin(&mut self) {
        self.before.clone_from(&self.space);
        self.strayed = false;
        self.no_room = None;
    }

    /// Takes back what was done for the call at hand.
    pub(crate) fn undo(&mut self) {
        self.space.clone_from(&self.before);
    }

    /// Whether the call at hand would change something outside of the window.
    pub(crate) const fn strayed(&self) -> bool {
        self.strayed
    }

    /// How much the call at hand has found no room for, if that is so.
    pub(crate) const fn no_room(&self) -> Option<u64> {
        self.no_room
    }

    /// Whether the call at hand changes anything.
    pub(crate) fn changed(&self) -> bool {
        self.space != self.before
    }

    /// The kernel's own way to choose a place, given its hint.
    pub(crate) fn placement(&self, hint: u64) -> Placement {
        let placement = Placement::highest().within(self.window.start(), self.window_len());
        if hint == 0 { placement } else { placement.near(hint) }
    }

    /// The first address in `start..end` that is not mapped.
    pub(crate) fn first_gap(&self, start: u64, end: u64) -> Option<u64> {
        self.space.gaps_in(start, end.saturating_sub(start)).next().map(Span::start)
    }

    /// The first address in `start..end` that may not be made writable.
    pub(crate) fn first_read_only(&self, start: u64, end: u64) -> Option<u64> {
        let mut pieces = self.space.regions_in(start, end.saturating_sub(start));
        pieces.find(|piece| piece.flags.contains(MapFlags::NO_WRITE)).map(|piece| piece.start())
    }

    pub(crate) fn region_at(&self, addr: u64) -> Option<Region<'_, Object>> {
        self.space.query(addr)
    }

    /// Whether `start..end` lies in the window.
    pub(crate) fn in_window(&self, start: u64, end: u64) -> bool {
        self.window.start() <= start && end <= self.window.start() + self.window_len()
    }

    fn window_len(&self) -> u64 {
        self.window.last() - self.window.start() + 1
    }

    /// Calls one verb with a handler that looks where the change would be.
    ///
    /// # Errors
    ///
    /// As the verb says.
    pub(crate) fn change<T>(
        &mut self,
        call: impl FnOnce(
            &mut AddrSpace<Object>,
            &mut dyn FnMut(Update<'_, Object>),
        ) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (window, strayed) = (self.window, &mut self.strayed);
        let inside = |span: Span| window.start() <= span.start() && span.last() <= window.last();
        let result = call(&mut self.space, &mut |update: Update<'_, Object>| {
            *strayed |= !inside(update.span());
            if let Update::Move { to, .. } = update {
                *strayed |= !inside(to);
            }
        });
        if let Err(Error::NoRoom { len, .. }) = result {
            self.no_room = Some(len);
        }
        result
    }
}

/// The object of a region, and the offset of its first byte.
pub(crate) fn shown(region: &Region<'_, Object>) -> (Option<Object>, u64) {
    match region.backing {
        Backing::File { file, offset } => (Some(*file), offset),
        Backing::Tag { handle, .. } => (Some(*handle), 0),
        _ => (None, 0),
    }
}
