//! A mirror that can be written: the one of the room's calls that is `unsafe` to make.

#![allow(unsafe_code, reason = "whoever writes to a source has to be allowed to")]

use super::super::error::AliasError;
use super::{Guarantee, Mirror};
use crate::{Prot, Span};

impl Mirror {
    /// Shows `sources` live, and lets them be written through the mirror, too.
    ///
    /// # Safety
    ///
    /// Who writes through the mirror changes the source, and has to be allowed to: no
    /// reference may point to what is written, as if it was written by its own address.
    /// Where frames are mapped ([`Way::Physical`](super::Way::Physical)) it is worse: a page that has moved
    /// leaves its frame to somebody else, the kernel perhaps. For as long as the mirror
    /// lives nothing may be written through it unless the pages are sure to be where they
    /// were, and [`is_current`](Self::is_current) can only say that they were.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new), and [`AliasError::Kernel`] (`EACCES`) for shared memory
    /// that may not be written.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Mirror, SharedMemory};
    ///
    /// let source = SharedMemory::new(0x1000)?.map(0, 0x1000, Prot::READ | Prot::WRITE)?;
    /// // SAFETY: no reference points into the source.
    /// let mirror = unsafe { Mirror::writable(&[source.span()]) }?;
    /// // SAFETY: both are mapped, and nobody else has them.
    /// unsafe { mirror.pointer().cast_mut().write_volatile(7) };
    /// // SAFETY: as above.
    /// assert_eq!(unsafe { source.pointer().read_volatile() }, 7);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub unsafe fn writable(sources: &[Span]) -> Result<Self, AliasError> {
        Self::first(sources, Guarantee::Live, Prot::READ | Prot::WRITE)
    }
}
