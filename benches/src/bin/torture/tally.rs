//! What a torture came to, as one row of a table.

use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) cycles: u64,
    pub(crate) runs: u64,
    pub(crate) kills: u64,
    /// Kills of runs that were not ready.
    pub(crate) in_recovery: u64,
    /// Kills by fail points.
    pub(crate) aborted: u64,
    pub(crate) pauses: u64,
    pub(crate) stops: u64,
    /// How often the state store was spoiled, and how often the job went on from a savepoint.
    pub(crate) damaged: u64,
    pub(crate) moved: u64,
    pub(crate) recoveries: Vec<Duration>,
    pub(crate) segments_max: usize,
    pub(crate) files_max: usize,
    pub(crate) looks: u64,
    /// How often each fail point was armed and hit.
    points: BTreeMap<&'static str, (u64, u64)>,
}

impl Tally {
    pub(crate) fn cycle(&mut self, files: usize, looks: u64) {
        self.cycles += 1;
        self.files_max = self.files_max.max(files);
        self.looks += looks;
    }

    pub(crate) fn armed(&mut self, name: &'static str, hit: bool) {
        let (armed, hits) = self.points.entry(name).or_default();
        *armed += 1;
        *hits += u64::from(hit);
    }

    pub(crate) fn killed(&mut self, was_ready: bool, aborted: bool) {
        self.kills += 1;
        self.in_recovery += u64::from(!was_ready);
        self.aborted += u64::from(aborted);
    }

    /// The median of the last recoveries.
    pub(crate) fn recovery_typical(&self) -> Duration {
        let from = self.recoveries.len().saturating_sub(15);
        median(&self.recoveries[from..]).unwrap_or(Duration::from_millis(30))
    }

    pub(crate) fn print(&self, seed: u64, took: Duration, violations: usize) {
        let ms = |time: Duration| time.as_millis();
        let median = median(&self.recoveries).unwrap_or_default();
        let most = self.recoveries.iter().max().copied().unwrap_or_default();
        println!();
        println!(
            "| seed | cycles | runs | kills | in recovery | by fail point | SIGSTOP | stops | damaged | moved | recovery ms median / max \
             | segments max | files max | looks | seconds | kills/s | violations |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        println!(
            "| {seed} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} / {} | {} | {} | {} | {:.0} | {:.1} | {violations} |",
            self.cycles,
            self.runs,
            self.kills,
            self.in_recovery,
            self.aborted,
            self.pauses,
            self.stops,
            self.damaged,
            self.moved,
            ms(median),
            ms(most),
            self.segments_max,
            self.files_max,
            self.looks,
            took.as_secs_f64(),
            self.kills as f64 / took.as_secs_f64().max(0.001),
        );
        if !self.points.is_empty() {
            let points = self.points.iter().map(|(name, (armed, hits))| format!("{name} {hits}/{armed}"));
            println!("\nfail points, hit/armed: {}", points.collect::<Vec<_>>().join(", "));
        }
    }
}

fn median(times: &[Duration]) -> Option<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}
