//! Which file is which: the numbers that the books know files by.

use super::seam;
use super::sys::Errno;
use super::view::{KernelRegion, Shown};
use crate::{AddrSpace, Backing};
use alloc::collections::TryReserveError;
use rustix::fd::BorrowedFd;
use rustix::fs::{self, FileType};
use std::collections::{HashMap, HashSet};

/// Device and inode, as `fstat` tells them.
type Inode = (u64, u64);

/// The files that are mapped, or were lately.
#[derive(Debug)]
pub(super) struct Files {
    /// The next number to give out, and the end of those that nothing has.
    next: u32,
    free_end: u32,
    numbers: HashMap<Inode, u32>,
    known: HashMap<u32, Known>,
    /// How the file systems behave that were met, by device.
    systems: HashMap<u64, System>,
    /// As soon as so many are known, those that are mapped no longer are forgotten.
    sweep_at: usize,
}

/// What is known of a number.
#[derive(Clone, Copy, Debug)]
struct Known {
    looks: Looks,
    /// The length of shared anonymous memory, in bytes.
    object: Option<u64>,
    /// The size of its pages if they are large, else 1.
    granule: u64,
}

/// How the kernel's list shows a file.
#[derive(Clone, Copy, Debug)]
enum Looks {
    Like(Shown),
    /// As it did when it was first looked at, which is yet to come: some file
    /// systems show other numbers there than `fstat` does.
    Unseen,
    /// Differently from one mapping to the next.
    Anyhow,
}

/// What a file system does about a mapping.
#[derive(Clone, Copy, Debug)]
struct System {
    /// Its `mmap` is known to fail, if at all, before anything is replaced.
    safe: bool,
    /// Its files have one device number wherever one looks.
    plain: bool,
}

/// A file that is to be mapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) number: u32,
    /// Whether `MAP_FIXED` with it can do no harm.
    pub(super) safe: bool,
    /// The size of its pages if they are large, else 1.
    pub(super) granule: u64,
}

/// How many may be known before the first sweep.
const FIRST_SWEEP: usize = 256;

impl Files {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            free_end: u32::MAX,
            numbers: HashMap::new(),
            known: HashMap::new(),
            systems: HashMap::new(),
            sweep_at: FIRST_SWEEP,
        }
    }

    /// Secures the memory for one more file, which the two that follow count on.
    pub(super) fn secure(&mut self) -> Result<(), TryReserveError> {
        self.known.try_reserve(1)?;
        self.numbers.try_reserve(1)?;
        self.systems.try_reserve(1)
    }

    /// The number of `file`, the same for as long as it is mapped.
    pub(super) fn identify(
        &mut self,
        file: BorrowedFd<'_>,
        books: &AddrSpace,
    ) -> Result<Identity, Errno> {
        let stat = seam::gate_file(|| fs::fstat(file))?;
        let (device, inode) = inode(&stat);
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let granule = if regular { granule(file, &stat)? } else { 1 };
        let system = if regular { self.system(file, device) } else { System::UNKNOWN };
        if let Some(&number) = self.numbers.get(&(device, inode)) {
            return Ok(Identity { number, safe: system.safe, granule });
        }
        let looks = match (regular, system.plain) {
            (true, true) => {
                Looks::Like(Shown { major: fs::major(device), minor: fs::minor(device), inode })
            }
            (true, false) => Looks::Unseen,
            (false, _) => Looks::Anyhow,
        };
        let number = self.number(Known { looks, object: None, granule }, books);
        self.numbers.insert((device, inode), number);
        Ok(Identity { number, safe: system.safe, granule })
    }

    /// The number that `file` has if it is mapped, or was lately.
    pub(super) fn number_of(&self, file: BorrowedFd<'_>) -> Result<Option<u32>, Errno> {
        Ok(self.numbers.get(&inode(&seam::gate_file(|| fs::fstat(file))?)).copied())
    }

    /// A number for shared anonymous memory of `len` bytes.
    pub(super) fn shared_memory(&mut self, len: u64, books: &AddrSpace) -> u32 {
        self.number(Known { looks: Looks::Unseen, object: Some(len), granule: 1 }, books)
    }

    /// The number of a file that the kernel shows and that nobody has named.
    pub(super) fn found(&mut self, shown: Shown, books: &AddrSpace) -> u32 {
        let looks_so = |known: &Known| matches!(known.looks, Looks::Like(other) if other == shown);
        let seen = self.known.iter().find(|(_, known)| looks_so(known)).map(|(number, _)| *number);
        seen.unwrap_or_else(|| {
            self.number(Known { looks: Looks::Like(shown), object: None, granule: 1 }, books)
        })
    }

    /// The length of the shared anonymous memory with this number.
    pub(super) fn object(&self, number: u32) -> Option<u64> {
        self.known.get(&number)?.object
    }

    /// The size of the pages of this file if they are large, else 1.
    pub(super) fn granule(&self, number: u32) -> u64 {
        self.known.get(&number).map_or(1, |known| known.granule)
    }

    /// Whether what the kernel shows can be the file with this number, from `offset`
    /// on.
    pub(super) fn matches(&mut self, number: u32, offset: u64, region: &KernelRegion) -> bool {
        if region.file.is_anonymous() {
            return false;
        }
        let same_offset = region.offset == offset;
        let Some(known) = self.known.get_mut(&number) else { return same_offset };
        match known.looks {
            Looks::Like(shown) => same_offset && shown == region.file,
            Looks::Unseen => {
                if same_offset {
                    known.looks = Looks::Like(region.file);
                }
                same_offset
            }
            // A private view of /dev/zero, say, shows an offset of anonymous memory.
            Looks::Anyhow => same_offset || !region.shared,
        }
    }

    fn number(&mut self, known: Known, books: &AddrSpace) -> u32 {
        if self.known.len() >= self.sweep_at {
            self.sweep(books);
        }
        if self.next == self.free_end {
            self.find_free(books);
        }
        let number = self.next;
        // Below the end of those that are free.
        self.next = self.next.wrapping_add(1);
        self.known.insert(number, known);
        number
    }

    /// Forgets what is not mapped any more, if there is memory to find that out.
    fn sweep(&mut self, books: &AddrSpace) {
        let mut mapped = HashSet::new();
        for number in numbers(books) {
            if mapped.try_reserve(1).is_err() {
                return;
            }
            mapped.insert(number);
        }
        self.known.retain(|number, _| mapped.contains(number));
        self.numbers.retain(|_, number| mapped.contains(number));
        self.sweep_at = self.known.len().saturating_mul(2).max(FIRST_SWEEP);
    }

    /// Finds the longest run of numbers that nothing has.
    fn find_free(&mut self, books: &AddrSpace) {
        self.sweep(books);
        let mut used: Vec<u32> = self.known.keys().copied().chain(numbers(books)).collect();
        used.push(u32::MAX);
        used.sort_unstable();
        let (mut from, mut best) = (0_u32, 0_u32..0);
        for number in used {
            if number.saturating_sub(from) > best.end.saturating_sub(best.start) {
                best = from..number;
            }
            from = number.saturating_add(1);
        }
        (self.next, self.free_end) = (best.start, best.end);
    }

    fn system(&mut self, file: BorrowedFd<'_>, device: u64) -> System {
        *self.systems.entry(device).or_insert_with(|| match seam::gate_file(|| fs::fstatfs(file)) {
            Ok(stat) => System::of(stat.f_type),
            Err(_) => System::UNKNOWN,
        })
    }
}

