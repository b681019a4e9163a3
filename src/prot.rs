//! Protection and flags, with Linux's values where Linux has one.

use bitflags::bitflags;

bitflags! {
    /// What may be done with the bytes of a mapping.
    ///
    /// No access is `Prot::empty()`.
    /// The values are those of `PROT_*`; bits without a name are carried as they are.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    ///
    /// let prot = Prot::READ | Prot::EXEC;
    /// assert_eq!(prot.bits(), 5); // PROT_READ | PROT_EXEC
    ///
    /// let bti = Prot::from_bits_retain(0x15); // with PROT_BTI of arm64
    /// assert!(bti.contains(prot));
    /// assert_ne!(bti, prot);
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    pub struct Prot: u32 {
        /// Bytes may be read.
        const READ = 0x1;
        /// Bytes may be written.
        const WRITE = 0x2;
        /// Bytes may be executed.
        const EXEC = 0x4;

        // The host's and the embedder's own (PROT_BTI, PROT_MTE, ..).
        const _ = !0;
    }
}

bitflags! {
    /// What else the books know about a mapping.
    ///
    /// A space records flags and tells them on; it enforces none of them.
    /// Two of them have a meaning to the space itself:
    /// a mapping with [`SHARED`](Self::SHARED) is counted as shared,
    /// and only such a mapping can be duplicated by
    /// [`AddrSpace::remap`](crate::AddrSpace::remap).
    /// Neighbours with different flags stay two regions.
    ///
    /// Flags that `mmap` has carry Linux's value of `MAP_*`;
    /// the others stand in bits that mean nothing there.
    /// Bits without a name are carried as they are, so an embedder can add its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::MapFlags;
    ///
    /// assert_eq!(MapFlags::SHARED.bits(), 1); // MAP_SHARED
    /// let mine = MapFlags::from_bits_retain(1 << 31) | MapFlags::DONT_DUMP;
    /// assert_eq!(mine.bits() >> 31, 1);
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    pub struct MapFlags: u32 {
        /// Writes reach the backing (`MAP_SHARED`); without it the mapping is private.
        const SHARED = 0x1;
        /// The mapping grows towards lower addresses (`MAP_GROWSDOWN`).
        const GROWS_DOWN = 0x100;
        /// The pages are locked in memory (`MAP_LOCKED`, `mlock`).
        const LOCKED = 0x2000;
        /// No memory is set aside for the pages (`MAP_NORESERVE`).
        const NO_RESERVE = 0x4000;
        /// The mapping may not be made readable (no `VM_MAYREAD`).
        const NO_READ = 0x200;
        /// The mapping may not be made writable (no `VM_MAYWRITE`).
        const NO_WRITE = 0x400;
        /// The mapping may not be made executable (no `VM_MAYEXEC`).
        const NO_EXEC = 0x0020_0000;
        /// A child does not get the mapping (`MADV_DONTFORK`).
        const DONT_FORK = 0x0040_0000;
        /// A child gets zeroes (`MADV_WIPEONFORK`).
        const WIPE_ON_FORK = 0x0080_0000;
        /// The mapping is left out of core dumps (`MADV_DONTDUMP`).
        const DONT_DUMP = 0x0100_0000;
        /// The mapping may not be changed any more (`mseal`).
        const SEALED = 0x0200_0000;

        // The host's and the embedder's own.
        const _ = !0;
    }
}
