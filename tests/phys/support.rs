//! The file that stands in.

use addrspace::phys::{Options, PhysMem};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that is removed in the end.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A path that nobody has.
    pub(crate) fn path_alone() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("addrspace-phys-{}-{nth}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// `len` bytes, each a different function of its address.
    pub(crate) fn memory(len: usize) -> Self {
        let file = Self::path_alone();
        fs::write(&file.0, (0..len).map(pattern).collect::<Vec<_>>()).unwrap();
        file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(&self.0).unwrap()
    }

    pub(crate) fn device(&self) -> Options {
        PhysMem::options().path(self.path())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) fn pattern(addr: usize) -> u8 {
    (addr ^ (addr >> 8).wrapping_mul(31)) as u8
}
