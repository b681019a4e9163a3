//! The `core::panic::Location`s in a linked library.

use elf::ElfBytes;
use elf::abi::R_X86_64_RELATIVE;
use elf::endian::LittleEndian;
use elf::file::Class;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A file as the compiler names it, and a line.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub file: String,
    pub line: usize,
}

/// All that look like one: a pointer to a name that ends in `.rs`, and its length.
/// Nothing else of a program looks so.
pub fn locations(library: &Path) -> BTreeSet<Location> {
    let bytes = fs::read(library).unwrap();
    let file = ElfBytes::<LittleEndian>::minimal_parse(&bytes).unwrap();
    assert_eq!(file.ehdr.class, Class::ELF64, "pointers of 64 bits");
    let image = Image { file: &file, bytes: &bytes };
    let relocations = file.section_header_by_name(".rela.dyn").unwrap().unwrap();
    let relocations = file.section_data_as_relas(&relocations).unwrap();
    relocations
        .filter(|entry| entry.r_type == R_X86_64_RELATIVE)
        .filter_map(|entry| image.location(entry.r_offset, entry.r_addend.try_into().ok()?))
        .collect()
}

struct Image<'a> {
    file: &'a ElfBytes<'a, LittleEndian>,
    bytes: &'a [u8],
}

impl<'a> Image<'a> {
    /// The `len` bytes that will be loaded at `addr`.
    fn at(&self, addr: u64, len: u64) -> Option<&'a [u8]> {
        let segments = self.file.segments()?;
        let segment = segments.iter().find(|segment| {
            addr.checked_sub(segment.p_vaddr).is_some_and(|from| from < segment.p_filesz)
        })?;
        let from = usize::try_from(addr - segment.p_vaddr + segment.p_offset).ok()?;
        self.bytes.get(from..from.checked_add(usize::try_from(len).ok()?)?)
    }

    fn number<const N: usize>(&self, addr: u64) -> Option<u64> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(self.at(addr, u64::try_from(N).ok()?)?);
        Some(u64::from_le_bytes(wide))
    }

    /// The location at `addr`, the name of whose file is at `name`.
    fn location(&self, addr: u64, name: u64) -> Option<Location> {
        let name = self.at(name, self.number::<8>(addr + 8)?.min(4096))?;
        let name = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
        // What follows is the column.
        let line = self.number::<4>(addr + 16)?;
        let file = name.strip_suffix(".rs").map(|_| name.to_owned())?;
        Some(Location { file, line: line.try_into().ok()? })
    }
}
