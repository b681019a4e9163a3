//! The structs of `addrspace.h`, and what they mean.
//!
//! Each begins with its size, so that it can grow; `versioned` reads and writes them.
//! Numbers only, without a hole between them, so that any bytes are a value.

use super::status::{AnyStatus, Status};
use crate::{
    Backing, Gaps, Limits, MapFlags, Mapping, Placement, Prot, Region, Remap, Span, Usage,
};
use core::ffi::c_int;

/// Declares structs for C whose first member is their size.
macro_rules! structs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $zero:expr,)* })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name {
                /// The size of the struct in bytes, as the caller knows it.
                pub size: u32,
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl $name {
                /// The struct as its initialiser in C makes it.
                #[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a small struct")]
                pub const NONE: Self = Self { size: size_of::<Self>() as u32, $($field: $zero,)* };

                /// The members with their types and offsets, for the test of the headers.
                #[doc(hidden)]
                pub const LAYOUT: &[(&str, &str, usize)] = &[
                    ("size", "u32", core::mem::offset_of!(Self, size)),
                    $((stringify!($field), stringify!($type), core::mem::offset_of!(Self, $field)),)*
                ];
            }

            // Without a hole, any bytes are a value.
            const _: () = assert!(size_of::<$name>() == 4 $(+ size_of::<$type>())*);
        )*
    };
}

structs! {
    /// What is to be mapped: `struct addrspace_mapping`.
    AddrspaceMapping {
        /// One of `enum addrspace_backing`.
        backing: u32 = 0,
        /// The protection, `PROT_*`.
        prot: u32 = 0,
        /// The flags.
        flags: u32 = 0,
        /// The identity of the file or tag.
        handle: u32 = 0,
        /// 0.
        reserved: u32 = 0,
        /// The offset in the file, the physical address, or the tag's value.
        offset: u64 = 0,
    }

    /// What is mapped: `struct addrspace_region`.
    AddrspaceRegion {
        /// One of `enum addrspace_backing`.
        backing: u32 = 0,
        /// The address of the first byte.
        start: u64 = 0,
        /// The address of the last byte.
        last: u64 = 0,
        /// The protection.
        prot: u32 = 0,
        /// The flags.
        flags: u32 = 0,
        /// The identity of the file or tag.
        handle: u32 = 0,
        /// 1 if the pages are marked, else 0.
        original: u32 = 0,
        /// The offset, physical address or value at `start`.
        offset: u64 = 0,
    }

    /// Where a mapping may go: `struct addrspace_placement`.
    AddrspacePlacement {
        /// One of `enum addrspace_policy`.
        policy: u32 = 0,
        /// Which of `hint` and `within` count.
        options: u32 = 0,
        /// 0.
        reserved: u32 = 0,
        /// The number of the place, or random bits.
        number: u64 = 0,
        /// The wanted address.
        hint: u64 = 0,
        /// Where the bounds begin.
        within_start: u64 = 0,
        /// How long the bounds are.
        within_len: u64 = 0,
        /// The alignment in bytes; 0 for none.
        align: u64 = 0,
        /// How far past the alignment.
        align_offset: u64 = 0,
        /// Free bytes before.
        guard_below: u64 = 0,
        /// Free bytes behind.
        guard_above: u64 = 0,
    }

    /// How to remap: `struct addrspace_remapping`.
    AddrspaceRemapping {
        /// One of `enum addrspace_target`.
        target: u32 = 0,
        /// Whether the old place stays mapped.
        keep_source: u32 = 0,
        /// 0.
        reserved: u32 = 0,
        /// The new address, if it is given.
        to: u64 = 0,
    }

    /// What there may be: `struct addrspace_limits`.
    AddrspaceLimits {
        /// Which of the two are in force.
        which: u32 = 0,
        /// The most bytes mapped.
        bytes: u64 = 0,
        /// The most regions.
        regions: u64 = 0,
    }

    /// What there is: `struct addrspace_usage`.
    AddrspaceUsage {
        /// 0.
        reserved: u32 = 0,
        /// Bytes mapped.
        mapped: u64 = 0,
        /// Of these, private and writable.
        writable_private: u64 = 0,
        /// Executable.
        executable: u64 = 0,
        /// Shared.
        shared: u64 = 0,
        /// Regions.
        regions: u64 = 0,
    }

    /// A range with a beginning and an end: `struct addrspace_span`.
    AddrspaceSpan {
        /// 0.
        reserved: u32 = 0,
        /// The address of the first byte.
        start: u64 = 0,
        /// The address of the last byte.
        last: u64 = 0,
    }

    /// How far an iteration has come: `struct addrspace_cursor`.
    AddrspaceCursor {
        /// Not 0 when nothing is left.
        done: u32 = 0,
        /// The next address to look at.
        next: u64 = 0,
        /// The last address to look at.
        last: u64 = u64::MAX,
    }

    /// Why a call was refused: `struct addrspace_error`.
    AddrspaceError {
        /// The status.
        status: AnyStatus = 0,
        /// What Linux would answer, `E*`.
        sys_errno: i32 = 0,
        /// What the callback answered.
        handler: c_int = 0,
        /// From where on nothing was done, if the callback refused.
        at: u64 = 0,
    }

    /// One change: `struct addrspace_update`.
    AddrspaceUpdate {
        /// One of `enum addrspace_kind`.
        kind: u32 = 0,
        /// The first byte that changes.
        start: u64 = 0,
        /// The last byte that changes.
        last: u64 = 0,
        /// The first byte of the new place of a move.
        to_start: u64 = 0,
        /// The last byte of it.
        to_last: u64 = 0,
        /// The new protection.
        prot: u32 = 0,
        /// Flags that are added.
        set: u32 = 0,
        /// Flags that are taken away.
        clear: u32 = 0,
        /// Whether the old place of a move stays mapped.
        keep_source: u32 = 0,
    }
}

