//! `/proc/iomem`: what lies at which physical address.

use super::error::Error;
use crate::Span;
use rangemap::RangeInclusiveMap;
use std::fs;

const PATH: &str = "/proc/iomem";

/// The machine's physical addresses and who has them, as `/proc/iomem` lists them.
///
/// Entries nest (a driver's range lies in a device's, that in a bus's); [`at`] finds
/// the innermost. The list is what it was when it was read.
///
/// [`at`]: Self::at
///
/// # Examples
///
/// ```
/// use addrspace::phys::{Iomem, Ram};
///
/// let list = Iomem::parse(
///     "00001000-0009fbff : System RAM\n\
///      000f0000-000fffff : System ROM\n\
///      c0000000-febfffff : PCI Bus 0000:00\n  \
///        febd0000-febd3fff : 0000:00:04.0\n    \
///          febd0000-febd3fff : nvme\n",
/// )?;
/// assert_eq!(list.at(0xfebd_0004).unwrap().name(), "nvme");
/// assert_eq!(list.driver(0xfebd_0004), Some("nvme"));
/// assert_eq!(list.driver(0xfec0_0000 - 1), None); // the bus alone
/// assert_eq!(list.ram(0x1000..=0x1fff), Ram::All);
/// assert_eq!(list.ram(0x9f000..=0xa0000), Ram::Part);
/// assert_eq!(list.ram(0xf0000..=0xf0fff), Ram::None);
/// # Ok::<(), addrspace::phys::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iomem {
    resources: Vec<Resource>,
    /// The number of the innermost resource.
    innermost: RangeInclusiveMap<u64, usize>,
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    span: Span,
    name: String,
    depth: usize,
    parent: Option<usize>,
}

impl Resource {
    /// Its addresses.
    pub const fn span(&self) -> Span {
        self.span
    }

    /// Its name: `System RAM`, a bus, a device, a driver.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many entries it lies in.
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// Whether all of `span` lies in it.
    const fn holds(&self, span: Span) -> bool {
        self.span.contains(span.start()) && self.span.contains(span.last())
    }

    /// Whether it is memory that the kernel manages.
    fn is_ram(&self) -> bool {
        self.name.starts_with("System RAM")
    }
}

/// How much of a range is memory that the kernel manages (`System RAM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ram {
    /// Every byte.
    All,
    /// Some bytes.
    Part,
    /// No byte.
    None,
}

impl Iomem {
    /// Reads the list of this machine.
    ///
    /// Without `CAP_SYS_ADMIN` the kernel shows every address as 0; see
    /// [`is_hidden`](Self::is_hidden).
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it cannot be read, [`Error::Syntax`] as of
    /// [`parse`](Self::parse).
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::Iomem;
    ///
    /// let list = Iomem::read()?;
    /// for resource in list.resources().filter(|resource| resource.depth() == 0) {
    ///     println!("{} {}", resource.span(), resource.name());
    /// }
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn read() -> Result<Self, Error> {
        let text = fs::read_to_string(PATH).map_err(|error| Error::System {
            path: PATH.to_owned(),
            errno: error.raw_os_error().unwrap_or_default(),
        })?;
        Self::parse(&text)
    }

