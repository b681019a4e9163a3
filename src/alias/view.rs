//! One view of a shared memory.

use super::error::AliasError;
use super::sys::Mapped;
use crate::{Prot, Span};

/// A part of a [`SharedMemory`](super::SharedMemory), mapped at an address of the
/// system's choice; unmapped on drop.
///
/// It shows what every other view of the same bytes shows, at once and in both
/// directions. The memory lives for as long as a view of it does, also when the
/// `SharedMemory` is gone, and a child after `fork` shares it.
///
/// # Examples
///
/// ```
/// use addrspace::Prot;
/// use addrspace::alias::SharedMemory;
///
/// let memory = SharedMemory::new(0x2000)?;
/// let writer = memory.map(0, 0x2000, Prot::READ | Prot::WRITE)?;
/// let reader = memory.map(0x1000, 0x1000, Prot::READ)?;
/// drop(memory);
/// // SAFETY: both views are mapped, and nobody else has them.
/// unsafe { writer.pointer().add(0x1000).write(7) };
/// // SAFETY: as above.
/// assert_eq!(unsafe { reader.pointer().read() }, 7);
/// # Ok::<(), addrspace::alias::AliasError>(())
/// ```
#[derive(Debug)]
pub struct View {
    memory: Mapped,
    prot: Prot,
}

impl View {
    pub(super) const fn new(memory: Mapped, prot: Prot) -> Self {
        Self { memory, prot }
    }

    /// Where it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::SharedMemory;
    ///
    /// let view = SharedMemory::new(0x3000)?.map(0x1000, 0x2000, Prot::READ)?;
    /// assert_eq!(view.span().len(), Some(0x2000));
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn span(&self) -> Span {
        self.memory.span()
    }

    /// A pointer to its first byte.
    ///
    /// What may be done through it is what the protection allows; it is valid until the
    /// view is dropped. Others may write the same bytes, so no reference should be made
    /// of it unless it is known that nobody does.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::SharedMemory;
    ///
    /// let view = SharedMemory::new(0x1000)?.map(0, 0x1000, Prot::READ)?;
    /// // SAFETY: the view is mapped, and nobody writes the memory.
    /// assert_eq!(unsafe { view.pointer().read() }, 0);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn pointer(&self) -> *mut u8 {
        self.memory.pointer()
    }

    /// The protection.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::SharedMemory;
    ///
    /// let view = SharedMemory::new(0x1000)?.map(0, 0x1000, Prot::READ)?;
    /// assert_eq!(view.prot(), Prot::READ);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub const fn prot(&self) -> Prot {
        self.prot
    }

    /// Gives this view another protection; other views keep theirs.
    ///
    /// # Errors
    ///
    /// [`AliasError::Kernel`] if the kernel refuses, as it does to make a view of memory
    /// that is sealed against writes writable (`EACCES`): nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Seal, SharedMemory};
    ///
    /// let memory = SharedMemory::new(0x1000)?;
    /// let mut view = memory.map(0, 0x1000, Prot::READ)?;
    /// view.protect(Prot::READ | Prot::WRITE)?;
    /// view.protect(Prot::READ)?;
    /// assert_eq!(view.prot(), Prot::READ);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn protect(&mut self, prot: Prot) -> Result<(), AliasError> {
        let refused = AliasError::kernel("mprotect");
        self.memory.protect(self.memory.span(), prot).map_err(refused)?;
        self.prot = prot;
        Ok(())
    }
}
