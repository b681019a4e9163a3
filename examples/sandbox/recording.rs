//! What one recorded program did to its memory: the calls of a trace, reduced to
//! what a guest repeats, and to why it does not repeat the others.

use std::collections::HashMap;

use addrspace::PageSize;

use super::trace::{
    Area, Call, Delta, Event, Extra, Kind as Occasion, Name, Object, Outcome, Trace, TraceError,
};

/// `ENOMEM`, as it stands in traces.
const ENOMEM: u32 = 12;
/// The bits of a protection that a list shows.
const ACCESS: u64 = 7;

/// A recorded program.
#[derive(Debug)]
pub(crate) struct Recording {
    /// What it was.
    pub(crate) program: String,
    /// The number of its address space.
    pub(crate) mm: u32,
    pub(crate) steps: Vec<Step>,
    /// The files that it maps, by number.
    pub(crate) files: Vec<Traced>,
    pub(crate) page: PageSize,
}

/// A file that a recorded program mapped.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) name: String,
    /// So long that no mapping of it reaches past its end.
    pub(crate) len: u64,
}

/// One step of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    pub(crate) act: Act,
    /// The line of the trace.
    pub(crate) line: u64,
}

/// Which call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// An area of the program as `execve` left it.
    Exec,
    Mmap,
    Brk,
    Munmap,
    Mprotect,
    Mremap,
    /// No call that is counted.
    Aside,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Exec => "execve",
            Self::Mmap => "mmap",
            Self::Brk => "brk",
            Self::Munmap => "munmap",
            Self::Mprotect => "mprotect",
            Self::Mremap => "mremap",
            Self::Aside => "-",
        }
    }
}

/// What a guest does about it, in addresses of the trace.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Map {
        at: u64,
        len: u64,
        prot: u32,
        file: Option<(u32, u64)>,
    },
    Unmap {
        at: u64,
        len: u64,
    },
    Protect {
        at: u64,
        len: u64,
        prot: u32,
        /// Only what lies before the first gap has changed.
        to_gap: bool,
    },
    Remap {
        from: u64,
        old_len: u64,
        new_len: u64,
        /// Where it went; nowhere if it stayed.
        to: Option<u64>,
        keep_source: bool,
    },
    /// The program has something there now that the guest does not have.
    Lack {
        at: u64,
        len: u64,
        why: Skip,
    },
    /// Nothing is there any more: a child did not inherit it.
    Vacate {
        at: u64,
        len: u64,
    },
    /// What is there may no longer be what the program has.
    Doubt {
        at: u64,
        len: u64,
    },
    /// Nothing.
    Nothing(Skip),
}

/// Why a call is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Skip {
    /// The recorded kernel refused it, or the thread was killed in it.
    Refused,
    /// It asked, or changed nothing.
    NoChange,
    Shared,
    SystemV,
    HugePages,
    /// The kernel's own mappings, and rare kinds.
    Special,
    /// It is about memory that was skipped.
    Lacking,
    /// The reservation has no room for these addresses.
    NoRoom,
}

impl Skip {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused when recorded",
            Self::NoChange => "without effect",
            Self::Shared => "shared",
            Self::SystemV => "System V",
            Self::HugePages => "huge pages",
            Self::Special => "special",
            Self::Lacking => "about skipped memory",
            Self::NoRoom => "outside",
        }
    }
}

/// One address space of a trace.
struct Space {
    mm: u32,
    /// Where it was copied from, and after how many steps.
    parent: Option<(usize, usize)>,
    program: Option<u32>,
    brk: u64,
    steps: Vec<Step>,
    /// The calls of the program, those before a fork included.
    calls: u64,
}

/// Reads `trace` to its end and answers the program with the most calls.
///
/// # Errors
///
/// If the trace cannot be read, contradicts itself, or has no program in it.
pub(crate) fn read(trace: &mut Trace) -> Result<Recording, TraceError> {
    let mut reader = Reader::default();
    while let Some(event) = trace.next_event()? {
        match event {
            Event::Call(call) if call.mm != 0 || call.name == Name::Exec => {
                reader.call(trace, &call)?;
            }
            Event::Snapshot { mm, kind: Occasion::Exec, start_brk } => {
                reader.exec(trace, mm, start_brk)?;
            }
            Event::Snapshot { mm, kind: Occasion::Fork, .. } => reader.forked(trace, mm),
            // A change that no call explains, such as a stack that grew.
            Event::Gap { mm } => reader.doubt_changes(trace, mm),
            _ => {}
        }
    }
    reader.finish(trace)
}

