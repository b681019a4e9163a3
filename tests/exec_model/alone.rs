//! A process of its own for a test that others would disturb: by their threads, or by what
//! they map where the test has left a hole.
#![allow(dead_code, unreachable_pub, reason = "used by several drivers")]

use std::io::Write;
use std::process::Command;

const CHILD: &str = "ADDRSPACE_TEST_CHILD";

/// Whether this process was started by [`alone`].
pub fn is_alone() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs `body` in a process of its own: the test `name` of this very program.
///
/// It is started anew and not forked: a lock that another test's thread holds at a fork is
/// never released in the child.
pub fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some_and(|child| child == *name) {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{}: {text}", output.status);
    // Not by a macro, whose output the test harness would keep.
    for line in text.lines().filter(|line| line.starts_with("CANNOT RUN HERE")) {
        std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}
