//! Spaces and errors as text.

use super::{PAGE, R, RW, RX, space};
use addrspace::{AddrSpace, MapFlags, Mapping, OpError, Prot, ignore};

#[test]
fn display_is_that_of_proc_pid_maps() {
    const RECORDED: &str = include_str!("../data/maps.txt");
    let mut space: AddrSpace<u64> = AddrSpace::whole(PAGE).unwrap();
    // The names and devices are the embedder's: here, of the same text.
    let mut names = std::collections::BTreeMap::new();
    let mut ends = (("", 0), 0);
    for line in RECORDED.lines() {
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let (range, perms, offset, device, inode, name) =
            (word(), word(), word(), word(), word(), word());
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = range.split_once('-').map(|(a, b)| (hex(a), hex(b))).unwrap();
        let mut prot = Prot::empty();
        prot.set(Prot::READ, perms.contains('r'));
        prot.set(Prot::WRITE, perms.contains('w'));
        prot.set(Prot::EXEC, perms.contains('x'));
        let inode: u64 = inode.parse().unwrap();
        // What the kernel names itself is no anonymous memory that could merge.
        let mut mapping = match (inode, name) {
            (0, "") => Mapping::anonymous(prot),
            (0, _) => Mapping::tag(prot, start, 0),
            _ => Mapping::file(prot, inode, hex(offset)),
        };
        if perms.ends_with('s') {
            mapping = mapping.shared();
        }
        // The kernel keeps pages apart that were writable once (they stay accounted
        // for), though nothing in the text tells them from their neighbour.
        if inode > 0 && ends.1 == start && ends.0 == (perms, inode) {
            mapping = mapping.with_flags(MapFlags::from_bits_retain(1 << 31));
        }
        ends = ((perms, inode), end);
        let (major, minor) = device.split_once(':').unwrap();
        let device =
            (u32::from_str_radix(major, 16).unwrap(), u32::from_str_radix(minor, 16).unwrap());
        names.insert(start, (device, inode, name));
        space.map_at(start, end - start, mapping, ignore).unwrap();
    }
    let maps = space.maps(|region| {
        let (device, inode, name) = names[&region.start()];
        addrspace::Label { device, inode, name: Some(name).filter(|name| !name.is_empty()) }
    });
    assert_eq!(maps.to_string(), RECORDED);

    // Without names: the identity of a file stands for its inode.
    let first = space.to_string().lines().next().unwrap().to_owned();
    assert_eq!(first, "56314ce52000-56314ce54000 r--p 00000000 00:00 247774 ");
}

#[test]
fn display_of_what_proc_has_not() {
    let mut space: AddrSpace = AddrSpace::whole(PAGE).unwrap();
    space.map_at(0, PAGE, Mapping::physical(RW, 0xfed0_0000), ignore).unwrap();
    let last = 0_u64.wrapping_sub(PAGE);
    space.map_at(last, PAGE, Mapping::tag(RX, 9, 0x77).shared(), ignore).unwrap();
    assert_eq!(
        space.to_string(),
        "00000000-00001000 rw-p fed00000 00:00 0                                  [physical]\n\
         fffffffffffff000-10000000000000000 r-xs 00000077 00:00 9                 [tag]\n"
    );
}

#[test]
fn the_picture_of_a_large_space_is_short() {
    let mut space: AddrSpace = AddrSpace::whole(PAGE).unwrap();
    space.map_at(0x1000, 0x3000, Mapping::anonymous(R), ignore).unwrap();
    space.map_at(0x10000, 0x20000, Mapping::anonymous(Prot::all()), ignore).unwrap();
    space.mark_original();
    assert_eq!(space.picture().to_string(), ".RRR............A{32}.{4503599627370448}");
}

#[test]
fn a_picture_shows_letters_and_not_regions() {
    // Sixteen pages are drawn one by one, more are counted; regions that touch are one run
    // if their letters are the same.
    let mut space: AddrSpace = AddrSpace::new(0, 64 * PAGE, PAGE).unwrap();
    for (page, pages, mapping) in [
        (0, 16, Mapping::anonymous(Prot::empty())),
        (16, 9, Mapping::anonymous(R)),
        (25, 8, Mapping::file(R, 3, 0)),
        (33, 8, Mapping::anonymous(RW)),
        (41, 8, Mapping::file(RW, 3, 0)),
        (49, 8, Mapping::anonymous(RX)),
    ] {
        space.map_at(page * PAGE, pages * PAGE, mapping, ignore).unwrap();
    }
    let drawn = "----------------r{17}wwwwwwwwwwwwwwwwxxxxxxxx.......";
    assert_eq!(space.picture().to_string(), drawn);
}

#[test]
fn errors_say_what_was_wrong() {
    let mut space = space();
    let error = space.protect(0x10001, 5, R, ignore).unwrap_err();
    let text = "cannot protect 0x5 bytes at 0x10001: the address is not page-aligned";
    assert_eq!(error.to_string(), text);
    let wrapped: OpError<std::io::Error> = error.into();
    assert_eq!(wrapped.to_string(), text);
    assert!(std::error::Error::source(&wrapped).is_none());
}

