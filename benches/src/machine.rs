//! Where and when a measurement was made, for the line above its table.

use serde::Serialize;
use std::path::Path;
use std::process::Command;

impl std::fmt::Display for Circumstances {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Circumstances { machine, date, commit, rustc, command, load } = self;
        write!(f, "{machine}; load before {load}; {date} UTC; commit {commit}; {rustc}\n`{command}`")
    }
}

/// The circumstances of a measurement; what cannot be found out is an empty string.
#[derive(Clone, Debug, Serialize)]
pub struct Circumstances {
    /// Processor, cores and memory.
    pub machine: String,
    /// UTC.
    pub date: String,
    /// Short commit, with `+` when the checkout has changes.
    pub commit: String,
    /// The compiler of ours and of the peers.
    pub rustc: String,
    /// The command line that was given.
    pub command: String,
    /// Load average of the last minute before the start: other work makes walls longer and CPU times worse.
    pub load: String,
}

impl Circumstances {
    /// Looks around; `root` is the checkout.
    pub fn now(root: &Path) -> Circumstances {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let memory_kib: u64 =
            field("/proc/meminfo", "MemTotal").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let processor = field("/proc/cpuinfo", "model name");
        let changed = !said(root, "git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        let commit = said(root, "git", &["rev-parse", "--short", "HEAD"]);
        Circumstances {
            machine: format!("{processor}, {cores} cores, {} GiB", (memory_kib + (1 << 19)) >> 20),
            date: said(root, "date", &["-u", "+%Y-%m-%d %H:%M"]),
            commit: format!("{commit}{}", if changed { "+" } else { "" }),
            rustc: said(root, "rustc", &["--version"]),
            command: command_line(),
            load: std::fs::read_to_string("/proc/loadavg")
                .unwrap_or_default()
                .split(' ')
                .next()
                .unwrap_or_default()
                .into(),
        }
    }
}

/// Program and arguments as they were given, without the folder of the program.
fn command_line() -> String {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// The first value of `key` in a file of `key: value` lines.
fn field(path: &str, key: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let values = text.lines().filter_map(|line| line.split_once(':'));
    values.filter(|(k, _)| k.trim() == key).map(|(_, v)| v.trim().to_string()).next().unwrap_or_default()
}

fn said(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default()
}