    /// Reads a list from elsewhere: lines of `first-last : name`, of which those with
    /// two more spaces in front lie in the one before.
    ///
    /// # Errors
    ///
    /// [`Error::Syntax`] for a line that is not one; that includes one whose last address
    /// is below its first, and one that does not lie in what it is said to lie in.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::{Error, Iomem};
    ///
    /// assert_eq!(Iomem::parse("0-f : a\nf-0 : b\n"), Err(Error::Syntax { line: 2 }));
    /// ```
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut resources: Vec<Resource> = Vec::new();
        let mut innermost = RangeInclusiveMap::new();
        let mut around: Vec<usize> = Vec::new();
        for (nth, line) in text.lines().enumerate() {
            let syntax = || Error::Syntax { line: nth.saturating_add(1) };
            let entry = line.trim_start_matches(' ');
            let indent = line.len().saturating_sub(entry.len());
            let depth = indent / 2;
            let (range, name) = entry.split_once(" : ").ok_or_else(syntax)?;
            let span = range
                .split_once('-')
                .and_then(|(first, last)| Span::new(address(first)?, address(last)?));
            let span = span.ok_or_else(syntax)?;
            if indent % 2 != 0 || depth > around.len() {
                return Err(syntax());
            }
            around.truncate(depth);
            let parent = around.last().copied();
            if parent.and_then(|nth| resources.get(nth)).is_some_and(|r| !r.holds(span)) {
                return Err(syntax());
            }
            // What comes later is deeper, and overwrites.
            innermost.insert(span.start()..=span.last(), resources.len());
            around.push(resources.len());
            resources.push(Resource { span, name: name.to_owned(), depth, parent });
        }
        Ok(Self { resources, innermost })
    }

    /// Whether the kernel has hidden the addresses: all are 0.
    pub fn is_hidden(&self) -> bool {
        let zero = Span::new(0, 0);
        !self.resources.is_empty() && self.resources.iter().all(|r| Some(r.span) == zero)
    }

    /// All entries, an outer one before those in it.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter()
    }

    /// The innermost entry with the byte at `addr`.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::Iomem;
    ///
    /// let list = Iomem::parse("0-ff : outer\n  10-1f : inner\n")?;
    /// assert_eq!(list.at(0x10).unwrap().name(), "inner");
    /// assert_eq!(list.at(0x20).unwrap().name(), "outer");
    /// assert_eq!(list.at(0x100), None);
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn at(&self, addr: u64) -> Option<&Resource> {
        self.resources.get(*self.innermost.get(&addr)?)
    }

    /// All entries with the byte at `addr`, from the innermost outwards.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::phys::Iomem;
    ///
    /// let list = Iomem::parse("0-ff : outer\n  10-1f : inner\n")?;
    /// let names: Vec<_> = list.path(0x10).map(|resource| resource.name()).collect();
    /// assert_eq!(names, ["inner", "outer"]);
    /// # Ok::<(), addrspace::phys::Error>(())
    /// ```
    pub fn path(&self, addr: u64) -> impl Iterator<Item = &Resource> {
        let first = self.at(addr);
        core::iter::successors(first, |inner| self.resources.get(inner.parent?))
    }

    /// The first entry in `span` that is a driver's.
    pub(super) fn first_driver(&self, span: Span) -> Option<&Resource> {
        let mut innermost = self.innermost.overlapping(span.start()..=span.last());
        innermost.find_map(|(range, _)| {
            self.driver(*range.start())?;
            self.at(*range.start())
        })
    }

    /// The first entry in `span` that is, or lies in, memory that the kernel manages.
    pub(super) fn first_ram(&self, span: Span) -> Option<&Resource> {
        self.innermost
            .overlapping(span.start()..=span.last())
            .find_map(|(range, _)| self.path(*range.start()).find(|r| r.is_ram()))
    }

    /// How much of `range` is memory that the kernel manages.
    ///
    /// An empty range has none of it.
    pub fn ram(&self, range: core::ops::RangeInclusive<u64>) -> Ram {
        if range.is_empty() {
            return Ram::None;
        }
        let (mut some, mut all) = (false, true);
        let mut next = Some(*range.start());
        for (piece, _) in self.innermost.overlapping(&range) {
            let ram = self.path(*piece.start()).any(Resource::is_ram);
            all &= ram && next.is_some_and(|next| *piece.start() <= next);
            some |= ram;
            next = piece.end().checked_add(1);
        }
        all &= next.is_none_or(|next| next > *range.end());
        match (some, all) {
            (_, true) => Ram::All,
            (true, false) => Ram::Part,
            (false, false) => Ram::None,
        }
    }

    /// The driver that has the byte at `addr`: the innermost entry, if it lies in a
    /// device's, or is a range of its own that is neither memory nor a bus nor a device.
    ///
    /// The list does not say what is what; this goes by the names that Linux gives.
    pub fn driver(&self, addr: u64) -> Option<&str> {
        let found = self.at(addr)?;
        let ram = self.path(addr).any(Resource::is_ram);
        let passive = ["Reserved", "PCI ", "ACPI ", "System ROM", "Video ROM", "Adapter ROM"]
            .iter()
            .any(|prefix| found.name.starts_with(prefix));
        let named = !found.name.eq_ignore_ascii_case("reserved") && !found.name.is_empty();
        (named && !ram && !passive && !is_pci_device(&found.name)).then_some(&*found.name)
    }
}

