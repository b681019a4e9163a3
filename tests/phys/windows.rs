//! Windows: exact widths, alignment, both ends.

use super::support::{Scratch, pattern};
use addrspace::phys::{Error, Window};
use addrspace::{Prot, Span};
use std::time::{Duration, Instant};

const RW: Prot = Prot::READ.union(Prot::WRITE);

fn window(file: &Scratch, first: u64, last: u64) -> Window {
    file.device().writable().open().unwrap().window(first..=last, RW).unwrap()
}

#[test]
fn registers_are_read_at_their_width_and_alignment() {
    let file = Scratch::memory(0x3000);
    // An odd start: what counts is the physical address.
    let window = window(&file, 0xffd, 0x100c);
    assert_eq!((window.span(), window.len()), (Span::new(0xffd, 0x100c).unwrap(), 16));
    let at = |addr: usize| pattern(addr);
    assert_eq!(window.read::<u8>(0).unwrap(), at(0xffd));
    assert_eq!(window.read::<u16>(1).unwrap(), u16::from_ne_bytes([at(0xffe), at(0xfff)]));
    let word = u32::from_ne_bytes([0x1004, 0x1005, 0x1006, 0x1007].map(at));
    assert_eq!(window.read::<u32>(7).unwrap(), word);
    #[cfg(target_pointer_width = "64")]
    {
        let long: Vec<u8> = (0x1000..0x1008).map(at).collect();
        let long = u64::from_ne_bytes(long.try_into().unwrap());
        assert_eq!(window.read::<u64>(3).unwrap(), long);
        let refused = window.read::<u64>(7).unwrap_err();
        assert_eq!(refused, Error::Unaligned { addr: 0x1004, width: 8 });
    }
    assert_eq!(window.read::<u16>(0).unwrap_err(), Error::Unaligned { addr: 0xffd, width: 2 });
    assert_eq!(window.read::<u32>(1).unwrap_err(), Error::Unaligned { addr: 0xffe, width: 4 });

    // The last byte is 0x100c.
    window.read::<u8>(15).unwrap();
    window.read::<u16>(15).unwrap_err();
    let within = window.span();
    for offset in [16, usize::MAX] {
        let refused = window.read::<u8>(offset).unwrap_err();
        assert!(matches!(refused, Error::Outside { len: 1, within: w, .. } if w == within));
    }
    let refused = window.read::<u32>(15).unwrap_err();
    assert_eq!(refused, Error::Outside { addr: 0x100c, len: 4, within });
    window.write(15, 0_u32).unwrap_err();
    let refused = window.write(usize::MAX, 0_u32).unwrap_err();
    assert!(matches!(refused, Error::Outside { .. }));
}

#[test]
fn a_write_changes_its_own_bytes_alone() {
    let file = Scratch::memory(0x2000);
    let window = window(&file, 0x1000, 0x1fff);
    let mut expected = file.bytes();
    window.write(0x10, 0x1122_3344_u32).unwrap();
    expected[0x1010..0x1014].copy_from_slice(&0x1122_3344_u32.to_ne_bytes());
    window.write(0x16, 0x5566_u16).unwrap();
    expected[0x1016..0x1018].copy_from_slice(&0x5566_u16.to_ne_bytes());
    window.write(0xfff, 0x77_u8).unwrap();
    expected[0x1fff] = 0x77;
    assert_eq!(file.bytes(), expected);
}

#[test]
fn bits_are_changed_and_the_old_value_is_answered() {
    let file = Scratch::memory(0x1000);
    let window = window(&file, 0, 0xfff);
    window.write(8, 0xf0f0_u16).unwrap();
    assert_eq!(window.set_bits(8, 0x0f00_u16).unwrap(), 0xf0f0);
    assert_eq!(window.clear_bits(8, 0x8010_u16).unwrap(), 0xfff0);
    assert_eq!(window.set_field(8, 0x00ff_u16, 0x1234).unwrap(), 0x7fe0);
    assert_eq!(window.modify(8, |old: u16| old.wrapping_add(1)).unwrap(), 0x7f34);
    assert_eq!(window.read::<u16>(8).unwrap(), 0x7f35);
}

