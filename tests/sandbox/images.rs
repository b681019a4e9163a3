//! Images: what a good one becomes, and what broken ones are answered.

use std::fs::File;
use std::os::unix::fs::FileExt;

use addrspace::{Executor, PageSize, Prot, Reservation};

use crate::cli;
use crate::image::{Image, Segment};
use crate::load::{harm, load};
use crate::support::{DATA, Header, LOAD, Noise, TEXT, command, elf, file};

fn page() -> PageSize {
    PageSize::new(0x1000).unwrap()
}

fn complaint(headers: &[Header]) -> String {
    Image::read(&elf(headers), page()).unwrap_err().to_string()
}

/// Reads, and if it is taken loads and harms it; whether it was taken.
fn try_out(exec: &mut Executor, bytes: &[u8]) -> bool {
    let page = exec.space().page_size();
    let Ok(image) = Image::read(bytes, page) else { return false };
    let loaded = load(exec, &image, bytes).unwrap();
    for (_, deed) in harm(&image, loaded, page.bytes()) {
        deed.perform(exec, &crate::files::Files::like(&[]).unwrap()).unwrap();
    }
    exec.reset().unwrap();
    true
}

fn executor() -> Executor {
    Executor::new(Reservation::new(1 << 34).unwrap()).unwrap()
}

#[test]
fn segments_are_loaded_with_their_bytes_zeroes_and_protections() {
    let bytes = elf(&[TEXT, DATA]);
    let mut exec = executor();
    if exec.space().page_size() != page() {
        return;
    }
    let image = Image::read(&bytes, page()).unwrap();
    let text =
        Segment { at: 0, len: 0x1000, prot: Prot::READ | Prot::EXEC, skip: 0, bytes: 0..0x100 };
    let data = Segment {
        at: 0x2000,
        len: 0x3000,
        prot: Prot::READ | Prot::WRITE,
        skip: 0x100,
        bytes: 0x100..0x140,
    };
    assert_eq!(image.segments, [text, data]);
    assert_eq!((image.len(), image.mapped()), (0x5000, 0x4000));

    load(&mut exec, &image, &bytes).unwrap();
    assert!(exec.verify().unwrap().is_empty());
    let regions: Vec<_> =
        exec.space().regions().map(|region| (region.len(), region.prot)).collect();
    let (rw, none) = (Prot::READ | Prot::WRITE, Prot::empty());
    let stack = [(Some(1 << 20), none), (Some(8 << 20), rw)];
    let program = [(Some(0x1000), Prot::READ | Prot::EXEC), (Some(0x3000), rw)];
    assert_eq!(regions, [program, stack].concat());

    let start = exec.space().regions().next().unwrap().start();
    let mut found = vec![0xff; 0x1000];
    let memory = File::open("/proc/self/mem").unwrap();
    memory.read_exact_at(&mut found, start).unwrap();
    assert_eq!(found[..0x100], bytes[..0x100]);
    assert!(found[0x100..].iter().all(|byte| *byte == 0));
    let mut found = vec![0xff; 0x3000];
    memory.read_exact_at(&mut found, start + 0x2000).unwrap();
    assert_eq!(found[0x100..0x140], bytes[0x100..0x140]);
    assert!(found[..0x100].iter().chain(&found[0x140..]).all(|byte| *byte == 0));
}

#[test]
fn an_image_cut_off_anywhere_is_refused_or_loaded() {
    let bytes = elf(&[TEXT, DATA]);
    let mut exec = executor();
    for len in 0..bytes.len() {
        assert!(!try_out(&mut exec, &bytes[..len]), "{len} bytes are too few");
    }
    assert!(try_out(&mut exec, &bytes));
}

