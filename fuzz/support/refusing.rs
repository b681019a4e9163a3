//! A kernel that refuses: a filter for the calls of this process and of its children.

use std::ops::Range;

/// What is refused: a call whose argument `nth` is an address in `addrs`, with `errno`.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) call: libc::c_long,
    pub(crate) nth: u32,
    pub(crate) addrs: Range<u64>,
    pub(crate) errno: i32,
}

/// Where a word of `seccomp_data` lies.
const CALL: u32 = 0;
const ARGUMENTS: u32 = 16;

/// Makes the kernel refuse from now on, for good; tells whether it can be made to.
///
/// The filter compares 32 bits at a time, so the addresses must agree in the upper ones.
pub(crate) fn refuse(refused: &Refused) -> bool {
    let Range { start, end } = refused.addrs;
    if start >> 32 != end >> 32 {
        return false;
    }
    let [upper, start, end] = [start >> 32, start & 0xffff_ffff, end & 0xffff_ffff];
    let low = ARGUMENTS + 8 * refused.nth;
    let load = |at: u32| (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, u64::from(at));
    // Both ways out are at the end; the numbers are of instructions to skip.
    let is = |value: u64, no: u8| (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, no, value);
    let is_below =
        |value: u64, yes: u8, no: u8| (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, no, yes, value);
    let answer = |value: u32| (libc::BPF_RET | libc::BPF_K, 0, 0, u64::from(value));
    let program = [
        load(CALL),
        is(refused.call.unsigned_abs(), 6),
        load(low + 4),
        is(upper, 4),
        load(low),
        is_below(start, 2, 0),
        is_below(end, 0, 1),
        answer(libc::SECCOMP_RET_ERRNO | refused.errno.unsigned_abs()),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let mut program = program.map(|(code, jt, jf, k)| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k: k as u32,
    });
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: calls about this process; the kernel reads the filter and keeps a copy.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
    }
}
