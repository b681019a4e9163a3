//! Chunks side by side, and rings.

use crate::support::{Dice, PAGE, RW, get, listed};
use addrspace::alias::{AliasError, Chunk, ContiguousView, SharedMemory};
use addrspace::{Backing, Prot};

/// A memory whose pages have their number, plus a hundred per memory, in the first word.
fn numbered(nth: u64, pages: u64) -> SharedMemory {
    let memory = SharedMemory::new(pages * PAGE).unwrap();
    for page in 0..pages {
        memory.write_at(page * PAGE, &(nth * 100 + page).to_ne_bytes()).unwrap();
    }
    memory
}

fn shown(view: &ContiguousView) -> Vec<u64> {
    (0..view.span().len().unwrap() / PAGE)
        .map(|page| get(view.span().start() + page * PAGE))
        .collect()
}

#[test]
fn chunks_of_several_memories_are_one_stretch() {
    let (one, two) = (numbered(1, 8), numbered(2, 8));
    let chunk = |memory, page, pages| Chunk { memory, offset: page * PAGE, len: pages * PAGE };
    let chunks = [chunk(&one, 6, 2), chunk(&two, 0, 1), chunk(&one, 6, 1), chunk(&one, 7, 1)];
    let mut view = ContiguousView::new(&chunks, RW).unwrap();
    assert_eq!(shown(&view), [106, 107, 200, 106, 107]);
    // The last two continue each other, and are one.
    assert_eq!(view.space().regions().count(), 3);
    let places: Vec<u64> = (0..4).map(|nth| view.chunk(nth).unwrap().start()).collect();
    let pages = places.iter().map(|start| (start - view.span().start()) / PAGE);
    assert_eq!(pages.collect::<Vec<_>>(), [0, 2, 3, 4]);

    // A write is seen at all places of its bytes.
    crate::support::set(view.span().start(), 1);
    assert_eq!(shown(&view), [1, 107, 200, 1, 107]);
    assert_eq!(view.pieces_of(&one, 6 * PAGE, 8).unwrap().len(), 2);

    let around = [view.chunk(1).unwrap(), view.chunk(3).unwrap()].map(listed);
    view.replace(2, chunk(&two, 5, 1)).unwrap();
    assert_eq!(shown(&view), [1, 107, 200, 205, 107]);
    // The others did not move; the fourth is a mapping of its own again.
    assert_eq!([view.chunk(1).unwrap()].map(listed), around[..1]);
    assert_eq!(listed(view.chunk(3).unwrap())[0].offset, 7 * PAGE);
    assert!(view.verify().unwrap().is_empty());
}

#[test]
fn wrong_chunks_change_nothing() {
    let memory = numbered(0, 4);
    let chunk = |page, pages| Chunk { memory: &memory, offset: page * PAGE, len: pages * PAGE };
    let mut view = ContiguousView::new(&[chunk(0, 1), chunk(2, 2)], Prot::READ).unwrap();
    let before = view.space().clone();
    for (index, new, error) in [
        (2, chunk(0, 1), AliasError::NoChunk { index: 2, count: 2 }),
        (usize::MAX, chunk(0, 1), AliasError::NoChunk { index: usize::MAX, count: 2 }),
        (0, chunk(0, 2), AliasError::ChunkLength { len: PAGE, new_len: 2 * PAGE }),
        (0, chunk(4, 1), AliasError::Range { at: 4 * PAGE, len: PAGE, of: 4 * PAGE }),
        (1, chunk(3, 2), AliasError::Range { at: 3 * PAGE, len: 2 * PAGE, of: 4 * PAGE }),
        (
            0,
            Chunk { offset: 8, ..chunk(0, 1) },
            AliasError::Alignment { at: 8, len: PAGE, page: PAGE },
        ),
    ] {
        assert_eq!(view.replace(index, new).unwrap_err(), error);
        assert_eq!(*view.space(), before);
    }
    assert_eq!(shown(&view), [0, 2, 3]);
    assert_eq!(view.chunk(5).unwrap_err(), AliasError::NoChunk { index: 5, count: 2 });
}

