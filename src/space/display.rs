//! A space as text: as /proc/PID/maps, and as a picture.

use super::AddrSpace;
use super::region::{Backing, Region};
use crate::Prot;
use crate::page::Geometry;
use core::fmt::{self, Display, Write};

/// What a line of /proc/PID/maps says about the backing of a region.
///
/// The offset is not among it: the space knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Label<N> {
    /// The major and the minor number of the device.
    pub device: (u32, u32),
    /// The number of the inode.
    pub inode: u64,
    /// The path, or a name like `[heap]`.
    pub name: Option<N>,
}

/// A space in the form of /proc/PID/maps; made by [`AddrSpace::maps`].
pub struct Maps<'a, F, L> {
    space: &'a AddrSpace<F>,
    label: L,
}

/// A space with a letter for each page; made by [`AddrSpace::picture`].
pub struct Picture<'a, F>(&'a AddrSpace<F>);

impl<F: Clone + PartialEq> AddrSpace<F> {
    /// The space in the form of /proc/PID/maps, with what `label` knows of files.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Backing, Label, Mapping, Prot, ignore};
    ///
    /// let mut space = AddrSpace::new(0, 1 << 47, 4096)?;
    /// space.map_at(0x5555_5555_4000, 0x2000, Mapping::file(Prot::READ, 7, 0x1000), ignore)?;
    /// let maps = space.maps(|region| match region.backing {
    ///     Backing::File { .. } => {
    ///         Label { device: (8, 1), inode: 1234, name: Some("/usr/bin/cat") }
    ///     }
    ///     _ => Label::default(),
    /// });
    /// assert_eq!(
    ///     maps.to_string(),
    ///     "555555554000-555555556000 r--p 00001000 08:01 1234                       /usr/bin/cat\n",
    /// );
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub fn maps<N: Display, L: Fn(Region<'_, F>) -> Label<N>>(&self, label: L) -> Maps<'_, F, L> {
        Maps { space: self, label }
    }

    /// A letter for each page: `-` for no access, `r`, `w` (read or not), `x` if
    /// only that or reading goes with it, `a` for writing and executing, `.` for a
    /// gap; capital, and `=` for `-`, where the page is original.
    /// Of what would be more than 16 times the same letter, the number is told.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{AddrSpace, Mapping, Prot, ignore};
    ///
    /// let mut space: AddrSpace = AddrSpace::new(0, 0x20000, 0x1000)?;
    /// space.map_at(0x1000, 0x2000, Mapping::anonymous(Prot::READ | Prot::EXEC), ignore)?;
    /// space.mark_original();
    /// space.map_at(0x3000, 0x1000, Mapping::anonymous(Prot::READ | Prot::WRITE), ignore)?;
    /// assert_eq!(space.picture().to_string(), ".XXw.{28}");
    /// # Ok::<(), addrspace::Error>(())
    /// ```
    pub const fn picture(&self) -> Picture<'_, F> {
        Picture(self)
    }
}

/// Writes the line of a region, up to the name.
fn write_line<F>(
    f: &mut fmt::Formatter<'_>,
    region: &Region<'_, F>,
    (major, minor): (u32, u32),
    inode: &dyn Display,
    name: Option<&dyn Display>,
) -> fmt::Result {
    /// The column at which the kernel starts the name.
    const NAME: usize = 73;
    let letter = |prot, letter| if region.prot.contains(prot) { letter } else { '-' };
    let offset = match region.backing {
        Backing::File { offset, .. } => offset,
        Backing::Physical { addr } => addr,
        Backing::Tag { value, .. } => value,
        Backing::Anonymous => 0,
    };
    let mut line = Counted { out: f, columns: 0 };
    write!(
        line,
        "{:08x}-{:08x} {}{}{}{} {offset:08x} {major:02x}:{minor:02x} {inode} ",
        region.start(),
        // The end may be 2^64, which a `u64` cannot say.
        u128::from(region.last()).saturating_add(1),
        letter(Prot::READ, 'r'),
        letter(Prot::WRITE, 'w'),
        letter(Prot::EXEC, 'x'),
        if region.is_shared() { 's' } else { 'p' },
    )?;
    if let Some(name) = name {
        let pad = NAME.saturating_sub(line.columns);
        write!(line, "{:pad$}", "")?;
        write!(Escaped(&mut line), "{name}")?;
    }
    line.write_char('\n')
}

