//! The device: reading and writing by physical address.

use super::error::{Access, Error, Rule, Why};
use super::explain;
use super::sys::{Errno, Pages};
use super::window::{Window, wide};
use crate::{PageSize, Prot, Span};
use core::ops::RangeInclusive;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, FileType, OFlags};
use rustix::io;
use std::path::PathBuf;

/// How a device is read and written by [`PhysMem::read`] and [`PhysMem::write`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// By `pread` and `pwrite`. They reach the memory that the kernel has mapped
    /// itself; a device's registers are beyond that.
    #[default]
    Seek,
    /// Through a mapping of these physical addresses, the last one included.
    /// Addresses stay physical.
    Mapped(RangeInclusive<u64>),
}

/// How to open a device; see [`PhysMem::options`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    path: PathBuf,
    writable: bool,
    cached: bool,
    mode: Mode,
}

impl Options {
    /// Another device file than `/dev/mem`: anything whose offsets are addresses
    /// (UIO, a PCI `resourceN`, a virtual machine's memory, a plain file).
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = path.into();
        self
    }

    /// For writing, too. Without this it really is opened `O_RDONLY`.
    pub const fn writable(mut self) -> Self {
        self.writable = true;
        self
    }

    /// Mappings are cached, as this process's own memory is.
    ///
    /// Without this the device is opened with `O_SYNC`, and mappings of `/dev/mem`
    /// are uncached: right for registers, and slow for memory. While one page is
    /// mapped both ways, the kernel refuses (`EAGAIN`), or silently maps the second
    /// one like the first.
    pub const fn cached(mut self) -> Self {
        self.cached = true;
        self
    }

    /// How [`PhysMem::read`] and [`PhysMem::write`] go about it.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Opens the device, and maps the range of [`Mode::Mapped`].
    ///
    /// # Errors
    ///
    /// [`Error::Open`] with the rule that keeps it closed; as of
    /// [`PhysMem::window`] for the range to map. Nothing stays open.
    pub fn open(self) -> Result<PhysMem, Error> {
        let mut flags = OFlags::CLOEXEC;
        flags |= if self.writable { OFlags::RDWR } else { OFlags::RDONLY };
        if !self.cached {
            flags |= OFlags::SYNC;
        }
        let file = fs::open(&self.path, flags, fs::Mode::empty()).map_err(|errno| Error::Open {
            path: self.path.clone(),
            errno: errno.raw_os_error(),
            rule: explain::open(errno),
        })?;
        PhysMem::new(file, self.writable, self.mode)
    }

    /// Takes an open device, such as one that a privileged process has passed on.
    ///
    /// Path and caching are the descriptor's own; it is written to only if
    /// [`writable`](Self::writable) was asked for.
    ///
    /// # Errors
    ///
    /// [`Error::NotReadable`], and [`Error::ReadOnly`] if writing was asked for and
    /// the descriptor cannot; as of [`PhysMem::window`] for the range to map. The
    /// descriptor is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::PhysMem;
    /// use std::fs::File;
    ///
    /// let program = File::open("/proc/self/exe").unwrap();
    /// let memory = PhysMem::options().from_fd(program.into())?;
    /// let mut magic = [0; 4];
    /// memory.read(0, &mut magic)?;
    /// assert_eq!(magic, *b"\x7fELF");
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn from_fd(self, file: OwnedFd) -> Result<PhysMem, Error> {
        let has = fs::fcntl_getfl(&file).map_err(|_| Error::NotReadable)? & OFlags::ACCMODE;
        if has == OFlags::WRONLY {
            return Err(Error::NotReadable);
        }
        if self.writable && has != OFlags::RDWR {
            let all = Span::new(0, u64::MAX).ok_or(Error::NotReadable)?;
            return Err(Error::ReadOnly { span: all });
        }
        PhysMem::new(file, self.writable, self.mode)
    }
}

/// Physical memory, by address.
///
/// Anything whose offsets are addresses will do, `/dev/mem` above all: opened for
/// reading and uncached unless [`options`](Self::options) say otherwise. A transfer is
/// whole, or an error that says how far it came.
///
/// Who may: root (`CAP_SYS_RAWIO`) on a kernel that is not locked down. Which
/// addresses depends on how the kernel was built; an error names the rule and the
/// way out.
///
/// # Examples
///
/// ```
/// use addrspace::phys::{Mode, PhysMem};
/// # let path = std::env::temp_dir().join(format!("addrspace-mem-{}", std::process::id()));
/// # std::fs::write(&path, [0; 0x3000]).unwrap();
///
/// let options = PhysMem::options().path(&path).writable(); // /dev/mem without a path
/// for mode in [Mode::Seek, Mode::Mapped(0x1000..=0x1fff)] {
///     let memory = options.clone().mode(mode).open()?;
///     memory.write(0x1ffc, b"last")?;
///     let mut bytes = [0; 4];
///     memory.read(0x1ffc, &mut bytes)?;
///     assert_eq!(bytes, *b"last");
///     memory.write(u64::MAX - 1, b"last").unwrap_err();
/// }
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), addrspace::phys::Error>(())
/// ```
#[derive(Debug)]
pub struct PhysMem {
    file: OwnedFd,
    writable: bool,
    /// Whether it is `/dev/mem` itself, whose rules we know.
    is_mem: bool,
    is_regular: bool,
    mapped: Option<Window>,
}

