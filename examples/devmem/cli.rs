//! The commands.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "a program: it links std, and its sums stay in ranges that were checked"
)]

use addrspace::phys::{
    By, DumpOptions, Error, Frame, Iomem, Options, PageFlags, Pagemap, PhysMem, Unreadable, Way,
    Window,
};
use addrspace::{Prot, Span};
use std::fmt;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

const HELP: &str = "\
Reads and writes physical memory by address.

usage: devmem [OPTIONS] COMMAND

commands
  read ADDRESS [COUNT]         print COUNT registers (1), one access of WIDTH bits each
  write ADDRESS VALUE          write one register, in one access of WIDTH bits
  map ADDRESS LENGTH           map that memory and print it in hexadecimal
  dump ADDRESS LENGTH TO       write that memory to the file TO, past the page cache
  iomem [ADDRESS [LENGTH]]     what the machine has there, or everywhere
  translate PID ADDRESS [LENGTH]  where the pages of a process are (PID: a number or self)

options
  --file FILE                  instead of /dev/mem: a device or file whose offsets are addresses
  --width WIDTH                bits of a register: 8, 16, 32 or 64 (32)
  --cached                     map as memory is mapped; without it, as registers are
  --unreadable stop|zero|skip  what a dump does about bytes that cannot be read (stop)
  --seek                       dump by pread, not through windows
  --buffered                   dump through the page cache
  --help                       this text

Numbers are decimal, or hexadecimal with 0x; a LENGTH may end with K, M or G.
";

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is not one.
    Usage(String),
    Memory(Error),
    Output(io::Error),
}

impl Failure {
    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Memory(_) | Self::Output(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) => write!(f, "{what}; --help says more"),
            Self::Memory(error) => error.fmt(f),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Memory(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    U8,
    U16,
    U32,
    U64,
}

impl Width {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "8" => Ok(Self::U8),
            "16" => Ok(Self::U16),
            "32" => Ok(Self::U32),
            "64" if cfg!(target_pointer_width = "64") => Ok(Self::U64),
            "64" => usage("this machine has no access of 64 bits"),
            _ => usage(format!("`{text}` is no width: 8, 16, 32 or 64")),
        }
    }

    fn bytes(self) -> u8 {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
            Self::U64 => 8,
        }
    }

    fn digits(self) -> usize {
        2 * usize::from(self.bytes())
    }

    fn read(self, window: &Window, offset: usize) -> Result<u64, Error> {
        match self {
            Self::U8 => window.read::<u8>(offset).map(u64::from),
            Self::U16 => window.read::<u16>(offset).map(u64::from),
            Self::U32 => window.read::<u32>(offset).map(u64::from),
            #[cfg(target_pointer_width = "64")]
            Self::U64 => window.read::<u64>(offset),
            #[cfg(not(target_pointer_width = "64"))]
            Self::U64 => unreachable!("refused when it was parsed"),
        }
    }

    fn write(self, window: &Window, value: u64) -> Result<(), Failure> {
        let too_large =
            || Failure::Usage(format!("{value:#x} has more than {} bits", 8 * self.bytes()));
        match self {
            Self::U8 => window.write(0, u8::try_from(value).map_err(|_| too_large())?)?,
            Self::U16 => window.write(0, u16::try_from(value).map_err(|_| too_large())?)?,
            Self::U32 => window.write(0, u32::try_from(value).map_err(|_| too_large())?)?,
            #[cfg(target_pointer_width = "64")]
            Self::U64 => window.write(0, value)?,
            #[cfg(not(target_pointer_width = "64"))]
            Self::U64 => unreachable!("refused when it was parsed"),
        }
        Ok(())
    }
}

fn usage<T>(what: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(what.into()))
}

fn number(text: &str) -> Result<u64, Failure> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.or_else(|_| usage(format!("`{text}` is no number of 64 bits, decimal or with 0x")))
}

