//! The progress of a run on standard error, and why nothing comes out.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::runtime::{Report, RunningTopology, Summary};
use crate::sink::shows_progress;
use crate::time::{Clock, SystemClock, Timestamp};

/// Wait before the first sentence about why nothing comes out, in milliseconds.
const QUIET_MS: u64 = 3_000;

/// Distance between two plain progress lines, in milliseconds.
const LINE_MS: u64 = 10_000;

/// Distance between two updates of the line on a terminal, in milliseconds.
const UPDATE_MS: u64 = 500;

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    name: String,
    clock: SystemClock,
    shown: Report,
    shown_ms: u64,
    /// When rows last came out, and what was said about it since.
    moved_ms: u64,
    explained: String,
    /// The watermark that holds windows back, and since when.
    held: Option<Timestamp>,
    held_ms: u64,
    /// It has been said that event time goes on.
    has_gone_on: bool,
    /// It has been said what an old epoch waits for.
    has_waited: bool,
}

impl Progress {
    pub(super) fn new(name: &str, quiet: bool) -> Self {
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
            held: None,
            held_ms: 0,
            has_gone_on: false,
            has_waited: false,
        }
    }

    pub(super) fn show(&mut self, running: &RunningTopology) {
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
        let has_waited = std::mem::replace(&mut self.has_waited, report.waiting.is_some());
        if let (false, Some(waiting)) = (has_waited, &report.waiting) {
            self.say(&format!("waiting: {waiting}"));
        }
        let held = report.nodes.iter().find(|node| node.holding.is_some()).and_then(|node| node.watermark);
        if held != self.held {
            (self.held, self.held_ms) = (held, now);
        }
        if report.rows_written() != self.shown.rows_written() || report.nodes.is_empty() {
            self.moved_ms = now;
            self.explained.clear();
            return;
        }
        if now.saturating_sub(self.moved_ms) < QUIET_MS {
            return;
        }
        let goes_on = now.saturating_sub(self.held_ms) < QUIET_MS;
        let reason = reason(report, &self.shown, goes_on);
        // Event time that goes on is nothing to worry about: said once, and not for every window.
        if reason != self.explained && !(reason == GOES_ON && self.has_gone_on) {
            self.say(&format!("waiting: {reason}"));
            self.has_gone_on |= reason == GOES_ON;
            self.explained = reason;
        }
    }

    /// The last line, so that nothing is dropped in silence.
    pub(super) fn sum_up(&self, summary: &Summary) {
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

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            shows_progress(None);
            bar.finish_and_clear();
        }
    }
}

/// The reason when nothing holds the windows back.
const GOES_ON: &str = "event time goes on, and no window has ended in the last seconds";

/// The likeliest reason why no row comes out.
fn reason(report: &Report, before: &Report, goes_on: bool) -> String {
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
        Some(_) if goes_on => GOES_ON.to_owned(),
        Some((node, holding)) => format!("no window has closed: `{}` {holding}", node.name),
        None => "records come in, and no row is ready yet".to_owned(),
    }
}
