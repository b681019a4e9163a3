//! The time that this thread has been running, whatever else the machine does.

use std::hint::black_box;

/// Nanoseconds of this thread's own.
#[cfg(target_os = "linux")]
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Nanoseconds since the first call: other systems have no such clock for all.
#[cfg(not(target_os = "linux"))]
pub fn now() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
}

/// Nanoseconds per operation, and what the contender answered.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub nanos: f64,
    pub answer: u64,
}

/// Carries out the script: an eighth of it to warm up, the rest against the clock.
pub fn timed<S>(script: &[S], mut step: impl FnMut(&S) -> u64) -> Turn {
    let (warm_up, rest) = script.split_at(script.len() / 8);
    let mut add = |sum: u64, line: &S| sum.wrapping_mul(31).wrapping_add(step(black_box(line)));
    let mut answer = warm_up.iter().fold(0, &mut add);
    let started = now();
    answer = rest.iter().fold(answer, &mut add);
    let nanos = (now() - started) as f64 / rest.len() as f64;
    Turn { nanos, answer: black_box(answer) }
}
