//! A sender that everybody has: curl, as the documentation calls it.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use headwater::prelude::*;
use headwater_connectors::{Collect, HttpSource};

/// What curl prints; `None` where there is no curl.
fn curl(arguments: &[&str]) -> Option<String> {
    let mut curl = Command::new("curl");
    match curl.args(["--silent", "--show-error"]).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => {
            Some(String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
        }
        Err(_) => {
            let line = b"skipped: curl_sends_records_and_is_answered_when_they_are_durable needs curl\n";
            let _ = std::io::stderr().write_all(line);
            None
        }
    }
}

#[test]
fn curl_sends_records_and_is_answered_when_they_are_durable() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let file = folder.path().join("readings.jsonl");
    // Large enough for curl to ask first (Expect: 100-continue).
    let lines: String = (0..90_000).map(|n| format!("{{\"_1\":{n},\"_2\":\"curl\"}}\n")).collect();
    std::fs::write(&file, &lines).unwrap();
    let (rows, state) = (Collect::<(u64, String)>::new(), folder.path().join("job"));
    let job = {
        let rows = rows.clone();
        std::thread::spawn(move || {
            let flow = StreamBuilder::new("curl");
            let source = HttpSource::<(u64, String)>::json("").on(listener).until_requests(2);
            flow.source("requests", source.body_bytes_max(4 << 20)).sink("rows", rows);
            let config = EngineConfig::default().epoch_interval(Duration::from_millis(20));
            flow.build().unwrap().run(config.state_dir(state)).unwrap();
        })
    };
    let data = format!("@{}", file.display());
    let all = ["-H", "Idempotency-Key: kitchen-17", "--data-binary", &data, &url];
    let Some(said) = curl(&all) else { return };
    assert_eq!(said, "{\"records\":90000}\n");
    assert_eq!(curl(&all).unwrap(), "{\"records\":90000}\n", "it is sent again, and known");
    let said = curl(&["-i", "-d", "{\"_1\":", &url]).unwrap();
    assert!(said.starts_with("HTTP/1.1 422 ") && said.contains("\"line\":1"), "{said}");
    assert!(curl(&["-i", &url]).unwrap().starts_with("HTTP/1.1 405 "));
    assert_eq!(curl(&[&format!("{url}health")]).unwrap(), "{\"status\":\"ok\"}\n");
    assert_eq!(curl(&["--json", "{\"_1\": 7, \"_2\": \"last\"}", &url]).unwrap(), "{\"records\":1}\n");
    job.join().unwrap();
    let rows = rows.take();
    assert!(rows[..90_000].iter().map(|(n, _)| *n).eq(0..90_000));
    assert_eq!(rows[90_000..], [(7, "last".to_owned())]);
}
