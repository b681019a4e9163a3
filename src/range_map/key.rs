//! Keys: integers, in order, as `u64`.

/// A key of a [`RangeMap`](super::RangeMap): an integer, or a newtype around one.
///
/// The map works on `u64` inside; this trait says how a key becomes one and
/// back. Ranges are half-open, so the greatest key of a type can bound a range
/// but never lie in one: a map of `u8` keys covers 0 to 254. Nothing wraps: a
/// range that would have to end past the greatest key cannot be written down.
///
/// # Contract
///
/// - `to_index` keeps the order: `a < b` exactly when `a.to_index() < b.to_index()`.
/// - `from_index(k.to_index()) == k` for every key `k`, and every index between
///   those of two keys is the index of a key.
///
/// A map over keys that break the contract gives wrong answers, and nothing
/// worse: it is safe code.
///
/// # Examples
///
/// ```
/// use addrspace::range_map::{Key, RangeMap};
///
/// #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
/// struct Page(u32);
///
/// impl Key for Page {
///     fn to_index(self) -> u64 {
///         self.0.to_index()
///     }
///     fn from_index(index: u64) -> Self {
///         Page(u32::from_index(index))
///     }
/// }
///
/// let mut map = RangeMap::new();
/// map.insert(Page(2)..Page(5), "heap");
/// assert_eq!(map.get(Page(4)), Some(&"heap"));
/// ```
pub trait Key: Copy + Ord {
    /// The index of key zero, from which alignments count. A key with a negative
    /// half has to set it; a newtype takes that of what it wraps.
    const ORIGIN: u64 = 0;

    /// The place of this key in the order of all keys.
    fn to_index(self) -> u64;

    /// The key at `index`, which is one that `to_index` gave or lies between two such.
    fn from_index(index: u64) -> Self;
}

/// Implements `Key` for integers; `$widen` says how they become `u64`.
macro_rules! keys {
    ($origin:expr, $widen:expr => $($int:ty),*) => {$(
        impl Key for $int {
            const ORIGIN: u64 = $origin;

            #[inline]
            #[allow(clippy::useless_conversion, reason = "the widest type is its own `i64`")]
            fn to_index(self) -> u64 {
                let widen: fn(Self) -> u64 = $widen;
                widen(self)
            }

            #[inline]
            #[allow(
                clippy::as_conversions,
                clippy::cast_possible_truncation,
                clippy::cast_possible_wrap,
                trivial_numeric_casts,
                reason = "the index of a key of this type fits it, and the sign is in the origin"
            )]
            fn from_index(index: u64) -> Self {
                (index ^ Self::ORIGIN) as Self
            }
        }
    )*};
}

keys!(0, u64::from => u8, u16, u32, u64);
keys!(0, widen => usize);
// Flipping the sign bit moves the negative half below the positive one.
keys!(1 << 63, |key| i64::from(key).cast_unsigned() ^ Self::ORIGIN => i8, i16, i32, i64);

#[allow(clippy::as_conversions, reason = "usize has at most 64 bits")]
const fn widen(key: usize) -> u64 {
    key as u64
}