#[test]
fn ten_thousand_chunks_and_an_exact_picture_of_them() {
    const CHUNKS: u64 = 10_000;
    let memories = [numbered(0, 64), numbered(1, 64), numbered(2, 64)];
    let mut dice = Dice(0x5eed);
    // No chunk continues the one before, so each is a region.
    let mut last = (3, 0);
    let mut picked = Vec::new();
    while picked.len() < CHUNKS as usize {
        let pick = (dice.roll(3), dice.roll(64));
        if pick != (last.0, last.1 + 1) {
            picked.push(pick);
            last = pick;
        }
    }
    let chunk = |&(nth, page): &(u64, u64)| Chunk {
        memory: &memories[nth as usize],
        offset: page * PAGE,
        len: PAGE,
    };
    let chunks: Vec<Chunk<'_>> = picked.iter().map(chunk).collect();
    let mut view = ContiguousView::new(&chunks, Prot::READ).unwrap();

    let exact = |view: &ContiguousView, picked: &[(u64, u64)]| {
        let numbers: Vec<u64> = picked.iter().map(|(nth, page)| nth * 100 + page).collect();
        assert_eq!(shown(view), numbers, "the memory");
        let drawn = view.space().regions().enumerate().map(|(nth, region)| {
            assert_eq!(region.start(), view.span().start() + nth as u64 * PAGE);
            assert_eq!((region.len(), region.prot), (Some(PAGE), Prot::READ));
            match region.backing {
                Backing::File { file, offset } => (u64::from(*file), offset / PAGE),
                other => panic!("{other:?}"),
            }
        });
        // The books number the memories in the order in which they came.
        let mut order = Vec::new();
        let expected = picked.iter().map(|&(nth, page)| {
            let known = order.iter().position(|seen| *seen == nth);
            let number = known.unwrap_or_else(|| {
                order.push(nth);
                order.len() - 1
            });
            (number as u64, page)
        });
        assert!(drawn.eq(expected), "the books");
    };
    exact(&view, &picked);
    assert!(view.verify().unwrap().is_empty(), "the kernel");
    for (nth, memory) in memories.iter().enumerate() {
        let places = view.pieces_of(memory, 7 * PAGE, 1).unwrap().len();
        assert_eq!(places, picked.iter().filter(|pick| **pick == (nth as u64, 7)).count());
    }

    // Some are replaced in place, by ones that still continue nobody.
    for index in (1..picked.len() - 1).step_by(97) {
        let (before, after) = (picked[index - 1], picked[index + 1]);
        let new = (picked[index].0, (picked[index].1 + 31) % 64);
        if new != (before.0, before.1 + 1) && after != (new.0, new.1 + 1) {
            view.replace(index, chunk(&new)).unwrap();
            picked[index] = new;
        }
    }
    let order_kept = picked.iter().take(50).map(|pick| pick.0).collect::<Vec<_>>();
    assert!(order_kept.contains(&0) && order_kept.contains(&1) && order_kept.contains(&2));
    exact(&view, &picked);
    assert!(view.verify().unwrap().is_empty());
}

/// Messages of all lengths, across the end again and again: each is one stretch to its
/// writer and to its reader.
#[test]
fn a_ring_carries_messages_across_its_end() {
    const RING: u64 = 64 << 10;
    let memory = SharedMemory::options().named("ring").create(RING).unwrap();
    let ring = ContiguousView::ring(&memory, 0, RING).unwrap();
    let rounds = 1_000_000;
    let (mut written, mut read, mut crossed) = (0_u64, 0_u64, 0_u64);
    let mut dice = Dice(0x5eed);
    let mut waiting = std::collections::VecDeque::new();
    let mut message = [0_u8; 512];
    let mut received = [0_u8; 512];
    for round in 0..rounds {
        let len = 8 + dice.roll(500);
        let body = &mut message[..len as usize];
        body.fill(round as u8);
        body[..8].copy_from_slice(&u64::to_ne_bytes(round));
        // SAFETY: the message begins in the first half and is shorter than the second.
        unsafe {
            let to = ring.pointer().add((written % RING) as usize);
            to.copy_from_nonoverlapping(body.as_ptr(), body.len());
        }
        crossed += u64::from(written % RING + len > RING);
        written += len;
        waiting.push_back((round, len));
        // The reader is up to 100 messages behind, less than the ring has room for.
        while waiting.len() > 100 || (round + 1 == rounds && !waiting.is_empty()) {
            let (number, len) = waiting.pop_front().unwrap();
            let body = &mut received[..len as usize];
            // SAFETY: as above.
            unsafe {
                let from = ring.pointer().add((read % RING) as usize);
                from.copy_to_nonoverlapping(body.as_mut_ptr(), body.len());
            }
            assert_eq!(body[..8], u64::to_ne_bytes(number));
            assert!(body[8..].iter().all(|byte| *byte == number as u8), "message {number}");
            read += len;
        }
    }
    assert_eq!((read, waiting.len()), (written, 0));
    assert!(crossed > rounds / 300, "messages crossed the end: {crossed}");
}
