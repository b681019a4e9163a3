//! The fields of a line, taken from left to right.

use super::VmFlags;

/// The fields of one line, separated by one space each.
///
/// A method answers the name of what it looked for when that is missing or
/// malformed; the reader adds the line and its number.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Fields<'a> {
    /// The fields of `line` from its second character on.
    pub(super) fn after_mark(line: &'a str) -> Self {
        let mut characters = line.chars();
        characters.next();
        Self { rest: characters.as_str() }
    }

    /// The fields of a whole `line`, behind its first field.
    pub(super) fn after_first(line: &'a str) -> Self {
        Self { rest: line.split_once(' ').map_or("", |(_, rest)| rest) }
    }

    /// Everything that is left, spaces included.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    /// The next field, if there is one.
    pub(super) fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (field, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        self.rest = rest;
        Some(field)
    }

    /// The next field as text.
    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, &'static str> {
        self.next().ok_or(what)
    }

    /// The next field as a hexadecimal number.
    pub(super) fn hex(&mut self, what: &'static str) -> Result<u64, &'static str> {
        hex(self.next().ok_or(what)?).ok_or(what)
    }

    /// The next field as a decimal number of at most 32 bits.
    pub(super) fn decimal(&mut self, what: &'static str) -> Result<u32, &'static str> {
        self.next().and_then(decimal).ok_or(what)
    }
}

/// A hexadecimal number without prefix or sign.
pub(super) fn hex(text: &str) -> Option<u64> {
    // `from_str_radix` takes a sign too, which the format does not know.
    if text.starts_with('+') {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

/// A decimal number without sign.
pub(super) fn decimal(text: &str) -> Option<u32> {
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

/// Protection and sharing out of a field such as `rw-p`.
pub(super) fn permissions(text: &str) -> Option<(u32, bool)> {
    let &[read, write, execute, sharing] = text.as_bytes() else { return None };
    let bit = |found: u8, letter: u8, bit: u32| match found {
        b'-' => Some(0),
        _ if found == letter => Some(bit),
        _ => None,
    };
    let prot = bit(read, b'r', 1)? | bit(write, b'w', 2)? | bit(execute, b'x', 4)?;
    match sharing {
        b'p' => Some((prot, false)),
        b's' => Some((prot, true)),
        _ => None,
    }
}

/// The flags of a list such as `rd,mr,mw,me`; those of no use are passed over.
pub(super) fn vm_flags(text: &str) -> VmFlags {
    text.split(',').fold(VmFlags::empty(), |flags, name| {
        flags
            | match name {
                "mr" => VmFlags::MAY_READ,
                "mw" => VmFlags::MAY_WRITE,
                "me" => VmFlags::MAY_EXEC,
                "gd" => VmFlags::GROWS_DOWN,
                "dc" => VmFlags::DONT_FORK,
                "dd" => VmFlags::DONT_DUMP,
                "wf" => VmFlags::WIPE_ON_FORK,
                "nr" => VmFlags::NO_RESERVE,
                "io" => VmFlags::IO,
                "de" => VmFlags::DONT_EXPAND,
                "pf" => VmFlags::PAGE_FRAMES,
                "sl" => VmFlags::SEALED,
                _ => VmFlags::empty(),
            }
    })
}
