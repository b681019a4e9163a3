//! The first process of a virtual machine: mounts what tests need, runs the programs
//! on the kernel's command line, reports, and turns the machine off.
//!
//! `tests/vm/run` starts it. What it prints at the start of a line is what that looks
//! for: `VM-KERNEL`, `VM-STATUS program status`, and `VM-EXIT-STATUS status` in the end.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "a test program: a panic ends the machine, and that is a failure"
)]

#[cfg(target_os = "linux")]
use guest::run;

#[cfg(not(target_os = "linux"))]
fn run() {}

fn main() {
    run();
}

#[cfg(target_os = "linux")]
mod guest {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    use rustix::system::{RebootCommand, reboot};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, exit};
    use std::{env, fs, path::Path};

    pub(super) fn run() {
        if std::process::id() != 1 {
            eprintln!("vm-init: this is the first process of a virtual machine; see tests/vm/run");
            exit(2);
        }
        mounted("devtmpfs", "/dev", "devtmpfs");
        if let Ok(console) = fs::File::options().read(true).write(true).open("/dev/console") {
            let _ = rustix::stdio::dup2_stdin(&console);
            let _ = rustix::stdio::dup2_stdout(&console);
            let _ = rustix::stdio::dup2_stderr(&console);
        }
        mounted("proc", "/proc", "proc");
        mounted("sysfs", "/sys", "sysfs");
        mounted("securityfs", "/sys/kernel/security", "securityfs");
        mounted("debugfs", "/sys/kernel/debug", "debugfs");
        mounted("tmpfs", "/run", "tmpfs");
        println!("VM-KERNEL {}", read("/proc/version").trim());

        let kind = env::var("VM_KIND").unwrap_or_default();
        let disk = if kind == "uml" { "/dev/ubda" } else { "/dev/nvme0n1" };
        let has_disk = Path::new(disk).exists() && mounted(disk, "/run/disk", "ext4");
        let hidden = if kind == "uml" { above_memory() } else { env::var("VM_HIDDEN").ok() };

        // The arguments of this process also have the parameters that the kernel did
        // not know. The programs come after ` -- `, with a `+` between two.
        let line = read("/proc/cmdline");
        let programs = line.split_once(" -- ").map_or("", |(_, programs)| programs);
        let mut worst = i32::from(programs.trim().is_empty());
        for program in programs.trim().split(" + ") {
            let mut words = program.split_whitespace().filter(|word| !word.starts_with("console="));
            let Some(name) = words.next() else { continue };
            let mut command = Command::new(name);
            command
                .args(words)
                .env("RUST_TEST_THREADS", "1")
                .env("TMPDIR", "/run")
                .current_dir("/");
            if let Some(hidden) = &hidden {
                command.env("VM_HIDDEN", hidden);
            }
            if has_disk {
                command.env("VM_DISK", "/run/disk");
            }
            let status = match command.status() {
                Ok(status) => status.code().unwrap_or(128 + status.signal().unwrap_or(0)),
                Err(error) => {
                    println!("vm-init: {name}: {error}");
                    127
                }
            };
            println!("VM-STATUS {name} {status}");
            worst = worst.max(status);
        }
        if has_disk {
            let _ = unmount("/run/disk", UnmountFlags::empty());
        }
        println!("VM-EXIT-STATUS {worst}");
        rustix::fs::sync();
        let _ = reboot(RebootCommand::PowerOff);
    }

    fn read(path: &str) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    fn mounted(source: &str, target: &str, kind: &str) -> bool {
        let _ = fs::create_dir_all(target);
        match mount(source, target, kind, MountFlags::empty(), None) {
            // The kernel may have done it already.
            Ok(()) | Err(rustix::io::Errno::BUSY) => true,
            Err(error) => {
                println!("vm-init: no {kind} at {target}: {error}");
                false
            }
        }
    }

    /// Where user-mode-linux has the file of its parameter `iomem=`: one page above
    /// the end of its memory.
    fn above_memory() -> Option<String> {
        let mut spanned = 0;
        let mut end = 0_u64;
        for line in read("/proc/zoneinfo").lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["spanned", pages] => spanned = pages.parse().ok()?,
                ["start_pfn:", first] if spanned > 0 => {
                    end = end.max(first.parse::<u64>().ok()? + spanned);
                }
                _ => {}
            }
        }
        Some(format!("{:#x}", (end + 1) << 12))
    }
}
