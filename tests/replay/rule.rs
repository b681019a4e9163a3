//! The kernel's rules that the recorded programs seldom meet, each in a trace
//! written by hand. What the kernel does is what Linux 6.18 was seen to do.

use crate::session::replay;
use crate::support::{findings, plain, with_end};

/// Replays `lines` and wants full agreement.
fn agrees(lines: &str) {
    let found = findings(lines);
    assert!(found.agree(), "{lines}{:#?}", found.details);
    let checked = lines.lines().filter(|line| line.starts_with("E ")).count() as u64;
    assert_eq!(found.compared, checked);
}

/// Two pages, a hole of one, two pages; all readable and writable.
const WITH_A_HOLE: &str = "\
E 2 10 1 mmap 5000 5000 3 32 ffffffff 0 = 5000
+5000 a000 rw-p 0 0
E 3 10 1 munmap 7000 1000 = 0
+5000 7000 rw-p 0 0
+8000 a000 rw-p 0 0
";

fn agrees_after_a_hole(lines: &str) {
    agrees(&format!("{WITH_A_HOLE}{lines}"));
}

#[test]
fn a_refused_mprotect_changes_what_lies_before_the_hole() {
    agrees_after_a_hole(
        "E 4 10 1 mprotect 6000 4000 1 = -12\n+5000 6000 rw-p 0 0\n+6000 7000 r--p 0 0\n",
    );
    // A hole at the start, an end that wraps, an unaligned start: nothing.
    agrees_after_a_hole("E 4 10 1 mprotect 7000 2000 1 = -12\n");
    agrees_after_a_hole("E 4 10 1 mprotect 6000 fffffffffffff000 1 = -12\n");
    agrees_after_a_hole("E 4 10 1 mprotect 5001 1000 1 = -22\nE 5 10 1 mprotect 5000 0 1 = 0\n");
}

#[test]
fn a_refused_mprotect_changes_what_lies_before_the_file_opened_for_reading() {
    let lines = "\
E 2 10 1 mmap 5000 2000 1 32 ffffffff 0 = 5000
+5000 7000 r--p 0 0
E 3 10 1 mmap 6000 1000 1 11 3 2000 = 6000 obj=2 acc=r fsize=9000
+5000 6000 r--p 0 0
+6000 7000 r--s 2000 2
E 4 10 1 mprotect 5000 2000 3 = -13
+5000 6000 rw-p 0 0
E 5 10 1 mprotect 5000 2000 4 = 0
+5000 6000 --xp 0 0
+6000 7000 --xs 2000 2
";
    agrees(lines);
}

#[test]
fn a_refused_mprotect_changes_what_lies_before_the_sealed_page() {
    agrees_after_a_hole(
        "E 4 10 1 mseal 6000 1000 0 = 0\n+5000 6000 rw-p 0 0\n+6000 7000 rw-p 0 0\n\
         E 5 10 1 mprotect 5000 2000 1 = -1\n+5000 6000 r--p 0 0\n\
         E 6 10 1 mprotect 6000 1000 1 = -1\n\
         E 7 10 1 munmap 5000 2000 = -1\n",
    );
    // Refused, it seals nothing.
    agrees_after_a_hole(
        "E 4 10 1 mseal 6000 2000 0 = -12\nE 5 10 1 mprotect 5000 2000 1 = 0\n+5000 7000 r--p 0 0\n",
    );
}

#[test]
fn an_mprotect_refused_for_want_of_areas_changes_what_needs_no_cut() {
    let two = "\
E 2 10 1 mmap 5000 4000 3 32 ffffffff 0 = 5000
+5000 9000 rw-p 0 0
E 3 10 1 mprotect 7000 2000 1 = 0
+5000 7000 rw-p 0 0
+7000 9000 r--p 0 0
";
    agrees(&format!("{two}E 4 10 1 mprotect 6000 1000 5 = -12\n"));
    agrees(&format!("{two}E 4 10 1 mprotect 5000 3000 5 = -12\n+5000 7000 r-xp 0 0\n"));
}

#[test]
fn prot_growsdown_reaches_down_to_the_beginning() {
    agrees(
        "E 2 10 1 mmap 5000 3000 3 132 ffffffff 0 = 5000\n+5000 8000 rw-p 0 0\n\
         E 3 10 1 mprotect 7000 1000 1000001 = 0\n+5000 8000 r--p 0 0\n",
    );
}

