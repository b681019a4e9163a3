//! An executor beside a model of its memory, page by page and with the contents.
//!
//! The model is empty at first and hears of changes as any listener does. It knows
//! for each page what the first word of it holds; the test writes such words and
//! reads them back through the kernel, which says so if a page has no access.
//! Beside it stands a plain `AddrSpace`, which gets the operations themselves.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a model for tests, of a few dozen pages"
)]

mod alone;
mod memory;
mod ops;

pub use memory::{PAGE, read_word, test_file, write_word};
#[allow(unused_imports, reason = "not every driver names all")]
pub use ops::{Kind, Mem, Op, Target, Where};
#[allow(unused_imports, reason = "not every driver names all")]
pub use {alone::alone, memory::locked_bytes};

use addrspace::{
    AddrSpace, Backing, ExecError, Executor, MapFlags, Prot, Reader, Reservation, Span, Update,
    ignore,
};
use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard};

/// The pages of the reservation that random operations are for.
pub const PAGES: u64 = 40;
/// The pages of each test file.
pub const FILE_PAGES: u64 = 64;

/// What the model knows of a page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Page {
    pub prot: Prot,
    pub flags: MapFlags,
    /// What the page itself comes from.
    pub backing: Backing<u32>,
    pub original: bool,
    /// The first word, if it is this mapping's own.
    pub own: Option<u64>,
    /// Whether the kernel may have made it the mapping's own without being asked
    /// to: it does when it brings in pages that may be written.
    pub brought_in: bool,
}

/// Whose bytes a file number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    File(usize),
    Object,
}

/// What a listener can know.
#[derive(Debug)]
pub struct Model {
    start: u64,
    pub pages: Vec<Option<Page>>,
    /// What the next new number stands for.
    pub next_store: Store,
    /// Whether the pages of the next mapping are brought in at once.
    pub populates: bool,
    stores: HashMap<u32, Store>,
    /// The first words of the test files' pages.
    files: Vec<Vec<u64>>,
    /// The same of shared anonymous memory, where it is not zero.
    objects: HashMap<(u32, u64), u64>,
    /// Changes heard of.
    pub heard: usize,
}

impl Model {
    fn range(&self, span: Span) -> std::ops::Range<usize> {
        let page = |addr: u64| ((addr - self.start) / PAGE) as usize;
        page(span.start())..page(span.last() + 1)
    }

    /// What a page `by` pages further on comes from.
    fn advanced(backing: Backing<u32>, by: usize) -> Backing<u32> {
        match backing {
            Backing::File { file, offset } => {
                Backing::File { file, offset: offset + by as u64 * PAGE }
            }
            other => other,
        }
    }

    pub fn hear(&mut self, update: &Update<'_>) {
        self.heard += 1;
        let range = self.range(update.span());
        match *update {
            Update::Map { region, .. } => {
                let mapping = region.mapping();
                if let Backing::File { file, .. } = mapping.backing {
                    self.stores.entry(file).or_insert(self.next_store);
                }
                for (i, nth) in range.enumerate() {
                    self.pages[nth] = Some(Page {
                        prot: mapping.prot,
                        flags: mapping.flags,
                        backing: Self::advanced(mapping.backing, i),
                        original: false,
                        own: None,
                        brought_in: self.populates || mapping.flags.contains(MapFlags::LOCKED),
                    });
                }
            }
            Update::Unmap { .. } => self.pages[range].fill(None),
            Update::Protect { prot, .. } => {
                self.pages[range].iter_mut().for_each(|page| page.as_mut().unwrap().prot = prot);
            }
            Update::Flags { set, clear, .. } => {
                for page in self.pages[range].iter_mut().map(|page| page.as_mut().unwrap()) {
                    page.flags = page.flags.difference(clear).union(set);
                    page.brought_in |= set.contains(MapFlags::LOCKED);
                }
            }
            Update::Move { to, keep_source, .. } => {
                let to = self.range(to);
                let source: Vec<Page> = range.clone().map(|i| self.pages[i].unwrap()).collect();
                for i in range.clone() {
                    if keep_source {
                        // The pages are gone; what they come from is not.
                        self.pages[i].as_mut().unwrap().own = None;
                    } else {
                        self.pages[i] = None;
                    }
                }
                for (i, nth) in to.enumerate() {
                    let new = source.get(i).copied().unwrap_or_else(|| Page {
                        backing: Self::advanced(
                            source[source.len() - 1].backing,
                            i + 1 - source.len(),
                        ),
                        own: None,
                        ..source[source.len() - 1]
                    });
                    self.pages[nth] = Some(Page { original: false, ..new });
                }
            }
        }
    }

