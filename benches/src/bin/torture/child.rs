//! A run of the job as a process of its own: what it says, and how it ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::oracle::Done;

/// What a child has said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// The epoch that it goes on behind, what was read before, and how long that took.
    pub(crate) ready: Option<(u64, u64, Duration)>,
    /// The newest epoch that it knows to be committed.
    pub(crate) epoch: u64,
    pub(crate) done: Option<Done>,
    closed: bool,
}

/// How a child came to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// It said that it was done.
    Done(Done),
    Killed,
    /// By the fail point that was armed.
    Aborted,
    /// With an error, a panic, or a signal that nobody sent.
    Failed(String),
}

pub(crate) struct Child {
    process: std::process::Child,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    errors: PathBuf,
    killed: bool,
}

impl Child {
    /// Starts this binary as a child.
    pub(crate) fn start(
        arguments: &[String],
        variables: &[(&str, String)],
        errors: &Path,
    ) -> std::io::Result<Self> {
        let started = now();
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--job")
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(errors)?)
            .spawn()?;
        let heard = Arc::<(Mutex<Heard>, Condvar)>::default();
        let (shared, out) = (Arc::clone(&heard), process.stdout.take());
        std::thread::spawn(move || {
            for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
                guard(&shared.0).hear(&line, started);
                shared.1.notify_all();
            }
            guard(&shared.0).closed = true;
            shared.1.notify_all();
        });
        Ok(Child { process, heard, errors: errors.to_owned(), killed: false })
    }

    pub(crate) fn heard(&self) -> Heard {
        *guard(&self.heard.0)
    }

    /// Waits until it has said something, has ended, or time is up; true if it has said it.
    pub(crate) fn wait_for(&self, limit: Duration, said: impl Fn(&Heard) -> bool) -> bool {
        let waited = self
            .heard
            .1
            .wait_timeout_while(guard(&self.heard.0), limit, |heard| !heard.closed && !said(heard));
        said(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Waits for its end; true if it has ended.
    pub(crate) fn wait_end(&self, limit: Duration) -> bool {
        self.wait_for(limit, |heard| heard.closed)
    }

    pub(crate) fn kill(&mut self) {
        self.killed = true;
        // It may have ended already.
        let _ = self.process.kill();
    }

    /// Asks it to stop behind an epoch.
    pub(crate) fn ask_to_stop(&mut self) {
        if let Some(input) = &mut self.process.stdin {
            // It may have ended already.
            let _ = writeln!(input, "stop").and_then(|()| input.flush());
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) -> bool {
        let process = self.process.id().to_string();
        Command::new("kill")
            .arg(format!("-{name}"))
            .arg(process)
            .status()
            .is_ok_and(|status| status.success())
    }

    /// How it ended, once it has.
    pub(crate) fn end(mut self) -> (Heard, End) {
        let status = self.process.wait();
        self.wait_end(Duration::from_secs(10));
        let heard = self.heard();
        let end = match (status, heard.done) {
            (Ok(status), Some(done)) if status.success() => End::Done(done),
            (Ok(status), _) if self.killed && status.signal() == Some(9) => End::Killed,
            (Ok(status), _) => self.judge(status),
            (Err(error), _) => End::Failed(error.to_string()),
        };
        (heard, end)
    }

    fn judge(&self, status: ExitStatus) -> End {
        let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
        if status.signal() == Some(6) && errors.lines().any(|line| line.starts_with("fail point ")) {
            return End::Aborted;
        }
        let said: Vec<_> = errors.lines().take(6).collect();
        End::Failed(format!("{status}: {}", said.join(" | ")))
    }
}

impl Heard {
    fn hear(&mut self, line: &str, started: Instant) {
        let mut words = line.split(' ');
        let word = words.next();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        match word {
            Some("ready") => self.ready = Some((number(), number(), started.elapsed())),
            Some("epoch") => self.epoch = number(),
            Some("done") => self.done = Some(Done { epoch: number(), read: number(), late: number() }),
            _ => {}
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "a test of processes lives in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a test of processes lives in real time")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
