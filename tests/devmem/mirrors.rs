//! Private pages seen a second time, by their frames.

use crate::machine::{Kind, Machine};
use addrspace::Span;
use addrspace::alias::{AliasError, Guarantee, Mirror, Missing, Way};
use addrspace::phys::Pagemap;

const BOTH: [Kind; 2] = [Kind::Uml, Kind::Qemu];
const PAGE: u64 = 0x1000;

/// The whole pages of an ordinary allocation.
fn pages_of(bytes: &[u8]) -> Span {
    let start = (bytes.as_ptr().expose_provenance() as u64).next_multiple_of(PAGE);
    let end = (bytes.as_ptr().addr() + bytes.len()) as u64 / PAGE * PAGE;
    Span::of(start, end - start).unwrap()
}

fn get(addr: u64) -> u64 {
    let at = std::ptr::with_exposed_provenance::<u64>(addr as usize);
    // SAFETY: the tests read what they have mapped.
    unsafe { at.read_volatile() }
}

fn set(addr: u64, word: u64) {
    let at = std::ptr::with_exposed_provenance_mut::<u64>(addr as usize);
    // SAFETY: the tests write what they have mapped.
    unsafe { at.write_volatile(word) };
}

/// Whether a child has something mapped at `addr`.
///
/// It is asked for its list, and does not touch it: user-mode-linux lets a child touch
/// what its parent has touched before.
fn child_has(addr: u64) -> bool {
    // SAFETY: the child looks at its list and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let hex = |digits| u64::from_str_radix(digits, 16).unwrap_or(0);
        let has = maps.lines().any(|line| {
            let ends = line.split(' ').next().and_then(|ends| ends.split_once('-'));
            ends.is_some_and(|(start, end)| (hex(start)..hex(end)).contains(&addr))
        });
        // SAFETY: it ends the child.
        unsafe { libc::_exit(if maps.is_empty() { 2 } else { i32::from(has) }) };
    }
    assert!(pid > 0);
    let mut status = 0;
    // SAFETY: the kernel writes `status` alone.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) < 2);
    libc::WEXITSTATUS(status) == 1
}

fn locked_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_ordinary_allocation_is_truly_aliased() {
    let name = "an_ordinary_allocation_is_truly_aliased";
    let Some(_machine) = Machine::of(&[Kind::Uml], name) else { return };
    assert_eq!(Way::Physical.check(), Ok(()));
    // Large enough that the allocator gives it a mapping of its own.
    let (one, two) = (vec![1_u8; 0x8_0000], vec![2_u8; 0x4_0000]);
    let sources = [pages_of(&two), pages_of(&one)];
    let lens = sources.map(|source| source.len().unwrap());
    let before = locked_kib();
    let mirror = Mirror::new(&sources, Guarantee::Live).unwrap();
    assert_eq!(mirror.way(), Way::Physical);
    assert_eq!(mirror.span().len(), Some(lens[0] + lens[1]));
    assert_eq!(locked_kib() - before, (lens[0] + lens[1]) / 1024);

    let start = mirror.span().start();
    assert_eq!(get(start), 0x0202_0202_0202_0202);
    assert_eq!(get(start + lens[0]), 0x0101_0101_0101_0101);
    // What is written to the source is in the mirror, page by page and at once.
    let mut at = start;
    for (source, len) in sources.iter().zip(lens) {
        for page in (0..len).step_by(PAGE as usize) {
            for word in [8, 0x800, 0xff8] {
                set(source.start() + page + word, page + word);
                assert_eq!(get(at + page + word), page + word);
            }
        }
        at += len;
    }
    assert_eq!(mirror.is_current(), Ok(true));
    // Neither the source nor the mirror is a child's.
    assert!(!child_has(sources[0].start()));
    assert!(!child_has(start));
    drop(mirror);
    assert_eq!(locked_kib(), before);
    assert!(child_has(sources[0].start()));
}

