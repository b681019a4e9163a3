//! The functions of `mmap_c.h`, called as C calls them, against libmmap page by page,
//! with callbacks that call back.
#![no_main]

#[path = "../../tests/mmap_model/mod.rs"]
mod mmap_model;
#[path = "../support/tell.rs"]
mod tell;

use addrspace::capi::mmap_c::MMapInfo;
use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mmap_model::Op;
use mmap_model::capi::{Place, play};
use tell::tell;

const PLACES: [Place; 6] = [
    Place { start: 0x10000, len: 24 * 0x1000, page: 0x1000 },
    Place { start: 0x10123, len: 90 * 0x1000 - 5, page: 0x1000 },
    Place { start: 0, len: 17, page: 1 },
    Place { start: usize::MAX - 0x1_ffff, len: 0x2_0000, page: 0x2000 },
    Place { start: 0x4000, len: 0, page: 0x1000 },
    Place { start: 1 << 62, len: 1 << 63, page: 1 << 60 },
];

fuzz_target!(|data: &[u8]| {
    // What ends too early makes no call.
    let _ = calls(&mut Unstructured::new(data));
});

fn calls(bytes: &mut Unstructured<'_>) -> Result<()> {
    let place = *bytes.choose(&PLACES)?;
    // A call, then what its callbacks do, and so on.
    let (mut calls, mut reactions) = (Vec::new(), Vec::new());
    if bytes.ratio(1_u8, 4)? {
        calls = comb(place, bytes)?;
    }
    while !bytes.is_empty() {
        if bytes.ratio(1_u8, 2)? {
            calls.push(op(place, bytes)?);
        } else {
            let count = bytes.int_in_range(0..=2)?;
            reactions.push((0..count).map(|_| op(place, bytes)).collect::<Result<_>>()?);
        }
    }
    tell(format_args!("{place:x?}\n{calls:#x?}\n{reactions:#x?}"));
    play(place, &calls, &reactions);
    Ok(())
}

/// As many entries as there can be, so that the books are a tree of several nodes.
fn comb(place: Place, bytes: &mut Unstructured<'_>) -> Result<Vec<Op>> {
    let stride = bytes.int_in_range(1..=2)?;
    let pages = (0..place.len / place.page).step_by(stride);
    let map = |page: usize| {
        let prot = [1, 2, 3][page % 3];
        let info = MMapInfo { prot, flags: 0, fd: -1, offset: 0, original: false };
        let addr = place.first().wrapping_add(page * place.page);
        Op::At { addr, len: place.page, info, told: false }
    };
    Ok(pages.map(map).collect())
}

fn op(place: Place, bytes: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match bytes.int_in_range(0..=17)? {
        0..=2 => {
            let hint = if bytes.ratio(1_u8, 3)? { addr(place, bytes)? } else { 0 };
            Op::Any { hint, len: len(place, bytes)?, info: info(bytes)? }
        }
        3..=6 => Op::At {
            addr: addr(place, bytes)?,
            len: len(place, bytes)?,
            info: info(bytes)?,
            told: bytes.ratio(4_u8, 5)?,
        },
        7..=9 => Op::Unmap {
            addr: addr(place, bytes)?,
            len: len(place, bytes)?,
            told: bytes.ratio(4_u8, 5)?,
        },
        10..=12 => Op::Protect {
            addr: addr(place, bytes)?,
            len: len(place, bytes)?,
            prot: bytes.int_in_range(1..=3)?,
            told: bytes.ratio(4_u8, 5)?,
        },
        13 => Op::Query { addr: addr(place, bytes)? },
        14 => Op::Mark,
        15 => Op::UnmapNonOriginal { told: bytes.ratio(4_u8, 5)? },
        16 => Op::Random { seed: bytes.arbitrary()? },
        _ => Op::Reset,
    })
}

/// Mostly the start of a page, or of one behind the end.
fn addr(place: Place, bytes: &mut Unstructured<'_>) -> Result<usize> {
    let page = bytes.int_in_range(0..=place.len.div_ceil(place.page) + 2)?;
    let addr = place.first().wrapping_add(page.wrapping_mul(place.page));
    Ok(match bytes.int_in_range(0..=15)? {
        0..=12 => addr,
        13 => addr.wrapping_add(1),
        14 => addr.wrapping_sub(3 * place.page),
        _ => bytes.arbitrary()?,
    })
}

/// Mostly a few pages.
fn len(place: Place, bytes: &mut Unstructured<'_>) -> Result<usize> {
    let pages = bytes.int_in_range(0..=7_usize)?;
    let len = pages.wrapping_mul(place.page);
    Ok(match bytes.int_in_range(0..=15)? {
        0..=9 => len,
        10..=12 => len.wrapping_sub(place.page / 2),
        13 => place.len,
        14 => 0_usize.wrapping_sub(len),
        _ => bytes.arbitrary()?,
    })
}

/// Few of them, so that neighbours are often equal.
fn info(bytes: &mut Unstructured<'_>) -> Result<MMapInfo> {
    if bytes.ratio(1_u8, 16)? {
        let (prot, flags) = (bytes.arbitrary()?, bytes.arbitrary()?);
        let (fd, offset) = (bytes.arbitrary()?, bytes.arbitrary()?);
        return Ok(MMapInfo { prot, flags, fd, offset, original: false });
    }
    let bits: u8 = bytes.arbitrary()?;
    Ok(MMapInfo {
        prot: i32::from(bits & 3),
        flags: i32::from(bits >> 2 & 1),
        fd: if bits >> 3 & 3 == 0 { 3 } else { -1 },
        offset: i64::from(bits >> 5 & 1),
        original: false,
    })
}
