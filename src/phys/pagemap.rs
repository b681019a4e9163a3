//! `/proc/PID/pagemap`: from virtual addresses to physical ones.

use super::error::{Error, Untranslated};
use super::window::wide;
use crate::{PageSize, Span};
use bitflags::bitflags;
use rustix::fd::OwnedFd;
use rustix::fs::{self, Mode, OFlags};
use rustix::io;
use std::fs::File;
use std::io::{BufRead, BufReader};

/// The frames behind a process's virtual addresses.
///
/// # How long an answer holds
///
/// An answer is true at the moment of the look, and for no longer by itself. The
/// kernel moves pages: swapping does, and so do compaction and migration, for pages
/// that are locked with `mlock`, too. After a `fork`, the first write gives one of the
/// two processes another frame. What stays: huge pages of hugetlbfs as long as nobody
/// offlines memory, pages that a driver has pinned, and memory of devices. So compare
/// what you read through the frame with what the page has, and look again afterwards.
///
/// # Who sees it
///
/// Frames are shown to `CAP_SYS_ADMIN` in the first user namespace; others see which
/// pages are there. Another process's file can be opened by whoever may trace it.
///
/// # Examples
///
/// ```
/// use addrspace::phys::{Frame, Pagemap};
///
/// let byte = Box::new(7_u8); // written, so its page is there
/// let page = Pagemap::of_self()?.page((&raw const *byte).addr() as u64)?;
/// match page.frame {
///     Frame::At(phys) => assert_eq!(phys % 0x1000, 0),
///     Frame::Hidden => {} // we are not root
///     Frame::Swapped { .. } | Frame::Absent => {} // since we wrote it
/// }
/// # Ok::<(), addrspace::phys::Error>(())
/// ```
#[derive(Debug)]
pub struct Pagemap {
    file: OwnedFd,
    /// `/proc/self` or `/proc/PID`.
    process: String,
    page: PageSize,
}

/// What is known of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The virtual address of its first byte.
    pub addr: u64,
    /// Where it is.
    pub frame: Frame,
    /// What else is known.
    pub flags: PageFlags,
}

bitflags! {
    /// What else is known of a page.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct PageFlags: u8 {
        /// A file's page or shared memory, not private anonymous memory (Linux 3.5).
        const FILE = 1;
        /// Mapped here and nowhere else (Linux 4.2).
        const EXCLUSIVE = 2;
        /// Written to since the soft-dirty bits of its process were cleared
        /// (`CONFIG_MEM_SOFT_DIRTY`).
        const SOFT_DIRTY = 4;
        /// Write-protected by userfaultfd (Linux 5.13).
        const UFFD_PROTECTED = 8;
    }
}

/// Where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// At this physical address.
    At(u64),
    /// Somewhere in memory: the kernel does not tell us.
    Hidden,
    /// In swap space, or on its way from one frame to another.
    Swapped {
        /// The number of the swap area, or a special one.
        area: u8,
        /// The page in it; 0 if the kernel does not tell us.
        offset: u64,
    },
    /// Nowhere; [`Pagemap::translate`] says why.
    Absent,
}

impl Page {
    /// By the bits of an entry, as the kernel's `pagemap.rst` has them.
    fn of(entry: u64, addr: u64, page: PageSize) -> Self {
        const FRAME: u64 = (1 << 55) - 1;
        let bit = |nth: u32| entry.wrapping_shr(nth) & 1 == 1;
        let frame = match (bit(63), bit(62), entry & FRAME) {
            // Frame 0 is never given to a process.
            (true, _, 0) => Frame::Hidden,
            (true, _, number) => Frame::At(number.saturating_mul(page.bytes())),
            (false, true, swap) => Frame::Swapped {
                area: u8::try_from(swap & 0x1f).unwrap_or_default(),
                offset: swap.wrapping_shr(5),
            },
            (false, false, _) => Frame::Absent,
        };
        let mut flags = PageFlags::empty();
        flags.set(PageFlags::FILE, bit(61));
        flags.set(PageFlags::EXCLUSIVE, bit(56));
        flags.set(PageFlags::SOFT_DIRTY, bit(55));
        flags.set(PageFlags::UFFD_PROTECTED, bit(57));
        Self { addr, frame, flags }
    }
}

impl Pagemap {
    /// This process's own.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it cannot be opened: `/proc` is not mounted, or the
    /// kernel has no `CONFIG_PROC_PAGE_MONITOR`.
    pub fn of_self() -> Result<Self, Error> {
        Self::open("/proc/self".to_owned())
    }

    /// That of the process `pid`.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it cannot be opened: there is no such process, or we may
    /// not trace it (`EACCES`).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::Pagemap;
    ///
    /// Pagemap::of(std::process::id())?;
    /// assert_eq!(Pagemap::of(u32::MAX).unwrap_err().errno(), 2); // no such process
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn of(pid: u32) -> Result<Self, Error> {
        Self::open(format!("/proc/{pid}"))
    }

