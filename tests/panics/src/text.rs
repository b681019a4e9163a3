//! What can be printed.

use addrspace::{AddrSpace, Error, Label, OpError, RangeMap, Update};
use core::fmt::{Result, Write};

#[unsafe(no_mangle)]
pub fn text_space(space: &AddrSpace, out: &mut dyn Write) -> Result {
    let label = |_: addrspace::Region<'_>| Label { device: (8, 1), inode: 7, name: Some("name") };
    write!(out, "{space} {space:?} {} {}", space.maps(label), space.picture())
}

#[unsafe(no_mangle)]
pub fn text_map(map: &RangeMap<u64, u64>, out: &mut dyn Write) -> Result {
    write!(out, "{map:?}")
}

#[unsafe(no_mangle)]
pub fn text_error(
    error: &OpError<Error>,
    out: &mut dyn Write,
) -> core::result::Result<i32, core::fmt::Error> {
    write!(out, "{error} {error:?}")?;
    Ok(if let OpError::Refused(error) = error { error.errno() } else { 0 })
}

#[unsafe(no_mangle)]
pub fn text_update(update: Update<'_>, out: &mut dyn Write) -> Result {
    write!(out, "{update:?}")
}
