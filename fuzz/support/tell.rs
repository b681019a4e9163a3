//! What an input does, for those who look into one: with `TELL=1` in the environment.

use std::fmt::Arguments;
use std::sync::OnceLock;

/// Prints a step that is about to be made.
pub(crate) fn tell(step: Arguments<'_>) {
    static WANTED: OnceLock<bool> = OnceLock::new();
    if *WANTED.get_or_init(|| std::env::var_os("TELL").is_some()) {
        eprintln!("{step}");
    }
}