#[test]
fn flipped_bits_do_not_panic() {
    let good = elf(&[TEXT, DATA]);
    let headers = 64 + 2 * 56;
    let mut exec = executor();
    let mut taken = 0;
    for bit in 0..headers * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        taken += u32::from(try_out(&mut exec, &bytes));
    }
    // Fields that no loader looks at, and addresses that are as good.
    assert!(taken > 100, "only {taken} were taken");

    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2000 {
        let mut bytes = good.clone();
        for _ in 0..=noise.below(6) {
            // Behind the magic number, without which nothing is looked at.
            bytes[4 + noise.below(headers - 4)] ^= 1 << noise.below(8);
        }
        try_out(&mut exec, &bytes);
    }
    assert!(exec.verify().unwrap().is_empty());
}

#[test]
fn what_is_not_for_this_loader_is_named() {
    let with = |at: usize, value: u8| {
        let mut bytes = elf(&[TEXT, DATA]);
        bytes[at] = value;
        Image::read(&bytes, page()).unwrap_err().to_string()
    };
    assert!(with(0, b'!').contains("not an ELF file"));
    assert!(with(5, 2).contains("not an ELF file"), "big-endian");
    assert!(with(16, 1).contains("type 1"), "an object file");
    assert!(with(16, 4).contains("type 4"), "a core dump");

    // A header of 32 bits, with no more tables than it needs.
    let mut narrow = b"\x7fELF\x01\x01\x01".to_vec();
    narrow.resize(16, 0);
    narrow.extend([2, 0, 3, 0, 1, 0, 0, 0]);
    narrow.resize(52, 0);
    assert!(Image::read(&narrow, page()).unwrap_err().to_string().contains("32 bits"));

    assert!(complaint(&[]).contains("nothing"));
    assert!(complaint(&[(4, 4, 0, 0, 8, 8)]).contains("nothing"), "a note");
    assert!(complaint(&[(LOAD, 4, 0, 0x1000, 0, 0)]).contains("nothing"), "an empty segment");
    assert!(complaint(&vec![TEXT; 1000]).contains("segment 1"), "all of them the same");
    let many: Vec<_> = (0..300).map(|nth| (LOAD, 4, 0, nth * 0x1000, 0, 0x1000)).collect();
    assert!(complaint(&many).contains("more than 256"));
}

#[test]
fn numbers_that_cannot_be_are_named() {
    let (max, half) = (u64::MAX, 1 << 63);
    for (headers, what) in [
        (&[(LOAD, 6, 0, 0x1000, 0x41, 0x40)][..], "more bytes in the file"),
        (&[(LOAD, 6, 0x100, 0x1000, 0x41, 0x41)], "outside of the file"),
        (&[(LOAD, 6, max, 0x1000, 2, 2)], "outside of the file"),
        (&[(LOAD, 6, half, 0x1000, half, half)], "outside of the file"),
        (&[(LOAD, 6, 0, max - 0x10, 0x10, 0x20)], "past 2^64"),
        (&[(LOAD, 6, 0, max - 0x10, 0x10, 0x10)], "past 2^64"),
        (&[(LOAD, 6, 0, 0x1000, 0, max)], "past 2^64"),
        (&[(LOAD, 6, 0, 0x1000, 0, half)], "there is room for"),
        (&[TEXT, (LOAD, 6, 0, half, 0, 1)], "there is room for"),
        (&[TEXT, (LOAD, 6, 0, 0x40_0100, 0, 1)], "not above"),
        (&[DATA, TEXT], "not above"),
    ] {
        let found = complaint(headers);
        assert!(found.contains(what), "{headers:x?}: {found}");
    }
}

#[test]
fn a_file_that_is_no_image_ends_with_status_2() {
    for path in [
        file("text.elf", b"#!/bin/sh\n"),
        file("empty.elf", b""),
        file("cut.elf", &elf(&[TEXT, DATA])[..0x13f]),
        "/nowhere/at/all".to_owned(),
        env!("CARGO_MANIFEST_DIR").to_owned(),
        "/dev/zero".to_owned(),
    ] {
        let (status, _, err) = command(&["--image", &path]);
        assert_eq!(status, cli::UNREADABLE, "{path}");
        assert!(err.contains(&path), "{err}");
    }
}