#[test]
fn an_alias_that_may_be_written_changes_the_source() {
    let name = "an_alias_that_may_be_written_changes_the_source";
    let Some(_machine) = Machine::of(&[Kind::Uml], name) else { return };
    let bytes = vec![0_u8; 0x4_0000];
    let source = pages_of(&bytes);
    // SAFETY: no reference to the bytes is used until it is gone.
    let mirror = unsafe { Mirror::writable(&[source]) }.unwrap();
    for page in (0..source.len().unwrap()).step_by(PAGE as usize) {
        set(mirror.span().start() + page + 0x10, page + 7);
        assert_eq!(get(source.start() + page + 0x10), page + 7);
    }
}

#[test]
fn an_alias_is_no_longer_current_when_the_page_is_another() {
    let name = "an_alias_is_no_longer_current_when_the_page_is_another";
    let Some(_machine) = Machine::of(&[Kind::Uml], name) else { return };
    let (prot, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the kernel chooses addresses that nobody has.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), 0x4000, prot, flags, -1, 0) };
    let source = Span::of(at.expose_provenance() as u64, 0x4000).unwrap();
    let mut mirror = Mirror::new(&[source], Guarantee::Live).unwrap();
    set(source.start(), 7);
    assert_eq!((get(mirror.span().start()), mirror.is_current()), (7, Ok(true)));

    // The same addresses, other pages: the old one is kept, so that it is not given out again.
    // SAFETY: the pages are the test's own.
    let kept = unsafe {
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
        // The kernel reads the new address also when it is to choose one.
        libc::mremap(at, 0x1000, 0x1000, flags, std::ptr::null_mut::<libc::c_void>())
    };
    assert_ne!(kept, libc::MAP_FAILED);
    set(source.start(), 8);
    assert_eq!((get(mirror.span().start()), mirror.is_current()), (7, Ok(false)));
    mirror.refresh().unwrap();
    assert_eq!((get(mirror.span().start()), mirror.is_current()), (8, Ok(true)));
    // SAFETY: as above.
    assert_eq!(unsafe { libc::munmap(at, 0x4000) }, 0);
    assert_eq!(mirror.is_current(), Ok(false));
    assert_eq!(mirror.refresh(), Err(AliasError::NotMapped { span: source }));
}

/// The recipe that circulates: the kernel ignores descriptor and offset.
#[test]
fn a_map_of_dev_mem_with_map_anonymous_shows_zeroes() {
    let name = "a_map_of_dev_mem_with_map_anonymous_shows_zeroes";
    let Some(_machine) = Machine::of(&BOTH, name) else { return };
    let bytes = vec![0x55_u8; 0x4_0000];
    let source = pages_of(&bytes).start();
    let frame = Pagemap::of_self().unwrap().translate(source).unwrap();
    let device = std::fs::File::open("/dev/mem").unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&device);
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: the kernel chooses addresses that nobody has.
    let map = unsafe {
        libc::mmap(std::ptr::null_mut(), 0x1000, libc::PROT_READ, flags, fd, frame.cast_signed())
    };
    assert_ne!(map, libc::MAP_FAILED);
    assert_eq!(get(source), 0x5555_5555_5555_5555);
    let seen: Vec<u64> =
        (0..0x1000).step_by(8).map(|at| get(map.expose_provenance() as u64 + at)).collect();
    assert_eq!(seen, [0; 512]);
}

#[test]
fn a_kernel_that_keeps_its_memory_says_so_before_anything_is_tried() {
    let name = "a_kernel_that_keeps_its_memory_says_so_before_anything_is_tried";
    let Some(_machine) = Machine::of(&[Kind::Qemu], name) else { return };
    let missing = Missing::Device { errno: libc::EPERM };
    assert_eq!(Way::Physical.check(), Err(missing));
    let bytes = vec![1_u8; 0x4_0000];
    let before = locked_kib();
    let refused = Mirror::new(&[pages_of(&bytes)], Guarantee::Live).unwrap_err();
    assert_eq!(refused, AliasError::Missing { guarantee: Guarantee::Live, missing });
    assert_eq!(locked_kib(), before);
    assert!(child_has(pages_of(&bytes).start()));
}
