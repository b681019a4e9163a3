//! The same memory at several addresses: two protections, a ring, a mirror.
//!
//! ```text
//! cargo run --release --features alias --example alias
//! ```

#![allow(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::multiple_unsafe_ops_per_block,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "a program that shows memory: it reads through raw pointers"
)]

#[cfg(target_os = "linux")]
mod linux {
    use addrspace::alias::{
        AliasError, Chunk, ContiguousView, Guarantee, Mirror, SharedMemory, Way,
    };
    use addrspace::{Executor, Placement, Prot, Reservation, Span};
    use std::error::Error;
    use std::fs;

    const PAGE: u64 = 4096;
    const RW: Prot = Prot::READ.union(Prot::WRITE);

    /// The kernel's words about an address: protection and name.
    fn kernel(addr: u64) -> String {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let hex = |digits| u64::from_str_radix(digits, 16).unwrap_or(0);
        let line = maps.lines().find(|line| {
            let (start, end) =
                line.split(' ').next().unwrap_or("").split_once('-').unwrap_or_default();
            (hex(start)..hex(end)).contains(&addr)
        });
        let mut words = line.unwrap_or("").split_ascii_whitespace();
        let prot = words.nth(1).unwrap_or("----").to_owned();
        let name = words.skip(3).collect::<Vec<_>>().join(" ");
        if name.is_empty() { prot } else { format!("{prot}  {name}") }
    }

    fn word(addr: u64) -> u64 {
        let at = std::ptr::with_exposed_provenance::<u64>(addr as usize);
        // SAFETY: the callers have mapped it.
        unsafe { at.read_volatile() }
    }

    fn set(addr: u64, word: u64) {
        let at = std::ptr::with_exposed_provenance_mut::<u64>(addr as usize);
        // SAFETY: the callers have mapped it, and no reference points there.
        unsafe { at.write_volatile(word) };
    }

    /// One memory, written here and run there.
    fn two_protections() -> Result<(), Box<dyn Error>> {
        println!(
            "one memory, two protections: a code buffer that is never writable and executable"
        );
        let code = SharedMemory::options().named("code").create(PAGE)?;
        let (here, there) = (code.map(0, PAGE, RW)?, code.map(0, PAGE, Prot::READ | Prot::EXEC)?);
        println!("    write  {:#x}  {}", here.span().start(), kernel(here.span().start()));
        println!("    run    {:#x}  {}", there.span().start(), kernel(there.span().start()));
        #[cfg(target_arch = "x86_64")]
        for (name, bytes) in [
            ("6 + 7", &[0x8d, 0x04, 0x37, 0xc3][..]),
            ("6 * 7", &[0x89, 0xf8, 0x0f, 0xaf, 0xc6, 0xc3][..]),
        ] {
            // SAFETY: the page is writable, and nothing of it runs meanwhile.
            unsafe { here.pointer().copy_from(bytes.as_ptr(), bytes.len()) };
            // SAFETY: the page is executable and has such a function in it.
            let function: extern "sysv64" fn(i32, i32) -> i32 =
                unsafe { std::mem::transmute(there.pointer()) };
            println!("    emit {} bytes, call: {name} = {}", bytes.len(), function(6, 7));
        }
        let mut guest = Executor::new(Reservation::new(16 * PAGE)?)?;
        guest.map_any(PAGE, code.memory(0, Prot::READ), Placement::lowest())?;
        guest.map_any(PAGE, code.memory(0, Prot::READ | Prot::EXEC), Placement::highest())?;
        let places = guest.pieces_of(&code, 4, 2)?;
        let places = places.iter().map(|piece| format!("{} {:?}", piece.span, piece.prot));
        println!("    who maps bytes 4 and 5 in a guest's space?");
        places.for_each(|place| println!("        {place}"));
        Ok(())
    }

