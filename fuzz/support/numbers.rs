//! Bytes as what the model makes operations of.

use super::model::generate::Numbers;

/// The bytes of the numbers that one operation is made of.
const RECORD: usize = 48;

/// One record for each operation; one that is cut short ends in zeroes.
pub(crate) fn records(bytes: &[u8]) -> impl Iterator<Item = Numbers<impl Iterator<Item = u16>>> {
    bytes.chunks(RECORD).map(|record| {
        Numbers(record.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])))
    })
}
