//! One cycle: a job is run, killed and started again until it is done, and then its output is checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater::failpoint::POINTS;

use super::child::{Child, End, Heard, pause};
use super::data::{Random, Shape};
use super::job::state_of;
use super::oracle::{self, log_epoch};
use super::tally::Tally;
use super::watch::Watch;

/// How the next run is to end.
#[derive(Clone, Debug)]
enum Plan {
    /// Killed this long after it was ready.
    Kill(Duration),
    /// Killed this long after its start, which is before it is ready.
    KillEarly(Duration),
    /// By a fail point, if it is passed so often in time, and so long after.
    Point { name: &'static str, count: u64, wait_ms: u64 },
    /// Halted while a second instance tries to take over, then killed.
    Pause(Duration),
    /// Asked to stop.
    Stop(Duration),
    /// Not at all: it is to be done.
    Finish,
}

/// Longest that a child may take for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a fail point is waited for behind *ready*.
const POINT_LIMIT: Duration = Duration::from_millis(220);

/// What a second instance must say.
const IN_USE: &str = "is in use by another run: stop that run, or configure another directory";

pub(crate) struct Cycle<'a> {
    home: PathBuf,
    shape: Shape,
    random: Random,
    tally: &'a mut Tally,
    violations: Vec<String>,
    /// The newest epoch that is known to be committed.
    committed: u64,
    /// Runs that are still to be killed before they are ready.
    storm: u64,
    /// The next recovery has something to copy.
    copies: bool,
    /// Without snapshots nothing is damaged.
    has_snapshots: bool,
    /// The state store was damaged, and no run has been ready since.
    damaged: bool,
    /// The savepoint that the job goes on from in a new directory; whether a run from it was ready.
    moved: Option<(PathBuf, bool)>,
    trace: bool,
}

impl<'a> Cycle<'a> {
    pub(crate) fn new(home: &Path, seed: u64, cycle: u64, trace: bool, tally: &'a mut Tally) -> Self {
        let (shape, mut random) = (Shape::draw(seed, cycle), Random::new(seed, 2 * cycle + 1));
        let home = home.to_owned();
        let has_snapshots = random.below(4) > 0;
        Cycle {
            home,
            shape,
            random,
            tally,
            violations: Vec::new(),
            committed: 0,
            storm: 0,
            copies: false,
            has_snapshots,
            damaged: false,
            moved: None,
            trace,
        }
    }

    /// Runs the job to its end with at most so many kills; returns what was wrong.
    pub(crate) fn run(mut self, kills_max: u64) -> std::io::Result<Vec<String>> {
        // Remains of an earlier test would be found as output.
        if self.home.exists() {
            fs::remove_dir_all(&self.home)?;
        }
        fs::create_dir_all(&self.home)?;
        let watch = Watch::start(&self.home);
        let before = self.tally.kills;
        let kills_max = self.random.below(kills_max).max(kills_max / 2);
        let done = loop {
            let plan = if self.tally.kills - before >= kills_max { Plan::Finish } else { self.draw() };
            let end = self.attempt(&plan)?;
            self.violations.extend(watch.violations());
            self.check_log();
            if !self.violations.is_empty() {
                break None;
            }
            if let (Some(done), false) = (end, matches!(plan, Plan::Stop(_))) {
                break Some(done);
            }
            match self.random.below(40) {
                0..5 => self.damage()?,
                5 => self.move_on()?,
                _ => {}
            }
        };
        let (files, looks, violations) = watch.finish();
        self.violations.extend(violations);
        if let Some(done) = done {
            self.violations.extend(oracle::check(&self.shape, &self.home, done));
        }
        self.tally.cycle(files, looks);
        self.violations.sort();
        self.violations.dedup();
        Ok(self.violations)
    }

    fn draw(&mut self) -> Plan {
        let random = &mut self.random;
        let recovery_us = self.tally.recovery_typical().as_micros() as u64;
        if std::mem::take(&mut self.copies) {
            return Plan::Point { name: "recover.copied", count: 1, wait_ms: 0 };
        }
        let rare = if self.damaged { "recover.restore" } else { "recover.seed" };
        let is_due = self.damaged || self.moved.as_ref().is_some_and(|(_, is_ready)| !is_ready);
        if is_due && cfg!(feature = "failpoints") && random.below(2) == 0 {
            let names: Vec<_> = POINTS.iter().copied().filter(|name| name.starts_with(rare)).collect();
            return point(random, &names);
        }
        if self.storm == 0 && random.below(8) == 0 {
            self.storm = 1 + random.below(3);
        }
        if self.storm > 0 {
            self.storm -= 1;
            let names: Vec<_> = POINTS.iter().copied().filter(|name| name.starts_with("recover")).collect();
            return if cfg!(feature = "failpoints") && random.below(2) == 0 {
                point(random, &names)
            } else {
                Plan::KillEarly(Duration::from_micros(random.below(recovery_us)))
            };
        }
        let after = |random: &mut Random| {
            let most = random.one_of(&[20, 60, 120, 240]);
            Duration::from_micros(random.below(most * 1_000))
        };
        match random.below(40) {
            0 => Plan::Pause(after(random)),
            1 | 2 => Plan::Stop(after(random)),
            3..18 if cfg!(feature = "failpoints") => point(random, POINTS),
            _ => Plan::Kill(after(random)),
        }
    }