    /// What the first word of a page is.
    pub fn word(&self, page: &Page) -> u64 {
        page.own.unwrap_or_else(|| match page.backing {
            Backing::File { file, offset } => match self.stores[&file] {
                Store::File(nth) => self.files[nth][(offset / PAGE) as usize],
                Store::Object => self.objects.get(&(file, offset)).copied().unwrap_or(0),
            },
            _ => 0,
        })
    }

    fn wrote(&mut self, nth: usize, word: u64) {
        let page = self.pages[nth].as_mut().unwrap();
        match page.backing {
            Backing::File { file, offset } if page.flags.contains(MapFlags::SHARED) => {
                match self.stores[&file] {
                    Store::File(nth) => self.files[nth][(offset / PAGE) as usize] = word,
                    Store::Object => drop(self.objects.insert((file, offset), word)),
                }
            }
            _ => page.own = Some(word),
        }
    }

    /// A dropped page shows again what it comes from.
    pub fn discarded(&mut self, span: Span) {
        let range = self.range(span);
        self.pages[range].iter_mut().flatten().for_each(|page| page.own = None);
    }
}

/// An executor, and all that watches it.
pub struct World {
    pub exec: Executor,
    pub model: Arc<Mutex<Model>>,
    /// What the operations alone would have made of empty books.
    pub shadow: AddrSpace,
    /// Copies of the books and of the shadow, for `Op::Restore`.
    snapshot: Option<(AddrSpace, AddrSpace)>,
    pub files: Vec<File>,
    /// Of the published books, once somebody has asked for them.
    reader: Option<Reader>,
    /// Where the last `remap` went.
    pub last_place: Option<u64>,
    /// Whether there were pages with flags when they were last looked at.
    flagged: bool,
    /// The next word to write.
    next_word: u64,
}

impl World {
    pub fn new(pages: u64) -> Self {
        Self::over(Reservation::new(pages * PAGE).unwrap())
    }

    pub fn over(reservation: Reservation) -> Self {
        let span = reservation.span();
        let mut exec = Executor::new(reservation).unwrap();
        let pages = (span.len().unwrap() / PAGE) as usize;
        let files: Vec<_> = (0..3).map(|nth| test_file(0x1_0000 * (nth + 1))).collect();
        let model = Arc::new(Mutex::new(Model {
            start: span.start(),
            pages: vec![None; pages],
            next_store: Store::Object,
            populates: false,
            stores: HashMap::new(),
            files: (0..3)
                .map(|nth| (0..FILE_PAGES).map(|page| 0x1_0000 * (nth + 1) + page).collect())
                .collect(),
            objects: HashMap::new(),
            heard: 0,
        }));
        let hearing = Arc::clone(&model);
        exec.observe(move |update| hearing.lock().unwrap().hear(&update));
        let shadow = AddrSpace::new(span.start(), span.len().unwrap(), PAGE).unwrap();
        let shadow = shadow.with_gaps(addrspace::Gaps::Owned);
        Self {
            exec,
            model,
            shadow,
            snapshot: None,
            files,
            reader: None,
            last_place: None,
            flagged: false,
            next_word: 0x1000_0000,
        }
    }

    /// What `Op::Restore` would restore.
    pub fn take_snapshot(&mut self) -> Option<(AddrSpace, AddrSpace)> {
        self.snapshot.take()
    }

    pub fn put_snapshot(&mut self, snapshot: Option<(AddrSpace, AddrSpace)>) {
        self.snapshot = snapshot;
    }