/// A number of hexadecimal digits alone, without the sign that Rust would take.
fn address(hex: &str) -> Option<u64> {
    u64::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'))
}

/// Whether a name is a PCI device's address, `0000:00:04.0`.
fn is_pci_device(name: &str) -> bool {
    let hex = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = name.split([':', '.']);
    let four = parts.by_ref().take(4).filter(|part| hex(part)).count();
    four == 4 && parts.next().is_none() && name.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
00001000-0009ffff : System RAM
  00010000-0001ffff : Kernel code
000a0000-000fffff : Reserved
00100000-001fffff : System RAM
00300000-003fffff : System RAM
";

    #[test]
    fn what_lies_in_memory_is_memory() {
        let list = Iomem::parse(LIST).unwrap();
        let table = [
            (0x1_8000..=0x1_8fff, Ram::All), // the kernel's own
            (0x1000..=0x9_ffff, Ram::All),   // around it
            (0x1000..=0xa_0000, Ram::Part),
            (0xa_0000..=0xf_ffff, Ram::None),
            (0x10_0000..=0x3f_ffff, Ram::Part), // with nothing in the midst
            (0..=0x1000, Ram::Part),            // with nothing in front
            (0x3f_ffff..=0x40_0000, Ram::Part), // or behind
            (0x20_0000..=0x2f_ffff, Ram::None),
            (0..=u64::MAX, Ram::Part),
        ];
        for (range, ram) in table {
            assert_eq!(list.ram(range.clone()), ram, "{range:x?}");
        }
        let first = |first, last| {
            let found = list.first_ram(Span::new(first, last).unwrap());
            found.map(|found| (found.name(), found.span().start()))
        };
        assert_eq!(first(0x1_8000, 0x1_8fff), Some(("System RAM", 0x1000)));
        assert_eq!(first(0xa_0000, 0x1f_ffff), Some(("System RAM", 0x10_0000)));
        assert_eq!(first(0xa_0000, 0xf_ffff), None);
    }

    #[test]
    fn who_holds_a_span_lies_in_it() {
        let list = "0-ffff : 0000:00:04.0\n  0-fff : nvme\n  2000-2fff : other\n";
        let list = Iomem::parse(list).unwrap();
        let first =
            |first, last| list.first_driver(Span::new(first, last).unwrap()).map(Resource::name);
        assert_eq!(first(0, 0xffff), Some("nvme"));
        assert_eq!(first(0x1000, 0x2000), Some("other"));
        assert_eq!(first(0x1000, 0x1fff), None);
    }

    #[test]
    fn a_list_without_addresses_is_hidden() {
        let hidden = "00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n";
        assert!(Iomem::parse(hidden).unwrap().is_hidden());
        assert!(!Iomem::parse(LIST).unwrap().is_hidden());
        assert!(!Iomem::parse("").unwrap().is_hidden());
    }

    #[test]
    fn a_line_that_is_none_is_told_by_its_number() {
        let table = [
            "",
            "0-1",
            "0 : a",
            "g-1 : a",
            "0-1 :a",
            "1-0 : a",
            "-1-1 : a",
            "+0-1 : a",
            " 0-1 : a",    // half a step in
            "    0-1 : a", // two steps
            "  e-10 : a",  // not in the first
            "  10-10 : a",
        ];
        for line in table {
            let text = format!("0-f : first\n{line}\n");
            assert_eq!(Iomem::parse(&text), Err(Error::Syntax { line: 2 }), "{line:?}");
        }
        // The whole of 2^64 is a range, too.
        let all = Iomem::parse("0-ffffffffffffffff : all\n").unwrap();
        assert_eq!(all.at(u64::MAX).unwrap().name(), "all");
    }
}
