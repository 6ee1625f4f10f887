//! The connectors of `custom_source` and `custom_sink` keep their promises, as the kit for connectors sees it.
#![allow(clippy::unwrap_used, reason = "helpers stand outside of test functions")]

#[path = "../custom_sink.rs"]
#[allow(dead_code, reason = "the program itself runs elsewhere")]
mod custom_sink;
#[path = "../custom_source.rs"]
#[allow(dead_code, reason = "the program itself runs elsewhere")]
mod custom_source;

use headwater::testing::{SinkCheck, SourceCheck, check_sink, check_source};

use self::custom_sink::EpochFiles;
use self::custom_source::SensorLogs;

#[test]
fn the_source_can_be_read_again_from_every_position() {
    let folder = tempfile::tempdir().unwrap();
    custom_source::write_logs(folder.path(), 200).unwrap();
    let make = || Ok(SensorLogs { folder: folder.path().to_owned() });
    let report = check_source(make, &SourceCheck::new()).unwrap();
    assert_eq!((report.partitions, report.records, report.rejected), (2, 396, 4));
}

#[test]
fn a_crash_behind_any_call_of_the_sink_shows_each_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = |trial: u64| folder.path().join(trial.to_string());
    let make = |trial| Ok(EpochFiles { folder: place(trial) });
    // Each trial syncs a lot of files: some of them are enough here.
    let check = SinkCheck::new(|n| n).trials_max(80);
    let report = check_sink(make, |trial| custom_sink::read(&place(trial)), &check).unwrap();
    assert!(report.trials >= 40, "{report:?}");
}