fn length(text: &str) -> Result<u64, Failure> {
    let (digits, unit) = match text.chars().last() {
        Some('K' | 'k') => (&text[..text.len() - 1], 1 << 10),
        Some('M' | 'm') => (&text[..text.len() - 1], 1 << 20),
        Some('G' | 'g') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let bytes = number(digits)?.checked_mul(unit).filter(|bytes| *bytes > 0);
    bytes.map_or_else(|| usage(format!("`{text}` is no length")), Ok)
}

fn span(addr: u64, len: u64) -> Result<Span, Failure> {
    Span::of(addr, len)
        .map_or_else(|| usage(format!("{len:#x} bytes at {addr:#x} pass the last address")), Ok)
}

/// What the options say.
struct Settings {
    device: Options,
    width: Width,
    dump: DumpOptions,
    /// Whether a progress bar is shown.
    bar: bool,
}

/// Carries out the command line; `bar` is whether dumps show their progress.
///
/// # Errors
///
/// [`Failure`], to be shown to the user.
pub(crate) fn run(
    arguments: &[String],
    out: &mut dyn Write,
    err: &mut dyn Write,
    bar: bool,
) -> Result<(), Failure> {
    let mut settings = Settings {
        device: PhysMem::options(),
        width: Width::U32,
        dump: DumpOptions::default(),
        bar,
    };
    let mut words = Vec::new();
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(word) = arguments.next() {
        let mut value =
            || arguments.next().map_or_else(|| usage(format!("{word} needs a value")), Ok);
        match word {
            "--help" | "-h" => return Ok(out.write_all(HELP.as_bytes())?),
            "--file" => settings.device = settings.device.path(value()?),
            "--width" => settings.width = Width::parse(value()?)?,
            "--cached" => settings.device = settings.device.cached(),
            "--seek" => settings.dump.by = By::Reading,
            "--buffered" => settings.dump.direct = false,
            "--unreadable" => {
                settings.dump.unreadable = match value()? {
                    "stop" => Unreadable::Stop,
                    "zero" => Unreadable::Zero,
                    "skip" => Unreadable::Skip,
                    other => return usage(format!("`{other}` is none of stop, zero and skip")),
                }
            }
            option if option.starts_with("--") => {
                return usage(format!("there is no option {option}"));
            }
            word => words.push(word),
        }
    }
    match words[..] {
        ["read", addr] => read(settings, number(addr)?, 1, out),
        ["read", addr, count] => read(settings, number(addr)?, number(count)?, out),
        ["write", addr, value] => write(settings, number(addr)?, number(value)?, out),
        ["map", addr, len] => map(settings, number(addr)?, length(len)?, out),
        ["dump", addr, len, to] => dump(settings, number(addr)?, length(len)?, to, out, err),
        ["iomem"] => iomem(None, out),
        ["iomem", addr] => iomem(Some(span(number(addr)?, 1)?), out),
        ["iomem", addr, len] => iomem(Some(span(number(addr)?, length(len)?)?), out),
        ["translate", pid, addr] => translate(pid, number(addr)?, 1, out),
        ["translate", pid, addr, len] => translate(pid, number(addr)?, length(len)?, out),
        [] => usage("no command"),
        [command, ..] => match command {
            "read" | "write" | "map" | "dump" | "iomem" | "translate" => {
                usage(format!("`{command}` is given too few words, or too many"))
            }
            other => usage(format!("`{other}` is no command")),
        },
    }
}

fn read(settings: Settings, addr: u64, count: u64, out: &mut dyn Write) -> Result<(), Failure> {
    let width = settings.width;
    let Some(len) = count.checked_mul(width.bytes().into()).filter(|len| *len > 0) else {
        return usage(format!("{count} registers are too few, or too many"));
    };
    let span = span(addr, len)?;
    let window = settings.device.open()?.window(span.start()..=span.last(), Prot::READ)?;
    for offset in (0..window.len()).step_by(width.bytes().into()) {
        let value = width.read(&window, offset)?;
        writeln!(
            out,
            "{:#012x}: {value:#0digits$x}",
            addr + offset as u64,
            digits = width.digits() + 2
        )?;
    }
    Ok(())
}

fn write(settings: Settings, addr: u64, value: u64, out: &mut dyn Write) -> Result<(), Failure> {
    let width = settings.width;
    let span = span(addr, width.bytes().into())?;
    let memory = settings.device.writable().open()?;
    let window = memory.window(span.start()..=span.last(), Prot::READ | Prot::WRITE)?;
    width.write(&window, value)?;
    // It is not read back: to read a register can have an effect of its own.
    Ok(writeln!(out, "{addr:#012x}: {value:#0digits$x} written", digits = width.digits() + 2)?)
}

fn map(settings: Settings, addr: u64, len: u64, out: &mut dyn Write) -> Result<(), Failure> {
    let span = span(addr, len)?;
    let window = settings.device.open()?.window(span.start()..=span.last(), Prot::READ)?;
    let mut line = [0; 16];
    let mut offset = 0;
    while offset < window.len() {
        // Lines start at multiples of their length.
        let skipped = usize::try_from((addr + offset as u64) % 16).unwrap_or(0);
        let count = (16 - skipped).min(window.len() - offset);
        let bytes = &mut line[..count];
        window.copy_to(offset, bytes)?;
        write!(out, "{:012x} ", addr + offset as u64 - skipped as u64)?;
        for column in 0..16_usize {
            let gap = if column == 8 { "  " } else { " " };
            match column.checked_sub(skipped).and_then(|nth| bytes.get(nth)) {
                Some(byte) => write!(out, "{gap}{byte:02x}")?,
                None => write!(out, "{gap}  ")?,
            }
        }
        let text: String = bytes
            .iter()
            .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })
            .collect();
        writeln!(out, "  {:skipped$}|{text}|", "")?;
        offset += count;
    }
    Ok(())
}

