//! `mprotect`.

use addrspace::Prot;

use super::super::books::Books;
use super::super::call::{ACCESS, Call, WRITE};
use super::super::rule::Rule;
use super::{EACCES, EINVAL, ENOMEM, Expected, Scene, said};

/// The kernel walks upwards, and what lies below the place where it is refused stays
/// changed. The books skip gaps, so an embedder asks them for the first.
pub(super) fn mprotect(call: &Call, books: &mut Books, scene: &Scene<'_>) -> Expected {
    let [addr, len, bits, ..] = call.args;
    let prot = Prot::from_bits_retain(u32::try_from(bits & ACCESS).unwrap_or(0));
    let end = scene.page.round_up(len).and_then(|len| addr.checked_add(len));
    let Some(end) = end.filter(|_| scene.page.is_aligned(addr)) else {
        return said(books.change(|space, note| space.protect(addr, len, prot, note)));
    };
    if len == 0 {
        return Expected::Rule(Rule::NoLength, 0);
    }
    if bits & !ACCESS != 0 {
        return Expected::Rule(Rule::Arguments, EINVAL);
    }
    let hole = books.first_gap(addr, end).or((end > scene.end).then_some(addr.max(scene.end)));
    let walked = hole.unwrap_or(end);
    let barred = books.first_read_only(addr, walked).filter(|_| bits & WRITE != 0);
    let stop = barred.unwrap_or(walked);
    if stop > addr && !books.in_window(addr, stop) {
        return Expected::LeftOut(Rule::OwnMemory);
    }
    if stop == end {
        return said(books.change(|space, note| space.protect(addr, len, prot, note)));
    }
    if stop > addr
        && let Err(error) = books.change(|space, note| space.protect(addr, stop - addr, prot, note))
    {
        return said(Err(error));
    }
    if barred.is_some() { Expected::Rule(Rule::Rights, EACCES) } else { Expected::Books(ENOMEM) }
}
