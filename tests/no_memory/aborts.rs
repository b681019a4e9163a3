//! What ends the process where there is no memory, as the standard collections do:
//! copies without `try_`, and the map used directly. Nothing unwinds half done.

use super::books::{PAGE, furnished};
use super::counting::Failing;
use addrspace::{AddrSpace, Gaps, RangeMap};
use std::env;
use std::process::Command;

const ASKED: &str = "ADDRSPACE_WITHOUT_MEMORY";

type Call = fn(&AddrSpace, &mut RangeMap<u64, u64>);

/// Each with a space and a map, and no memory.
const CALLS: [(&str, Call); 5] = [
    ("clone", |space, _| drop(space.clone())),
    ("fork", |space, _| drop(space.fork(|_| true))),
    ("clone of a map", |_, map| drop(map.clone())),
    ("collect", |_, _| drop((0..9).map(|n| (2 * n..2 * n + 1, n)).collect::<RangeMap<_, _>>())),
    ("insert", |_, map| (0..999).for_each(|n| drop(map.insert(2 * n..2 * n + 1, n)))),
];

#[test]
fn copies_and_the_map_itself_abort() {
    if let Ok(name) = env::var(ASKED) {
        let space = furnished::<u32>(100, Gaps::Foreign);
        let mut map: RangeMap<u64, u64> = [(PAGE..2 * PAGE, 7)].into();
        let (_, call) = CALLS.iter().find(|(known, _)| *known == name).unwrap();
        let failing = Failing::for_good_after(0);
        call(&space, &mut map);
        let failed = failing.end();
        unreachable!("there was memory: {failed}");
    }
    for (name, _) in CALLS {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", "aborts::copies_and_the_map_itself_abort"]).env(ASKED, name);
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(aborted(output.status), "{name}: {}: {said}", output.status);
        assert!(said.contains("memory allocation of"), "{name}: {said}");
    }
}

#[cfg(unix)]
fn aborted(status: std::process::ExitStatus) -> bool {
    const SIGABRT: i32 = 6;
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGABRT)
}

#[cfg(not(unix))]
fn aborted(status: std::process::ExitStatus) -> bool {
    !status.success()
}
