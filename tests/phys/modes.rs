//! Reading and writing: one table over both modes.

use super::support::{Scratch, pattern};
use addrspace::Span;
use addrspace::phys::{Access, Error, Mode, PhysMem};
use std::fs::File;

const LEN: u64 = 0x4000;
const FIRST: u64 = 0x1000;
const LAST: u64 = 0x2fff;

/// How a transfer ends, in the words of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// After so many bytes, at the end of the device.
    Short(u64),
    Outside,
    Range,
}

fn end(result: Result<(), Error>) -> End {
    match result {
        Ok(()) => End::Whole,
        Err(Error::End { done, .. }) => End::Short(done),
        Err(Error::Outside { .. }) => End::Outside,
        Err(Error::Range { .. }) => End::Range,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn both_modes_move_the_same_bytes_and_check_both_ends() {
    use End::{Outside, Range, Short, Whole};
    // The device has 0x4000 bytes; of them 0x1000..=0x2fff are mapped.
    let table = [
        // address       length  seek             mapped
        (0x1000, 4, Whole, Whole),
        (0x1001, 7, Whole, Whole),        // at no multiple of anything
        (0x1ff9, 0x1003, Whole, Whole),   // across a page
        (0x2fff, 1, Whole, Whole),        // the last byte
        (0x2000, 0x1000, Whole, Whole),   // up to the last byte
        (0x1000, 0x2000, Whole, Whole),   // all of it
        (0x1234, 0, Whole, Whole),        // nothing
        (u64::MAX, 0, Whole, Whole),      // nothing, wherever
        (0x2fff, 2, Whole, Outside),      // one past the last
        (0x0fff, 1, Whole, Outside),      // one before the first
        (0x0fff, 0x2001, Whole, Outside), // from before the first to the last
        (0x3ffe, 4, Short(2), Outside),   // past the end of the device
        (0x4000, 1, Short(0), Outside),
        (1 << 40, 1, Short(0), Outside),
        (u64::MAX, 2, Range, Range), // past the last address
        (u64::MAX - 1, 3, Range, Range),
    ];
    for (addr, len, seek, mapped) in table {
        for (mode, expected) in [(Mode::Seek, seek), (Mode::Mapped(FIRST..=LAST), mapped)] {
            let what = format!("{len:#x} bytes at {addr:#x}, {mode:?}");
            let file = Scratch::memory(LEN as usize);
            let memory = file.device().writable().mode(mode).open().unwrap();
            let before = file.bytes();
            let moved = match expected {
                Whole => len,
                Short(done) => done as usize,
                Outside | Range => 0,
            };

            let mut buf = vec![0xee; len];
            assert_eq!(end(memory.read(addr, &mut buf)), expected, "reading {what}");
            for (nth, byte) in buf.iter().enumerate() {
                let read = if nth < moved { pattern(addr as usize + nth) } else { 0xee };
                assert_eq!(*byte, read, "byte {nth} of {what}");
            }

            let bytes: Vec<u8> = (0..len).map(|nth| !pattern(nth * 3)).collect();
            assert_eq!(end(memory.write(addr, &bytes)), expected, "writing {what}");
            let mut after = before.clone();
            if moved > 0 {
                after[addr as usize..][..moved].copy_from_slice(&bytes[..moved]);
            }
            assert_eq!(file.bytes(), after, "{what}: exactly these bytes, and no longer a file");
        }
    }
}

#[test]
fn an_address_no_file_can_have_is_refused_with_its_number() {
    let file = Scratch::memory(0x1000);
    let memory = file.device().writable().open().unwrap();
    let result = memory.read(1 << 63, &mut [0; 4]);
    let Err(Error::Refused { access: Access::Read, span, done: 0, errno: 22, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(span, Span::of(1 << 63, 4).unwrap());
}

#[test]
fn read_only_is_read_only() {
    let file = Scratch::memory(LEN as usize);
    for mode in [Mode::Seek, Mode::Mapped(FIRST..=LAST)] {
        let memory = file.device().mode(mode).open().unwrap();
        let refused = memory.write(FIRST, b"no").unwrap_err();
        assert_eq!(refused, Error::ReadOnly { span: Span::of(FIRST, 2).unwrap() });
        assert!(!memory.is_writable());
        // The kernel would say so, too.
        assert_eq!(rustix::io::pwrite(&memory, b"no", FIRST), Err(rustix::io::Errno::BADF));
    }
    assert_eq!(file.bytes()[FIRST as usize], pattern(FIRST as usize));
}

#[test]
fn uncached_is_the_default() {
    let file = Scratch::memory(0x1000);
    let is_sync = |memory: &PhysMem| {
        rustix::fs::fcntl_getfl(memory).unwrap().contains(rustix::fs::OFlags::SYNC)
    };
    assert!(is_sync(&file.device().open().unwrap()));
    assert!(is_sync(&file.device().writable().open().unwrap()));
    assert!(!is_sync(&file.device().cached().open().unwrap()));
}

#[test]
fn a_descriptor_is_taken_for_what_it_can() {
    let file = Scratch::memory(LEN as usize);
    let open = |write| File::options().read(true).write(write).open(file.path()).unwrap();
    let memory = PhysMem::options().from_fd(open(false).into()).unwrap();
    memory.read(0, &mut [0; 8]).unwrap();
    let refused = PhysMem::options().writable().from_fd(open(false).into()).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    // Writable, but nobody asked for that.
    let memory = PhysMem::options().from_fd(open(true).into()).unwrap();
    assert!(matches!(memory.write(0, b"no"), Err(Error::ReadOnly { .. })));
    let memory = PhysMem::options().writable().from_fd(open(true).into()).unwrap();
    memory.write(0, b"yes").unwrap();
    assert_eq!(&file.bytes()[..3], b"yes");
    let write_only = File::options().write(true).open(file.path()).unwrap();
    let refused = PhysMem::options().from_fd(write_only.into()).unwrap_err();
    assert_eq!(refused, Error::NotReadable);
}

#[test]
fn pointers_are_to_what_is_mapped_the_last_byte_included() {
    let file = Scratch::memory(LEN as usize);
    let memory = file.device().mode(Mode::Mapped(0x1003..=0x2004)).open().unwrap();
    assert_eq!(memory.mapped(), Span::new(0x1003, 0x2004));
    let first = memory.address_of(0x1003).unwrap();
    assert_eq!(memory.address_at(0), Some(first));
    assert_eq!(memory.address_of(0x2004), memory.address_at(0x1001));
    assert_eq!(memory.address_of(0x2004).unwrap().addr() - first.addr(), 0x1001);
    assert_eq!(memory.address_of(0x2005), None, "one past the last");
    assert_eq!(memory.address_at(0x1002), None);
    assert_eq!(memory.address_of(0x1002), None, "one before the first");
    assert_eq!(memory.address_of(u64::MAX), None);
    assert_eq!(memory.address_at(usize::MAX), None);
    // SAFETY: mapped and readable for as long as `memory` lives.
    assert_eq!(unsafe { first.read_volatile() }, pattern(0x1003));

    let seeking = file.device().open().unwrap();
    assert_eq!((seeking.address_of(0x1003), seeking.address_at(0)), (None, None));
}

#[test]
fn what_cannot_be_mapped_is_refused_with_its_numbers() {
    let file = Scratch::memory(0x1800);
    let mapped = |range| file.device().mode(Mode::Mapped(range)).open().unwrap_err();
    assert!(matches!(mapped(0x2000..=0x1fff), Error::Range { addr: 0x2000, len: 0 }));
    assert!(matches!(mapped(0..=u64::MAX), Error::End { done: 0x1800, .. }));
    assert!(matches!(mapped(0x1000..=0x1800), Error::End { done: 0x800, .. }));
    assert!(matches!(mapped(0x2000..=0x2000), Error::End { done: 0, .. }));
    file.device().mode(Mode::Mapped(0x1000..=0x17ff)).open().unwrap();
    // A whole machine's worth of addresses, of something that has no end.
    let zero = PhysMem::options().path("/dev/zero").mode(Mode::Mapped(0..=u64::MAX));
    assert!(matches!(zero.open().unwrap_err(), Error::Range { addr: 0, len: 0 }));
    let zero = PhysMem::options().path("/dev/zero").mode(Mode::Mapped(0..=u64::MAX - 1));
    let refused = zero.open().unwrap_err();
    assert!(matches!(refused, Error::Range { .. }), "{refused}");
    // This process has no room for half of that.
    let zero = PhysMem::options().path("/dev/zero").mode(Mode::Mapped(0..=(1 << 62) - 1));
    let refused = zero.open().unwrap_err();
    assert_eq!(refused.errno(), if cfg!(target_pointer_width = "64") { 12 } else { 22 });
}
