//! Memory that is made to be mapped several times.

use super::error::AliasError;
use super::sys::{Errno, Mapped};
use super::view::View;
use crate::exec::system_page;
use crate::{Memory, PageSize, Prot};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, MemfdFlags, SealFlags};
use rustix::io;

/// Memory that can be mapped any number of times, with any protections.
///
/// It is a file without a name (`memfd_create`). It can grow and never shrinks: it is
/// sealed against that (`F_SEAL_SHRINK`) before anybody gets it, because a touch of what
/// a shorter file no longer has is a bus error (`SIGBUS`), for everyone who maps it. It
/// cannot be executed by name (`MFD_NOEXEC_SEAL`, where the kernel has it); an executable
/// view is another matter, and allowed.
///
/// Views are made by [`map`](Self::map) where the system likes, and by an
/// [`Executor`](crate::Executor) in a guest's space ([`memory`](Self::memory)); the books
/// know the memory as a file there, whose offset follows when a mapping is split, and
/// [`Executor::pieces_of`](crate::Executor::pieces_of) answers who maps which bytes.
///
/// Whoever gets the descriptor ([`AsFd`]), another process say, can map it too.
///
/// # Examples
///
/// A code buffer that is written through one view and run through another, so that no
/// page is ever both writable and executable:
///
/// ```
/// use addrspace::Prot;
/// use addrspace::alias::SharedMemory;
///
/// let code = SharedMemory::new(0x1000)?;
/// let writable = code.map(0, 0x1000, Prot::READ | Prot::WRITE)?;
/// let executable = code.map(0, 0x1000, Prot::READ | Prot::EXEC)?;
/// assert!(!writable.span().overlaps(executable.span()));
/// # Ok::<(), addrspace::alias::AliasError>(())
/// ```
///
/// In a guest's space:
///
/// ```
/// use addrspace::{Executor, Placement, Prot, Reservation};
/// use addrspace::alias::SharedMemory;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shared = SharedMemory::new(0x4000)?;
/// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
/// let at = Placement::lowest();
/// guest.map_any(0x4000, shared.memory(0, Prot::READ | Prot::WRITE), at)?;
/// guest.map_any(0x1000, shared.memory(0x2000, Prot::READ), at)?;
/// assert_eq!(guest.pieces_of(&shared, 0x2000, 1)?.len(), 2); // who maps this byte?
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SharedMemory {
    file: OwnedFd,
    page: PageSize,
}

/// How to make a [`SharedMemory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedMemoryOptions<'a> {
    name: &'a str,
    large: Option<u64>,
}

/// What a [`SharedMemory`] can be made to refuse, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Seal {
    /// It grows no more (`F_SEAL_GROW`).
    Growth,
    /// No new view is writable, nor is the file; the writable views that are there stay
    /// so (`F_SEAL_FUTURE_WRITE`, Linux 5.1).
    NewWriters,
    /// Nobody writes it any more (`F_SEAL_WRITE`); refused while there is a writable view.
    Writes,
    /// No further seals (`F_SEAL_SEAL`).
    Seals,
}

impl Seal {
    const fn flag(self) -> SealFlags {
        match self {
            Self::Growth => SealFlags::GROW,
            Self::NewWriters => SealFlags::FUTURE_WRITE,
            Self::Writes => SealFlags::WRITE,
            Self::Seals => SealFlags::SEAL,
        }
    }
}

impl SharedMemory {
    /// Makes memory of `len` bytes, rounded up to whole pages, that reads as zeroes.
    ///
    /// Pages are there as soon as they are touched, and stay until all views and the
    /// memory itself are gone.
    ///
    /// # Errors
    ///
    /// As of [`SharedMemoryOptions::create`].
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::SharedMemory;
    ///
    /// let memory = SharedMemory::new(1)?;
    /// assert_eq!(memory.len()?, memory.page_size().bytes());
    /// SharedMemory::new(0).unwrap_err();
    /// SharedMemory::new(u64::MAX).unwrap_err();
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn new(len: u64) -> Result<Self, AliasError> {
        Self::options().create(len)
    }

