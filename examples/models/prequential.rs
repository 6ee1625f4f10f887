//! Test, then train: each row of a file is predicted before it is learned from, as it would be in a stream.
//!
//! Run with: `cargo run --release -p examples --example prequential`
//!
//! You will see how well logistic regression learns to tell the flowers of a classic table apart while it sees
//! them once. With `--input FILE.csv --label COLUMN --task classify|regress --learner NAME` it is your table and another
//! learner; `--json` prints the result for programs.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use examples::{bundled, complaints};
use headwater::cli;
use headwater::prelude::*;
use headwater_connectors::{Collect, TextFile};
use headwater_models::drift::{Adwin, Detector, Drift};
use headwater_models::metrics::{ClassMetrics, RegressionMetrics};
use headwater_models::online::{
    BernoulliNb, Ftrl, GaussianNb, LinearSgd, LogisticSgd, MultinomialNb, OneVsRest, PassiveAggressive,
    PassiveAggressiveRegressor, Poly2, QrRls, Scaled, Steps,
};
use headwater_models::tree::{AdaptiveForest, AdaptiveTree, HoeffdingTree};
use headwater_models::{Label, LearnStream, Learner};

/// Learns from a table row by row, and says how good each prediction was.
#[derive(Parser)]
struct Command {
    /// A CSV file with a header; the bundled iris flowers unless given.
    #[arg(long, value_name = "FILE", requires = "label")]
    input: Option<PathBuf>,
    /// The column to predict.
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Whether labels are classes or numbers.
    #[arg(long, default_value = "classify")]
    task: Task,
    /// classify: logistic, passive-aggressive, ftrl, gaussian-nb, bernoulli-nb, multinomial-nb, hoeffding-tree,
    /// adaptive-tree, adaptive-forest; regress: linear, passive-aggressive, qr-rls.
    #[arg(long, value_name = "NAME")]
    learner: Option<String>,
    /// A number that the learner takes, such as rate=0.01; said again for each.
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = parameter)]
    parameters: Vec<(String, f64)>,
    /// The learner sees the features as they are, not in deviations from their means.
    #[arg(long)]
    unscaled: bool,
    /// The learner also sees the products of every two features.
    #[arg(long)]
    poly2: bool,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    options: cli::Options,
    #[command(subcommand)]
    action: Option<cli::Action>,
}

#[derive(Clone, Copy, ValueEnum, PartialEq)]
enum Task {
    Classify,
    Regress,
}

fn parameter(text: &str) -> Result<(String, f64), String> {
    let (key, value) = text.split_once('=').ok_or("write key=value")?;
    let value = value.parse().map_err(|error| format!("{value:?} is no number: {error}"))?;
    Ok((key.to_owned(), value))
}

/// A row of the table.
#[derive(Record, Clone, Debug)]
struct Row {
    features: Vec<f64>,
    /// A number, or the number of a class.
    label: f64,
}

/// Everything that is known of the predictions so far.
#[derive(Record, Clone, Debug)]
struct Report {
    classes: ClassMetrics,
    numbers: RegressionMetrics,
    detector: Adwin,
    /// Rows, from 0, at which the errors were no longer what they had been.
    drifts: Vec<u64>,
}

