//! What a guest does to its memory, in addresses of the reservation.

use addrspace::{
    AddrSpace, Error, ExecError, Executor, MapFlags, Mapping, Memory, Prot, Remap, Update,
};

use super::files::Files;

/// One verb with its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// Private memory, of zeroes or of a file: its number, and an offset.
    Map {
        at: u64,
        len: u64,
        prot: Prot,
        file: Option<(u32, u64)>,
    },
    Unmap {
        at: u64,
        len: u64,
    },
    Protect {
        at: u64,
        len: u64,
        prot: Prot,
    },
    Remap {
        from: u64,
        old_len: u64,
        new_len: u64,
        how: Remap,
    },
}

impl Deed {
    /// Does it to real memory.
    pub(crate) fn perform(self, exec: &mut Executor, files: &Files) -> Result<(), ExecError> {
        match self {
            Self::Map { at, len, prot, file } => {
                let memory = match file {
                    None => Memory::anonymous(prot),
                    Some((number, offset)) => Memory::file(prot, files.get(number), offset),
                };
                exec.map_at(at, len, memory.no_reserve()).map(|_| ())
            }
            Self::Unmap { at, len } => exec.unmap(at, len),
            Self::Protect { at, len, prot } => exec.protect(at, len, prot),
            Self::Remap { from, old_len, new_len, how } => {
                exec.remap(from, old_len, new_len, how).map(|_| ())
            }
        }
    }

    /// Does it in books alone: `host` hears which calls it takes.
    pub(crate) fn book(
        self,
        books: &mut AddrSpace,
        host: impl FnMut(Update<'_>),
    ) -> Result<(), Error> {
        match self {
            Self::Map { at, len, prot, file } => {
                let mapping = match file {
                    None => Mapping::anonymous(prot),
                    Some((number, offset)) => Mapping::file(prot, number, offset),
                };
                books.map_at(at, len, mapping.with_flags(MapFlags::NO_RESERVE), host)
            }
            Self::Unmap { at, len } => books.unmap(at, len, host),
            Self::Protect { at, len, prot } => books.protect(at, len, prot, host),
            Self::Remap { from, old_len, new_len, how } => {
                books.remap(from, old_len, new_len, how, host).map(|_| ())
            }
        }
    }
}
