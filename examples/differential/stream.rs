//! Streams of calls: until something differs, or for as long as there is time.

use core::panic::AssertUnwindSafe;
use std::io;
use std::panic::catch_unwind;
use std::time::Instant;

use super::call::Call;
use super::expect::Mremap;
use super::numbers::Numbers;
use super::tally::Tally;
use super::world::World;

/// How many calls one child gets.
const LENGTH: usize = 2000;

/// Something that differed.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) what: String,
    /// All calls up to the one after which it did.
    pub(crate) calls: Vec<Call>,
}

/// Makes the calls that belong to `seed`, as far as there is time.
///
/// # Errors
///
/// If there is no child to make them in.
pub(crate) fn run(
    seed: u64,
    mremap: Mremap,
    until: Option<Instant>,
) -> io::Result<(Tally, Option<Difference>)> {
    let mut numbers = Numbers::new(seed);
    let mut world = World::new(mremap)?;
    let mut calls = Vec::with_capacity(LENGTH);
    let in_time = || until.is_none_or(|until| Instant::now() < until);
    while calls.len() < LENGTH && in_time() {
        let call = world.next(&mut numbers);
        calls.push(call);
        if let Err(what) = step(&mut world, &call) {
            return Ok((world.tally, Some(Difference { what, calls })));
        }
    }
    let end = world.compare_flags().and_then(|()| world.compare_outside());
    let difference = end.err().map(|what| Difference { what, calls });
    Ok((world.tally, difference))
}

/// Makes calls that are given, and answers what differs.
///
/// # Errors
///
/// If there is no child to make them in.
pub(crate) fn replay(calls: &[Call], mremap: Mremap) -> io::Result<Option<String>> {
    let mut world = World::new(mremap)?;
    let stepped = calls.iter().try_for_each(|call| step(&mut world, call));
    Ok(stepped.and_then(|()| world.compare_flags()).and_then(|()| world.compare_outside()).err())
}

/// One call, a panic of the library being a difference as well.
fn step(world: &mut World, call: &Call) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| world.step(call)))
        .unwrap_or_else(|_| Err("a panic".to_owned()))
}
