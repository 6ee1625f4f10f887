//! The command line of a topology binary: flags, progress on standard error, Ctrl-C, exit codes.
//!
//! Results go to standard output and nothing else does, so `job > results` stays clean.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::runtime::{Report, RunningTopology, Summary, discard};
use crate::sink::{shows_progress, with_clear_terminal};
use crate::time::{Clock, SystemClock};
use crate::topology::Topology;

/// The flags that every topology takes; flatten them into a program's own with `#[command(flatten)]`.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Instances of each stage; the number of cores unless given.
    #[arg(long, value_name = "N")]
    pub parallelism: Option<usize>,
    /// Milliseconds between two epochs.
    #[arg(long, value_name = "N")]
    pub epoch_ms: Option<u64>,
    /// Keep every epoch and the state in this directory, and go on with what an earlier run left there.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Forget what an earlier run left in the state directory, and begin at the beginning.
    #[arg(long, requires = "state")]
    pub no_resume: bool,
    /// No progress on standard error.
    #[arg(long, short)]
    pub quiet: bool,
}

impl Options {
    /// The engine's configuration with these flags applied.
    #[must_use]
    pub fn config(&self) -> EngineConfig {
        let mut config = EngineConfig::default();
        if let Some(parallelism) = self.parallelism {
            config.parallelism = parallelism;
        }
        if let Some(epoch_ms) = self.epoch_ms {
            config.epoch_interval_ms = epoch_ms;
        }
        config.state_dir.clone_from(&self.state);
        config
    }
}

#[derive(Parser)]
#[command(about = "A headwater topology")]
struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Run the topology (the default).
    Run,
    /// Print what reads what, and where rows cross between instances.
    Plan,
}

/// Runs a topology as the whole of a program: `run` (the default) or `plan`, with the flags of [`Options`].
///
/// # Errors
/// The run's own.
pub fn run(topology: Topology) -> Result<()> {
    let Command { action, options } = Command::parse();
    match action {
        Some(Action::Plan) => {
            write!(anstream::stdout(), "{}", topology.describe())?;
            Ok(())
        }
        Some(Action::Run) | None => execute(topology, &options).map(|_| ()),
    }
}

/// Runs a topology to its end: progress on standard error, and the first Ctrl-C ends the input.
///
/// # Errors
/// The topology cannot start, or a source, operator or sink failed.
pub fn execute(topology: Topology, options: &Options) -> Result<Summary> {
    let name = topology.name().to_owned();
    if let (Some(directory), true) = (&options.state, options.no_resume) {
        discard(directory)?;
    }
    let running = topology.start(options.config())?;
    let place = options.state.as_deref().unwrap_or(Path::new("")).display();
    if let (Some(epoch), false) = (running.resumed(), options.quiet) {
        let read = running.report().records_read();
        let _ = writeln!(
            anstream::stderr(),
            "{name}: going on behind epoch {epoch} in {place}, {read} read before"
        );
    }
    let stopper = running.stopper();
    let interrupts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&interrupts);
    // A second handler in one process cannot be installed; the first then keeps its topology.
    let _ = ctrlc::set_handler(move || {
        if counter.fetch_add(1, SeqCst) > 0 {
            #[expect(clippy::disallowed_methods, reason = "the second Ctrl-C asks for just that")]
            std::process::exit(130);
        }
        with_clear_terminal(|| {
            let _ = writeln!(anstream::stderr(), "stopping; press Ctrl-C again to abort");
        });
        stopper.stop();
    });
    let mut progress = Progress::new(&name, options.quiet);
    while !running.wait_for(Duration::from_millis(50)) {
        progress.show(&running);
    }
    progress.finish();
    let summary = running.wait()?;
    progress.sum_up(&summary);
    if interrupts.load(SeqCst) > 0 {
        let _ = match options.state {
            Some(_) => writeln!(
                anstream::stderr(),
                "stopped behind epoch {}; run the same command again to go on",
                summary.epoch
            ),
            None => writeln!(
                anstream::stderr(),
                "stopped before the end of the input, everything read is finished; run the same command again \
                 to start over from the beginning, or with --state DIR to be able to go on"
            ),
        };
    }
    Ok(summary)
}

/// Runs `program` and turns an error into a sentence on standard error and an exit code: 0 finished, 1
/// failed, 2 wrong use.
pub fn main(program: impl FnOnce() -> Result<()>) -> ExitCode {
    match program() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "error: {error}");
            match error {
                Error::Config(_) | Error::Topology { .. } => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Wait before the first sentence about why nothing comes out, in milliseconds.
const QUIET_MS: u64 = 3_000;

/// Distance between two plain progress lines, in milliseconds.
const LINE_MS: u64 = 10_000;

/// Distance between two updates of the line on a terminal, in milliseconds.
const UPDATE_MS: u64 = 500;

struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    name: String,
    clock: SystemClock,
    shown: Report,
    shown_ms: u64,
    /// When rows last came out, and what was said about it since.
    moved_ms: u64,
    explained: String,
}

