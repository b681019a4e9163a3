//! What a guest starts with: the program's segments and a stack.

#![allow(unsafe_code, reason = "the bytes of a program are written into the guest's memory")]

use core::ptr;

use addrspace::{ExecError, Executor, Memory, Placement, Prot, Span};

use super::deed::Deed;
use super::image::{Image, Segment};
use super::recording::Kind;

const STACK: u64 = 8 << 20;
const STACK_GUARD: u64 = 1 << 20;
/// Where the program lies in the reservation. Below, nothing is: a null pointer of
/// the guest, with whatever is added to it, must not be one to memory.
const PROGRAM: u64 = 1 << 20;

/// Where things are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    /// The first byte of the program.
    program: u64,
    program_len: u64,
    /// The lowest byte of the stack, above its guard.
    stack: u64,
    stack_len: u64,
}

impl Loaded {
    pub(crate) fn has_program(&self, addr: u64) -> bool {
        addr.checked_sub(self.program).is_some_and(|at| at < self.program_len)
    }

    pub(crate) fn has_stack(&self, addr: u64) -> bool {
        addr.checked_sub(self.stack).is_some_and(|at| at < self.stack_len)
    }
}

/// Loads `image`, whose bytes are in `file`, and maps a stack.
pub(crate) fn load(exec: &mut Executor, image: &Image, file: &[u8]) -> Result<Loaded, ExecError> {
    let start = exec.space().span().map_or(0, Span::start);
    let program = start.saturating_add(PROGRAM);
    for segment in &image.segments {
        // A segment without bytes, or beyond the file, was refused by `Image::read`.
        let bytes = file.get(segment.bytes.clone()).unwrap_or_default();
        fill(exec, program.saturating_add(segment.at), segment, bytes)?;
    }
    // The guard is part of the books, so that nothing of the guest's comes to lie
    // there by chance.
    let len = STACK.saturating_add(STACK_GUARD);
    let guard = exec.map_any(len, reserved(Prot::empty()), Placement::highest())?.addr();
    // An address of a pointer has no more than 64 bits.
    let stack = u64::try_from(guard).unwrap_or(0).saturating_add(STACK_GUARD);
    exec.protect(stack, STACK, Prot::READ | Prot::WRITE)?;
    Ok(Loaded { program, program_len: image.len(), stack, stack_len: STACK })
}

/// Anonymous memory, as all of the guest's: without swap space set aside.
fn reserved(prot: Prot) -> Memory<'static> {
    Memory::anonymous(prot).no_reserve()
}

/// Maps a segment at `at`, copies its bytes in, and protects it.
fn fill(exec: &mut Executor, at: u64, segment: &Segment, bytes: &[u8]) -> Result<(), ExecError> {
    let page = exec.map_at(at, segment.len, reserved(Prot::READ | Prot::WRITE))?;
    // New memory is zero: nothing has to be done for `.bss`.
    let target = page.wrapping_add(segment.skip);
    assert!(
        u64::try_from(segment.skip.saturating_add(bytes.len())).is_ok_and(|end| end <= segment.len),
        "the bytes of a segment end in its pages"
    );
    // SAFETY: the bytes at `target` were mapped just now, writable, and are as many
    // as `bytes` has, as was asserted. Nobody else knows of them, and the executor
    // keeps them mapped until its next verb. `bytes` is memory of our own, which is
    // never inside a reservation.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
    exec.protect(at, segment.len, segment.prot)
}

/// What a guest does to the things that it started with.
pub(crate) fn harm(image: &Image, loaded: Loaded, page: u64) -> [(Kind, Deed); 3] {
    let Loaded { program, stack, stack_len, .. } = loaded;
    let middle = stack.saturating_add(stack_len / 2);
    // Every image has a first page and a last, which may be the same.
    let last = program.saturating_add(image.len()).saturating_sub(page);
    let rw = Prot::READ | Prot::WRITE;
    [
        (Kind::Mprotect, Deed::Protect { at: middle, len: page, prot: Prot::empty() }),
        (Kind::Munmap, Deed::Unmap { at: last, len: page }),
        (Kind::Mmap, Deed::Map { at: program, len: page, prot: rw, file: None }),
    ]
}