/// What tells one file from all others.
fn inode(stat: &fs::Stat) -> Inode {
    // Some of these are 32 bits wide on some machines.
    #[allow(clippy::useless_conversion, reason = "not on all architectures")]
    (stat.st_dev.into(), stat.st_ino.into())
}

/// The numbers of the files in the books.
fn numbers(books: &AddrSpace) -> impl Iterator<Item = u32> {
    books.regions().filter_map(|region| match region.backing {
        Backing::File { file, .. } => Some(*file),
        _ => None,
    })
}

impl System {
    const UNKNOWN: Self = Self { safe: false, plain: false };

    /// By the magic number of `statfs(2)`.
    fn of(magic: impl TryInto<i64>) -> Self {
        // ext2 to ext4, tmpfs (memfd too), ramfs, xfs, f2fs, squashfs, erofs.
        const PLAIN: [u64; 7] =
            [0xef53, 0x0102_1994, 0x8584_58f6, 0x5846_5342, 0xf2f5_2010, 0x7371_7368, 0xe0f5_e1e2];
        /// Each of its subvolumes has a device number of its own in `fstat`.
        const BTRFS: u64 = 0x9123_683e;
        let magic = low_bits(magic);
        let plain = PLAIN.contains(&magic);
        Self { safe: plain || magic == BTRFS, plain }
    }
}

/// A magic number, which may be sign-extended from 32 bits.
fn low_bits(magic: impl TryInto<i64>) -> u64 {
    magic.try_into().map_or(0, |magic| magic.cast_unsigned() & 0xffff_ffff)
}

/// The size of the pages of `file` if it is regular and they are large, else 1.
pub(super) fn size_of_page(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    let stat = seam::gate_file(|| fs::fstat(file))?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if regular { granule(file, &stat) } else { Ok(1) }
}

/// The size of the pages of `file` if they are large, else 1.
///
/// It is asked for each time: device numbers are used again, and to be wrong about it
/// would be to map more than is asked for.
pub(super) fn granule(file: BorrowedFd<'_>, stat: &fs::Stat) -> Result<u64, Errno> {
    const HUGETLBFS: u64 = 0x9584_58f6;
    // Such a file says the size of its pages here. Others say little about theirs.
    let block = u64::try_from(stat.st_blksize).unwrap_or(u64::MAX);
    if block <= super::reservation::system_page().bytes() {
        return Ok(1);
    }
    let large = low_bits(seam::gate_file(|| fs::fstatfs(file))?.f_type) == HUGETLBFS;
    Ok(if large { block } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mapping, Prot, ignore};

    #[test]
    fn numbers_do_not_run_out() {
        let mut books: AddrSpace = AddrSpace::new(0, 0x10_0000, 0x1000).unwrap();
        let mut files = Files::new();
        let first = files.shared_memory(1, &books);
        books.map_at(0, 1, Mapping::file(Prot::READ, first, 0).shared(), ignore).unwrap();
        // As if all others had been given out since.
        files.next = u32::MAX - 1;
        let high = files.shared_memory(1, &books);
        books.map_at(0x1000, 1, Mapping::file(Prot::READ, high, 0).shared(), ignore).unwrap();
        for _ in 0..3 {
            let next = files.shared_memory(1, &books);
            assert!(next != first && next != high && next != u32::MAX);
        }
        assert_eq!(files.next, 4, "the longest run of free ones starts after the first");
    }

    #[test]
    fn what_is_mapped_no_longer_is_forgotten() {
        let mut books: AddrSpace = AddrSpace::new(0, 0x10_0000, 0x1000).unwrap();
        let mut files = Files::new();
        let kept = files.shared_memory(0x3000, &books);
        books.map_at(0, 1, Mapping::file(Prot::READ, kept, 0).shared(), ignore).unwrap();
        for _ in 0..10_000 {
            files.shared_memory(0x1000, &books);
        }
        assert!(files.known.len() <= FIRST_SWEEP);
        assert_eq!(files.object(kept), Some(0x3000));
    }
}
