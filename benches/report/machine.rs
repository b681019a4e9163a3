//! Where and when it was measured.

use std::fs;
use std::process::Command;

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.ok().filter(|said| !said.is_empty()).unwrap_or_else(|| format!("{program}: unknown"))
}

/// A sentence.
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("a processor of unknown kind", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{date}, {cores} cores of {model}, {system}, {rustc}",
        date = said("date", &["+%Y-%m-%d"]),
        system = said("uname", &["-sr"]),
        rustc = said("rustc", &["--version"]),
    )
}
