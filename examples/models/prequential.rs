//! Test, then train: each row of a file is predicted before it is learned from, as it would be in a stream.
//!
//! Run with: `cargo run --release -p examples --example prequential`
//!
//! You will see how well logistic regression learns to tell the flowers of a classic table apart while it sees
//! them once. With `--input FILE.csv --label COLUMN --task classify|regress --learner NAME` it is your table
//! and another learner; `--json` prints the result for programs.

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

/// The label of a row: a number, or the number of a class.
#[derive(Record, Clone, Copy, Debug)]
struct Truth {
    value: f64,
}

/// The score is the predicted number alone, or the probability of each class.
impl Label for Truth {
    type Score = Vec<f64>;
}

/// What a label of the table is to a learner, and what its score is to the report.
trait Spoken: Label {
    fn of(truth: Truth) -> Self;
    fn scores(score: Self::Score) -> Vec<f64>;
}

impl Spoken for f64 {
    fn of(truth: Truth) -> f64 {
        truth.value
    }

    fn scores(score: f64) -> Vec<f64> {
        vec![score]
    }
}

impl Spoken for bool {
    fn of(truth: Truth) -> bool {
        truth.value > 0.5
    }

    fn scores(score: f64) -> Vec<f64> {
        vec![1.0 - score, score]
    }
}

impl Spoken for u32 {
    fn of(truth: Truth) -> u32 {
        truth.value as u32
    }

    fn scores(score: Vec<f64>) -> Vec<f64> {
        score
    }
}

/// One learner of many, as one type: the topology is compiled once, not once for each of them.
macro_rules! one_of {
    ($($field:ident: $learner:ty),+) => {
        /// The learner that was chosen; all others are none.
        #[derive(Record, Clone, Debug, Default)]
        struct Chosen {
            $($field: Option<$learner>),+
        }

        impl Learner for Chosen {
            type Label = Truth;

            fn score(&self, row: &[f64]) -> Vec<f64> {
                $(if let Some(learner) = &self.$field {
                    return <$learner as Learner>::Label::scores(learner.score(row));
                })+
                Vec::new()
            }

            fn learn(&mut self, row: &[f64], label: Truth) {
                $(if let Some(learner) = &mut self.$field {
                    learner.learn(row, <$learner as Learner>::Label::of(label));
                })+
            }
        }
    };
}

