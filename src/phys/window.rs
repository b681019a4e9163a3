//! A mapped piece of physical memory.

use super::error::Error;
use super::sys::{Pages, Register};
use crate::{Prot, Span};
use core::time::Duration;
use std::thread;
use std::time::Instant;

/// A mapped piece of physical memory: any range of bytes.
///
/// Registers are read and written one at a time, in one access of exactly their
/// width, at offsets from the window's first byte. Bulk copies ([`copy_to`],
/// [`copy_from`]) are for memory: they choose their own widths (volatile and aligned,
/// so that no processor faults), which a register may not like.
///
/// The mapping lasts as long as the value, also after the device was closed. It can
/// be sent to another thread but not shared: two threads at one register are the
/// caller's to keep in order.
///
/// As with `/proc/self/mem`, what a write does to the machine is not a matter of
/// memory safety as the language knows it; still it can do anything. A regular file
/// that stands in for a device must not be shortened while a window shows it: the
/// access would be a bus error.
///
/// # Examples
///
/// ```
/// use addrspace::Prot;
/// use addrspace::phys::PhysMem;
/// # let path = std::env::temp_dir().join(format!("addrspace-window-{}", std::process::id()));
/// # std::fs::write(&path, [0; 0x2000]).unwrap();
///
/// let device = PhysMem::options().path(&path).writable().open()?;
/// let window = device.window(0xffc..=0x100b, Prot::READ | Prot::WRITE)?;
/// window.write(4, 0x1234_5678_u32)?; // at 0x1000
/// assert_eq!(window.read::<u16>(4)?, if cfg!(target_endian = "little") { 0x5678 } else { 0x1234 });
/// window.set_bits(8, 0x80_u8)?;
/// assert_eq!(window.read::<u8>(8)?, 0x80);
/// window.read::<u32>(5).unwrap_err(); // not aligned
/// window.read::<u32>(16).unwrap_err(); // past the end
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), addrspace::phys::Error>(())
/// ```
///
/// [`copy_to`]: Self::copy_to
/// [`copy_from`]: Self::copy_from
#[derive(Debug)]
pub struct Window {
    pages: Pages,
    /// Where the window starts in its pages.
    skipped: usize,
    span: Span,
    len: usize,
    prot: Prot,
}

impl Window {
    /// `span` has to lie in `pages`, `skipped` bytes from their start.
    pub(super) fn new(pages: Pages, skipped: usize, span: Span, prot: Prot) -> Option<Self> {
        let len = usize::try_from(span.len()?).ok()?;
        (skipped.checked_add(len)? <= pages.len()).then_some(Self {
            pages,
            skipped,
            span,
            len,
            prot,
        })
    }

    /// The physical addresses that it shows.
    pub const fn span(&self) -> Span {
        self.span
    }

    /// How many bytes it shows; never 0.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// How it is mapped.
    pub const fn protection(&self) -> Prot {
        self.prot
    }

    /// A pointer to the first byte; valid for as long as the window is.
    ///
    /// What goes through it has to be volatile, in bounds, and allowed by the
    /// protection.
    #[expect(clippy::unreachable, reason = "the bytes of a window lie in its pages")]
    pub fn as_ptr(&self) -> *mut u8 {
        self.pages.pointer(self.skipped).unwrap_or_else(|| unreachable!())
    }

