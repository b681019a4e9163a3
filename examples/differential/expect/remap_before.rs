//! `mremap`, as it was before Linux 6.17: the order of the checks is another, what is
//! refused may be half done, and nothing but one area is moved.

use addrspace::Remap;

use super::super::books::Books;
use super::remap::Plan;
use super::{EFAULT, EINVAL, ENOMEM, Scene, answer};

/// The answer, and the books as the call leaves them; nothing if it would get at what the
/// child has around the window.
pub(super) fn mremap(
    plan: &Plan,
    [raw_old, raw_new]: [u64; 2],
    books: &mut Books,
    scene: &Scene<'_>,
) -> Option<i64> {
    let Plan { addr, old_len, may_move, fixed, keep, .. } = *plan;
    let new_len = scene.page.round_up(raw_new).unwrap_or(0);
    // Compared in bytes.
    if (keep && raw_old != raw_new) || !scene.page.is_aligned(addr) || new_len == 0 {
        return Some(EINVAL);
    }
    let Some(shared) = books.region_at(addr).map(|region| region.is_shared()) else {
        return Some(EFAULT);
    };
    if !books.in_window(addr, addr + 1) {
        return None;
    }
    let leaves = addr.checked_add(old_len).is_none_or(|end| end > scene.end);
    if fixed || keep {
        return move_to(&Plan { new_len, ..*plan }, shared, leaves, books, scene);
    }
    if old_len == new_len {
        return Some(addr.cast_signed());
    }
    if old_len > new_len {
        return Some(if leaves {
            EINVAL
        } else {
            cut(plan, new_len, books).unwrap_or(addr.cast_signed())
        });
    }
    if old_len == 0 && !shared {
        return Some(EINVAL);
    }
    let end = scene.area_end(addr)?;
    if old_len > end - addr {
        return Some(EFAULT);
    }
    if new_len > scene.end {
        return Some(ENOMEM);
    }
    let place = books.placement(0);
    let how = if may_move { Remap::may_move(place) } else { Remap::in_place() };
    Some(answer(books.change(|space, note| space.remap(addr, old_len, new_len, how, note))))
}

/// With `MREMAP_FIXED` or `MREMAP_DONTUNMAP`.
fn move_to(
    plan: &Plan,
    shared: bool,
    leaves: bool,
    books: &mut Books,
    scene: &Scene<'_>,
) -> Option<i64> {
    let Plan { addr, mut old_len, new_len, fixed, keep, to, .. } = *plan;
    if !plan.can_be_at(to, new_len, scene) {
        return Some(EINVAL);
    }
    if fixed && let Err(error) = books.change(|space, note| space.unmap(to, new_len, note)) {
        return Some(answer(Err(error)));
    }
    if old_len > new_len {
        if leaves {
            return Some(EINVAL);
        }
        if let Some(refused) = cut(plan, new_len, books) {
            return Some(refused);
        }
        old_len = new_len;
    }
    if books.region_at(addr).is_none() {
        return Some(EFAULT);
    }
    if old_len == 0 && !shared {
        return Some(EINVAL);
    }
    let end = scene.area_end(addr)?;
    if old_len > end - addr {
        return Some(EFAULT);
    }
    let how = if fixed { Remap::to(to) } else { Remap::may_move(books.placement(to)) };
    let how = if keep { how.keep_source() } else { how };
    Some(answer(books.change(|space, note| space.remap(addr, old_len, new_len, how, note))))
}

/// Unmaps what the old range has beyond `new_len`; the refusal, if there is one.
fn cut(plan: &Plan, new_len: u64, books: &mut Books) -> Option<i64> {
    let result =
        books.change(|space, note| space.unmap(plan.addr + new_len, plan.old_len - new_len, note));
    result.err().map(|error| answer(Err(error)))
}