#[test]
fn what_the_protection_does_not_allow_is_not_tried() {
    let file = Scratch::memory(0x1000);
    let device = file.device().writable().open().unwrap();
    let readable = device.window(0..=0xfff, Prot::READ).unwrap();
    let refused = Error::Protection { span: readable.span(), prot: Prot::READ };
    assert_eq!(readable.write(0, 0_u8), Err(refused.clone()));
    assert_eq!(readable.copy_from(0, b"no"), Err(refused.clone()));
    // It is not even read.
    assert_eq!(readable.modify::<u8>(0, |_| panic!("was read")), Err(refused));
    let closed = device.window(0..=0xfff, Prot::empty()).unwrap();
    assert!(matches!(closed.read::<u8>(0), Err(Error::Protection { .. })));
    let read_only = file.device().open().unwrap();
    assert!(matches!(read_only.window(0..=0xfff, RW), Err(Error::ReadOnly { .. })));
}

#[test]
fn copies_of_every_length_and_alignment_move_exactly_their_bytes() {
    let file = Scratch::memory(0x2000);
    let original = file.bytes();
    let window = window(&file, 0xff0, 0x1037);
    for offset in 0..24 {
        for len in 0..40 {
            let mut buf = vec![0; len];
            window.copy_to(offset, &mut buf).unwrap();
            assert_eq!(buf, original[0xff0 + offset..][..len], "{len} at {offset}");

            let bytes: Vec<u8> = buf.iter().map(|byte| !byte).collect();
            window.copy_from(offset, &bytes).unwrap();
            let mut expected = original.clone();
            expected[0xff0 + offset..][..len].copy_from_slice(&bytes);
            assert!(file.bytes() == expected, "{len} at {offset}");
            window.copy_from(offset, &buf).unwrap();
        }
    }
    let len = window.len();
    window.copy_to(len, &mut []).unwrap();
    assert!(window.copy_to(len, &mut [0]).is_err());
    assert!(window.copy_from(len - 3, &[0; 4]).is_err());
    assert!(window.copy_to(usize::MAX, &mut [0; 2]).is_err());
    assert_eq!(file.bytes(), original);
}

#[test]
fn registers_are_walked_one_by_one() {
    let file = Scratch::memory(0x1000);
    let window = window(&file, 0x10, 0x2f);
    let read: Vec<u16> = window.registers(4, 3).unwrap().collect();
    let bytes: Vec<u8> = (0x14..0x1a).map(pattern).collect();
    let expected: Vec<u16> =
        bytes.chunks_exact(2).map(|two| u16::from_ne_bytes([two[0], two[1]])).collect();
    assert_eq!(read, expected);
    assert_eq!(window.registers::<u32>(0, 8).unwrap().count(), 8);
    assert!(window.registers::<u32>(0, 9).is_err());
    assert!(window.registers::<u32>(2, 1).is_err());
    assert!(window.registers::<u32>(0, usize::MAX).is_err());
    assert_eq!(window.registers::<u32>(32, 0).unwrap().count(), 0);
}

#[test]
fn polling_ends_with_the_value_or_with_the_time() {
    let file = Scratch::memory(0x1000);
    let window = window(&file, 0, 0xfff);
    window.write(0, 5_u32).unwrap();
    let mut reads = 0;
    let value = window.poll(0, Duration::from_secs(60), |value: u32| {
        reads += 1;
        if reads == 3 {
            window.write(0, 6_u32).unwrap();
        }
        value == 6
    });
    assert_eq!((value, reads), (Ok(6), 4));

    let begun = Instant::now();
    let timeout = Duration::from_millis(20);
    let Err(Error::Timeout { addr: 0, last: 6, waited }) = window.poll(0, timeout, |v: u32| v == 7)
    else {
        panic!()
    };
    assert!(waited >= timeout && begun.elapsed() >= timeout);
    assert_eq!(window.poll(0, Duration::ZERO, |v: u32| v == 6), Ok(6), "read once at least");
}

#[test]
fn a_window_outlives_the_device_and_moves_to_another_thread() {
    let file = Scratch::memory(0x1000);
    let window = window(&file, 0x10, 0x1f); // its device is closed
    std::thread::spawn(move || window.write(0, 0xab_u8)).join().unwrap().unwrap();
    assert_eq!(file.bytes()[0x10], 0xab);
}
