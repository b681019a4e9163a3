//! Real memory: after each operation the books, the kernel's own list, a model fed by
//! a listener and the contents of every page agree. Each input has a process of its
//! own, so that nothing of it is left for the next one.
#![no_main]

#[path = "../../tests/exec_model/mod.rs"]
mod exec_model;
#[path = "../support/forked.rs"]
mod forked;
#[path = "../support/refusing.rs"]
mod refusing;
#[path = "../support/tell.rs"]
mod tell;

use addrspace::{MapFlags, Prot};
use arbitrary::{Result, Unstructured};
use exec_model::{FILE_PAGES, Kind, Mem, Op, PAGE, PAGES, Target, Where, World};
use libfuzzer_sys::fuzz_target;
use refusing::{Refused, refuse};
use tell::tell;

/// Enough for anything to happen; more would take long.
const MOST: usize = 60;

fuzz_target!(|data: &[u8]| {
    forked::forked(|| {
        let mut bytes = Unstructured::new(data);
        let mut world = World::new(PAGES);
        let refused = bytes.ratio(1_u8, 2).and_then(|some| {
            let refused = refused(&world, &mut bytes)?;
            Ok(some.then_some((bytes.int_in_range(1..=20)?, refused)))
        });
        let refused = refused.unwrap_or(None);
        let mut refuses = false;
        for nth in 0..MOST {
            let Ok(op) = op(&mut bytes) else { break };
            tell(format_args!("{op:?}"));
            if let Some((from, refused)) = &refused
                && *from == nth
            {
                refuses = refuse(refused);
                tell(format_args!("refused from here on: {refused:x?}, {refuses}"));
            }
            if refuses {
                step_refused(&mut world, &op);
            } else {
                let _ = world.step(&op);
            }
        }
        // Once: that list is slow to read.
        world.check_flags();
    });
});

/// An operation of which any call may be refused: books, listener, kernel and contents
/// agree all the same.
fn step_refused(world: &mut World, op: &Op) {
    let op = world.aim(op);
    if let Op::Discard { .. } | Op::Restore = op {
        // What is dropped of the contents, and which marks are set, is not said.
        return;
    }
    let _ = world.run(&op);
    world.check_model();
    for difference in world.exec.verify().expect("the kernel's list can be read") {
        // Holes that could not be reserved again are the one difference there may be.
        assert!(difference.books.is_none() && difference.kernel.is_none(), "{op:?}: {difference}");
    }
    world.exec.space().check();
    world.check_words();
    world.shadow = world.exec.space().clone();
}

/// A call that the kernel is to refuse for some of the pages.
fn refused(world: &World, bytes: &mut Unstructured<'_>) -> Result<Refused> {
    let (call, nth) = *bytes.choose(&[
        (libc::SYS_mmap, 0),
        (libc::SYS_mprotect, 0),
        (libc::SYS_mremap, 0),
        (libc::SYS_mremap, 4),
        (libc::SYS_madvise, 0),
        (libc::SYS_mlock, 0),
        (libc::SYS_mlock2, 0),
        (libc::SYS_munlock, 0),
    ])?;
    let errno = *bytes.choose(&[libc::ENOMEM, libc::EAGAIN, libc::EPERM, libc::EINVAL])?;
    let (page, pages) = range(bytes)?;
    let start = world.start() + page * PAGE;
    Ok(Refused { call, nth, addrs: start..start + pages * PAGE, errno })
}

/// An operation; none when the bytes are used up.
fn op(bytes: &mut Unstructured<'_>) -> Result<Op> {
    if bytes.is_empty() {
        return Err(arbitrary::Error::NotEnoughData);
    }
    Ok(match bytes.int_in_range(0..=31)? {
        0..=7 => {
            Op::Map { place: place(bytes)?, pages: bytes.int_in_range(1..=9)?, mem: mem(bytes)? }
        }
        8..=11 => {
            let (page, pages) = range(bytes)?;
            Op::Unmap { page, pages }
        }
        12..=15 => {
            let (page, pages) = range(bytes)?;
            Op::Protect { page, pages, prot: prot(bytes)? }
        }
        16 | 17 => {
            let ((page, pages), flag, none) = (range(bytes)?, flag(bytes)?, MapFlags::empty());
            let (set, clear) = if bytes.arbitrary()? { (flag, none) } else { (none, flag) };
            Op::Flags { page, pages, set, clear }
        }
        18..=22 => {
            let op = Box::new(remap(bytes)?);
            Op::Aimed { nth: bytes.int_in_range(0..=15)?, inset: inset(bytes)?, op }
        }
        23 => remap(bytes)?,
        24 | 25 => {
            let (page, pages) = range(bytes)?;
            let op = Box::new(Op::Discard { page, pages });
            Op::Aimed { nth: bytes.int_in_range(0..=15)?, inset: inset(bytes)?, op }
        }
        26 => Op::Mark,
        27 => Op::UnmapNonOriginal,
        28 => Op::Snapshot,
        29 => Op::Restore,
        30 => Op::Reset,
        _ => match bytes.int_in_range(0..=7)? {
            0 | 1 => Op::Limit {
                regions: bytes.ratio(3_u8, 4)?.then_some(bytes.int_in_range(0..=9)?),
                pages: bytes.ratio(1_u8, 4)?.then_some(bytes.int_in_range(0..=PAGES)?),
            },
            2 => Op::Read,
            _ => Op::Odd { verb: bytes.arbitrary()?, addr: odd(bytes)?, len: odd(bytes)? },
        },
    })
}