#[derive(Default)]
struct Reader {
    spaces: Vec<Space>,
    /// Of each address space that there is, its place in `spaces`.
    current: HashMap<u32, usize>,
    /// The program of an address space that is about to be.
    programs: HashMap<u32, u32>,
    /// The files by object, and the numbers they got.
    files: HashMap<u32, u32>,
}

impl Reader {
    fn space(&mut self, mm: u32) -> Option<&mut Space> {
        self.spaces.get_mut(*self.current.get(&mm)?)
    }

    fn begin(&mut self, space: Space) {
        self.current.insert(space.mm, self.spaces.len());
        self.spaces.push(space);
    }

    /// The number of the file that `object` is.
    fn number(&mut self, object: u32) -> u32 {
        // As many as there are objects, which are numbered with 32 bits.
        let next = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        *self.files.entry(object).or_insert(next)
    }

    fn call(&mut self, trace: &Trace, call: &Call) -> Result<(), TraceError> {
        match (call.name, call.outcome, call.extra.child_mm) {
            (Name::Exec, Outcome::Done(_), Some(mm)) => {
                if let Some(Object::File(program)) = call.extra.object {
                    self.programs.insert(mm, program);
                }
                return Ok(());
            }
            (Name::Clone, Outcome::Done(_), Some(mm)) if mm != call.mm => {
                return self.fork(trace, call.mm, mm);
            }
            (Name::Exec, ..) => return Ok(()),
            _ => {}
        }
        let page = page_size(trace)?;
        let made = self.acts(trace, page, call)?;
        let line = trace.line();
        let Some(space) = self.space(call.mm) else { return Err(unknown(trace, call.mm)) };
        if let Some((kind, act)) = made {
            if kind != Kind::Aside {
                space.calls = space.calls.saturating_add(1);
            }
            space.steps.push(Step { kind, act, line });
        }
        if !matches!(call.outcome, Outcome::Done(_)) && !trace.deltas().is_empty() {
            // It did something before it was refused.
            let repeated = matches!(made, Some((_, Act::Protect { .. })));
            if !repeated {
                self.doubt_arguments(trace, page, call);
                self.doubt_changes(trace, call.mm);
            }
        }
        Ok(())
    }

    /// What a guest does about a call; nothing if it is none that is counted.
    fn acts(
        &mut self,
        trace: &Trace,
        page: PageSize,
        call: &Call,
    ) -> Result<Option<(Kind, Act)>, TraceError> {
        let [addr, len, third, flags, ..] = call.args;
        let kind = match call.name {
            // The two that map System V segments and shadow stacks count with mmap.
            Name::Mmap | Name::Shmat | Name::MapShadowStack => Kind::Mmap,
            Name::Munmap | Name::Shmdt => Kind::Munmap,
            Name::Mprotect => Kind::Mprotect,
            Name::Mremap => Kind::Mremap,
            Name::Brk => Kind::Brk,
            Name::Prctl => {
                const SET_MM: u64 = 35;
                const SET_MM_BRK: u64 = 7;
                if let ([SET_MM, SET_MM_BRK, brk, ..], Some(space)) =
                    (call.args, self.space(call.mm))
                {
                    space.brk = brk;
                }
                return Ok(None);
            }
            _ => return Ok(None),
        };
        let answer = match (call.outcome, call.name) {
            (Outcome::Done(answer), _) => answer,
            // An mprotect walks upwards and leaves changed what it has passed.
            (Outcome::Refused(ENOMEM), Name::Mprotect) => {
                return Ok(Some((kind, protect(page, addr, len, third, true))));
            }
            _ => return Ok(Some((kind, Act::Nothing(Skip::Refused)))),
        };
        let pages = |len| page.round_up(len).unwrap_or(u64::MAX);
        let act = match call.name {
            Name::Mmap => self.mmap(page, call, answer),
            Name::Shmat => {
                let len = pages(call.extra.len.unwrap_or(0));
                Act::Lack { at: answer, len, why: Skip::SystemV }
            }
            Name::MapShadowStack => Act::Lack { at: answer, len: pages(len), why: Skip::Special },
            Name::Shmdt => Act::Nothing(Skip::SystemV),
            Name::Munmap => Act::Unmap { at: addr, len: pages(len) },
            Name::Mprotect => protect(page, addr, len, third, false),
            Name::Mremap => remap(addr, pages(len), pages(third), flags, answer),
            _ => match self.space(call.mm) {
                Some(space) => brk(page, &mut space.brk, addr, answer),
                None => return Err(unknown(trace, call.mm)),
            },
        };
        Ok(Some((kind, act)))
    }