/// What a label of the table is to a learner, and how a score is held against it.
trait Judged: Label {
    fn of(row: RowView<'_>) -> Self;
    /// Adds a score to the report; gives the error that drift is looked for in.
    fn judge(score: <Self::Score as Record>::View<'_>, label: f64, report: &mut Report) -> f64;
}

impl Judged for f64 {
    fn of(row: RowView<'_>) -> f64 {
        row.label
    }

    fn judge(score: f64, label: f64, report: &mut Report) -> f64 {
        report.numbers.add(score, label);
        (score - label).abs()
    }
}

/// Adds the probabilities of classes to the report.
fn judge_classes(probabilities: &[f64], label: f64, report: &mut Report) -> f64 {
    let before = report.classes.correct();
    report.classes.add(probabilities, label as u32);
    if report.classes.correct() > before { 0.0 } else { 1.0 }
}

impl Judged for bool {
    fn of(row: RowView<'_>) -> bool {
        row.label > 0.5
    }

    fn judge(score: f64, label: f64, report: &mut Report) -> f64 {
        judge_classes(&[1.0 - score, score], label, report)
    }
}

impl Judged for u32 {
    fn of(row: RowView<'_>) -> u32 {
        row.label as u32
    }

    fn judge(score: <Vec<f64> as Record>::View<'_>, label: f64, report: &mut Report) -> f64 {
        judge_classes(&score.iter().collect::<Vec<_>>(), label, report)
    }
}

/// A table on disk: what its first line says, and the classes of its labels.
struct Table {
    path: PathBuf,
    header: String,
    columns: usize,
    label: usize,
    classes: Vec<String>,
}

impl Table {
    fn open(path: &Path, label: &str, task: Task) -> Result<Self> {
        let failed = |error: csv::Error| Error::failed(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        let header = text.lines().next().unwrap_or("").to_owned();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns: Vec<String> = reader.headers().map_err(failed)?.iter().map(str::to_owned).collect();
        let Some(at) = columns.iter().position(|column| column == label) else {
            let known = columns.join(", ");
            return Err(Error::failed(format!(
                "{}: there is no column `{label}`; there are: {known}",
                path.display()
            )));
        };
        let mut classes = BTreeSet::new();
        if task == Task::Classify {
            let cells = reader.records().flatten();
            classes.extend(cells.filter_map(|row| row.get(at).map(str::to_owned)));
        }
        let mut classes: Vec<String> = classes.into_iter().collect();
        let numbers: Option<Vec<f64>> = classes.iter().map(|class| class.parse().ok()).collect();
        if numbers.is_some() {
            classes.sort_by(|a, b| {
                let number = |text: &str| text.parse().unwrap_or(f64::NAN);
                number(a).total_cmp(&number(b))
            });
        }
        Ok(Table { path: path.to_owned(), header, columns: columns.len(), label: at, classes })
    }

    /// Reads a line as a row of the table.
    fn row(columns: usize, label: usize, classes: &[String], line: &str) -> Result<Row, String> {
        let cells = cells(line)?;
        if cells.len() != columns {
            return Err(format!("{} cells, but the header has {columns}", cells.len()));
        }
        let number = |cell: &str| cell.trim().parse().map_err(|_| format!("`{cell}` is no number"));
        let features = cells.iter().enumerate().filter(|(at, _)| *at != label).map(|(_, cell)| number(cell));
        let features = features.collect::<Result<_, _>>()?;
        let label = match classes.iter().position(|class| *class == cells[label]) {
            Some(class) => class as f64,
            None if classes.is_empty() => number(&cells[label])?,
            None => return Err(format!("the class `{}` was not in the table when it began", &cells[label])),
        };
        Ok(Row { features, label })
    }

    fn rows(&self, flow: &StreamBuilder) -> Stream<Row> {
        let (lines, unreadable) = flow.source_or_rejected("lines", TextFile::new(&self.path));
        let (header, columns, label) = (self.header.clone(), self.columns, self.label);
        let classes = self.classes.clone();
        let (rows, refused) = lines
            .filter(move |line| *line != header && !line.is_empty())
            .try_map(move |line| Table::row(columns, label, &classes, line));
        unreadable.union(&refused).sink("rejected", complaints());
        rows
    }
}

/// The cells of a line of CSV.
fn cells(line: &str) -> Result<csv::StringRecord, String> {
    if !line.contains('"') {
        return Ok(line.split(',').collect());
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
    reader.records().next().ok_or("an empty line")?.map_err(|error| error.to_string())
}

/// The rows in their order, each scored and then learned from.
fn judged<L: Learner>(rows: &Stream<Row>, learner: L) -> Collect<KeyedResult<u8, Report>>
where
    L::Label: Judged,
{
    let one = rows.key_by(|_| 0_u8);
    let (scored, unfit) = one.learn_online(
        learner,
        |row: RowView<'_>| row.features.iter().collect::<Vec<f64>>(),
        |row| Some(L::Label::of(row)),
    );
    unfit.sink("unfit", complaints());
    let nothing = Report {
        classes: ClassMetrics::new(),
        numbers: RegressionMetrics::new(),
        detector: Adwin::new(),
        drifts: Vec::new(),
    };
    let reports = scored.key_by(|_| 0_u8).fold(nothing, |report, scored| {
        let error = <L::Label as Judged>::judge(scored.score, scored.record.label, report);
        if report.detector.update(error) == Drift::Drift {
            report.drifts.push(scored.learned);
        }
    });
    let out = Collect::new();
    reports.output_mode(OutputMode::Append).name("report").sink("reports", out.clone());
    out
}

/// The numbers that were given, each of which must be one that the learner takes.
struct Parameters(Vec<(String, f64)>);

impl Parameters {
    fn take(&mut self, key: &str, usual: f64) -> f64 {
        let at = self.0.iter().rposition(|(given, _)| given == key);
        at.map_or(usual, |at| self.0.remove(at).1)
    }

    fn steps(&mut self, rate: f64) -> Steps {
        let (rate, power, l2) = (self.take("rate", rate), self.take("power", 0.0), self.take("l2", 0.0));
        let is_adagrad = self.take("adagrad", 0.0) != 0.0;
        if is_adagrad { Steps::adagrad(rate).l2(l2) } else { Steps::inverse_scaling(rate, power).l2(l2) }
    }

    fn ftrl(&mut self) -> Ftrl {
        let ftrl = Ftrl::new(self.take("alpha", 0.1)).beta(self.take("beta", 1.0));
        ftrl.l1(self.take("l1", 0.0)).l2(self.take("l2", 0.0))
    }

    fn qr_rls(&mut self) -> QrRls {
        QrRls::new().forgetting(self.take("forgetting", 1.0)).delta(self.take("delta", 1e-3))
    }

    fn none_is_left(&self, learner: &str) -> Result<()> {
        match self.0.first() {
            Some((key, _)) => {
                Err(Error::Config(format!("--param {key}: the learner {learner} has no such number")))
            }
            None => Ok(()),
        }
    }
}

/// What stands between the table and a learner.
struct Way<'a> {
    rows: &'a Stream<Row>,
    classes: usize,
    is_scaled: bool,
    poly2: bool,
}

impl Way<'_> {
    fn learn<L: Learner>(&self, learner: L) -> Collect<KeyedResult<u8, Report>>
    where
        L::Label: Judged,
    {
        match (self.is_scaled, self.poly2) {
            (true, true) => judged(self.rows, Scaled::new(Poly2::new(learner))),
            (true, false) => judged(self.rows, Scaled::new(learner)),
            (false, true) => judged(self.rows, Poly2::new(learner)),
            (false, false) => judged(self.rows, learner),
        }
    }

    /// With a learner that tells two classes apart.
    fn of_two(&self, learner: impl Learner<Label = bool>) -> Collect<KeyedResult<u8, Report>> {
        if self.classes > 2 { self.learn(OneVsRest::new(learner)) } else { self.learn(learner) }
    }
}

fn learn(table: &Table, flow: &StreamBuilder, command: &Command) -> Result<Collect<KeyedResult<u8, Report>>> {
    let usual = if command.task == Task::Classify { "logistic" } else { "qr-rls" };
    let name = command.learner.as_deref().unwrap_or(usual);
    let mut numbers = Parameters(command.parameters.clone());
    let takes_all =
        name.ends_with("-nb") || name.ends_with("-tree") || name.ends_with("-forest") || name == "qr-rls";
    let rows = table.rows(flow);
    let is_scaled = !(command.unscaled || takes_all);
    let way = Way { rows: &rows, classes: table.classes.len(), is_scaled, poly2: command.poly2 };
    let reports = match (command.task, name) {
        (Task::Classify, "logistic") => way.of_two(LogisticSgd::new(numbers.steps(0.01))),
        (Task::Classify, "passive-aggressive") => {
            way.of_two(PassiveAggressive::new(numbers.take("limit", 0.01)))
        }
        (Task::Classify, "ftrl") => way.of_two(numbers.ftrl()),
        (Task::Classify, "gaussian-nb") => {
            way.learn(GaussianNb::new().epsilon(numbers.take("epsilon", 1e-9)))
        }
        (Task::Classify, "bernoulli-nb") => way.learn(BernoulliNb::new(numbers.take("alpha", 1.0))),
        (Task::Classify, "multinomial-nb") => way.learn(MultinomialNb::new(numbers.take("alpha", 1.0))),
        (Task::Classify, "hoeffding-tree") => way.learn(HoeffdingTree::new()),
        (Task::Classify, "adaptive-tree") => way.learn(AdaptiveTree::new()),
        (Task::Classify, "adaptive-forest") => {
            way.learn(AdaptiveForest::new(numbers.take("seed", 42.0) as u64))
        }
        (Task::Regress, "linear") => way.learn(LinearSgd::new(numbers.steps(0.01))),
        (Task::Regress, "passive-aggressive") => {
            let (limit, epsilon) = (numbers.take("limit", 0.01), numbers.take("epsilon", 0.1));
            way.learn(PassiveAggressiveRegressor::new(limit, epsilon))
        }
        (Task::Regress, "qr-rls") => way.learn(numbers.qr_rls()),
        _ => {
            let task = if command.task == Task::Classify { "classify" } else { "regress" };
            return Err(Error::Config(format!("there is no learner {name} for --task {task}; see --help")));
        }
    };
    numbers.none_is_left(name)?;
    Ok(reports)
}

/// Prints what is known at the end.
fn show(report: &Report, command: &Command, table: &Table) -> Result<()> {
    let Report { classes, numbers, drifts, .. } = report;
    let text = match (command.task, command.json) {
        (Task::Classify, true) => serde_json::json!({
            "n": classes.rows(), "correct": classes.correct(), "accuracy": classes.accuracy(),
            "macro_f1": classes.macro_f1(), "kappa": classes.kappa(), "log_loss": classes.log_loss(),
            "classes": table.classes, "drifts": drifts,
        })
        .to_string(),
        (Task::Regress, true) => serde_json::json!({
            "n": numbers.rows(), "mae": numbers.mae(), "rmse": numbers.rmse(), "r2": numbers.r2(), "drifts": drifts,
        })
        .to_string(),
        (Task::Classify, false) => format!(
            "{} rows, {} predicted correctly before they were learned from\n\
             accuracy {:.6}, macro F1 {:.6}, kappa {:.6}, log loss {:.6}",
            classes.rows(),
            classes.correct(),
            classes.accuracy(),
            classes.macro_f1(),
            classes.kappa(),
            classes.log_loss(),
        ),
        (Task::Regress, false) => format!(
            "{} rows predicted before they were learned from\nMAE {:.6}, RMSE {:.6}, R2 {:.6}",
            numbers.rows(),
            numbers.mae(),
            numbers.rmse(),
            numbers.r2(),
        ),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    if !command.json && !drifts.is_empty() {
        let at: Vec<String> = drifts.iter().map(u64::to_string).collect();
        writeln!(out, "the errors changed at row {}", at.join(", "))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    cli::main(|| {
        let mut command = Command::parse();
        let action = command.action.take();
        let (path, label) = match (&command.input, &command.label) {
            (Some(path), Some(label)) => (path.clone(), label.clone()),
            (_, label) => (bundled("iris.csv"), label.clone().unwrap_or("species".to_owned())),
        };
        let table = Table::open(&path, &label, command.task)?;
        let flow = StreamBuilder::new("prequential");
        let reports = learn(&table, &flow, &command)?;
        let Some(summary) = cli::act(action, flow.build()?, &command.options)? else { return Ok(()) };
        match reports.take().first() {
            Some(row) => show(&row.value, &command, &table),
            None if summary.had_ended => Err(Error::failed(
                "the job of this --state had ended, and said its result then; --no-resume begins anew",
            )),
            None => Ok(()),
        }
    })
}