fn prot(bytes: &mut Unstructured<'_>) -> Result<Prot> {
    let rw = Prot::READ | Prot::WRITE;
    // One that the kernel knows and does not tell (PROT_SEM), and one that is unknown to it.
    let (silent, unknown) = (Prot::from_bits_retain(0x8), Prot::from_bits_retain(0x4000));
    let all = [
        rw,
        rw,
        rw,
        Prot::READ,
        Prot::empty(),
        rw | Prot::EXEC,
        Prot::WRITE,
        rw | silent,
        rw | unknown,
    ];
    bytes.choose(&all).copied()
}

/// One of the flags that the kernel is asked for.
fn flag(bytes: &mut Unstructured<'_>) -> Result<MapFlags> {
    let unknown = MapFlags::from_bits_retain(1 << 31);
    let all = [
        MapFlags::LOCKED,
        MapFlags::LOCKED,
        MapFlags::LOCKED,
        MapFlags::DONT_FORK,
        MapFlags::DONT_DUMP,
        MapFlags::WIPE_ON_FORK,
        MapFlags::NO_RESERVE,
        unknown,
    ];
    bytes.choose(&all).copied()
}

fn mem(bytes: &mut Unstructured<'_>) -> Result<Mem> {
    let prot = prot(bytes)?;
    // Low pages, so that all that can be mapped and grow has a file below it.
    let kind = match bytes.int_in_range(0..=4)? {
        nth @ 0..=2 => Kind::File { nth, page: bytes.int_in_range(0..=FILE_PAGES - PAGES - 1)? },
        _ => Kind::Anonymous,
    };
    let shared = bytes.arbitrary()?;
    let flags = if bytes.ratio(1_u8, 4)? { flag(bytes)? } else { MapFlags::empty() };
    let options: u8 = bytes.arbitrary()?;
    Ok(Mem { prot, kind, shared, flags, populate: options & 7 == 7, huge: options >> 4 == 15 })
}

/// A range of pages that mostly lies in the reservation.
fn range(bytes: &mut Unstructured<'_>) -> Result<(u64, u64)> {
    let page = bytes.int_in_range(0..=PAGES - 1)?;
    Ok((page, bytes.int_in_range(1..=11)?.min(PAGES + 1 - page)))
}

fn place(bytes: &mut Unstructured<'_>) -> Result<Where> {
    Ok(match bytes.int_in_range(0..=4)? {
        0 => Where::Lowest,
        1 => Where::Highest,
        2 => Where::NoReplace(bytes.int_in_range(0..=PAGES - 1)?),
        _ => Where::At(bytes.int_in_range(0..=PAGES - 1)?),
    })
}

/// Mostly from the first page of a region on.
fn inset(bytes: &mut Unstructured<'_>) -> Result<u64> {
    Ok(bytes.int_in_range(0..=15_u64)?.saturating_sub(8))
}

fn remap(bytes: &mut Unstructured<'_>) -> Result<Op> {
    let page = bytes.int_in_range(0..=PAGES - 1)?;
    let new = bytes.int_in_range(1..=7)?;
    // What stays is as long as what goes, and cannot stay where it goes.
    let keep_source = bytes.ratio(1_u8, 4)?;
    let same = keep_source || bytes.ratio(1_u8, 3)?;
    let old = if same { new } else { bytes.int_in_range(0..=5)? };
    let target = match bytes.int_in_range(0..=5)? {
        0 | 1 if !keep_source => Target::InPlace,
        2 => Target::Anywhere,
        _ => Target::At(bytes.int_in_range(0..=PAGES - 1)?),
    };
    Ok(Op::Remap { page, old, new, target, keep_source })
}

/// Numbers that a hostile guest might pass.
fn odd(bytes: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match bytes.int_in_range(0..=7)? {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => u64::MAX - 4095,
        4 => 1 << 63,
        5 => 1 << 47,
        6 => bytes.arbitrary::<u64>()? & !0xfff,
        _ => bytes.arbitrary()?,
    })
}
