//! The reader: one record at a time, whatever the size of the trace.

use core::mem;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::fields::{Fields, decimal, hex, permissions, vm_flags};
use super::{
    Area, Call, Delta, Event, Extra, Kind, Name, Object, ObjectName, Outcome, Problem, TraceError,
};

/// The line that every trace begins with.
const FIRST_LINE: &str = "memtrace 1";

/// A trace being read.
///
/// It holds the record at hand and the table of objects, never the whole
/// trace.
pub(crate) struct Trace {
    input: Box<dyn BufRead>,
    /// The line at hand, and its number.
    line: String,
    number: u64,
    /// Whether `line` is still to be read: it was the one after a list.
    held: bool,
    /// The first line of the record at hand, and its number.
    head: String,
    head_number: u64,
    bytes: Vec<u8>,
    deltas: Vec<Delta>,
    areas: Vec<Area>,
    names: HashMap<u32, ObjectName>,
    page_size: u64,
    /// How many areas the snapshot at hand announces.
    expected: u32,
    finished: bool,
}

impl Trace {
    /// Opens the gzip-compressed trace that `input` holds.
    ///
    /// # Errors
    ///
    /// A [`TraceError`] if it is not gzip data, or not a trace of version 1.
    pub(crate) fn compressed(input: impl Read + 'static) -> Result<Self, TraceError> {
        let mut input = BufReader::new(input);
        let at_start = |problem| TraceError { line: 1, problem };
        let magic = input.fill_buf().map_err(|error| at_start(error.into()))?;
        // A file of one byte could be the beginning of one; nobody minds.
        if !magic.starts_with(&[0x1f, 0x8b]) {
            return Err(at_start(Problem::NotGzip));
        }
        Self::plain(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(input)))
    }

    /// Opens a trace that is plain text.
    ///
    /// # Errors
    ///
    /// A [`TraceError`] if it is not a trace of version 1.
    pub(crate) fn plain(input: impl BufRead + 'static) -> Result<Self, TraceError> {
        let mut trace = Self {
            input: Box::new(input),
            line: String::new(),
            number: 0,
            held: false,
            head: String::new(),
            head_number: 1,
            bytes: Vec::new(),
            deltas: Vec::new(),
            areas: Vec::new(),
            names: HashMap::new(),
            page_size: 4096,
            expected: 0,
            finished: false,
        };
        if trace.advance()? && trace.line == FIRST_LINE {
            return Ok(trace);
        }
        let found = trace.line.chars().take(40).collect();
        Err(trace.error(Problem::Version(found)))
    }

    /// The next record, or `None` after the line that closes the trace.
    ///
    /// # Errors
    ///
    /// A [`TraceError`] with the number of the line. The reader is of no
    /// further use.
    pub(crate) fn next_event(&mut self) -> Result<Option<Event>, TraceError> {
        while !self.finished {
            if !self.advance()? {
                return Err(self.error(Problem::Truncated));
            }
            let event = match self.line.as_bytes().first() {
                Some(b'H') => self.header().map(|()| None),
                Some(b'O') => self.object().map(|()| None),
                Some(b'E') => self.call(true).map(Some),
                Some(b'e') => self.call(false).map(Some),
                Some(b'G') => self.gap().map(Some),
                Some(b'S') => self.snapshot().map(Some),
                Some(b'X') => self.thread_exit().map(Some),
                Some(b'Z') => {
                    self.finished = true;
                    self.expect_end()?;
                    Ok(None)
                }
                Some(b'-' | b'+' | b'=') => Err("a line of a list without its record"),
                // The format asks readers to pass over what they do not know.
                _ => Ok(None),
            };
            let event = event.map_err(|what| self.bad(what))?;
            if let Some(event) = event {
                self.keep_head();
                match event {
                    Event::Call(_) | Event::Gap { .. } => self.read_deltas()?,
                    Event::Snapshot { .. } => self.read_areas()?,
                    Event::ThreadExit { .. } => {}
                }
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The changes that belong to the call or gap at hand.
    pub(crate) fn deltas(&self) -> &[Delta] {
        &self.deltas
    }

    /// The areas that belong to the snapshot at hand, ascending.
    pub(crate) fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// The line that the record at hand begins with.
    pub(crate) fn text(&self) -> &str {
        &self.head
    }

    /// The number of that line, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        self.head_number
    }

    /// The size of a page, in bytes.
    pub(crate) fn page_size(&self) -> u64 {
        self.page_size
    }

    /// How `object` is shown to people.
    pub(crate) fn name(&self, object: u32) -> Option<&ObjectName> {
        self.names.get(&object)
    }

    /// An error about the record at hand.
    pub(crate) fn contradiction(&self, what: impl Into<String>) -> TraceError {
        TraceError { line: self.head_number, problem: Problem::Contradiction(what.into()) }
    }

    /// Makes the next line the one at hand; `false` at the end of the data.
    fn advance(&mut self) -> Result<bool, TraceError> {
        if mem::take(&mut self.held) {
            return Ok(true);
        }
        self.bytes.clear();
        self.line.clear();
        // A trace of 2^64 lines cannot be stored.
        self.number = self.number.saturating_add(1);
        if let Err(error) = self.input.read_until(b'\n', &mut self.bytes) {
            return Err(self.error(error.into()));
        }
        if self.bytes.pop_if(|last| *last == b'\n').is_none() {
            // Not even a line end: the data stop here, in the middle of a line
            // or after the last one.
            if self.number > 1 {
                return Ok(false);
            }
        }
        self.line.push_str(&String::from_utf8_lossy(&self.bytes));
        Ok(true)
    }

    /// Reads on to the end of the data, so that gzip checks them, too.
    fn expect_end(&mut self) -> Result<(), TraceError> {
        if self.advance()? {
            return Err(self.bad("a line behind the one that closes the trace"));
        }
        if self.bytes.is_empty() { Ok(()) } else { Err(self.error(Problem::Truncated)) }
    }

    /// Keeps the line at hand as the beginning of a record.
    fn keep_head(&mut self) {
        mem::swap(&mut self.head, &mut self.line);
        self.head_number = self.number;
    }

    fn error(&self, problem: Problem) -> TraceError {
        TraceError { line: self.number, problem }
    }

    fn bad(&self, what: &'static str) -> TraceError {
        let text = if self.line.is_empty() { &self.head } else { &self.line };
        self.error(Problem::Bad { what, text: text.clone() })
    }

    fn header(&mut self) -> Result<(), &'static str> {
        let mut fields = Fields::after_first(&self.line);
        if fields.text("no header key")? == "page_size" {
            let size = fields.hex("no page size")?;
            if !size.is_power_of_two() {
                return Err("a page size that is no power of two");
            }
            self.page_size = size;
        }
        Ok(())
    }

    fn object(&mut self) -> Result<(), &'static str> {
        let mut fields = Fields::after_first(&self.line);
        let id = fields.decimal("no object number")?;
        let device = fields.text("no device")?.to_owned();
        let inode = fields.text("no inode")?.parse().map_err(|_| "no inode")?;
        self.names.insert(id, ObjectName { device, inode, path: fields.rest().to_owned() });
        Ok(())
    }

    fn call(&self, checked: bool) -> Result<Event, &'static str> {
        let mut fields = Fields::after_first(&self.line);
        fields.text("no sequence number")?;
        let tid = fields.decimal("no thread")?;
        let mm = fields.decimal("no address space")?;
        let name = name(fields.text("no call name")?);
        let mut args = [0; 6];
        let mut slots = args.iter_mut();
        loop {
            match fields.text("no `=` and answer")? {
                "=" => break,
                // More than six registers is nothing that a call has.
                field => {
                    *slots.next().ok_or("too many arguments")? =
                        hex(field).ok_or("a malformed argument")?;
                }
            }
        }
        let outcome = outcome(fields.text("no answer")?).ok_or("a malformed answer")?;
        let mut extra = Extra::default();
        while let Some(field) = fields.next() {
            if let Some((key, value)) = field.split_once('=') {
                self.key(&mut extra, key, value)?;
            }
        }
        Ok(Event::Call(Call { checked, tid, mm, name, args, outcome, extra }))
    }

    /// Takes one key behind an answer; those of no use are passed over.
    fn key(&self, extra: &mut Extra, key: &str, value: &str) -> Result<(), &'static str> {
        match key {
            // What was mapped in fact goes before what the descriptor named.
            "mapobj" => extra.object = Some(self.object_of(value)?),
            "obj" if extra.object.is_none() => extra.object = Some(self.object_of(value)?),
            "acc" => extra.read_only = !value.contains('w'),
            "len" => extra.len = Some(hex(value).ok_or("a malformed len=")?),
            "child" => extra.child = Some(decimal(value).ok_or("a malformed child=")?),
            "cmm" => extra.child_mm = Some(decimal(value).ok_or("a malformed cmm=")?),
            "ctid" => extra.exec_tid = Some(decimal(value).ok_or("a malformed ctid=")?),
            "target" => extra.target = decimal(value),
            "iov" => {
                extra.ranges = value
                    .split(',')
                    .filter_map(|pair| pair.split_once(':'))
                    .filter_map(|(base, len)| Some((hex(base)?, hex(len)?)))
                    .collect();
            }
            _ => {}
        }
        Ok(())
    }

    fn gap(&self) -> Result<Event, &'static str> {
        let mut fields = Fields::after_first(&self.line);
        fields.text("no thread")?;
        Ok(Event::Gap { mm: fields.decimal("no address space")? })
    }

    fn thread_exit(&self) -> Result<Event, &'static str> {
        let mut fields = Fields::after_first(&self.line);
        Ok(Event::ThreadExit { tid: fields.decimal("no thread")? })
    }

    /// The head of a snapshot. Its areas are checked for their number later.
    fn snapshot(&mut self) -> Result<Event, &'static str> {
        let mut fields = Fields::after_first(&self.line);
        let mm = fields.decimal("no address space")?;
        let kind = match fields.text("no kind of snapshot")? {
            "exec" => Kind::Exec,
            "fork" => Kind::Fork,
            "exit" => Kind::Exit,
            _ => return Err("an unknown kind of snapshot"),
        };
        self.expected = fields.decimal("no number of areas")?;
        let mut start_brk = 0;
        while let Some(field) = fields.next() {
            if let Some(value) = field.strip_prefix("start_brk=") {
                start_brk = hex(value).ok_or("a malformed start_brk=")?;
            }
        }
        Ok(Event::Snapshot { mm, kind, start_brk })
    }

    /// Reads the changes that follow the record at hand, maybe none.
    fn read_deltas(&mut self) -> Result<(), TraceError> {
        self.deltas.clear();
        // The data may end here; the next record will say that they must not.
        while self.advance()? {
            let delta = match self.line.as_bytes().first() {
                Some(b'-') => {
                    hex(Fields::after_mark(&self.line).rest()).map(Delta::Gone).ok_or("no address")
                }
                Some(b'+') => self.area().map(Delta::Now),
                _ => {
                    self.held = true;
                    break;
                }
            };
            self.deltas.push(delta.map_err(|what| self.bad(what))?);
        }
        Ok(())
    }

    /// Reads the areas of the snapshot at hand, exactly as many as it says.
    fn read_areas(&mut self) -> Result<(), TraceError> {
        self.areas.clear();
        for _ in 0..self.expected {
            if !self.advance()? {
                return Err(self.error(Problem::Truncated));
            }
            if !self.line.starts_with('=') {
                return Err(self.bad("fewer areas than announced, another line"));
            }
            let area = self.area().map_err(|what| self.bad(what))?;
            if self.areas.last().is_some_and(|before| before.end > area.start) {
                return Err(self.bad("an area that does not follow the one before it"));
            }
            self.areas.push(area);
        }
        Ok(())
    }

    /// The area on the line at hand, behind its mark.
    fn area(&self) -> Result<Area, &'static str> {
        let mut fields = Fields::after_mark(&self.line);
        let start = fields.hex("no start")?;
        let end = fields.hex("no end")?;
        let (prot, shared) =
            permissions(fields.text("no permissions")?).ok_or("malformed permissions")?;
        let offset = fields.hex("no offset")?;
        let object = self.object_of(fields.text("no object")?)?;
        let flags = fields.next().map(vm_flags);
        // Page sizes are powers of two, so one mask tells for all three.
        let inside = self.page_size.wrapping_sub(1);
        if end <= start || (start | end | offset) & inside != 0 {
            return Err("an area that is empty or not made of pages");
        }
        Ok(Area { start, end, prot, shared, object, offset, flags })
    }

    /// The object with the number that `text` holds.
    fn object_of(&self, text: &str) -> Result<Object, &'static str> {
        let id = decimal(text).ok_or("a malformed object number")?;
        if id == 0 {
            return Ok(Object::Anonymous);
        }
        let name = self.names.get(&id).ok_or("an object that was never defined")?;
        Ok(match name.path.as_str() {
            _ if name.inode != 0 => Object::File(id),
            // Labels of plain anonymous memory: by where it lies, or by a name
            // that the program gave it.
            "[heap]" | "[stack]" => Object::Anonymous,
            label if label.starts_with("[anon:") => Object::Anonymous,
            _ => Object::Special(id),
        })
    }
}

fn name(text: &str) -> Name {
    match text {
        "mmap" => Name::Mmap,
        "munmap" => Name::Munmap,
        "mprotect" | "pkey_mprotect" => Name::Mprotect,
        "mremap" => Name::Mremap,
        "brk" => Name::Brk,
        "madvise" => Name::Madvise,
        "process_madvise" => Name::ProcessMadvise,
        "mseal" => Name::Mseal,
        "shmat" => Name::Shmat,
        "shmdt" => Name::Shmdt,
        "remap_file_pages" => Name::RemapFilePages,
        "map_shadow_stack" => Name::MapShadowStack,
        "personality" => Name::Personality,
        "prctl" => Name::Prctl,
        "clone" | "clone3" | "fork" | "vfork" => Name::Clone,
        "execve" | "execveat" => Name::Exec,
        _ => Name::Other,
    }
}

/// An answer: `?`, a negative decimal error number, or a hexadecimal value.
fn outcome(text: &str) -> Option<Outcome> {
    if text == "?" {
        return Some(Outcome::Unknown);
    }
    match text.strip_prefix('-') {
        Some(errno) => decimal(errno).map(Outcome::Refused),
        None => hex(text).map(Outcome::Done),
    }
}