    fn mmap(&mut self, page: PageSize, call: &Call, at: u64) -> Act {
        const TYPE: u64 = 0xf;
        const PRIVATE: u64 = 2;
        const ANONYMOUS: u64 = 0x20;
        const HUGETLB: u64 = 0x4_0000;
        let [_, len, prot, flags, _, offset] = call.args;
        let len = page.round_up(len).unwrap_or(u64::MAX);
        if flags & HUGETLB != 0 {
            // Two mebibytes more than asked for are none too few to give up.
            return Act::Lack { at, len: len.saturating_add(1 << 21), why: Skip::HugePages };
        }
        if flags & TYPE != PRIVATE {
            return Act::Lack { at, len, why: Skip::Shared };
        }
        let file = match call.extra {
            Extra { object: Some(Object::File(object)), .. } if flags & ANONYMOUS == 0 => {
                Some((self.number(object), offset))
            }
            Extra { object: Some(Object::Special(_)), .. } if flags & ANONYMOUS == 0 => {
                return Act::Lack { at, len, why: Skip::Special };
            }
            _ => None,
        };
        Act::Map { at, len, prot: access(prot), file }
    }

    /// A new program: what `execve` has mapped.
    fn exec(&mut self, trace: &Trace, mm: u32, brk: u64) -> Result<(), TraceError> {
        page_size(trace)?;
        let line = trace.line();
        let mut steps = Vec::new();
        for area in trace.areas() {
            let Area { start: at, prot, offset, .. } = *area;
            let len = area.end.abs_diff(at);
            let act = match area.object {
                _ if area.shared => Act::Lack { at, len, why: Skip::Shared },
                Object::Special(_) => Act::Lack { at, len, why: Skip::Special },
                Object::Anonymous => Act::Map { at, len, prot, file: None },
                Object::File(object) => {
                    Act::Map { at, len, prot, file: Some((self.number(object), offset)) }
                }
            };
            steps.push(Step { kind: Kind::Exec, act, line });
        }
        let program = self.programs.remove(&mm);
        self.begin(Space { mm, parent: None, program, brk, steps, calls: 0 });
        Ok(())
    }

    fn fork(&mut self, trace: &Trace, parent: u32, mm: u32) -> Result<(), TraceError> {
        let at = self.current.get(&parent).copied();
        let space = at.and_then(|at| Some((at, self.spaces.get(at)?)));
        let (at, space) = space.ok_or_else(|| unknown(trace, parent))?;
        let Space { program, brk, calls, .. } = *space;
        let parent = Some((at, space.steps.len()));
        self.begin(Space { mm, parent, program, brk, steps: Vec::new(), calls });
        Ok(())
    }

    /// A copy is complete: what it did not inherit is where it has nothing.
    fn forked(&mut self, trace: &Trace, mm: u32) {
        let line = trace.line();
        let Some(space) = self.space(mm) else { return };
        let mut free_from = 0;
        for area in trace.areas() {
            let act = Act::Vacate { at: free_from, len: area.start.saturating_sub(free_from) };
            space.steps.push(Step { kind: Kind::Aside, act, line });
            free_from = area.end;
        }
    }

    /// Of a refused `mremap` it is not known how far it got.
    fn doubt_arguments(&mut self, trace: &Trace, page: PageSize, call: &Call) {
        let line = trace.line();
        let Some(space) = self.space(call.mm) else { return };
        if call.name == Name::Mremap {
            let [from, old_len, new_len, _, to, _] = call.args;
            for (at, len) in [(from, old_len), (to, new_len)] {
                let act = Act::Doubt { at, len: page.round_up(len).unwrap_or(u64::MAX) };
                space.steps.push(Step { kind: Kind::Aside, act, line });
            }
        }
    }

    fn doubt_changes(&mut self, trace: &Trace, mm: u32) {
        let line = trace.line();
        let Some(space) = self.space(mm) else { return };
        for delta in trace.deltas() {
            if let Delta::Now(area) = delta {
                let act = Act::Doubt { at: area.start, len: area.end.abs_diff(area.start) };
                space.steps.push(Step { kind: Kind::Aside, act, line });
            }
        }
    }