    /// Chunks side by side, and one of them twice.
    fn side_by_side() -> Result<(), Box<dyn Error>> {
        println!("\nscattered chunks, one stretch");
        let memory = SharedMemory::options().named("chunks").create(4 * PAGE)?;
        for (page, text) in [" memory", "the ", "same", "once"].iter().enumerate() {
            let end = (page as u64 + 1) * PAGE;
            memory.write_at(end - PAGE, text.as_bytes())?;
            memory.write_at(end - text.len() as u64, text.as_bytes())?;
        }
        let chunk = |page: u64| Chunk { memory: &memory, offset: page * PAGE, len: PAGE };
        let mut view = ContiguousView::new(&[chunk(1), chunk(2)], Prot::READ)?;
        let across = |view: &ContiguousView| {
            // SAFETY: the view is mapped, two pages long, and nobody writes it.
            let bytes =
                unsafe { view.pointer().add(PAGE as usize - 4).cast::<[u8; 8]>().read_unaligned() };
            String::from_utf8_lossy(&bytes).into_owned()
        };
        println!("    pages 1, 2 of the memory; 8 bytes across the border: {:?}", across(&view));
        view.replace(1, chunk(3))?;
        println!("    page 3 in place of the second one:                   {:?}", across(&view));
        let ring = ContiguousView::ring(&SharedMemory::new(16 * PAGE)?, 0, 16 * PAGE)?;
        // SAFETY: the ring is mapped, and nobody else has it.
        unsafe {
            let end = ring.pointer().add(16 * PAGE as usize);
            end.sub(4).cast::<[u8; 8]>().write(*b"headtail");
        }
        let wrapped = word(ring.span().start()).to_ne_bytes();
        let tail = String::from_utf8_lossy(&wrapped[..4]);
        println!(
            "    a ring of 64 KiB: \"headtail\" written across its end, at its start: {tail:?}"
        );
        Ok(())
    }

    /// Somebody else's memory, and what can be promised about it.
    fn mirrors() -> Result<(), Box<dyn Error>> {
        println!("\nsomebody else's memory: what this machine can do");
        for way in Way::ALL {
            let promised = way.guarantee();
            match way.check() {
                Ok(()) => println!("    yes  {promised}, by {way}"),
                Err(missing) => println!("    no   {promised}, by {way}: {missing}"),
            }
        }
        let theirs = vec![0_u64; 1 << 17];
        let start = (theirs.as_ptr().expose_provenance() as u64).next_multiple_of(PAGE);
        let private = Span::of(start, 64 * PAGE).unwrap();
        let view = SharedMemory::new(64 * PAGE)?.map(0, 64 * PAGE, RW)?;
        println!(
            "    each source says 1, is mirrored, then written: 2, read, and written: 3, read"
        );
        for (guarantee, source, whose) in [
            (Guarantee::Live, view.span(), "a shared view"),
            (Guarantee::Live, private, "an ordinary vector"),
            (Guarantee::Snapshot, private, "an ordinary vector"),
            (Guarantee::FirstTouch, private, "an ordinary vector"),
        ] {
            set(source.start(), 1);
            let mut mirror = match Mirror::new(&[source], guarantee) {
                Ok(mirror) => mirror,
                Err(AliasError::Missing { missing, .. }) => {
                    println!("    {whose}: {guarantee} cannot be had: {missing}");
                    continue;
                }
                Err(other) => return Err(other.into()),
            };
            let read = |number| {
                set(source.start(), number);
                word(mirror.span().start())
            };
            let seen = [read(2), read(3)];
            let (way, copied) = (mirror.way(), mirror.delivered());
            mirror.refresh()?;
            let fresh = word(mirror.span().start());
            println!(
                "    {whose}: {guarantee} sees {} then {}; {fresh} after a refresh ({way}; {copied} of 64 pages copied)",
                seen[0], seen[1]
            );
        }
        Ok(())
    }

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        two_protections()?;
        side_by_side()?;
        mirrors()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[cfg(target_os = "linux")]
    linux::run()?;
    #[cfg(not(target_os = "linux"))]
    println!("this example shows memory of Linux");
    Ok(())
}