one_of! {
    logistic: LogisticSgd,
    logistics: OneVsRest<LogisticSgd>,
    passive: PassiveAggressive,
    passives: OneVsRest<PassiveAggressive>,
    ftrl: Ftrl,
    ftrls: OneVsRest<Ftrl>,
    gaussian: GaussianNb,
    bernoulli: BernoulliNb,
    multinomial: MultinomialNb,
    hoeffding: HoeffdingTree,
    adaptive: AdaptiveTree,
    forest: AdaptiveForest,
    linear: LinearSgd,
    passive_regressor: PassiveAggressiveRegressor,
    qr_rls: QrRls
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
fn judged(
    rows: &Stream<Row>,
    task: Task,
    learner: impl Learner<Label = Truth>,
) -> Collect<KeyedResult<u8, Report>> {
    let one = rows.key_by(|_| 0_u8);
    let (scored, unfit) = one.learn_online(
        learner,
        |row: RowView<'_>| row.features.iter().collect::<Vec<f64>>(),
        |row| Some(Truth { value: row.label }),
    );
    unfit.sink("unfit", complaints());
    let nothing = Report {
        classes: ClassMetrics::new(),
        numbers: RegressionMetrics::new(),
        detector: Adwin::new(),
        drifts: Vec::new(),
    };
    let reports = scored.key_by(|_| 0_u8).fold(nothing, move |report, scored| {
        let (scores, label): (Vec<f64>, f64) = (scored.score.iter().collect(), scored.record.label);
        let error = match task {
            Task::Classify => {
                let before = report.classes.correct();
                report.classes.add(&scores, label as u32);
                if report.classes.correct() > before { 0.0 } else { 1.0 }
            }
            Task::Regress => {
                let score = scores.first().copied().unwrap_or(0.0);
                report.numbers.add(score, label);
                (score - label).abs()
            }
        };
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

    fn forest(&mut self) -> AdaptiveForest {
        AdaptiveForest::new(self.take("trees", 10.0) as u32, self.take("seed", 42.0) as u64)
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

/// The learner of that name; `many` says that there are more than two classes.
fn chosen(task: Task, name: &str, many: bool, numbers: &mut Parameters) -> Result<Chosen> {
    let none = Chosen::default();
    let chosen = match (task, name) {
        (Task::Classify, "logistic") => {
            let learner = LogisticSgd::new(numbers.steps(0.01));
            match many {
                true => Chosen { logistics: Some(OneVsRest::new(learner)), ..none },
                false => Chosen { logistic: Some(learner), ..none },
            }
        }
        (Task::Classify, "passive-aggressive") => {
            let learner = PassiveAggressive::new(numbers.take("limit", 0.01));
            match many {
                true => Chosen { passives: Some(OneVsRest::new(learner)), ..none },
                false => Chosen { passive: Some(learner), ..none },
            }
        }
        (Task::Classify, "ftrl") => match many {
            true => Chosen { ftrls: Some(OneVsRest::new(numbers.ftrl())), ..none },
            false => Chosen { ftrl: Some(numbers.ftrl()), ..none },
        },
        (Task::Classify, "gaussian-nb") => {
            Chosen { gaussian: Some(GaussianNb::new().epsilon(numbers.take("epsilon", 1e-9))), ..none }
        }
        (Task::Classify, "bernoulli-nb") => {
            Chosen { bernoulli: Some(BernoulliNb::new(numbers.take("alpha", 1.0))), ..none }
        }
        (Task::Classify, "multinomial-nb") => {
            Chosen { multinomial: Some(MultinomialNb::new(numbers.take("alpha", 1.0))), ..none }
        }
        (Task::Classify, "hoeffding-tree") => Chosen { hoeffding: Some(HoeffdingTree::new()), ..none },
        (Task::Classify, "adaptive-tree") => Chosen { adaptive: Some(AdaptiveTree::new()), ..none },
        (Task::Classify, "adaptive-forest") => Chosen { forest: Some(numbers.forest()), ..none },
        (Task::Regress, "linear") => Chosen { linear: Some(LinearSgd::new(numbers.steps(0.01))), ..none },
        (Task::Regress, "passive-aggressive") => {
            let (limit, epsilon) = (numbers.take("limit", 0.01), numbers.take("epsilon", 0.1));
            Chosen { passive_regressor: Some(PassiveAggressiveRegressor::new(limit, epsilon)), ..none }
        }
        (Task::Regress, "qr-rls") => Chosen { qr_rls: Some(numbers.qr_rls()), ..none },
        _ => {
            let task = if task == Task::Classify { "classify" } else { "regress" };
            return Err(Error::Config(format!("there is no learner {name} for --task {task}; see --help")));
        }
    };
    numbers.none_is_left(name)?;
    Ok(chosen)
}

fn learn(table: &Table, flow: &StreamBuilder, command: &Command) -> Result<Collect<KeyedResult<u8, Report>>> {
    let task = command.task;
    let usual = if task == Task::Classify { "logistic" } else { "qr-rls" };
    let name = command.learner.as_deref().unwrap_or(usual);
    let mut numbers = Parameters(command.parameters.clone());
    let learner = chosen(task, name, table.classes.len() > 2, &mut numbers)?;
    let rows = table.rows(flow);
    let takes_all = ["-nb", "-tree", "-forest", "-rls"].iter().any(|end| name.ends_with(end));
    Ok(match (command.unscaled || takes_all, command.poly2) {
        (false, true) => judged(&rows, task, Scaled::new(Poly2::new(learner))),
        (false, false) => judged(&rows, task, Scaled::new(learner)),
        (true, true) => judged(&rows, task, Poly2::new(learner)),
        (true, false) => judged(&rows, task, learner),
    })
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