    fn finish(mut self, trace: &Trace) -> Result<Recording, TraceError> {
        // Of equals the first.
        let busiest = self.spaces.iter().enumerate().rev().max_by_key(|(_, space)| space.calls);
        let Some((mut at, space)) = busiest else {
            return Err(trace.contradiction("no program runs in this trace"));
        };
        let name = |object| {
            let path = trace.name(object).map_or("", |name| name.path.as_str());
            path.rsplit('/').next().unwrap_or(path).to_owned()
        };
        let program = space.program.map_or_else(|| "a program".to_owned(), name);
        let mm = space.mm;
        // From the youngest generation back to the one that began with `execve`.
        let mut generations = Vec::new();
        let mut until = usize::MAX;
        while let Some(space) = self.spaces.get_mut(at) {
            space.steps.truncate(until);
            generations.push(core::mem::take(&mut space.steps));
            let Some((parent, steps)) = space.parent else { break };
            (at, until) = (parent, steps);
        }
        let steps: Vec<Step> = generations.into_iter().rev().flatten().collect();
        let (steps, files) = self.keep_mapped(steps, name);
        Ok(Recording { program, mm, steps, files, page: page_size(trace)? })
    }

    /// Numbers anew the files that `steps` map, and finds out how long they are.
    fn keep_mapped(
        &self,
        mut steps: Vec<Step>,
        name: impl Fn(u32) -> String,
    ) -> (Vec<Step>, Vec<Traced>) {
        let objects: HashMap<u32, u32> =
            self.files.iter().map(|(object, number)| (*number, *object)).collect();
        let mut files: Vec<Traced> = Vec::new();
        let mut numbers: HashMap<u32, usize> = HashMap::new();
        for step in &mut steps {
            let Act::Map { len, file: Some((number, offset)), .. } = &mut step.act else {
                continue;
            };
            let nth = *numbers.entry(*number).or_insert_with(|| {
                let name = objects.get(number).map_or_else(String::new, |object| name(*object));
                files.push(Traced { name, len: 0 });
                files.len().saturating_sub(1)
            });
            if let Some(file) = files.get_mut(nth) {
                file.len = file.len.max(offset.saturating_add(*len));
            }
            *number = u32::try_from(nth).unwrap_or(u32::MAX);
        }
        (steps, files)
    }
}

fn access(bits: u64) -> u32 {
    // Masked to three bits, it fits.
    u32::try_from(bits & ACCESS).unwrap_or(0)
}

fn protect(page: PageSize, at: u64, len: u64, prot: u64, to_gap: bool) -> Act {
    const GROWS_DOWN: u64 = 0x0100_0000;
    if prot & GROWS_DOWN != 0 {
        // It reaches down to where a growing stack begins, which no guest has.
        return Act::Nothing(Skip::Special);
    }
    match page.round_up(len) {
        None | Some(0) => Act::Nothing(Skip::NoChange),
        Some(len) => Act::Protect { at, len, prot: access(prot), to_gap },
    }
}

fn remap(from: u64, old_len: u64, new_len: u64, flags: u64, at: u64) -> Act {
    const FIXED: u64 = 2;
    const DONT_UNMAP: u64 = 4;
    let keep_source = flags & DONT_UNMAP != 0;
    if old_len == 0 {
        // The duplicate of a shared mapping.
        return Act::Lack { at, len: new_len, why: Skip::Shared };
    }
    let stays = flags & FIXED == 0 && at == from && !keep_source;
    if stays && old_len == new_len {
        return Act::Nothing(Skip::NoChange);
    }
    Act::Remap { from, old_len, new_len, to: (!stays).then_some(at), keep_source }
}

/// `brk(2)` answers the break that it left; another than was asked for means that
/// nothing has changed.
fn brk(page: PageSize, brk: &mut u64, asked: u64, now: u64) -> Act {
    const READ_WRITE: u32 = 3;
    let before = core::mem::replace(brk, now);
    let (Some(from), Some(to)) = (page.round_up(before), page.round_up(now)) else {
        return Act::Nothing(Skip::NoChange);
    };
    if now != asked || from == to {
        Act::Nothing(Skip::NoChange)
    } else if from < to {
        Act::Map { at: from, len: to.abs_diff(from), prot: READ_WRITE, file: None }
    } else {
        Act::Unmap { at: to, len: from.abs_diff(to) }
    }
}

fn page_size(trace: &Trace) -> Result<PageSize, TraceError> {
    PageSize::new(trace.page_size()).ok_or_else(|| trace.contradiction("no page size"))
}

fn unknown(trace: &Trace, mm: u32) -> TraceError {
    trace.contradiction(format!("address space {mm} was never announced"))
}