    /// A name for the kernel's lists, and large pages.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::SharedMemory;
    ///
    /// let memory = SharedMemory::options().named("code buffer").create(0x1000)?;
    /// let _view = memory.map(0, 0x1000, Prot::READ)?;
    /// let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    /// assert!(maps.contains("/memfd:code buffer"));
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub const fn options() -> SharedMemoryOptions<'static> {
        SharedMemoryOptions { name: "shared memory", large: None }
    }

    /// Takes over memory that somebody else has made, another process say.
    ///
    /// # Errors
    ///
    /// The file is closed then.
    ///
    /// - [`AliasError::Shrinkable`] if it is not sealed against shrinking, and cannot be;
    /// - [`AliasError::Kernel`] if it cannot be asked who it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{AliasError, SharedMemory};
    /// use std::os::fd::AsFd;
    ///
    /// let ours = SharedMemory::new(0x1000)?;
    /// let theirs = SharedMemory::from_file(ours.as_fd().try_clone_to_owned().unwrap())?;
    /// ours.write_at(0, b"hello")?;
    /// let mut bytes = [0; 5];
    /// theirs.read_at(0, &mut bytes)?;
    /// assert_eq!(&bytes, b"hello");
    ///
    /// let other = std::fs::File::open("/proc/self/exe").unwrap();
    /// let refused = SharedMemory::from_file(other.into()).unwrap_err();
    /// assert_eq!(refused, AliasError::Shrinkable);
    /// # Ok::<(), AliasError>(())
    /// ```
    pub fn from_file(file: OwnedFd) -> Result<Self, AliasError> {
        // Another owner may have closed the list of seals, with this one on it.
        let sealed = fs::fcntl_add_seals(&file, SealFlags::SHRINK).is_ok()
            || fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
        if !sealed {
            return Err(AliasError::Shrinkable);
        }
        let stat = fs::fstat(&file).map_err(AliasError::kernel("fstat"))?;
        // What can be sealed is a memfd, and says the size of its pages here.
        let page = u64::try_from(stat.st_blksize).ok().and_then(PageSize::new);
        let page = page.unwrap_or_else(system_page).max(system_page());
        Ok(Self { file, page })
    }

    /// The length in bytes.
    ///
    /// # Errors
    ///
    /// [`AliasError::Kernel`], which nothing should cause.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::SharedMemory;
    ///
    /// assert_eq!(SharedMemory::new(0x3000)?.len()?, 0x3000);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    #[expect(clippy::len_without_is_empty, reason = "a shared memory is never empty")]
    pub fn len(&self) -> Result<u64, AliasError> {
        let stat = fs::fstat(&self.file).map_err(AliasError::kernel("fstat"))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// The size of its pages: of what offsets and lengths are multiples.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::SharedMemory;
    ///
    /// assert!(SharedMemory::new(1)?.page_size().bytes() >= 4096);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub const fn page_size(&self) -> PageSize {
        self.page
    }

    /// Makes it `new_len` bytes long, rounded up to whole pages; the new ones read as
    /// zeroes.
    ///
    /// The views that are there show what they showed; to see the new bytes takes a new
    /// view. Of two threads that grow it at the same time the longer length wins.
    ///
    /// # Errors
    ///
    /// The length is as it was.
    ///
    /// - [`AliasError::Shorter`] if it is longer already;
    /// - [`AliasError::Range`] if no file can be so long;
    /// - [`AliasError::Kernel`] if the kernel refuses, as it does when it is sealed
    ///   against growth.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{AliasError, Seal, SharedMemory};
    ///
    /// let memory = SharedMemory::new(0x1000)?;
    /// memory.grow(0x3000)?;
    /// assert_eq!(memory.map(0x2000, 0x1000, Prot::READ)?.span().len(), Some(0x1000));
    /// let shorter = memory.grow(0x1000).unwrap_err();
    /// assert_eq!(shorter, AliasError::Shorter { len: 0x3000, new_len: 0x1000 });
    ///
    /// memory.seal(Seal::Growth)?;
    /// memory.grow(0x4000).unwrap_err();
    /// # Ok::<(), AliasError>(())
    /// ```
    pub fn grow(&self, new_len: u64) -> Result<(), AliasError> {
        let len = self.len()?;
        let target = file_len(self.page, new_len)?;
        if target < len {
            return Err(AliasError::Shorter { len, new_len });
        }
        match fs::ftruncate(&self.file, target) {
            Ok(()) => Ok(()),
            // Somebody else was faster, and it was sealed against shrinking.
            Err(Errno::PERM) if self.len()? > target => {
                Err(AliasError::Shorter { len: self.len()?, new_len })
            }
            Err(errno) => Err(AliasError::kernel("ftruncate")(errno)),
        }
    }

    /// Makes it refuse something, for everyone and for good.
    ///
    /// # Errors
    ///
    /// [`AliasError::Kernel`] if the kernel refuses, as it does to seal memory against
    /// writes that has a writable view (`EBUSY`), or against anything after
    /// [`Seal::Seals`] (`EPERM`). Nothing is sealed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{Seal, SharedMemory};
    ///
    /// let memory = SharedMemory::new(0x1000)?;
    /// let rw = Prot::READ | Prot::WRITE;
    /// let ours = memory.map(0, 0x1000, rw)?;
    /// memory.seal(Seal::NewWriters)?; // before the descriptor is given to others
    /// memory.map(0, 0x1000, rw).unwrap_err();
    /// memory.map(0, 0x1000, Prot::READ)?;
    ///
    /// memory.seal(Seal::Writes).unwrap_err(); // ours is writable
    /// drop(ours);
    /// memory.seal(Seal::Writes)?;
    /// assert!(memory.is_sealed(Seal::Writes)?);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn seal(&self, seal: Seal) -> Result<(), AliasError> {
        fs::fcntl_add_seals(&self.file, seal.flag()).map_err(AliasError::kernel("fcntl"))
    }

    /// Whether it refuses what `seal` names.
    ///
    /// # Errors
    ///
    /// [`AliasError::Kernel`], which nothing should cause.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{Seal, SharedMemory};
    ///
    /// assert!(!SharedMemory::new(0x1000)?.is_sealed(Seal::Growth)?);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn is_sealed(&self, seal: Seal) -> Result<bool, AliasError> {
        let seals = fs::fcntl_get_seals(&self.file).map_err(AliasError::kernel("fcntl"))?;
        Ok(seals.contains(seal.flag()))
    }

    /// Maps the `len` bytes from `offset` on, where the system likes: one call.
    ///
    /// # Errors
    ///
    /// Nothing is mapped.
    ///
    /// - [`AliasError::Range`] if the memory has no such bytes;
    /// - [`AliasError::Alignment`] if they are not whole pages of it;
    /// - [`AliasError::Kernel`] if the kernel refuses, as it does a writable view of what
    ///   is sealed against writes (`EPERM`), or when it has no large pages left (`ENOMEM`).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{AliasError, SharedMemory};
    ///
    /// let memory = SharedMemory::new(0x4000)?;
    /// let view = memory.map(0x1000, 0x2000, Prot::READ)?;
    /// assert_eq!(view.span().len(), Some(0x2000));
    /// let past = memory.map(0x3000, 0x2000, Prot::READ).unwrap_err();
    /// assert_eq!(past, AliasError::Range { at: 0x3000, len: 0x2000, of: 0x4000 });
    /// memory.map(0x10, 0x1000, Prot::READ).unwrap_err();
    /// # Ok::<(), AliasError>(())
    /// ```
    pub fn map(&self, offset: u64, len: u64, prot: Prot) -> Result<View, AliasError> {
        self.check(offset, len)?;
        let refused = AliasError::kernel("mmap");
        let memory = Mapped::file(self.file.as_fd(), offset, len, prot).map_err(refused)?;
        Ok(View::new(memory, prot))
    }

    /// The bytes from `offset` on for an [`Executor`](crate::Executor) to map, shared.
    ///
    /// The executor maps what it is told: where it is to show bytes past the end of the
    /// memory, a touch of them is a bus error, as with every file.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Placement, Prot, Reservation};
    /// use addrspace::alias::SharedMemory;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let shared = SharedMemory::new(0x1000)?;
    /// let mut guest = Executor::new(Reservation::new(0x10000)?)?;
    /// let page = guest.map_any(0x1000, shared.memory(0, Prot::READ), Placement::lowest())?;
    /// shared.write_at(0, &[7])?;
    /// // SAFETY: the page was mapped just now, and nobody writes it.
    /// assert_eq!(unsafe { page.read() }, 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn memory(&self, offset: u64, prot: Prot) -> Memory<'_> {
        Memory::file(prot, self, offset).shared()
    }

    /// Reads the bytes from `offset` on without a view, by `pread`.
    ///
    /// Who writes them at the same time can be seen half-way.
    ///
    /// # Errors
    ///
    /// - [`AliasError::Range`] if the memory has no such bytes;
    /// - [`AliasError::Kernel`] if the kernel refuses; some may have been read.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::SharedMemory;
    ///
    /// let mut bytes = [1; 4];
    /// SharedMemory::new(0x1000)?.read_at(0xffc, &mut bytes)?;
    /// assert_eq!(bytes, [0; 4]);
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), AliasError> {
        self.check_bytes(offset, bytes.len())?;
        let (mut left, mut at) = (bytes, offset);
        while !left.is_empty() {
            let read = match io::pread(&self.file, &mut *left, at) {
                Ok(read) if read > 0 => read,
                Err(Errno::INTR) => continue,
                // The bytes are there: it never ends before them.
                Ok(_) => return Err(AliasError::kernel("pread")(Errno::IO)),
                Err(errno) => return Err(AliasError::kernel("pread")(errno)),
            };
            left = left.get_mut(read..).unwrap_or_default();
            at = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Writes `bytes` from `offset` on without a view, by `pwrite`; the kernel does not
    /// do that for large pages.
    ///
    /// # Errors
    ///
    /// - [`AliasError::Range`] if the memory has no such bytes;
    /// - [`AliasError::Kernel`] if the kernel refuses, as when it is sealed against
    ///   writes (`EPERM`) or has large pages (`EINVAL`); some may have been written.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{AliasError, Seal, SharedMemory};
    ///
    /// let memory = SharedMemory::new(0x1000)?;
    /// memory.write_at(0xffe, &[7, 8])?;
    /// let past = memory.write_at(0xfff, &[7, 8]).unwrap_err();
    /// assert_eq!(past, AliasError::Range { at: 0xfff, len: 2, of: 0x1000 });
    /// # Ok::<(), AliasError>(())
    /// ```
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), AliasError> {
        self.check_bytes(offset, bytes.len())?;
        let (mut left, mut at) = (bytes, offset);
        while !left.is_empty() {
            let written = match io::pwrite(&self.file, left, at) {
                Ok(written) if written > 0 => written,
                Err(Errno::INTR) => continue,
                Ok(_) => return Err(AliasError::kernel("pwrite")(Errno::IO)),
                Err(errno) => return Err(AliasError::kernel("pwrite")(errno)),
            };
            left = left.get(written..).unwrap_or_default();
            at = at.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Refuses what is not in the memory.
    fn check_bytes(&self, offset: u64, len: usize) -> Result<(), AliasError> {
        let (of, len) = (self.len()?, u64::try_from(len).unwrap_or(u64::MAX));
        match offset.checked_add(len) {
            Some(end) if end <= of => Ok(()),
            _ => Err(AliasError::Range { at: offset, len, of }),
        }
    }

    /// Refuses what is not whole pages of the memory.
    pub(super) fn check(&self, offset: u64, len: u64) -> Result<(), AliasError> {
        let (of, page) = (self.len()?, self.page.bytes());
        match offset.checked_add(len) {
            Some(end) if end <= of && len > 0 => {}
            _ => return Err(AliasError::Range { at: offset, len, of }),
        }
        if !self.page.is_aligned(offset) || !self.page.is_aligned(len) {
            return Err(AliasError::Alignment { at: offset, len, page });
        }
        Ok(())
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl<'a> SharedMemoryOptions<'a> {
    /// With `name` in the kernel's lists, as `/memfd:name`.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::SharedMemory;
    ///
    /// SharedMemory::options().named("ring").create(0x1000)?;
    /// SharedMemory::options().named(&"x".repeat(1000)).create(0x1000).unwrap_err();
    /// # Ok::<(), addrspace::alias::AliasError>(())
    /// ```
    #[must_use]
    pub const fn named<'b>(self, name: &'b str) -> SharedMemoryOptions<'b>
    where
        'a: 'b,
    {
        SharedMemoryOptions { name, large: self.large }
    }

    /// With pages of `size` bytes from the system's pool of those (`MFD_HUGETLB`).
    ///
    /// Offsets and lengths of views are multiples of it then. The pool is filled by an
    /// administrator (`/proc/sys/vm/nr_hugepages`); if it has too few, mapping fails.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::Prot;
    /// use addrspace::alias::{AliasError, SharedMemory};
    ///
    /// let options = SharedMemory::options().large_pages(2 << 20);
    /// match options.create(1).and_then(|memory| memory.map(0, 2 << 20, Prot::READ)) {
    ///     Ok(view) => assert_eq!(view.span().start() % (2 << 20), 0),
    ///     // There are none of this size, or none left.
    ///     Err(refused) => assert!(matches!(refused, AliasError::Kernel { .. })),
    /// }
    /// let refused = SharedMemory::options().large_pages(3).create(1).unwrap_err();
    /// assert_eq!(refused, AliasError::PageSize { size: 3 });
    /// # Ok::<(), AliasError>(())
    /// ```
    #[must_use]
    pub const fn large_pages(mut self, size: u64) -> Self {
        self.large = Some(size);
        self
    }

    /// Makes memory of `len` bytes, rounded up to whole pages, that reads as zeroes.
    ///
    /// # Errors
    ///
    /// - [`AliasError::Range`] if `len` is zero, or no file can be so long;
    /// - [`AliasError::PageSize`] if there can be no pages of the size that was asked for;
    /// - [`AliasError::Kernel`] if the kernel refuses: there are none of this size, the
    ///   name is too long or has a zero in it, there are too many open files.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::alias::{AliasError, SharedMemory};
    ///
    /// let empty = SharedMemory::options().create(0).unwrap_err();
    /// assert!(matches!(empty, AliasError::Range { at: 0, len: 0, .. }));
    /// ```
    pub fn create(self, len: u64) -> Result<SharedMemory, AliasError> {
        let page = match self.large {
            None => system_page(),
            Some(size) => PageSize::new(size)
                .filter(|page| *page > system_page())
                .ok_or(AliasError::PageSize { size })?,
        };
        let len = file_len(page, len)?;
        let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        if self.large.is_some() {
            // The binary logarithm of the size stands in the top six bits.
            let size = page.bytes().trailing_zeros().wrapping_shl(26);
            flags |= MemfdFlags::HUGETLB | MemfdFlags::from_bits_retain(size);
        }
        let file = match fs::memfd_create(self.name, flags | MemfdFlags::NOEXEC_SEAL) {
            // Before Linux 6.3.
            Err(Errno::INVAL) => fs::memfd_create(self.name, flags),
            made => made,
        };
        let file = file.map_err(AliasError::kernel("memfd_create"))?;
        fs::ftruncate(&file, len).map_err(AliasError::kernel("ftruncate"))?;
        fs::fcntl_add_seals(&file, SealFlags::SHRINK).map_err(AliasError::kernel("fcntl"))?;
        Ok(SharedMemory { file, page })
    }
}

/// The length of a file for `len` bytes.
fn file_len(page: PageSize, len: u64) -> Result<u64, AliasError> {
    /// The kernel's lengths of files are signed.
    const LONGEST: u64 = i64::MAX.cast_unsigned();
    let fits = page.round_up(len).filter(|whole| (1..=LONGEST).contains(whole));
    fits.ok_or(AliasError::Range { at: 0, len, of: LONGEST })
}