    /// The place in the pages of `len` bytes at `offset`, if they lie in the window
    /// and may be accessed so.
    fn place(&self, offset: usize, len: usize, wanted: Prot) -> Result<usize, Error> {
        if !self.prot.contains(wanted) {
            return Err(Error::Protection { span: self.span, prot: self.prot });
        }
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(self.outside(offset, len));
        }
        // Both are less than the length of the pages.
        Ok(self.skipped.saturating_add(offset))
    }

    #[cold]
    fn outside(&self, offset: usize, len: usize) -> Error {
        Error::Outside { addr: self.addr(offset), len: wide(len), within: self.span }
    }

    /// The physical address of the byte at `offset`; it is for words only if there
    /// is none.
    fn addr(&self, offset: usize) -> u64 {
        self.span.start().saturating_add(wide(offset))
    }

    fn register<R: Register>(&self, offset: usize, wanted: Prot) -> Result<usize, Error> {
        let at = self.place(offset, size_of::<R>(), wanted)?;
        // The pages start at a multiple of the page, here and there.
        if at.is_multiple_of(size_of::<R>()) {
            return Ok(at);
        }
        Err(Error::Unaligned { addr: self.addr(offset), width: wide(size_of::<R>()) })
    }

    /// Reads the register at `offset` (bytes from the window's first), in one access.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`], [`Error::Unaligned`] (the physical address has to be a
    /// multiple of the width), [`Error::Protection`]. Nothing was accessed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-read-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let window = device.window(0x100..=0x1ff, Prot::READ | Prot::WRITE)?;
    /// window.write(0x10, 0x1234_u16)?;
    /// assert_eq!(window.read::<u16>(0x10)?, 0x1234);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    #[inline]
    pub fn read<R: Register>(&self, offset: usize) -> Result<R, Error> {
        let at = self.register::<R>(offset, Prot::READ)?;
        self.pages.read(at).ok_or_else(|| self.outside(offset, size_of::<R>()))
    }

    /// Writes the register at `offset`, in one access.
    ///
    /// # Errors
    ///
    /// As of [`read`](Self::read).
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-reg-write-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let window = device.window(0x100..=0x1ff, Prot::READ | Prot::WRITE)?;
    /// window.write(0xff, 7_u8)?; // the last one
    /// window.write(0x100, 7_u8).unwrap_err();
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    #[inline]
    pub fn write<R: Register>(&self, offset: usize, value: R) -> Result<(), Error> {
        let at = self.register::<R>(offset, Prot::WRITE)?;
        self.pages.write(at, value).ok_or_else(|| self.outside(offset, size_of::<R>()))
    }

    /// Reads the register, writes what `change` makes of it, and answers what it was:
    /// one access each, with nothing to keep others out in between.
    ///
    /// # Errors
    ///
    /// As of [`read`](Self::read), for both accesses; nothing was accessed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-modify-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let window = device.window(0x100..=0x1ff, Prot::READ | Prot::WRITE)?;
    /// window.write(0, 41_u32)?;
    /// let old = window.modify(0, |value: u32| value.wrapping_add(1))?;
    /// assert_eq!((old, window.read::<u32>(0)?), (41, 42));
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn modify<R: Register>(
        &self,
        offset: usize,
        change: impl FnOnce(R) -> R,
    ) -> Result<R, Error> {
        self.register::<R>(offset, Prot::READ | Prot::WRITE)?;
        let old = self.read(offset)?;
        self.write(offset, change(old))?;
        Ok(old)
    }

    /// Sets the bits of `mask`; answers what the register was.
    ///
    /// # Errors
    ///
    /// As of [`modify`](Self::modify).
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-set-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let window = device.window(0x100..=0x1ff, Prot::READ | Prot::WRITE)?;
    /// window.set_bits(4, 0x8000_u16)?;
    /// assert_eq!(window.read::<u16>(4)?, 0x8000);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn set_bits<R: Register>(&self, offset: usize, mask: R) -> Result<R, Error> {
        self.modify(offset, |old: R| old | mask)
    }

    /// Clears the bits of `mask`; answers what the register was.
    ///
    /// # Errors
    ///
    /// As of [`modify`](Self::modify).
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-clear-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let window = device.window(0x100..=0x1ff, Prot::READ | Prot::WRITE)?;
    /// window.write(4, 0xff_u8)?;
    /// assert_eq!(window.clear_bits(4, 0x0f_u8)?, 0xff);
    /// assert_eq!(window.read::<u8>(4)?, 0xf0);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn clear_bits<R: Register>(&self, offset: usize, mask: R) -> Result<R, Error> {
        self.modify(offset, |old: R| old & !mask)
    }

    /// Gives the bits of `mask` those of `value`; answers what the register was.
    ///
    /// # Errors
    ///
    /// As of [`modify`](Self::modify).
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-field-{}", std::process::id()));
    /// # std::fs::write(&path, [0xff; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let window = device.window(0x0..=0xf, Prot::READ | Prot::WRITE)?;
    /// assert_eq!(window.set_field(4, 0x0f0_u16, 0x050)?, 0xffff);
    /// assert_eq!(window.read::<u16>(4)?, 0xff5f);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn set_field<R: Register>(&self, offset: usize, mask: R, value: R) -> Result<R, Error> {
        self.modify(offset, |old: R| (old & !mask) | (value & mask))
    }

    /// Reads the register until `done` says so of what was read, which is answered.
    ///
    /// Spins at first and sleeps between later reads, at most a millisecond.
    ///
    /// # Errors
    ///
    /// As of [`read`](Self::read); [`Error::Timeout`] after `timeout`, with what was
    /// read last. It is read once at least.
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-poll-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// use addrspace::phys::Error;
    /// use std::time::Duration;
    ///
    /// let window = device.window(0x100..=0x1ff, Prot::READ | Prot::WRITE)?;
    /// let is_ready = |status: u32| status & 1 == 0;
    /// assert_eq!(window.poll(0, Duration::from_millis(10), is_ready)?, 0);
    ///
    /// window.set_bits(0, 1_u32)?; // it will be busy for good
    /// let timeout = window.poll(0, Duration::from_millis(1), is_ready).unwrap_err();
    /// assert!(matches!(timeout, Error::Timeout { addr: 0x100, last: 1, .. }));
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn poll<R: Register>(
        &self,
        offset: usize,
        timeout: Duration,
        mut done: impl FnMut(R) -> bool,
    ) -> Result<R, Error> {
        let begun = Instant::now();
        let mut pause = Duration::ZERO;
        loop {
            let value = self.read(offset)?;
            if done(value) {
                return Ok(value);
            }
            let waited = begun.elapsed();
            let Some(left) = timeout.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(Error::Timeout { addr: self.addr(offset), last: value.into(), waited });
            };
            if waited < Duration::from_micros(50) {
                core::hint::spin_loop();
            } else {
                pause = pause
                    .saturating_mul(2)
                    .clamp(Duration::from_micros(5), Duration::from_millis(1));
                thread::sleep(pause.min(left));
            }
        }
    }

    /// Reads the `count` registers from `offset` on, one access for each that is
    /// asked of the iterator.
    ///
    /// # Errors
    ///
    /// As of [`read`](Self::read), for all of them; nothing was accessed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-registers-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let window = device.window(0x100..=0x1ff, Prot::READ | Prot::WRITE)?;
    /// window.write(8, 7_u32)?;
    /// let found = window.registers::<u32>(0, 64)?.position(|value| value == 7);
    /// assert_eq!(found, Some(2));
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn registers<R: Register>(
        &self,
        offset: usize,
        count: usize,
    ) -> Result<impl Iterator<Item = R> + '_, Error> {
        let width = size_of::<R>();
        let len = count.checked_mul(width).ok_or_else(|| self.outside(offset, usize::MAX))?;
        let start = self.place(offset, len, Prot::READ)?;
        if !start.is_multiple_of(width) {
            return Err(Error::Unaligned { addr: self.addr(offset), width: wide(width) });
        }
        // What is at the end of no register is never reached.
        let end = start.saturating_add(len);
        Ok((start..end).step_by(width).map_while(|at| self.pages.read(at)))
    }

    /// Copies memory from `offset` on into `buf`. Not for registers.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`], [`Error::Protection`]; nothing was copied.
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-copy-to-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let window = device.window(0x100..=0x1ff, Prot::READ | Prot::WRITE)?;
    /// window.copy_from(3, b"firmware")?;
    /// let mut bytes = [0; 8];
    /// window.copy_to(3, &mut bytes)?;
    /// assert_eq!(&bytes, b"firmware");
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn copy_to(&self, offset: usize, buf: &mut [u8]) -> Result<(), Error> {
        let at = self.place(offset, buf.len(), Prot::READ)?;
        self.pages.copy_out(at, buf).ok_or_else(|| self.outside(offset, buf.len()))
    }

    /// Copies `bytes` to memory from `offset` on. Not for registers.
    ///
    /// # Errors
    ///
    /// As of [`copy_to`](Self::copy_to).
    ///
    /// # Examples
    ///
    /// ```
    /// # use addrspace::{Prot, phys::PhysMem};
    /// # let path = std::env::temp_dir().join(format!("addrspace-copy-from-{}", std::process::id()));
    /// # std::fs::write(&path, [0; 0x1000]).unwrap();
    /// # let device = PhysMem::options().path(&path).writable().open()?;
    /// let window = device.window(0x100..=0x1ff, Prot::READ | Prot::WRITE)?;
    /// window.copy_from(0xf8, b"firmware")?;
    /// window.copy_from(0xf9, b"firmware").unwrap_err();
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn copy_from(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let at = self.place(offset, bytes.len(), Prot::WRITE)?;
        self.pages.copy_in(at, bytes).ok_or_else(|| self.outside(offset, bytes.len()))
    }
}

/// No machine here has longer addresses.
pub(super) fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
