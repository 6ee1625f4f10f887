//! The engines that are compared: how each is built and started.

use crate::workload::Workload;
use crate::{Context, Error, Result};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An engine, or the program written by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Ours: the example `bids`.
    Headwater,
    /// One program per workload, written by hand.
    Hand,
    /// timely dataflow.
    Timely,
    /// renoir.
    Renoir,
}

/// The folders of a checkout and its build.
#[derive(Clone, Debug)]
pub struct Places {
    /// The checkout.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// The target folder of the peers, which are a workspace of their own.
    pub peers_target: PathBuf,
}

impl Places {
    /// From where this program lies and where it was started.
    pub fn find(peers_target: Option<PathBuf>) -> Result<Places> {
        let program = std::env::current_exe().context("this program")?;
        // TARGET/release/compare
        let target = program.ancestors().nth(2).map(Path::to_path_buf);
        let target = target.ok_or_else(|| Error::Failed("not started from a target folder".into()))?;
        let output = cargo()
            .args(["locate-project", "--workspace", "--message-format", "plain"])
            .output()
            .context("cargo locate-project")?;
        let manifest = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        match manifest.parent() {
            Some(root) if root.join("benches/peers").is_dir() => {
                let peers_target = peers_target.unwrap_or_else(|| target.join("peers"));
                Ok(Places { root: root.into(), peers_target, target })
            }
            _ => Err(Error::Failed("start this inside the checkout".into())),
        }
    }
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

impl Engine {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Headwater => "headwater",
            Engine::Hand => "hand-written",
            Engine::Timely => "timely 0.31",
            Engine::Renoir => "renoir 0.6",
        }
    }

    /// Whether the program exists in this checkout and knows the workload.
    pub fn is_there(self, places: &Places) -> bool {
        self != Engine::Headwater || places.root.join("examples/bids.rs").is_file()
    }

    /// Builds the program with the release profile and no flags of its own.
    pub fn build(self, places: &Places) -> Result<()> {
        let mut build = cargo();
        build.args(["build", "--release", "--quiet"]);
        match self {
            Engine::Headwater => {
                build.args(["-p", "examples", "--example", "bids"]).current_dir(&places.root)
            }
            peer => build
                .args(["-p", peer.package(), "--target-dir"])
                .arg(&places.peers_target)
                .current_dir(places.root.join("benches/peers")),
        };
        let status = build.status().context("cargo build")?;
        if status.success() { Ok(()) } else { Err(Error::Failed(format!("{} does not build", self.name()))) }
    }

    /// The command that runs a workload; `ours` are further arguments for our own program.
    pub fn command(
        self,
        places: &Places,
        workload: Workload,
        input: &Path,
        output: &Path,
        ours: &[String],
    ) -> Command {
        if self == Engine::Headwater {
            let mut command = Command::new(places.target.join("release/examples/bids"));
            command.args([
                "--workload",
                workload.name(),
                "--parallelism",
                &peer_data::PARTITIONS.to_string(),
            ]);
            command.arg("--input").arg(input).arg("--output").arg(output.join("out.csv")).args(ours);
            return command;
        }
        let mut command = Command::new(places.peers_target.join("release").join(self.package()));
        command.arg(workload.name()).arg(input).arg(output);
        command
    }

    fn package(self) -> &'static str {
        match self {
            Engine::Headwater => "examples",
            Engine::Hand => "peer-hand",
            Engine::Timely => "peer-timely",
            Engine::Renoir => "peer-renoir",
        }
    }
}
