//! The books for other threads.

use crate::AddrSpace;
use alloc::sync::Arc;
use arc_swap::{ArcSwap, Guard};
use core::fmt;
use core::ops::Deref;

/// A reader of an executor's books, for other threads and for fault handlers.
///
/// It comes from [`Executor::reader`](super::Executor::reader). What it reads are
/// immutable copies of the books; the executor puts a new one in place after each
/// operation, atomically.
///
/// # Examples
///
/// ```
/// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
///
/// let mut exec = Executor::new(Reservation::new(1 << 30)?)?;
/// let reader = exec.reader();
/// let tool = std::thread::spawn(move || loop {
///     if let Some(region) = reader.load().regions().next() {
///         return region.len();
///     }
/// });
/// exec.map_any(0x3000, Memory::anonymous(Prot::READ), Placement::lowest())?;
/// assert_eq!(tool.join().unwrap(), Some(0x3000));
/// # Ok::<(), addrspace::ExecError>(())
/// ```
#[derive(Clone)]
pub struct Reader {
    current: Arc<ArcSwap<AddrSpace>>,
}

impl Reader {
    /// The books as they were after the last operation.
    ///
    /// This takes no lock, and allocates at most the first time on each thread: a
    /// thread that is going to load in a fault handler loads once before. While the
    /// executor lives, it is the one who frees what nobody has loaded any more.
    ///
    /// In a handler of a fault in the guest's own memory that is enough, since such
    /// a fault does not interrupt the allocator or another load. In handlers of
    /// asynchronous signals it is not to be used.
    ///
    /// # Examples
    ///
    /// ```
    /// use addrspace::{Executor, Memory, Placement, Prot, Reservation};
    ///
    /// let mut exec = Executor::new(Reservation::new(1 << 20)?)?;
    /// let reader = exec.reader();
    /// let before = reader.load();
    /// exec.map_any(0x1000, Memory::anonymous(Prot::READ), Placement::lowest())?;
    /// assert_eq!((before.regions().len(), reader.load().regions().len()), (0, 1));
    /// # Ok::<(), addrspace::ExecError>(())
    /// ```
    pub fn load(&self) -> PublishedSpace {
        PublishedSpace { books: self.current.load() }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("regions", &self.load().regions().len()).finish()
    }
}

/// The books as they were after one operation; they do not change any more.
pub struct PublishedSpace {
    books: Guard<Arc<AddrSpace>>,
}

impl Deref for PublishedSpace {
    type Target = AddrSpace;

    fn deref(&self) -> &AddrSpace {
        &self.books
    }
}

impl fmt::Debug for PublishedSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The executor's side of it.
pub(super) struct Publisher {
    current: Arc<ArcSwap<AddrSpace>>,
    /// Copies that readers may still have. They are kept here, so that it is never
    /// a reader, perhaps in a signal handler, who has to free one.
    retired: Vec<Arc<AddrSpace>>,
}

impl Publisher {
    pub(super) fn new(books: &AddrSpace) -> Self {
        let current = Arc::new(ArcSwap::from_pointee(books.clone()));
        Self { current, retired: Vec::new() }
    }

    pub(super) fn reader(&self) -> Reader {
        Reader { current: Arc::clone(&self.current) }
    }

    /// Puts a copy of the books in place of the one before.
    pub(super) fn publish(&mut self, books: &AddrSpace) {
        // Once it has been swapped out nobody loads it any more: when we alone have
        // it, nobody else will.
        self.retired.push(self.current.swap(Arc::new(books.clone())));
        self.retired.retain(|old| Arc::strong_count(old) > 1);
    }

    /// Whether anybody reads.
    pub(super) fn has_readers(&self) -> bool {
        Arc::strong_count(&self.current) > 1
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Publisher of {} copies", self.retired.len().saturating_add(1))
    }
}