impl PhysMem {
    /// Opens `/dev/mem` for reading, uncached, in [`Mode::Seek`].
    ///
    /// # Errors
    ///
    /// As of [`Options::open`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use addrspace::phys::PhysMem;
    ///
    /// let mut rom = [0; 16];
    /// PhysMem::open()?.read(0xf_fff0, &mut rom)?; // where a PC starts
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn open() -> Result<Self, Error> {
        Self::options().open()
    }

    /// How to open it otherwise.
    pub fn options() -> Options {
        Options { path: "/dev/mem".into(), writable: false, cached: false, mode: Mode::Seek }
    }

    fn new(file: OwnedFd, writable: bool, mode: Mode) -> Result<Self, Error> {
        let stat = fs::fstat(&file).map_err(|_| Error::NotReadable)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_mem = kind == FileType::CharacterDevice
            && (fs::major(stat.st_rdev), fs::minor(stat.st_rdev)) == (1, 1);
        let is_regular = kind == FileType::RegularFile;
        let mut memory = Self { file, writable, is_mem, is_regular, mapped: None };
        if let Mode::Mapped(range) = mode {
            let prot = if writable { Prot::READ | Prot::WRITE } else { Prot::READ };
            memory.mapped = Some(memory.window(range, prot)?);
        }
        Ok(memory)
    }

    /// Whether it was opened for writing.
    pub const fn is_writable(&self) -> bool {
        self.writable
    }

    /// The physical addresses that are mapped, in [`Mode::Mapped`].
    pub fn mapped(&self) -> Option<Span> {
        self.mapped.as_ref().map(Window::span)
    }

    /// Fills `buf` with the bytes at `phys`. An empty buffer is full already.
    ///
    /// Memory, that is: how wide its accesses are is the kernel's choice, or in
    /// mapped mode that of [`Window::copy_to`]. For registers there is
    /// [`Window::read`].
    ///
    /// # Errors
    ///
    /// - [`Error::Range`] past the last address, [`Error::Outside`] if a part is not
    ///   mapped in [`Mode::Mapped`]: nothing was read.
    /// - [`Error::Refused`] and [`Error::End`] with the number of bytes that were read
    ///   into `buf` before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-mem-read-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let mut bytes = [7; 4];
    /// device.read(0xffc, &mut bytes)?;
    /// assert_eq!(bytes, [0; 4]);
    /// device.read(0xffd, &mut bytes).unwrap_err(); // past the end
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn read(&self, phys: u64, buf: &mut [u8]) -> Result<(), Error> {
        let Some(span) = span(phys, buf.len())? else { return Ok(()) };
        match &self.mapped {
            Some(window) => window.copy_to(inside(window, span)?, buf),
            None => self.transfer(Access::Read, span, |done, at| {
                let rest = buf.get_mut(done..).unwrap_or_default();
                io::pread(&self.file, rest, at)
            }),
        }
    }