/// `enum addrspace_backing`.
pub mod backing {
    /// Zeroes.
    pub const ANONYMOUS: u32 = 0;
    /// A file.
    pub const FILE: u32 = 1;
    /// Physical memory.
    pub const PHYSICAL: u32 = 2;
    /// The embedder's own.
    pub const TAG: u32 = 3;
}

/// `enum addrspace_policy`.
pub mod policy {
    /// The lowest place.
    pub const LOWEST: u32 = 0;
    /// The highest place.
    pub const HIGHEST: u32 = 1;
    /// The place with a number.
    pub const NTH: u32 = 2;
    /// A place by random bits.
    pub const RANDOM: u32 = 3;
}

/// Options of a placement.
pub mod option {
    /// `hint` counts.
    pub const NEAR: u32 = 1;
    /// `within_start` and `within_len` count.
    pub const WITHIN: u32 = 2;
}

/// `enum addrspace_target`.
pub mod target {
    /// It stays.
    pub const IN_PLACE: u32 = 0;
    /// It moves where a placement says, if it cannot stay.
    pub const MAY_MOVE: u32 = 1;
    /// It moves to an address.
    pub const TO: u32 = 2;
}

/// Which limits are in force.
pub mod limit {
    /// `bytes` counts.
    pub const BYTES: u32 = 1;
    /// `regions` counts.
    pub const REGIONS: u32 = 2;
}

/// `enum addrspace_kind`.
pub mod kind {
    /// A new mapping.
    pub const MAP: u32 = 0;
    /// Mappings that go.
    pub const UNMAP: u32 = 1;
    /// Another protection.
    pub const PROTECT: u32 = 2;
    /// Other flags.
    pub const FLAGS: u32 = 3;
    /// Mappings that move.
    pub const MOVE: u32 = 4;
}

/// `enum addrspace_gaps`.
pub mod gaps {
    /// Somebody else's.
    pub const FOREIGN: u32 = 0;
    /// The host's.
    pub const OWNED: u32 = 1;
}

impl TryFrom<AddrspaceMapping> for Mapping {
    type Error = Status;

    fn try_from(c: AddrspaceMapping) -> Result<Self, Status> {
        let AddrspaceMapping { backing, prot, flags, handle, reserved, offset, .. } = c;
        if reserved != 0 {
            return Err(Status::Struct);
        }
        let prot = Prot::from_bits_retain(prot);
        let mapping = match backing {
            backing::ANONYMOUS => Self::anonymous(prot),
            backing::FILE => Self::file(prot, handle, offset),
            backing::PHYSICAL => Self::physical(prot, offset),
            backing::TAG => Self::tag(prot, handle, offset),
            _ => return Err(Status::Argument),
        };
        Ok(mapping.with_flags(MapFlags::from_bits_retain(flags)))
    }
}