impl Progress {
    fn new(name: &str, quiet: bool) -> Self {
        let terminal =
            std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // A line that is cut to the width of the terminal: one that wraps cannot be taken back.
            bar.set_style(
                ProgressStyle::with_template("{wide_msg}").unwrap_or(ProgressStyle::default_spinner()),
            );
            let shown = bar.clone();
            shows_progress(Some(Arc::new(move |print| shown.suspend(print))));
            bar
        });
        Progress {
            bar,
            quiet,
            name: name.to_owned(),
            clock: SystemClock::default(),
            shown: Report::default(),
            shown_ms: 0,
            moved_ms: 0,
            explained: String::new(),
        }
    }

    fn show(&mut self, running: &RunningTopology) {
        let now = self.clock.monotonic_ms();
        let interval = if self.bar.is_some() { UPDATE_MS } else { LINE_MS };
        let due = now.saturating_sub(self.shown_ms) >= interval;
        if self.quiet || (!due && now.saturating_sub(self.moved_ms) < QUIET_MS) {
            return;
        }
        let report = running.report();
        self.explain(&report, now);
        if due {
            let line = self.line(&report, now);
            match &self.bar {
                Some(bar) => {
                    bar.set_message(line);
                    bar.tick();
                }
                None => self.say(&line),
            }
            self.shown = report;
            self.shown_ms = now;
        }
    }

    fn line(&self, report: &Report, now: u64) -> String {
        let seconds = (now - self.shown_ms).max(1) as f64 / 1000.0;
        let rate = |new: u64, old: u64| (new.saturating_sub(old) as f64 / seconds).round() as u64;
        let mut line = format!(
            "{} {:>3} s  in {} ({}/s)  out {} ({}/s)  epoch {}",
            self.name,
            now / 1000,
            report.records_read(),
            rate(report.records_read(), self.shown.records_read()),
            report.rows_written(),
            rate(report.rows_written(), self.shown.rows_written()),
            report.epoch,
        );
        if let Some(lag) = self.lag(report) {
            line.push_str(&format!("  lag {lag:.1} s"));
        }
        for (word, count) in
            [("late", report.late()), ("rejected", report.rejected()), ("restarts", report.restarts)]
        {
            if count > 0 {
                line.push_str(&format!("  {word} {count}"));
            }
        }
        line
    }

    /// How far event time is behind the clock on the wall; nothing for data of another day.
    fn lag(&self, report: &Report) -> Option<f64> {
        let watermark =
            report.nodes.iter().filter_map(|node| node.watermark).filter(|time| *time != i64::MAX).max()?;
        let lag = self.clock.wall_ms() - watermark;
        (0..86_400_000).contains(&lag).then_some(lag as f64 / 1000.0)
    }

    /// Says why nothing comes out, once per reason.
    fn explain(&mut self, report: &Report, now: u64) {
        if report.rows_written() != self.shown.rows_written() || report.nodes.is_empty() {
            self.moved_ms = now;
            self.explained.clear();
            return;
        }
        if now.saturating_sub(self.moved_ms) < QUIET_MS {
            return;
        }
        let reason = reason(report, &self.shown);
        if reason != self.explained {
            self.say(&format!("waiting: {reason}"));
            self.explained = reason;
        }
    }

    /// The last line, so that nothing is dropped in silence.
    fn sum_up(&self, summary: &Summary) {
        if self.quiet {
            return;
        }
        let seconds = self.clock.monotonic_ms() as f64 / 1000.0;
        let _ = writeln!(
            anstream::stderr(),
            "{} finished in {seconds:.1} s: {} read, {} rows out, {} late, {} rejected",
            self.name,
            summary.records_read(),
            summary.rows_written(),
            summary.late(),
            summary.rejected()
        );
        for (name, rejection) in
            summary.nodes.iter().filter_map(|node| Some((&node.name, node.rejection.as_ref()?)))
        {
            let _ = writeln!(anstream::stderr(), "the first record that `{name}` rejected: {rejection}");
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| {
                let _ = writeln!(anstream::stderr(), "{line}");
            }),
            None => {
                let _ = writeln!(anstream::stderr(), "{line}");
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            shows_progress(None);
            bar.finish_and_clear();
        }
    }
}

/// The likeliest reason why no row comes out.
fn reason(report: &Report, before: &Report) -> String {
    if report.records_read() == before.records_read() {
        let sources: Vec<_> = report
            .nodes
            .iter()
            .filter(|node| node.role == "source")
            .map(|node| format!("`{}`", node.name))
            .collect();
        return format!("no records from {}", sources.join(", "));
    }
    match report.nodes.iter().find_map(|node| node.holding.as_ref().map(|holding| (node, holding))) {
        Some((node, holding)) => format!("no window has closed: `{}` {holding}", node.name),
        None => "records come in, and no row is ready yet".to_owned(),
    }
}