    /// How the next run goes about the job: every run in another way.
    fn arguments(&mut self) -> Vec<String> {
        let random = &mut self.random;
        let mut arguments = self.shape.arguments();
        arguments.extend([
            format!("--home={}", self.home.display()),
            format!("--parallelism={}", random.one_of(&[1, 2, 2, 3, 4])),
            format!("--epoch-ms={}", random.one_of(&[5, 10, 20, 50, 100])),
            format!("--batch-rows={}", random.one_of(&[7, 64, 300, 1_024])),
            format!("--channel-messages={}", random.one_of(&[1, 2, 8, 64])),
            format!("--state-bytes={}", random.one_of(&[1_u64 << 20, 1 << 20, 2 << 20, 64 << 20])),
            format!("--snapshot-ms={}", random.one_of(&[1, 20, 100, 100_000])),
            format!("--snapshots={}", if self.has_snapshots { random.one_of(&[1, 2, 3]) } else { 0 }),
        ]);
        arguments.extend(self.moved.iter().map(|(from, _)| format!("--from={}", from.display())));
        arguments
    }

    /// One run. What it came to, if it was done.
    fn attempt(&mut self, plan: &Plan) -> std::io::Result<Option<oracle::Done>> {
        let arguments = self.arguments();
        let mut variables = vec![
            ("HEADWATER_SEGMENT_BYTES", self.random.one_of(&["", "40000", "400000"]).to_owned()),
            ("HEADWATER_KEPT_BYTES", self.random.one_of(&["", "", "300", "3000"]).to_owned()),
        ];
        if matches!(plan, Plan::Finish) {
            // What is left of the log at the end is to be as with any job.
            variables.clear();
        }
        if let Plan::Point { name, count, wait_ms } = plan {
            variables.push(("HEADWATER_FAIL", format!("{name}:{count}:{wait_ms}")));
        }
        let mut child = Child::start(&arguments, &variables, &self.home.join("errors.txt"))?;
        match plan {
            Plan::KillEarly(after) => {
                child.wait_end(*after);
                child.kill();
            }
            Plan::Finish => {
                child.wait_end(LIMIT);
            }
            Plan::Point { name, .. } => {
                if child.wait_for(LIMIT, |heard| heard.ready.is_some()) {
                    // The last epoch comes when everything is done.
                    child.wait_end(if *name == "epoch.last" { LIMIT } else { POINT_LIMIT });
                }
            }
            Plan::Kill(after) | Plan::Pause(after) | Plan::Stop(after) => {
                if child.wait_for(LIMIT, |heard| heard.ready.is_some()) {
                    child.wait_end(*after);
                }
            }
        }
        match plan {
            Plan::Pause(_) => self.pause(&mut child, &arguments)?,
            Plan::Stop(_) => {
                child.ask_to_stop();
                if !child.wait_end(LIMIT) {
                    self.violations.push("a run did not stop".to_owned());
                }
            }
            _ => {}
        }
        if matches!(plan, Plan::Finish) && !child.wait_end(Duration::ZERO) {
            self.violations.push(format!("a run that nobody disturbed was not done in {LIMIT:?}"));
        }
        child.kill();
        let (heard, end) = child.end();
        if self.trace {
            eprintln!("  {plan:?} {heard:?} {end:?} {:?}", &arguments[9..]);
        }
        Ok(self.judge(plan, &heard, end))
    }

    /// Spoils the state store, and sometimes the newest snapshot: another one, or the whole log, is left.
    fn damage(&mut self) -> std::io::Result<()> {
        let (state, store) = (state_of(&self.home), state_of(&self.home).join("state"));
        if !self.has_snapshots || !store.join("CURRENT").exists() {
            return Ok(());
        }
        match self.random.below(4) {
            0 => fs::remove_file(store.join("CURRENT"))?,
            1 => fs::remove_dir_all(&store)?,
            2 => fs::write(store.join("CURRENT"), "MANI")?,
            _ => fs::write(state.join("state.damaged"), "worms")?,
        }
        let names = fs::read_dir(state.join("snapshots")).into_iter().flatten().flatten();
        let mut epochs: Vec<u64> = names.filter_map(|name| name.file_name().to_str()?.parse().ok()).collect();
        epochs.sort_unstable();
        if let (Some(newest), 2.., 0) = (epochs.last(), epochs.len(), self.random.below(2)) {
            fs::write(state.join(format!("snapshots/{newest}/manifest")), "HEADSNAP")?;
        }
        self.damaged = true;
        self.tally.damaged += 1;
        Ok(())
    }