fn dump(
    settings: Settings,
    addr: u64,
    len: u64,
    to: &str,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let span = span(addr, len)?;
    let memory = settings.device.open()?;
    let begun = Instant::now();
    let mut drawn = None;
    let dump = memory.dump(span.start()..=span.last(), to, &settings.dump, |progress| {
        let due = drawn.is_none_or(|at: Instant| at.elapsed() >= Duration::from_millis(100));
        if settings.bar && (due || progress.done == progress.len) {
            drawn = Some(Instant::now());
            let parts = u128::from(progress.done) * 40 / u128::from(progress.len.max(1));
            let full = usize::try_from(parts).unwrap_or(40);
            // A bar that cannot be drawn is no reason to stop.
            let _ = write!(
                err,
                "\r[{:<40}] {} of {} MiB, {} KiB unreadable ",
                "#".repeat(full),
                progress.done >> 20,
                progress.len >> 20,
                progress.unreadable >> 10
            );
        }
        ControlFlow::Continue(())
    });
    if drawn.is_some() {
        let _ = writeln!(err);
    }
    let dump = dump?;
    let seconds = begun.elapsed().as_secs_f64();
    let way = match dump.way {
        Way::Direct { align } => format!("past the page cache, in multiples of {align} bytes"),
        Way::FellBack { errno } => format!(
            "through the page cache: the file takes no direct writes ({})",
            io::Error::from_raw_os_error(errno)
        ),
        _ => "through the page cache".to_owned(),
    };
    writeln!(out, "{} bytes to {to} in {seconds:.3} s, {way}", dump.len)?;
    for span in &dump.unreadable {
        writeln!(out, "unreadable: {span}")?;
    }
    if let Some(refusal) = &dump.first_refusal {
        writeln!(out, "the first because: {refusal}")?;
    }
    Ok(())
}

fn iomem(asked: Option<Span>, out: &mut dyn Write) -> Result<(), Failure> {
    let list = Iomem::read()?;
    if list.is_hidden() {
        writeln!(out, "the kernel shows addresses to CAP_SYS_ADMIN alone")?;
    }
    for resource in list.resources() {
        if asked.is_none_or(|asked| asked.overlaps(resource.span())) {
            let (span, indent) = (resource.span(), 2 * resource.depth());
            writeln!(
                out,
                "{:indent$}{:012x}-{:012x} : {}",
                "",
                span.start(),
                span.last(),
                resource.name()
            )?;
        }
    }
    if let Some(asked) = asked {
        writeln!(out, "System RAM: {:?}", list.ram(asked.start()..=asked.last()))?;
        let driver = list.driver(asked.start()).unwrap_or("none");
        writeln!(out, "driver at {:#x}: {driver}", asked.start())?;
    }
    Ok(())
}

fn translate(pid: &str, addr: u64, len: u64, out: &mut dyn Write) -> Result<(), Failure> {
    let pagemap = match pid {
        "self" => Pagemap::of_self()?,
        pid => match u32::try_from(number(pid)?) {
            Ok(pid) => Pagemap::of(pid)?,
            Err(_) => return usage(format!("`{pid}` is no process")),
        },
    };
    for page in pagemap.pages(addr, len)? {
        let place = match page.frame {
            Frame::At(frame) => format!("{frame:#x}"),
            Frame::Hidden => "somewhere (frames are shown to CAP_SYS_ADMIN alone)".to_owned(),
            Frame::Swapped { area, offset } => format!("swapped, area {area}, page {offset:#x}"),
            Frame::Absent => match pagemap.translate(page.addr.max(addr)) {
                Ok(phys) => format!("{phys:#x}, just now"),
                Err(Error::Untranslated { why, .. }) => why.to_string(),
                Err(error) => return Err(error.into()),
            },
        };
        let notes = [(PageFlags::FILE, " file"), (PageFlags::EXCLUSIVE, " exclusive")];
        let notes = notes.iter().filter(|(flag, _)| page.flags.contains(*flag));
        let notes: String = notes.map(|(_, note)| *note).collect();
        writeln!(out, "{:#014x}: {place}{notes}", page.addr)?;
    }
    Ok(())
}