/// Writes a line feed as `\\012`, as the kernel does: a name stays on its line.
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut parts = text.split('\n');
        self.0.write_str(parts.next().unwrap_or(""))?;
        parts.try_for_each(|part| write!(self.0, "\\012{part}"))
    }
}

/// Counts the columns that are written.
struct Counted<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    columns: usize,
}

impl Write for Counted<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.columns = self.columns.saturating_add(text.chars().count());
        self.out.write_str(text)
    }
}

impl<F, N, L> Display for Maps<'_, F, L>
where
    F: Clone + PartialEq,
    N: Display,
    L: Fn(Region<'_, F>) -> Label<N>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for region in self.space.regions() {
            let Label { device, inode, name } = (self.label)(region);
            let name = name.as_ref().map(|name| -> &dyn Display { name });
            write_line(f, &region, device, &inode, name)?;
        }
        Ok(())
    }
}

/// In the form of /proc/PID/maps, with the identity of a file for its inode.
///
/// [`AddrSpace::maps`] is for those who know the device, the inode and the path.
impl<F: Clone + PartialEq + Display> Display for AddrSpace<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for region in self.regions() {
            let (inode, name): (&dyn Display, Option<&dyn Display>) = match region.backing {
                Backing::File { file, .. } => (file, None),
                Backing::Tag { handle, .. } => (handle, Some(&"[tag]")),
                Backing::Physical { .. } => (&0, Some(&"[physical]")),
                Backing::Anonymous => (&0, None),
            };
            write_line(f, &region, (0, 0), inode, name)?;
        }
        Ok(())
    }
}

impl<F: Clone + PartialEq> Display for Picture<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.geometry.all();
        // Neighbours with the same letter are one run of letters.
        let (mut run, mut letter, mut end) = (0_u64, '.', 0_u64);
        let mut draw = |pages: u64, next: char, f: &mut fmt::Formatter<'_>| {
            if pages > 0 && next != letter {
                write_run(f, letter, run)?;
                (letter, run) = (next, 0);
            }
            run = run.saturating_add(pages);
            fmt::Result::Ok(())
        };
        for (range, area) in &self.0.areas {
            draw(range.start.saturating_sub(end), '.', f)?;
            draw(range.end.saturating_sub(range.start), glyph(area.prot, area.original()), f)?;
            end = range.end;
        }
        draw(all.end.saturating_sub(end), '.', f)?;
        write_run(f, letter, run)
    }
}

fn write_run(f: &mut fmt::Formatter<'_>, letter: char, pages: u64) -> fmt::Result {
    if pages > 16 {
        return write!(f, "{letter}{{{pages}}}");
    }
    (0..pages).try_for_each(|_| f.write_char(letter))
}

fn glyph(prot: Prot, original: bool) -> char {
    let letter = match (prot.contains(Prot::WRITE), prot.contains(Prot::EXEC)) {
        (true, true) => 'a',
        (true, false) => 'w',
        (false, true) => 'x',
        (false, false) if prot.contains(Prot::READ) => 'r',
        (false, false) => '-',
    };
    match (original, letter) {
        (true, '-') => '=',
        (true, letter) => letter.to_ascii_uppercase(),
        (false, letter) => letter,
    }
}

impl<F: Clone + PartialEq + fmt::Debug> fmt::Debug for AddrSpace<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddrSpace")
            .field("geometry", &self.geometry)
            .field("gaps", &self.gaps)
            .field("limits", &self.limits)
            .field("usage", &self.usage())
            .field("regions", &Regions(self))
            .finish_non_exhaustive()
    }
}

/// The regions as a list.
struct Regions<'a, F>(&'a AddrSpace<F>);

impl<F: Clone + PartialEq + fmt::Debug> fmt::Debug for Regions<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.regions()).finish()
    }
}

impl<F, L> fmt::Debug for Maps<'_, F, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maps")
            .field("start", &Geometry::start(self.space.geometry))
            .finish_non_exhaustive()
    }
}

impl<F: Clone + PartialEq> fmt::Debug for Picture<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}
