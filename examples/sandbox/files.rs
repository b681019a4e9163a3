//! Files for the guest to map: as long as the recorded ones, and empty.

use std::fs::File;
use std::io;

use rustix::fs::{MemfdFlags, memfd_create};

use super::recording::Traced;

/// One file in memory for each file of a recording, by its number.
#[derive(Debug)]
pub(crate) struct Files {
    files: Vec<File>,
}

impl Files {
    /// Makes the files. They have holes, so that their length costs nothing.
    pub(crate) fn like(recorded: &[Traced]) -> io::Result<Self> {
        let make = |traced: &Traced| {
            // What the kernel will show; it takes up to 249 bytes without a zero.
            let name: String = traced.name.chars().filter(|c| *c != '\0').take(60).collect();
            let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
            file.set_len(traced.len.min(i64::MAX.unsigned_abs()))?;
            Ok(file)
        };
        Ok(Self { files: recorded.iter().map(make).collect::<io::Result<_>>()? })
    }

    /// The file with this number, which has to be one of the recording.
    pub(crate) fn get(&self, number: u32) -> &File {
        let file = usize::try_from(number).ok().and_then(|nth| self.files.get(nth));
        file.expect("a recording numbers its files from 0 on")
    }
}