#[test]
fn the_break_moves_by_pages_and_answers_itself_when_it_cannot() {
    let lines = "\
E 2 10 1 brk 0 = 20000
E 3 10 1 brk 20001 = 20001
+20000 21000 rw-p 0 0
E 4 10 1 brk 21000 = 21000
E 5 10 1 brk 23010 = 23010
+20000 24000 rw-p 0 0
E 6 10 1 brk 900000000000 = 23010
E 7 10 1 brk 21fff = 21fff
+20000 22000 rw-p 0 0
E 8 10 1 brk 20000 = 20000
-20000
";
    agrees(lines);
}

#[test]
fn a_fork_inherits_the_break_but_not_what_madvise_took_out() {
    let lines = "\
E 2 10 1 brk 21000 = 21000
+20000 21000 rw-p 0 0
E 3 10 1 mmap 5000 4000 3 32 ffffffff 0 = 5000
+5000 9000 rw-p 0 0
E 4 10 1 madvise 6000 2000 a = 0
+5000 6000 rw-p 0 0
+6000 8000 rw-p 0 0
+8000 9000 rw-p 0 0
E 5 10 1 madvise 7000 1000 b = 0
+6000 7000 rw-p 0 0
+7000 9000 rw-p 0 0
e 6 10 1 fork = b child=11 cmm=2
S 2 fork 4
=5000 6000 rw-p 0 0 rd
=7000 9000 rw-p 0 0 rd
=20000 21000 rw-p 0 0 rd
=400000 401000 r-xp 0 1 rd
E 7 11 2 brk 22000 = 22000
+20000 22000 rw-p 0 0
E 8 10 1 munmap 5000 1000 = 0
-5000
X 11 2 0
S 2 exit 4
=5000 6000 rw-p 0 0 rd
=7000 9000 rw-p 0 0 rd
=20000 22000 rw-p 0 0 rd
=400000 401000 r-xp 0 1 rd
";
    agrees(lines);
    let found = findings(lines);
    assert_eq!((found.forks.all, found.exits.all), (1, 1));
}

#[test]
fn advice_refused_for_a_hole_is_given_to_all_that_is_mapped() {
    agrees_after_a_hole(
        "E 4 10 1 madvise 6000 3000 a = -12\n+5000 6000 rw-p 0 0\n+6000 7000 rw-p 0 0\n+8000 9000 rw-p 0 0\n+9000 a000 rw-p 0 0\n\
         e 5 10 1 clone 11 0 0 0 0 = b child=11 cmm=2\nS 2 fork 3\n=5000 6000 rw-p 0 0 rd\n=9000 a000 rw-p 0 0 rd\n=400000 401000 r-xp 0 1 rd\n",
    );
}

#[test]
fn threads_and_vfork_share_the_space_until_one_of_them_ends_it() {
    let lines = "\
e 2 10 1 clone 3d0f00 0 0 0 0 = b child=11 cmm=1
e 3 10 1 vfork = c child=12 cmm=1
E 4 11 1 mmap 5000 1000 3 32 ffffffff 0 = 5000
+5000 6000 rw-p 0 0
e 5 12 1 execve = 0 cmm=2 ctid=12 obj=1
S 2 exec 1 start_brk=30000
=400000 401000 r-xp 0 1 rd,mr,mw,me
E 6 12 2 munmap 400000 1000 = 0
-400000
E 7 10 1 munmap 5000 1000 = 0
-5000
X 11 1 0
e 8 10 1 execve = 0 cmm=3 ctid=10 obj=1
S 3 exec 0 start_brk=40000
E 9 10 3 brk 41000 = 41000
+40000 41000 rw-p 0 0
";
    agrees(lines);
    // Space 1 is forgotten with its last user.
    let spaces: Vec<_> = findings(lines).maps.iter().map(|(mm, _)| *mm).collect();
    assert_eq!(spaces, [2, 3]);
}