    pub fn start(&self) -> u64 {
        self.exec.space().span().unwrap().start()
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// Runs an operation and compares everything.
    pub fn step(&mut self, op: &Op) -> Result<(), ExecError> {
        let op = &self.aim(op);
        let before = self.exec.space().clone();
        let heard = self.model().heard;
        let result = self.run(op);
        match &result {
            Ok(()) => assert_eq!(*self.exec.space(), self.shadow, "{op:?}"),
            Err(ExecError::Kernel { .. }) => self.shadow = self.exec.space().clone(),
            Err(_) => {
                assert_eq!(*self.exec.space(), before, "{op:?} was refused: {result:?}");
                assert_eq!(self.model().heard, heard, "{op:?} was refused and heard of");
            }
        }
        self.check();
        self.write();
        self.check_words();
        result
    }

    /// Compares books, model and kernel.
    pub fn check(&mut self) {
        let differences = self.exec.verify().unwrap();
        assert!(differences.is_empty(), "{}", differences.map_text());
        self.exec.space().check();
        if let Some(reader) = &self.reader {
            assert_eq!(*reader.load(), *self.exec.space(), "the published books");
        }
        self.check_model();
        self.check_words();
        // The list is slow to read, and flags are rare.
        let flagged = self.booked_flags().iter().any(|flags| !flags.is_empty());
        if std::mem::replace(&mut self.flagged, flagged) || flagged {
            self.check_flags();
        }
    }

    /// What was asked of the kernel about a page is what the kernel says of it.
    pub fn check_flags(&self) {
        let booked = self.booked_flags();
        assert_eq!(memory::kernel_flags(self.start(), booked.len()), booked, "flags");
    }

    /// The flags of each page that the kernel tells.
    fn booked_flags(&self) -> Vec<MapFlags> {
        let told =
            MapFlags::LOCKED | MapFlags::DONT_FORK | MapFlags::DONT_DUMP | MapFlags::WIPE_ON_FORK;
        let model = self.model();
        model.pages.iter().map(|page| page.map_or(MapFlags::empty(), |p| p.flags & told)).collect()
    }

    /// The model that a listener feeds has what the books have.
    pub fn check_model(&self) {
        let (start, model) = (self.start(), self.model());
        for (i, page) in model.pages.iter().enumerate() {
            let addr = start + i as u64 * PAGE;
            let region = self.exec.query(addr).map(|region| {
                let by = ((addr - region.start()) / PAGE) as usize;
                let backing = Model::advanced(region.backing.cloned(), by);
                (region.prot, region.flags, backing, region.original)
            });
            let page = page.map(|page| (page.prot, page.flags, page.backing, page.original));
            assert_eq!(region, page, "page {i}");
        }
    }

    /// Each page holds the word that the model says, or has no access.
    pub fn check_words(&self) {
        let (start, mut model) = (self.start(), self.model());
        for i in 0..model.pages.len() {
            let addr = start + i as u64 * PAGE;
            if let Some(page) = model.pages[i].filter(|page| page.brought_in) {
                let private = !page.flags.contains(MapFlags::SHARED);
                let found = read_word(addr).filter(|word| *word != model.word(&page));
                if private && page.own.is_none() && matches!(page.backing, Backing::File { .. }) {
                    model.pages[i] = Some(Page { own: found, ..page });
                }
            }
            let page = model.pages[i];
            let readable = page.filter(|page| page.prot.contains(Prot::READ));
            let expected = readable.map(|page| model.word(&page));
            assert_eq!(read_word(addr), expected, "the first word of page {i}");
            if !page.is_some_and(|page| page.prot.contains(Prot::WRITE)) {
                assert!(!write_word(addr, 1), "page {i} can be written");
            }
        }
    }

    /// Writes a new word to each page that can be written, but for some.
    fn write(&mut self) {
        let start = self.start();
        let mut model = self.model.lock().unwrap();
        for i in 0..model.pages.len() {
            let writable = model.pages[i].is_some_and(|page| page.prot.contains(Prot::WRITE));
            self.next_word += 1;
            if writable && !self.next_word.is_multiple_of(3) {
                assert!(write_word(start + i as u64 * PAGE, self.next_word), "page {i}");
                model.wrote(i, self.next_word);
            }
        }
    }
}

trait MapText {
    fn map_text(&self) -> String;
}

impl MapText for Vec<addrspace::Difference> {
    fn map_text(&self) -> String {
        self.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}