#[test]
fn a_line_feed_in_a_name_stays_on_its_line() {
    let mut space = crate::drawn("r.");
    space.map_at(0, PAGE, Mapping::file(R, 1, 0), ignore).unwrap();
    let name = Some("a\n7000-8000 rwxp 00000000 00:00 0\n");
    let text = space.maps(|_| addrspace::Label { device: (8, 1), inode: 1, name }).to_string();
    assert_eq!(text.lines().count(), 1);
    assert!(text.ends_with("a\\0127000-8000 rwxp 00000000 00:00 0\\012\n"), "{text}");
}

#[test]
fn each_error_has_the_errno_that_linux_answers() {
    use addrspace::{Error, Verb};
    let (verb, addr, len, limit) = (Verb::Map, 0x1000, 0x2000, 7);
    let [conflict, gap, region] = [crate::span(0, 0xfff); 3];
    let outside = |verb| Error::OutOfBounds { verb, addr, len };
    let overflow = |verb| Error::OffsetOverflow { verb, len, offset: addr };
    let (einval, enomem, efault, eexist, eoverflow) = (22, 12, 14, 17, 75);
    let table = [
        (Error::PageSize { page_size: 3 }, einval),
        (Error::Geometry { start: 1, len, page_size: 2 }, einval),
        (Error::Unaligned { verb, addr, len }, einval),
        (Error::ZeroLength { verb, addr }, einval),
        (outside(Verb::Map), enomem),
        (outside(Verb::Protect), enomem),
        (outside(Verb::SetFlags), enomem),
        (outside(Verb::Unmap), einval),
        (outside(Verb::Remap), efault),
        (Error::UnalignedOffset { len, offset: 1 }, einval),
        (overflow(Verb::Map), eoverflow),
        (overflow(Verb::Remap), einval),
        (Error::Occupied { verb, addr, len, conflict }, eexist),
        (Error::NoRoom { verb, len }, enomem),
        (Error::Alignment { align: 3, offset: 0 }, einval),
        (Error::NotMapped { addr, len, gap }, efault),
        (Error::SeveralMappings { addr, len, region }, efault),
        (Error::Overlap { addr, len, conflict }, einval),
        (Error::BadDestination { addr, len }, einval),
        (Error::BadRemap { addr, len }, einval),
        (Error::SharedFlag { addr, len }, einval),
        (Error::ByteLimit { verb, len, limit }, enomem),
        (Error::RegionLimit { verb, addr, len, limit: 7 }, enomem),
        (Error::OtherGeometry, einval),
        (Error::NoMemory { verb, addr, len }, enomem),
    ];
    for (error, errno) in table {
        assert_eq!(error.errno(), errno, "{error}");
        // The number that was wrong is in the text.
        let told = format!("{error:?}").contains("OtherGeometry")
            || error.to_string().contains(char::is_numeric);
        assert!(told || error.to_string().contains("zero"), "{error}");
    }
}

/// What an embedder sees when an assertion on it fails.
#[test]
fn debug_shows_the_regions() {
    let mut space = crate::drawn(".rw");
    let regions = format!("{:?}", space.regions().collect::<Vec<_>>());
    assert!(regions.starts_with("[Region {"), "{regions}");
    assert_eq!(format!("{:?}", space.regions_in(0, 3 * PAGE)), regions);
    let shown = format!("{space:?}");
    assert!(shown.starts_with("AddrSpace {") && shown.contains(&regions), "{shown}");
    assert_eq!(format!("{:?}", space.picture()), ".rw");
    let maps = space.maps(|_| addrspace::Label::<&str>::default());
    assert_eq!(format!("{maps:?}"), "Maps { start: 0, .. }");

    let mut shown = Vec::new();
    let mut hear = |update: addrspace::Update<'_>| {
        let pieces = format!("{:?}", update.pieces());
        assert!(pieces.starts_with("[Region {"), "{pieces}");
        let update = format!("{update:?}");
        assert!(update.contains(&pieces), "{update}");
        shown.push(update.split(' ').next().unwrap().to_owned());
    };
    space.map_at(PAGE, PAGE, Mapping::anonymous(RW), &mut hear).unwrap();
    space.protect(PAGE, PAGE, R, &mut hear).unwrap();
    let (set, clear) = (MapFlags::LOCKED, MapFlags::empty());
    space.set_flags(PAGE, PAGE, set, clear, &mut hear).unwrap();
    space.remap(PAGE, PAGE, PAGE, addrspace::Remap::to(0), &mut hear).unwrap();
    space.unmap(0, PAGE, &mut hear).unwrap();
    assert_eq!(shown, ["Map", "Protect", "Flags", "Move", "Unmap"]);
}