    /// Writes `bytes` at `phys`.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`] if the device was not opened for writing: nothing was
    /// written. Else as of [`read`](Self::read), with the number of bytes that were
    /// written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-mem-write-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// device.write(0x7fd, b"across")?;
    /// PhysMem::options().path(&path).open()?.write(0, b"no").unwrap_err(); // for reading only
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn write(&self, phys: u64, bytes: &[u8]) -> Result<(), Error> {
        let Some(span) = span(phys, bytes.len())? else { return Ok(()) };
        if !self.writable {
            return Err(Error::ReadOnly { span });
        }
        if let Some(window) = &self.mapped {
            return window.copy_from(inside(window, span)?, bytes);
        }
        // A write past the end of a file that stands in would make it longer.
        let end = self.end();
        self.transfer(Access::Write, span, |done, at| {
            let rest = bytes.get(done..).unwrap_or_default();
            let left = end.map_or(usize::MAX, |end| {
                usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX)
            });
            match rest.get(..rest.len().min(left)).unwrap_or_default() {
                [] => Ok(0),
                some => io::pwrite(&self.file, some, at),
            }
        })
    }

    /// Repeats `call` until all of `span` is done.
    fn transfer(
        &self,
        access: Access,
        span: Span,
        mut call: impl FnMut(usize, u64) -> Result<usize, Errno>,
    ) -> Result<(), Error> {
        let len = span.len().unwrap_or(u64::MAX);
        let mut done = 0;
        while wide(done) < len {
            // It is below the length, so the sum is not past the last address.
            match call(done, span.start().saturating_add(wide(done))) {
                Ok(0) => return Err(Error::End { access, span, done: wide(done) }),
                Ok(count) => done = done.saturating_add(count),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.refused(access, span, wide(done), errno)),
            }
        }
        Ok(())
    }

    /// Maps the physical addresses of `range`, any bytes, the last one included.
    ///
    /// # Errors
    ///
    /// Nothing is mapped then:
    ///
    /// - [`Error::Range`] if it is empty, or more than this process has addresses for;
    /// - [`Error::ReadOnly`] if it is to be writable and the device is not;
    /// - [`Error::End`] past the end of a regular file;
    /// - [`Error::Refused`] if the machine refuses. It refuses all of it for one page.
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-map-window-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let window = device.window(0x123..=0x456, Prot::READ)?;
    /// assert_eq!((window.span().start(), window.len()), (0x123, 0x334));
    /// device.window(0..=0x1000, Prot::READ).unwrap_err(); // one byte past the end
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn window(&self, range: RangeInclusive<u64>, protection: Prot) -> Result<Window, Error> {
        let (first, last) = range.into_inner();
        let bad = || Error::Range { addr: first, len: last.wrapping_sub(first).wrapping_add(1) };
        let span = Span::new(first, last).ok_or_else(bad)?;
        if protection.contains(Prot::WRITE) && !self.writable {
            return Err(Error::ReadOnly { span });
        }
        if let Some(end) = self.end().filter(|end| span.last() >= *end) {
            let done = end.saturating_sub(first);
            return Err(Error::End { access: Access::Map, span, done });
        }
        let page = PageSize::new(wide(rustix::param::page_size())).ok_or_else(bad)?;
        let offset = page.round_down(first);
        let skipped = usize::try_from(first.wrapping_sub(offset)).map_err(|_| bad())?;
        let len = span.len().and_then(|len| len.checked_add(wide(skipped)));
        let len = len.and_then(|len| page.round_up(len)).and_then(|len| usize::try_from(len).ok());
        let len = len.ok_or_else(bad)?;
        let pages = Pages::map(self.file.as_fd(), offset, len, protection)
            .map_err(|errno| self.refused(Access::Map, span, 0, errno))?;
        Window::new(pages, skipped, span, protection).ok_or_else(bad)
    }

    /// A pointer to the byte at `phys`, in [`Mode::Mapped`] and if it is mapped. Valid
    /// for as long as the value is.
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::phys::PhysMem;
    /// # let path = std::env::temp_dir().join(format!("addrspace-address-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// use addrspace::phys::Mode;
    ///
    /// let mapped = PhysMem::options().path(&path).mode(Mode::Mapped(0x10..=0x1f)).open()?;
    /// let last = mapped.address_of(0x1f).unwrap();
    /// assert_eq!(mapped.address_at(0xf), Some(last));
    /// assert_eq!(mapped.address_of(0x20), None);
    /// assert_eq!(device.address_of(0x10), None); // nothing is mapped in seek mode
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn address_of(&self, phys: u64) -> Option<*mut u8> {
        let window = self.mapped.as_ref()?;
        let offset = phys.checked_sub(window.span().start())?;
        self.address_at(usize::try_from(offset).ok()?)
    }

    /// A pointer to the byte `offset` bytes after the first that is mapped, in
    /// [`Mode::Mapped`] and if it is mapped.
    pub fn address_at(&self, offset: usize) -> Option<*mut u8> {
        let window = self.mapped.as_ref()?;
        (offset < window.len()).then(|| window.as_ptr().wrapping_add(offset))
    }

    /// The length of a regular file: past it a mapping is a bus error.
    fn end(&self) -> Option<u64> {
        let stat = fs::fstat(&self.file).ok().filter(|_| self.is_regular)?;
        u64::try_from(stat.st_size).ok()
    }

    #[cold]
    fn refused(&self, access: Access, span: Span, done: u64, errno: Errno) -> Error {
        let why = if self.is_mem {
            explain::access(access, span, errno)
        } else {
            Why { rule: Rule::Other, region: None }
        };
        let errno = errno.raw_os_error();
        Error::Refused { access, span, done, errno, why: Box::new(why) }
    }
}

impl AsFd for PhysMem {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The bytes of a transfer; nothing if there are none.
fn span(phys: u64, len: usize) -> Result<Option<Span>, Error> {
    let len = wide(len);
    if len == 0 {
        return Ok(None);
    }
    Span::of(phys, len).map(Some).ok_or(Error::Range { addr: phys, len })
}

/// Where `span` starts in the window, which looks at its end itself.
fn inside(window: &Window, span: Span) -> Result<usize, Error> {
    let within = window.span();
    let offset = span.start().checked_sub(within.start());
    offset.and_then(|offset| usize::try_from(offset).ok()).ok_or(Error::Outside {
        addr: span.start(),
        len: span.len().unwrap_or(u64::MAX),
        within,
    })
}
