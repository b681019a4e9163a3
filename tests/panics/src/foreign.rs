//! A file's identity and a host of the embedder's: the compiler sees nothing of either.

use addrspace::{AddrSpace, Update};

unsafe extern "C" {
    safe fn file_clone(number: u32) -> u32;
    safe fn file_eq(one: u32, other: u32) -> bool;
    safe fn file_drop(number: u32);
}

pub struct File(pub u32);

impl Clone for File {
    fn clone(&self) -> Self {
        Self(file_clone(self.0))
    }
}

impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        file_eq(self.0, other.0)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        file_drop(self.0);
    }
}

pub type Space = AddrSpace<File>;

/// Makes an update, or answers with an error number.
pub type Host = fn(Update<'_, File>) -> Result<(), i32>;
