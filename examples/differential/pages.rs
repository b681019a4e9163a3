//! The window page by page.

/// What one page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) prot: u32,
    pub(crate) shared: bool,
    /// 0 if there is no file.
    pub(crate) inode: u64,
    pub(crate) offset: u64,
}

/// The pages from an address on, and how large they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    pub(crate) start: u64,
    pub(crate) count: usize,
    pub(crate) size: u64,
}

impl Pages {
    /// What each page shows when runs of pages, from a first address up to another, begin
    /// with what is given.
    pub(crate) fn shown(self, runs: impl Iterator<Item = (u64, u64, Page)>) -> Vec<Option<Page>> {
        let mut pages = vec![None; self.count];
        for (start, end, first) in runs {
            // What lies before is none of these pages.
            let mut addr = start.max(self.start);
            let nth = usize::try_from((addr - self.start) / self.size).unwrap_or(self.count);
            for page in pages.iter_mut().skip(nth) {
                if addr >= end {
                    break;
                }
                let ahead = if first.inode == 0 { 0 } else { addr - start };
                *page = Some(Page { offset: first.offset.wrapping_add(ahead), ..first });
                addr += self.size;
            }
        }
        pages
    }
}

/// The first page of which the two say different things, in words.
///
/// # Errors
///
/// If there is one.
pub(crate) fn compare(kernel: &[Option<Page>], books: &[Option<Page>]) -> Result<(), String> {
    let mut differ = kernel.iter().zip(books).enumerate().filter(|(_, (a, b))| a != b);
    let Some((nth, (kernel, books))) = differ.next() else { return Ok(()) };
    let more = differ.count();
    Err(format!(
        "page {nth:#x} of the window: the kernel has {kernel:x?}, the books {books:x?}; \
         {more} more differ"
    ))
}
