//! Marking what a space starts with, and going back to it.

use super::commit::{Ack, Cuts};
use super::update::{Answer, Pieces, Update};
use super::usage::Tally;
use super::{AddrSpace, Gaps};

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// Marks all that is mapped now as original.
    ///
    /// A page stays original when it is protected or its flags change;
    /// it is no longer when it is mapped anew or moved. Nothing is reported.
    /// Neighbours that differed in the mark alone become one region.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x8000, 0x1000)?;
    /// space.map_at(0, 0x3000, Mapping::anonymous(Prot::READ), ignore)?;
    /// space.mark_original();
    /// space.map_at(0x1000, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
    /// assert_eq!(space.picture().to_string(), "RrR.....");
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn mark_original(&mut self) {
        let all = self.geometry.all();
        // Nothing is cut, so nothing has to be copied.
        self.areas.update_with(all, |_, area| area.set_original(true), |_, area| area.clone());
    }

    /// Unmaps all that is not original.
    ///
    /// `handler` hears of one [`Update::Unmap`] per maximal run of such pages, or
    /// of one per stretch between originals if the gaps are
    /// [`Owned`](crate::Gaps::Owned).
    /// Originals that were unmapped, replaced or protected since are not restored;
    /// that is what [`restore`](Self::restore) is for. Needs no memory.
    ///
    /// # Errors
    ///
    /// If the handler refuses ([`OpError::Handler`](crate::OpError::Handler)), or
    /// panics, pages below `at` are unmapped, those from `at` on are as before.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x8000, 0x1000)?;
    /// space.map_at(0x3000, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
    /// space.mark_original();
    /// space.map_at(0x2000, 0x1000, Mapping::anonymous(Prot::READ), ignore)?;
    /// space.map_at(0x4000, 0x2000, Mapping::anonymous(Prot::READ), ignore)?;
    ///
    /// let mut spans = Vec::new();
    /// space.unmap_non_original(|update| spans.push(update.span().to_string()))?;
    /// assert_eq!(spans, ["0x2000..=0x2fff", "0x4000..=0x5fff"]);
    /// assert_eq!(space.picture().to_string(), "...R....");
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn unmap_non_original<A: Answer>(
        &mut self,
        handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        Cleanup { ack: Ack::new(0, Cuts::Out), space: self, gone: Tally::ZERO, counted: 0 }
            .report(handler)
    }
}

/// Reports the runs that are not original and records them when dropped, at once.
struct Cleanup<'s, F: Clone + PartialEq> {
    space: &'s mut AddrSpace<F>,
    ack: Ack<F>,
    /// The page below which `gone` is counted.
    counted: u64,
    gone: Tally,
}

impl<F: Clone + PartialEq> Cleanup<'_, F> {
    fn report<A: Answer>(
        mut self,
        mut handler: impl FnMut(Update<'_, F>) -> A,
    ) -> Result<(), A::Error> {
        let geometry = self.space.geometry;
        let over_gaps = self.space.gaps == Gaps::Owned;
        let mut areas = self.space.areas.iter().peekable();
        while let Some((first, area)) = areas.next() {
            if area.original() {
                continue;
            }
            let mut gone = Tally::ZERO;
            gone.count(area.prot, area.flags, &first);
            let mut run = first;
            while let Some((next, area)) = areas
                .next_if(|(next, area)| !area.original() && (over_gaps || next.start == run.end))
            {
                gone.count(area.prot, area.flags, &next);
                run.end = next.end;
            }
            let pieces = Pieces::new(&self.space.areas, geometry, &run, Some(&self.ack));
            let span = geometry.span_of(run.start, run.end);
            handler(Update::Unmap { span, pieces })
                .refusal(|| geometry.addr_of(self.ack.upto().max(run.start)))?;
            self.ack.complete(run.end);
            self.counted = run.end;
            self.gone.add(gone);
        }
        Ok(())
    }
}

impl<F: Clone + PartialEq> Drop for Cleanup<'_, F> {
    fn drop(&mut self) {
        let upto = self.ack.upto();
        if upto == 0 {
            return;
        }
        // Between here and there, only the update that was refused in its midst.
        for (piece, area) in self.space.areas.pieces(self.counted..upto) {
            if !area.original() {
                self.gone.count(area.prot, area.flags, &piece);
            }
        }
        // In this order the books are right also when dropping a handle panics.
        self.space.tally.sub(self.gone);
        let areas = &mut self.space.areas;
        let cut =
            areas.get_range(upto).filter(|(whole, area)| whole.start < upto && !area.original());
        if let Some((whole, _)) = cut {
            // From the start of a region on: nothing has to exist twice.
            areas.remove_with(whole.start..upto, |_, area| area.clone());
        }
        areas.retain(|range, area| area.original() || range.end > upto);
    }
}