    fn open(process: String) -> Result<Self, Error> {
        let path = format!("{process}/pagemap");
        let file = fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::System { path, errno: errno.raw_os_error() })?;
        let page = PageSize::new(wide(rustix::param::page_size()))
            .ok_or(Error::Range { addr: 0, len: wide(rustix::param::page_size()) })?;
        Ok(Self { file, process, page })
    }

    /// The page with the byte at `addr`.
    ///
    /// # Errors
    ///
    /// As of [`pages`](Self::pages).
    pub fn page(&self, addr: u64) -> Result<Page, Error> {
        let mut pages = self.pages(addr, 1)?;
        pages.pop().ok_or(Error::Untranslated { addr, why: Untranslated::NotMapped })
    }

    /// The pages that the `len` bytes at `addr` touch, in ascending order.
    ///
    /// # Errors
    ///
    /// - [`Error::Range`] if there are none, or they end past the last address;
    /// - [`Error::Untranslated`] from the first page on that no process can have;
    /// - [`Error::System`] if the kernel refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::{Error, Pagemap};
    ///
    /// let pagemap = Pagemap::of_self()?;
    /// assert_eq!(pagemap.pages(0x10ffe, 4)?.len(), if cfg!(target_arch = "x86_64") { 2 } else { 1 });
    /// assert_eq!(pagemap.pages(u64::MAX, 2), Err(Error::Range { addr: u64::MAX, len: 2 }));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn pages(&self, addr: u64, len: u64) -> Result<Vec<Page>, Error> {
        const ENTRY: u64 = 8;
        let range = Error::Range { addr, len };
        let span = Span::of(addr, len).ok_or(range.clone())?;
        let size = self.page.bytes();
        let (mut next, last) = (self.page.round_down(addr), self.page.round_down(span.last()));
        let mut found = Vec::new();
        // As many as a page has.
        let mut chunk = [0_u8; 4096];
        loop {
            // Both are rounded down, so the difference is whole pages.
            let left = last.wrapping_sub(next).checked_div(size).unwrap_or(0).saturating_add(1);
            let wanted = usize::try_from(left.saturating_mul(ENTRY)).unwrap_or(usize::MAX);
            let wanted = wanted.min(chunk.len());
            let at = next.checked_div(size).unwrap_or(0).saturating_mul(ENTRY);
            let read = match io::pread(&self.file, chunk.get_mut(..wanted).unwrap_or_default(), at)
            {
                // Linux ends the file with the addresses that a process can have.
                Ok(0) | Err(io::Errno::INVAL | io::Errno::FAULT | io::Errno::IO) => {
                    return Err(Error::Untranslated { addr: next, why: Untranslated::NotMapped });
                }
                Ok(read) => read,
                Err(io::Errno::INTR) => continue,
                Err(errno) => {
                    let path = format!("{}/pagemap", self.process);
                    return Err(Error::System { path, errno: errno.raw_os_error() });
                }
            };
            let entries = chunk.get(..read).unwrap_or_default().chunks_exact(8);
            for entry in entries {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(entry);
                found.push(Page::of(u64::from_ne_bytes(bytes), next, self.page));
                if next == last {
                    return Ok(found);
                }
                // It is below the last, so there is a next page.
                next = next.saturating_add(size);
            }
        }
    }

    /// The physical address of the byte at `addr`, at this moment.
    ///
    /// # Errors
    ///
    /// [`Error::Untranslated`] with the reason; as of [`page`](Self::page).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::{Error, Pagemap, Untranslated};
    ///
    /// let unmapped = Pagemap::of_self()?.translate(0).unwrap_err();
    /// assert_eq!(unmapped, Error::Untranslated { addr: 0, why: Untranslated::NotMapped });
    /// # Ok::<(), Error>(())
    /// ```
    pub fn translate(&self, addr: u64) -> Result<u64, Error> {
        let page = self.page(addr)?;
        let why = match page.frame {
            Frame::At(frame) => {
                return Ok(frame.saturating_add(addr.wrapping_sub(page.addr)));
            }
            Frame::Hidden => Untranslated::Hidden,
            Frame::Swapped { .. } => Untranslated::Swapped,
            Frame::Absent => self.absence(addr)?,
        };
        Err(Error::Untranslated { addr, why })
    }

    /// Why a page is not there, by what the process has mapped.
    fn absence(&self, addr: u64) -> Result<Untranslated, Error> {
        let path = format!("{}/smaps", self.process);
        let system = |error: std::io::Error| Error::System {
            path: path.clone(),
            errno: error.raw_os_error().unwrap_or_default(),
        };
        let mut inside = false;
        for line in BufReader::new(File::open(&path).map_err(system)?).lines() {
            let line = line.map_err(system)?;
            let first = line.split(' ').next().unwrap_or_default();
            if let Some((start, end)) = first.split_once('-') {
                let hex = |text| u64::from_str_radix(text, 16).ok();
                if let Some((start, end)) = hex(start).zip(hex(end)) {
                    inside = start <= addr && addr < end;
                    continue;
                }
            }
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                let device = flags.split_whitespace().any(|flag| flag == "pf");
                return Ok(if device { Untranslated::Device } else { Untranslated::NotPresent });
            }
        }
        Ok(if inside { Untranslated::NotPresent } else { Untranslated::NotMapped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_the_kernel_writes_it() {
        let page = PageSize::new(0x1000).unwrap();
        let of = |entry| Page::of(entry, 0x7000, page);
        let table = [
            (0, Frame::Absent),
            (1 << 63, Frame::Hidden),
            (1 << 63 | 0x1234, Frame::At(0x123_4000)),
            (1 << 63 | ((1 << 52) - 1), Frame::At(((1 << 52) - 1) << 12)),
            (1 << 63 | ((1 << 55) - 1), Frame::At(u64::MAX)),
            (1 << 62 | 7 << 5 | 3, Frame::Swapped { area: 3, offset: 7 }),
        ];
        for (entry, frame) in table {
            assert_eq!(of(entry).frame, frame, "{entry:#x}");
        }
        assert_eq!(of(1 << 55).flags, PageFlags::SOFT_DIRTY);
        assert_eq!(of(1 << 56).flags, PageFlags::EXCLUSIVE);
        assert_eq!(of(1 << 57).flags, PageFlags::UFFD_PROTECTED);
        assert_eq!(of(1 << 61).flags, PageFlags::FILE);
    }
}
