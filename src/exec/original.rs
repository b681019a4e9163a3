//! Marking what a guest starts with, and going back to it.

use super::change::{check_change, close, flag, protect};
use super::error::ExecError;
use super::executor::Executor;
use super::memory::{self, Options, Way};
use super::reservation::Reservation;
use crate::{AddrSpace, Backing, Update};

impl Executor {
    /// Marks all that is mapped now as original; see [`AddrSpace::mark_original`].
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let reader = guest.reader();
    /// guest.map_any(0x3000, Memory::anonymous(Prot::READ), Placement::lowest())?;
    /// guest.mark_original();
    /// assert_eq!(reader.load().picture().to_string(), "RRR............."); // published, too
    ///
    /// let start = guest.space().span().unwrap().start();
    /// guest.protect(start, 0x1000, Prot::READ | Prot::WRITE)?; // stays one
    /// guest.map_at(start + 0x1000, 0x1000, Memory::anonymous(Prot::READ))?; // is none
    /// assert_eq!(guest.space().picture().to_string(), "WrR.............");
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn mark_original(&mut self) {
        self.space.mark_original();
        self.publish();
    }

    /// Unmaps all that is not original: one call per stretch between originals.
    ///
    /// Originals that were unmapped, replaced or protected since are as they are
    /// now: see [`restore`](Self::restore).
    ///
    /// # Errors
    ///
    /// As of [`unmap`](Self::unmap). After [`ExecError::Kernel`] or
    /// [`ExecError::Taken`], the stretches below the refused one are unmapped; calling
    /// again does the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let memory = Memory::anonymous(Prot::READ);
    /// guest.map_any(0x1000, memory, Placement::lowest())?;
    /// guest.mark_original();
    /// for _ in 0..5 {
    ///     guest.map_any(0x1000, memory, Placement::lowest())?;
    /// }
    /// guest.unmap_non_original()?;
    /// assert_eq!(guest.space().usage().mapped, 0x1000);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn unmap_non_original(&mut self) -> Result<(), ExecError> {
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space.unmap_non_original(|update| close(update, ground, listeners));
        self.settle(made)
    }

    /// Makes the mappings equal to `snapshot`, a copy of [`space`](Self::space) from
    /// before, by the shortest way.
    ///
    /// Mappings come back, bytes do not: what is mapped anew reads as zeroes, and
    /// what was only protected has what the guest wrote to it. An original that was
    /// replaced is mapped anew also if it was replaced by its like.
    ///
    /// # Errors
    ///
    /// If nothing has changed:
    ///
    /// - [`ExecError::Refused`] as of [`AddrSpace::restore`];
    /// - [`ExecError::NeedsFile`] if something else than private anonymous memory
    ///   would have to be mapped;
    /// - [`ExecError::Flags`] if flags differ that cannot be changed.
    ///
    /// [`ExecError::Kernel`] if the kernel refuses, or [`ExecError::Taken`] if a part
    /// was lost before and somebody else has it: the steps before are done; calling
    /// again does the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let rw = Prot::READ | Prot::WRITE;
    /// let stack = guest.map_any(0x4000, Memory::anonymous(rw), Placement::highest())?;
    /// guest.mark_original();
    /// let clean = guest.space().clone();
    ///
    /// guest.protect(stack.addr() as u64, 0x1000, Prot::empty())?;
    /// guest.unmap(stack.addr() as u64 + 0x2000, 0x1000)?;
    /// guest.map_any(0x1000, Memory::anonymous(rw), Placement::lowest())?;
    /// guest.restore(&clean)?;
    /// assert_eq!(*guest.space(), clean);
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn restore(&mut self, snapshot: &AddrSpace) -> Result<(), ExecError> {
        for update in self.space.diff(snapshot)? {
            match update {
                Update::Map { region, .. }
                    if region.backing != Backing::Anonymous || region.is_shared() =>
                {
                    return Err(ExecError::NeedsFile { span: region.span });
                }
                Update::Map { region, .. } => memory::check_flags(region.flags)?,
                Update::Flags { set, clear, .. } => check_change(set.union(clear))?,
                _ => {}
            }
        }
        let Self { space, reservation: Reservation { ground }, listeners, .. } = self;
        let made = space.restore(snapshot, |update| match update {
            Update::Map { region, .. } => {
                memory::put(ground, &region, None, Options::default(), Way::Direct)
                    .map_err(|refusal| refusal.doubt(region.span))?;
                listeners.tell(update);
                Ok(())
            }
            Update::Protect { .. } => protect(update, ground, listeners),
            Update::Flags { .. } => flag(update, ground, listeners),
            _ => close(update, ground, listeners),
        });
        self.settle(made)
    }
}
