//! What errors say, and with which number C is told: each variant once.

#![cfg(all(feature = "alias", target_os = "linux"))]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a test: a panic is a failure"
)]

use addrspace::alias::{AliasError, Guarantee, Unsuited};
use addrspace::phys::{Access, Error as PhysError, Rule, Untranslated};
use addrspace::{ExecError, MapFlags, Prot, Span, Syscall, Undiscardable};
use std::time::Duration;

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EIO: i32 = 5;
const ENXIO: i32 = 6;
const EBADF: i32 = 9;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EFAULT: i32 = 14;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const ETIMEDOUT: i32 = 110;
const ECANCELED: i32 = 125;

fn span() -> Span {
    Span::new(0x1000, 0x2fff).unwrap()
}

/// Holds the number and the text of an error against what is expected of them.
fn says(errno: i32, text: &str, expected: i32, words: &[&str]) {
    assert_eq!(errno, expected, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn of_the_executor() {
    let span = span();
    let (at, len, page) = (0x5000, 0x3000, 0x1000);
    let discard = |why| ExecError::Discard { span, why };
    let direct = |device| ExecError::NotDirect { addr: at, len, device };
    let table = [
        (ExecError::Range { at, len }, EINVAL, "0x3000 bytes at 0x5000"),
        (ExecError::Alignment { at, align: 0x200_000 }, EINVAL, "0x200000 bytes"),
        (ExecError::Taken { span, taken: Some(span) }, EEXIST, "0x1000..=0x2fff is mapped"),
        (ExecError::Taken { span, taken: None }, EEXIST, "something is mapped"),
        (ExecError::Flags { flags: MapFlags::LOCKED }, EINVAL, "LOCKED"),
        (ExecError::PastObject { addr: at, new_len: len, end: 7 }, EINVAL, "after 0x7"),
        (ExecError::NeedsFile { span }, EINVAL, "not private anonymous"),
        (ExecError::NoFile { span }, EBADF, "no file was given"),
        (discard(Undiscardable::NotMapped), ENOMEM, "nothing is mapped there"),
        (discard(Undiscardable::Shared), EINVAL, "its bytes would stay"),
        (discard(Undiscardable::Locked), EINVAL, "locked in memory"),
        (discard(Undiscardable::Device), EINVAL, "memory of a device"),
        (ExecError::Backing { span }, EINVAL, "backing"),
        (direct(None), EFAULT, "not all of them are mapped"),
        (direct(Some(span)), EFAULT, "0x1000..=0x2fff is memory of a device"),
        (ExecError::LargePages { addr: at, len, size: 1 << 21 }, EINVAL, "0x200000 bytes stay"),
        (ExecError::Page { span, page }, EINVAL, "0x1000 bytes"),
    ];
    for (error, errno, word) in table {
        says(error.errno(), &error.to_string(), errno, &[word]);
    }
}

#[test]
fn of_a_call_that_the_kernel_refuses() {
    let calls = [
        (Syscall::Mmap, "mmap"),
        (Syscall::Munmap, "munmap"),
        (Syscall::Mprotect, "mprotect"),
        (Syscall::Mremap, "mremap"),
        (Syscall::Madvise, "madvise"),
        (Syscall::Mlock, "mlock"),
        (Syscall::Munlock, "munlock"),
        (Syscall::Fstat, "fstat"),
        (Syscall::Maps, "/proc/self/maps"),
    ];
    for (call, name) in calls {
        let lost = vec![span(), Span::new(0x8000, 0x8fff).unwrap()];
        let error = ExecError::Kernel { call, span: span(), errno: ENOMEM, lost };
        let lost = "; lost: 0x1000..=0x2fff, 0x8000..=0x8fff";
        says(error.errno(), &error.to_string(), ENOMEM, &[name, "Cannot allocate memory", lost]);
    }
    let error =
        ExecError::Kernel { call: Syscall::Mmap, span: span(), errno: EIO, lost: Vec::new() };
    assert!(!error.to_string().contains("lost"), "{error}");
}

#[test]
fn of_physical_memory() {
    let (span, access, done) = (span(), Access::Write, 0x40);
    let (addr, len) = (0x5001, 0x3000);
    let target = |done| PhysError::Target { path: "/dump".into(), call: "write", done, errno: EIO };
    let open = PhysError::Open { path: "/dev/mem".into(), errno: EPERM, rule: Rule::Capability };
    assert_eq!(open.rule(), Some(&Rule::Capability));
    let untranslated = |why| PhysError::Untranslated { addr, why };
    let waited = Duration::from_secs(2);
    let system = PhysError::System { path: "/proc/iomem".to_owned(), errno: EACCES };
    let table = [
        (open, EPERM, "CAP_SYS_RAWIO"),
        (PhysError::NotReadable, EBADF, "not open for reading"),
        (PhysError::ReadOnly { span }, EBADF, "open for reading only"),
        (PhysError::Range { addr, len }, EINVAL, "0x3000 bytes at 0x5001"),
        (PhysError::Outside { addr, len, within: span }, EFAULT, "in 0x1000..=0x2fff"),
        (PhysError::Unaligned { addr, width: 4 }, EINVAL, "4 bytes"),
        (PhysError::Protection { span, prot: Prot::READ }, EACCES, "READ"),
        (PhysError::End { access, span, done }, ENXIO, "cannot write"),
        (PhysError::End { access: Access::Read, span, done }, ENXIO, "cannot read"),
        (PhysError::Timeout { addr, last: 9, waited }, ETIMEDOUT, "still 0x9 after 2s"),
        (system, EACCES, "/proc/iomem: Permission denied"),
        (PhysError::Syntax { line: 3 }, EINVAL, "line 3"),
        (untranslated(Untranslated::NotMapped), ENOENT, "nothing is mapped"),
        (untranslated(Untranslated::NotPresent), ENOENT, "touch it"),
        (untranslated(Untranslated::Swapped), ENOENT, "swapped out"),
        (untranslated(Untranslated::Device), ENOENT, "device"),
        (untranslated(Untranslated::Hidden), EPERM, "CAP_SYS_ADMIN"),
        (target(0), EIO, "cannot write /dump: Input"),
        (target(done), EIO, "(after 0x40 bytes)"),
        (PhysError::Stopped { done }, ECANCELED, "0x40 bytes"),
    ];
    for (error, errno, word) in table {
        says(error.errno(), &error.to_string(), errno, &[word]);
        assert_eq!(error.rule().is_some(), matches!(error, PhysError::Open { .. }));
    }
}

/// Each rule names the way out, where there is one.
#[test]
fn of_the_rules_of_a_machine() {
    let held = |driver: Option<&str>| Rule::IoStrictDevmem { driver: driver.map(str::to_owned) };
    let table = [
        (Rule::NoDriver, "CONFIG_DEVMEM"),
        (Rule::Permissions, "be root"),
        (Rule::Capability, "CAP_SYS_RAWIO"),
        (Rule::Lockdown(Some("integrity".to_owned())), "integrity"),
        (Rule::Lockdown(None), "it seems"),
        (Rule::StrictDevmem, "memmap="),
        (held(Some("nvme")), "nvme"),
        (held(None), "a driver"),
        (Rule::Strict, "CAP_SYS_ADMIN"),
        (Rule::BeyondSeek, "use a window"),
        (Rule::Caching, "the other caching"),
        (Rule::NoSuchAddress, "no such physical address"),
        (Rule::Other, "no rule"),
    ];
    for (rule, word) in table {
        let text = rule.to_string();
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[test]
fn of_aliases() {
    let span = span();
    let unsuited = |why| AliasError::Unsuited { guarantee: Guarantee::Live, span, why };
    let inner = ExecError::NoFile { span };
    let table = [
        (AliasError::Shrinkable, EPERM, "not sealed"),
        (AliasError::NotMapped { span }, EFAULT, "nothing is mapped"),
        (unsuited(Unsuited::Handled), EBUSY, "a live mirror cannot be kept"),
        (unsuited(Unsuited::Private), EINVAL, "private memory"),
        (AliasError::Changing { passes: 3, bytes: 9 }, EAGAIN, "each of 3 copies"),
        (AliasError::Moved, EAGAIN, "has moved"),
        (AliasError::Forked, ESRCH, "parent"),
        (AliasError::Kernel { call: "clone", errno: ENOMEM }, ENOMEM, "clone failed: Cannot"),
        (AliasError::Exec(inner.clone()), EBADF, "no file was given"),
        (AliasError::Phys(PhysError::Stopped { done: 1 }), ECANCELED, "stopped"),
        (AliasError::Overlap { span }, EINVAL, "twice"),
    ];
    for (error, errno, word) in table {
        says(error.errno(), &error.to_string(), errno, &[word]);
    }
    assert_eq!(Guarantee::Snapshot.to_string(), "a snapshot");
    assert_eq!(Guarantee::FirstTouch.to_string(), "a mirror as of the first touch");
}
