//! What a call answers, as a number.

use crate::Error;
use core::ffi::c_int;

/// A status as C hands it in, which may be no status.
pub type AnyStatus = c_int;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// What a call answers: `enum addrspace_status`. The numbers do not change.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Status {
            $($(#[$doc])* $name = $value,)*
        }

        impl Status {
            /// All of them, ascending.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number.
            #[allow(clippy::as_conversions, reason = "that is what the enum is")]
            pub const fn number(self) -> i32 {
                self as i32
            }

            /// The status of a number, if it is one.
            pub(super) fn of(number: i32) -> Option<Self> {
                Self::ALL.iter().copied().find(|status| status.number() == number)
            }

            /// The status in words, as C reads them.
            pub(super) const fn text(self) -> &'static core::ffi::CStr {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

statuses! {
    /// It is done.
    Ok = 0, c"done";
    /// There is nothing there, or nothing more.
    Nothing = 1, c"nothing is there";
    /// No memory for the books.
    NoMemory = 2, c"no memory for the books";
    /// The callback refused.
    Handler = 3, c"the callback refused";
    /// Called on a space from its own callback.
    Busy = 4, c"the space is in use by the call around this one";
    /// Null where a pointer is needed.
    Null = 5, c"a null pointer";
    /// A struct of a size or with contents that are not known.
    Struct = 6, c"a struct of unknown size or contents";
    /// A number that names none of the choices.
    Argument = 7, c"a number that names no choice";
    /// The page size is no power of two.
    PageSize = 8, c"the page size is no power of two";
    /// The space cannot be like that.
    Geometry = 9, c"the space would not consist of pages below 2^64";
    /// The address is not page-aligned.
    Unaligned = 10, c"the address is not page-aligned";
    /// The length is zero.
    ZeroLength = 11, c"the length is zero";
    /// The range leaves the space.
    OutOfBounds = 12, c"the range leaves the space";
    /// The offset is not page-aligned.
    UnalignedOffset = 13, c"the offset is not page-aligned";
    /// The offset of the end is past 2^64.
    OffsetOverflow = 14, c"the end of the file's range overflows";
    /// Something is mapped there.
    Occupied = 15, c"something is mapped there";
    /// There is no place.
    NoRoom = 16, c"there is no room";
    /// Pages cannot be aligned like that.
    Alignment = 17, c"pages cannot be aligned like that";
    /// Not all is mapped that has to be.
    NotMapped = 18, c"not all of the range is mapped";
    /// More than one mapping.
    SeveralMappings = 19, c"the range has several mappings";
    /// Old and new place overlap.
    Overlap = 20, c"old and new place overlap";
    /// The new place leaves the space.
    BadDestination = 21, c"the new place leaves the space";
    /// It cannot be remapped like that.
    BadRemap = 22, c"it cannot be remapped in this way";
    /// Whether a mapping is shared cannot be changed.
    SharedFlag = 23, c"whether a mapping is shared cannot be changed";
    /// More would be mapped than the limit says.
    ByteLimit = 24, c"more bytes than the limit";
    /// There would be more regions than the limit says.
    RegionLimit = 25, c"more regions than the limit";
    /// The two spaces differ in start, length or page size.
    OtherGeometry = 26, c"the spaces differ in start, length or page size";
}

impl From<&Error> for Status {
    fn from(error: &Error) -> Self {
        match error {
            Error::PageSize { .. } => Self::PageSize,
            Error::Geometry { .. } => Self::Geometry,
            Error::Unaligned { .. } => Self::Unaligned,
            Error::ZeroLength { .. } => Self::ZeroLength,
            Error::OutOfBounds { .. } => Self::OutOfBounds,
            Error::UnalignedOffset { .. } => Self::UnalignedOffset,
            Error::OffsetOverflow { .. } => Self::OffsetOverflow,
            Error::Occupied { .. } => Self::Occupied,
            Error::NoRoom { .. } => Self::NoRoom,
            Error::Alignment { .. } => Self::Alignment,
            Error::NotMapped { .. } => Self::NotMapped,
            Error::SeveralMappings { .. } => Self::SeveralMappings,
            Error::Overlap { .. } => Self::Overlap,
            Error::BadDestination { .. } => Self::BadDestination,
            Error::BadRemap { .. } => Self::BadRemap,
            Error::SharedFlag { .. } => Self::SharedFlag,
            Error::ByteLimit { .. } => Self::ByteLimit,
            Error::RegionLimit { .. } => Self::RegionLimit,
            Error::OtherGeometry => Self::OtherGeometry,
            Error::NoMemory { .. } => Self::NoMemory,
        }
    }
}