#[test]
fn mremap_grows_shrinks_moves_and_keeps_offsets() {
    let lines = "\
E 2 10 1 mmap 5000 4000 1 12 3 2000 = 5000 obj=2 acc=r fsize=90000
+5000 9000 r--p 2000 2
E 3 10 1 mremap 5000 4000 6000 0 0 = 5000
+5000 b000 r--p 2000 2
E 4 10 1 mremap 5000 6000 5000 0 0 = 5000
+5000 a000 r--p 2000 2
E 5 10 1 mremap 7000 2000 4000 3 30000 = 30000
+5000 7000 r--p 2000 2
+9000 a000 r--p 6000 2
+30000 34000 r--p 4000 2
E 6 10 1 mremap 30000 4000 1000 3 9000 = 9000
-30000
+9000 a000 r--p 4000 2
E 7 10 1 mremap 9000 1000 1000 5 0 = 50000
+50000 51000 r--p 4000 2
E 8 10 1 mremap 5000 3000 3000 0 0 = 5000
E 9 10 1 mremap c000 1000 2000 1 0 = -14
";
    agrees(lines);
}

#[test]
fn mremap_of_no_length_duplicates_a_shared_mapping() {
    agrees(
        "E 2 10 1 mmap 5000 2000 3 11 3 2000 = 5000 obj=2 acc=rw fsize=90000\n+5000 7000 rw-s 2000 2\n\
         E 3 10 1 mremap 6000 0 2000 1 0 = 30000\n+30000 32000 rw-s 3000 2\n",
    );
}

#[test]
fn a_fixed_move_of_several_areas_keeps_their_holes_and_what_lies_under_them() {
    agrees_after_a_hole(
        "E 4 10 1 mmap 20000 8000 1 32 ffffffff 0 = 20000\n+20000 28000 r--p 0 0\n\
         E 5 10 1 mremap 5000 5000 5000 3 21000 = 21000\n-5000\n-8000\n\
         +20000 21000 r--p 0 0\n+21000 23000 rw-p 0 0\n+23000 24000 r--p 0 0\n+24000 26000 rw-p 0 0\n+26000 28000 r--p 0 0\n",
    );
}

#[test]
fn a_refused_fixed_move_is_believed_about_how_far_it_got_and_nothing_else() {
    let target = "E 4 10 1 mmap 20000 8000 1 32 ffffffff 0 = 20000\n+20000 28000 r--p 0 0\n";
    // The first of two areas moved, the place for the second was cleared.
    let moved = "E 5 10 1 mremap 5000 5000 5000 3 21000 = -12\n-5000\n\
                 +20000 21000 r--p 0 0\n+21000 23000 rw-p 0 0\n+23000 24000 r--p 0 0\n+26000 28000 r--p 0 0\n";
    agrees_after_a_hole(&format!("{target}{moved}"));
    assert_eq!(findings(&format!("{WITH_A_HOLE}{target}{moved}")).told_how_far, 1);

    // A shrinking move: the place was cleared and the tail cut, no more.
    let shrunk = "E 5 10 1 mremap 5000 2000 1000 3 20000 = -12\n+5000 6000 rw-p 0 0\n-20000\n+21000 28000 r--p 0 0\n";
    agrees_after_a_hole(&format!("{target}{shrunk}"));

    // Copied, with the source kept.
    let copied = moved.replace(" 3 21000 = ", " 7 21000 = ").replace("-5000\n", "");
    agrees_after_a_hole(&format!("{target}{copied}"));

    // An old place that wraps is found out when the new one is cleared already.
    let wraps = "E 5 10 1 mremap 5000 ffffffffffffe000 1000 3 20000 = -22\n\
                 -20000\n+21000 28000 r--p 0 0\n";
    agrees_after_a_hole(&format!("{target}{wraps}"));

    // Nothing done is nothing told.
    let nothing = "E 5 10 1 mremap 5000 5000 6000 3 20000 = -14\n";
    agrees_after_a_hole(&format!("{target}{nothing}"));
    assert_eq!(findings(&format!("{WITH_A_HOLE}{target}{nothing}")).told_how_far, 0);

    // What arrived is still compared: it has lost a right on its way.
    let wrong = moved.replace("+21000 23000 rw-p", "+21000 23000 r--p");
    assert_eq!(findings(&format!("{WITH_A_HOLE}{target}{wrong}")).mismatches, 1);
}

#[test]
fn shmdt_takes_what_is_left_of_the_attachment_and_no_more() {
    let lines = "\
E 2 10 1 shmat 8 0 0 = 5000 obj=3 len=3800
+5000 9000 rw-s 0 3
E 3 10 1 shmat 8 0 1000 = 9000 obj=3 len=3800
+9000 d000 r--s 0 3
E 4 10 1 mmap 6000 1000 3 32 ffffffff 0 = 6000
+5000 6000 rw-s 0 3
+6000 7000 rw-p 0 0
+7000 9000 rw-s 2000 3
E 5 10 1 mprotect 9000 1000 3 = -13
E 6 10 1 shmdt 6000 = -22
E 7 10 1 shmdt 5000 = 0
-5000
-7000
E 8 10 1 shmdt 9000 = 0
-9000
";
    agrees(lines);
}

