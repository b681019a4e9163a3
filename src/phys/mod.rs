//! Physical memory by address: `/dev/mem`, and whatever works like it (Linux only).
//!
//! ```text
//!  PhysMem   read(phys, buf), write(phys, bytes)     memory, whole transfers
//!    |
//!    +-- window(range, protection) -> Window         registers, exact widths
//!    +-- dump(range, path, options, on_progress)     to a file, directly
//! ```
//!
//! [`Iomem`] says what is at an address, [`Pagemap`] at which address a page of a
//! process is, and every refusal which rule it was and what to do about it.

//
// `mem` and `window` are what one works with, over `sys`, the only module with
// `unsafe`. `iomem` is what the machine says about itself, and `explain` what follows
// from that for a refusal. `dump` reads ahead while `target`, its file, is written.

mod dump;
mod error;
mod explain;
mod iomem;
mod mem;
mod pagemap;
mod sys;
mod target;
mod window;

pub use dump::{By, Dump, DumpOptions, Progress, Unreadable, Way};
pub use error::{Access, Error, Rule, Untranslated, Why};
pub use iomem::{Iomem, Ram, Resource};
pub use mem::{Mode, Options, PhysMem};
pub use pagemap::{Frame, Page, PageFlags, Pagemap};
pub use sys::Register;
pub use window::Window;

// Promised to those who move them into another thread.
const _: () = {
    const fn send<T: Send>() {}
    send::<PhysMem>();
    send::<Window>();
    send::<Error>();
};
