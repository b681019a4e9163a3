//! What an ELF file asks of its loader. Every number in it may be wrong.

use core::ops::Range;

use addrspace::{PageSize, Prot};
use elf::abi::{ET_DYN, ET_EXEC, PF_R, PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;
use elf::{ElfBytes, ParseError};

/// How many bytes of addresses an image may span.
pub(crate) const LONGEST: u64 = 1 << 32;
/// How many segments it may load.
const MOST: usize = 256;

/// The segments to load, ascending and apart from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) segments: Vec<Segment>,
}

/// Pages with one protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where the first page lies, counted from that of the first segment.
    pub(crate) at: u64,
    /// Whole pages, at least one.
    pub(crate) len: u64,
    pub(crate) prot: Prot,
    /// Where in the first page the bytes begin. All others are zero.
    pub(crate) skip: usize,
    /// The bytes, in the file.
    pub(crate) bytes: Range<usize>,
}

/// Why a file is not loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error("not an ELF file that can be read: {0}")]
    Malformed(#[from] ParseError),
    #[error("an ELF file of 32 bits; only those of 64 bits are loaded")]
    Narrow,
    #[error("an ELF file of type {0}, which is neither a program nor a shared object")]
    Kind(u16),
    #[error("nothing in it is to be loaded")]
    Nothing,
    #[error("more than {MOST} segments are to be loaded")]
    TooMany,
    #[error("it spans {0:#x} bytes of addresses; there is room for {LONGEST:#x}")]
    TooLong(u64),
    #[error("segment {nth}: {what}")]
    Segment { nth: usize, what: &'static str },
}

impl Image {
    /// Reads the file `bytes` for a machine with pages of size `page`.
    pub(crate) fn read(bytes: &[u8], page: PageSize) -> Result<Self, ImageError> {
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes)?;
        if file.ehdr.class != Class::ELF64 {
            return Err(ImageError::Narrow);
        }
        if !matches!(file.ehdr.e_type, ET_EXEC | ET_DYN) {
            return Err(ImageError::Kind(file.ehdr.e_type));
        }
        let headers = file.segments().ok_or(ImageError::Nothing)?;
        let mut segments: Vec<Segment> = Vec::new();
        let mut base = 0;
        for (nth, header) in headers.iter().enumerate() {
            // The file may say so; then there is nothing to map.
            if header.p_type != PT_LOAD || header.p_memsz == 0 {
                continue;
            }
            if segments.len() == MOST {
                return Err(ImageError::TooMany);
            }
            let broken = |what| ImageError::Segment { nth, what };
            let mut segment = segment(&header, bytes.len(), page).map_err(broken)?;
            let free_from = if let Some(last) = segments.last() {
                last.at.saturating_add(last.len)
            } else {
                base = segment.at;
                0
            };
            segment.at = segment
                .at
                .checked_sub(base)
                .filter(|at| *at >= free_from)
                .ok_or(broken("its pages are not above those of the one before it"))?;
            let end = segment.at.saturating_add(segment.len);
            if end > LONGEST {
                return Err(ImageError::TooLong(end));
            }
            segments.push(segment);
        }
        if segments.is_empty() { Err(ImageError::Nothing) } else { Ok(Self { segments }) }
    }

    /// The bytes of addresses from the first page to the last.
    pub(crate) fn len(&self) -> u64 {
        self.segments.last().map_or(0, |last| last.at.saturating_add(last.len))
    }

    /// The bytes of its pages.
    pub(crate) fn mapped(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.len))
    }
}

/// One segment at the address in the file, or what is wrong with it.
fn segment(
    header: &ProgramHeader,
    file_len: usize,
    page: PageSize,
) -> Result<Segment, &'static str> {
    let ProgramHeader { p_offset, p_vaddr, p_filesz, p_memsz, p_flags, .. } = *header;
    if p_filesz > p_memsz {
        return Err("it has more bytes in the file than in memory");
    }
    let end = p_vaddr.checked_add(p_memsz).and_then(|end| page.round_up(end));
    let at = page.round_down(p_vaddr);
    let len = end.and_then(|end| end.checked_sub(at)).ok_or("its addresses end past 2^64")?;
    let outside = "its bytes lie outside of the file";
    let bytes = p_offset.checked_add(p_filesz).ok_or(outside)?;
    let bytes = usize::try_from(bytes).ok().filter(|end| *end <= file_len).ok_or(outside)?;
    let first = usize::try_from(p_offset).map_err(|_| outside)?;
    let skip = usize::try_from(p_vaddr.abs_diff(at)).map_err(|_| "its page is too long")?;
    let mut prot = Prot::empty();
    for (flag, access) in [(PF_R, Prot::READ), (PF_W, Prot::WRITE), (PF_X, Prot::EXEC)] {
        prot.set(access, p_flags & flag != 0);
    }
    Ok(Segment { at, len, prot, skip, bytes: first..bytes })
}