impl From<Region<'_>> for AddrspaceRegion {
    fn from(region: Region<'_>) -> Self {
        let (backing, handle, offset) = match region.backing {
            Backing::Anonymous => (backing::ANONYMOUS, 0, 0),
            Backing::File { file, offset } => (backing::FILE, *file, offset),
            Backing::Physical { addr } => (backing::PHYSICAL, 0, addr),
            Backing::Tag { handle, value } => (backing::TAG, *handle, value),
        };
        Self {
            backing,
            start: region.start(),
            last: region.last(),
            prot: region.prot.bits(),
            flags: region.flags.bits(),
            handle,
            offset,
            original: region.original.into(),
            ..Self::NONE
        }
    }
}

impl TryFrom<AddrspacePlacement> for Placement {
    type Error = Status;

    fn try_from(c: AddrspacePlacement) -> Result<Self, Status> {
        if c.options & !(option::NEAR | option::WITHIN) != 0 {
            return Err(Status::Argument);
        }
        if c.reserved != 0 {
            return Err(Status::Struct);
        }
        let mut placement = match c.policy {
            policy::LOWEST => Self::lowest(),
            policy::HIGHEST => Self::highest(),
            policy::NTH => Self::nth(c.number),
            policy::RANDOM => Self::random(c.number),
            _ => return Err(Status::Argument),
        };
        if c.options & option::NEAR != 0 {
            placement = placement.near(c.hint);
        }
        if c.options & option::WITHIN != 0 {
            placement = placement.within(c.within_start, c.within_len);
        }
        Ok(placement.aligned_at(c.align, c.align_offset).guarded(c.guard_below, c.guard_above))
    }
}

impl AddrspaceRemapping {
    pub(super) fn with(self, placement: Placement) -> Result<Remap, Status> {
        let remap = match self.target {
            target::IN_PLACE => Remap::in_place(),
            target::MAY_MOVE => Remap::may_move(placement),
            target::TO => Remap::to(self.to),
            _ => return Err(Status::Argument),
        };
        match (self.keep_source, self.reserved) {
            (0, 0) => Ok(remap),
            (1, 0) => Ok(remap.keep_source()),
            (_, 0) => Err(Status::Argument),
            _ => Err(Status::Struct),
        }
    }
}

impl TryFrom<AddrspaceLimits> for Limits {
    type Error = Status;

    fn try_from(c: AddrspaceLimits) -> Result<Self, Status> {
        if c.which & !(limit::BYTES | limit::REGIONS) != 0 {
            return Err(Status::Argument);
        }
        let regions = usize::try_from(c.regions).unwrap_or(usize::MAX);
        Ok(Self {
            bytes: (c.which & limit::BYTES != 0).then_some(c.bytes),
            regions: (c.which & limit::REGIONS != 0).then_some(regions),
        })
    }
}

impl From<Limits> for AddrspaceLimits {
    fn from(limits: Limits) -> Self {
        let bytes = limits.bytes.map_or(0, |_| limit::BYTES);
        let regions = limits.regions.map_or(0, |_| limit::REGIONS);
        Self {
            which: bytes | regions,
            bytes: limits.bytes.unwrap_or(0),
            regions: limits.regions.map_or(0, count),
            ..Self::NONE
        }
    }
}

impl From<Usage> for AddrspaceUsage {
    fn from(usage: Usage) -> Self {
        Self {
            mapped: usage.mapped,
            writable_private: usage.writable_private,
            executable: usage.executable,
            shared: usage.shared,
            regions: count(usage.regions),
            ..Self::NONE
        }
    }
}

impl From<Span> for AddrspaceSpan {
    fn from(span: Span) -> Self {
        Self { start: span.start(), last: span.last(), ..Self::NONE }
    }
}

pub(super) fn gaps_of(gaps: u32) -> Result<Gaps, Status> {
    match gaps {
        gaps::FOREIGN => Ok(Gaps::Foreign),
        gaps::OWNED => Ok(Gaps::Owned),
        _ => Err(Status::Argument),
    }
}

fn count(regions: usize) -> u64 {
    u64::try_from(regions).unwrap_or(u64::MAX)
}