#[test]
fn remap_file_pages_shows_the_file_at_another_offset() {
    agrees(
        "E 2 10 1 mmap 5000 4000 3 11 3 0 = 5000 obj=2 acc=rw fsize=90000\n+5000 9000 rw-s 0 2\n\
         E 3 10 1 remap_file_pages 6000 1000 0 7 0 = 0\n+5000 6000 rw-s 0 2\n+6000 7000 rw-s 7000 2\n+7000 9000 rw-s 2000 2\n\
         E 4 10 1 remap_file_pages 400000 1000 0 7 0 = -22\n",
    );
}

#[test]
fn huge_pages_come_whole() {
    agrees("E 2 10 1 mmap 0 1000 3 40022 ffffffff 0 = 600000 obj=3\n+600000 800000 rw-p 0 3\n");
}

#[test]
fn a_personality_can_make_readable_memory_executable() {
    agrees(
        "E 2 10 1 personality 400000 = 0\nE 3 10 1 mmap 5000 1000 1 32 ffffffff 0 = 5000\n+5000 6000 r-xp 0 0\n\
         E 4 10 1 personality ffffffff = 400000\nE 5 10 1 personality 0 = 400000\n\
         E 6 10 1 mprotect 5000 1000 1 = 0\n+5000 6000 r--p 0 0\n",
    );
}

#[test]
fn what_the_kernel_did_by_itself_is_taken_over() {
    let lines = "\
E 2 10 1 mmap 8000 2000 3 132 ffffffff 0 = 8000
+8000 a000 rw-p 0 0
G 10 1
-8000
+6000 a000 rw-p 0 0
E 3 10 1 munmap 7000 1000 = 0
+6000 7000 rw-p 0 0
+8000 a000 rw-p 0 0
";
    agrees(lines);
}

#[test]
fn a_call_whose_thread_was_killed_is_believed_when_its_change_is_seen() {
    let lines = "\
e 2 10 1 mmap 5000 1000 3 32 ffffffff 0 = ?
G 10 1
+5000 6000 rw-p 0 0
E 3 10 1 mprotect 5000 1000 1 = 0
+5000 6000 r--p 0 0
";
    agrees(lines);
}

#[test]
fn calls_without_a_check_are_compared_at_the_next_one() {
    let lines = "\
e 2 10 1 mmap 5000 2000 3 32 ffffffff 0 = 5000
e 3 10 1 munmap 5000 1000 = 0
E 4 10 1 mmap 9000 1000 3 32 ffffffff 0 = 9000
+6000 7000 rw-p 0 0
+9000 a000 rw-p 0 0
";
    agrees(lines);
    let wrong = lines.replace("+6000 7000 rw-p 0 0\n", "+5000 7000 rw-p 0 0\n");
    assert_eq!(findings(&wrong).mismatches, 1);
}

#[test]
fn what_the_library_refuses_and_the_kernel_did_is_a_mismatch() {
    // No page shows it: nothing was mapped there, and nothing is.
    let found = findings("E 2 10 1 munmap 5001 1000 = 0\n");
    assert_eq!(found.mismatches, 1);
    assert!(found.details[0].refusal.is_some());
    // Also after a call that is not compared.
    let found = findings("e 2 10 1 munmap 5001 1000 = 0\n");
    assert_eq!((found.mismatches, found.compared), (1, 0));
}

#[test]
fn addresses_above_47_bits_and_larger_pages_are_replayed() {
    agrees(
        "E 2 10 1 mmap ff000000000000 1000 3 32 ffffffff 0 = ff000000000000\n\
         +ff000000000000 ff000000001000 rw-p 0 0\n",
    );
    let lines = with_end("E 2 10 1 mmap 30000 1 3 32 ffffffff 0 = 30000\n+30000 40000 rw-p 0 0\n");
    let large = lines.replace("page_size 1000", "page_size 10000").replace("401000", "410000");
    let found = replay(&mut plain(&large).unwrap(), false).unwrap();
    assert!(found.agree(), "{:#?}", found.details);
}