    /// Goes on in a new directory, from a savepoint of the old one.
    fn move_on(&mut self) -> std::io::Result<()> {
        if self.committed == 0 || self.moved.is_some() {
            return Ok(());
        }
        let mut arguments = self.arguments();
        arguments.push("--savepoint=moved".to_owned());
        let child = Child::start(&arguments, &[], &self.home.join("savepoint.txt"))?;
        child.wait_end(LIMIT);
        if let (_, End::Failed(said)) = child.end() {
            self.violations.push(format!("no savepoint could be made: {said}"));
            return Ok(());
        }
        let old = self.home.join("moved");
        fs::rename(state_of(&self.home), &old)?;
        self.moved = Some((old.join("savepoints/moved"), false));
        self.damaged = false;
        self.tally.moved += 1;
        Ok(())
    }

    /// Halts a run, lets another one try its directory, and lets it go on.
    fn pause(&mut self, child: &mut Child, arguments: &[String]) -> std::io::Result<()> {
        if child.heard().done.is_some() || !child.signal("STOP") {
            return Ok(());
        }
        let second = Child::start(arguments, &[], &self.home.join("second.txt"))?;
        second.wait_end(LIMIT);
        match second.end() {
            (Heard { ready: None, .. }, End::Failed(said)) if said.contains(IN_USE) => self.tally.pauses += 1,
            // The first was done when it was halted.
            (_, End::Done(_)) if child.heard().done.is_some() => {}
            (_, end) => self.violations.push(format!("O4 a second run was not refused: {end:?}")),
        }
        child.signal("CONT");
        let before = child.heard().epoch;
        if !child.wait_for(LIMIT, |heard| heard.epoch > before || heard.done.is_some()) {
            self.violations.push("a run that was halted did not go on".to_owned());
        }
        Ok(())
    }

    fn judge(&mut self, plan: &Plan, heard: &Heard, end: End) -> Option<oracle::Done> {
        self.tally.runs += 1;
        if let Some((epoch, _, took)) = heard.ready {
            self.tally.recoveries.push(took);
            self.damaged = false;
            if let Some((_, is_ready)) = &mut self.moved {
                *is_ready = true;
            }
            if epoch != self.committed {
                let before = self.committed;
                self.violations
                    .push(format!("O4 a run goes on behind epoch {epoch}, committed was {before}"));
            }
        }
        self.committed = self.committed.max(heard.epoch);
        if let Plan::Point { name, .. } = plan {
            self.tally.armed(name, matches!(end, End::Aborted));
            // Only behind these does a recovery find a commit that may be in memory only.
            let is_unsure = matches!(*name, "commit.written" | "commit.synced");
            self.copies = is_unsure && matches!(end, End::Aborted);
        }
        match end {
            End::Done(done) => {
                self.tally.stops += u64::from(matches!(plan, Plan::Stop(_)));
                self.committed = self.committed.max(done.epoch);
                Some(done)
            }
            End::Killed | End::Aborted => {
                self.tally.killed(heard.ready.is_some(), matches!(end, End::Aborted));
                None
            }
            End::Failed(said) => {
                self.violations.push(format!("a run failed: {said}"));
                None
            }
        }
    }

    /// Between two runs.
    fn check_log(&mut self) {
        if self.moved.as_ref().is_some_and(|(_, is_ready)| !is_ready) {
            // The new directory need not have anything yet.
            return;
        }
        match log_epoch(&self.home, false) {
            Ok(epoch) => {
                let epoch = epoch.unwrap_or(0);
                if epoch < self.committed {
                    let shown = self.committed;
                    self.violations.push(format!("O4 the log ends at epoch {epoch}, {shown} was committed"));
                }
                self.committed = epoch;
            }
            Err(error) => self.violations.push(format!("O7 {error}")),
        }
        let segments = fs::read_dir(state_of(&self.home).join("wal")).map_or(0, Iterator::count);
        self.tally.segments_max = self.tally.segments_max.max(segments.saturating_sub(1));
        if self.random.below(16) == 0 {
            pause(Duration::from_millis(1));
        }
    }
}

/// One of these points, to be passed as often as it may well be.
fn point(random: &mut Random, names: &[&'static str]) -> Plan {
    let name = random.one_of(names);
    let starts = |all: &[&str]| all.iter().any(|start| name.starts_with(start));
    let most = if starts(&["recover.sink", "recover.file"]) {
        3
    } else if starts(&["recover", "store.a", "store.f", "epoch.last"]) {
        1
    } else if starts(&["snapshot"]) {
        2
    } else if starts(&["truncate", "log.rotate", "publish", "file", "keep.store"]) {
        random.one_of(&[1, 3, 12])
    } else {
        random.one_of(&[1, 2, 6, 30])
    };
    Plan::Point { name, count: 1 + random.below(most), wait_ms: random.one_of(&[0, 0, 20]) }
}
