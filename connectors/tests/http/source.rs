//! What a sender is told, and what the job gets, request by request.

use std::net::TcpListener;
use std::time::Duration;

use headwater::prelude::*;
use headwater::source::{Boundedness, Poll, Source};
use headwater::testing::{SourceCheck, check_source};
use headwater_connectors::HttpSource;
use proptest::prelude::{Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest, test_runner::Config as ProptestConfig};

use super::polled::Polled;
use super::wire::{Answer, Wire, post, with_key};

fn lines() -> Polled<String> {
    Polled::new(HttpSource::lines(""))
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Reading {
    sensor: String,
    value: u64,
}

fn reading(sensor: &str, value: u64) -> Reading {
    Reading { sensor: sensor.to_owned(), value }
}

fn status(answer: &Answer, status: u16, says: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(says), "{answer:?}");
}

#[test]
fn a_request_is_answered_when_its_epoch_is_committed() {
    let mut polled = lines();
    let mut first = polled.send(&post("", "a\nb\n"));
    polled.until_records(2);
    let position = polled.position();
    let mut second = polled.send(&post("", "c"));
    polled.until_records(3);
    (0..100).for_each(|_| polled.poll());
    assert_eq!((first.answer(), second.answer()), (None, None), "nothing is durable yet");
    // An epoch from before the second came.
    assert_eq!(position.requests, 1);
    polled.commit();
    status(&polled.answer(&mut first), 200, "{\"records\":2}");
    status(&polled.answer(&mut second), 200, "{\"records\":1}");
    assert_eq!(polled.records, ["a", "b", "c"]);
    // The connection is there for more.
    first.send(&post("", "d"));
    polled.until_records(4);
    polled.commit();
    status(&polled.answer(&mut first), 200, "{\"records\":1}");
}

#[test]
fn an_older_epoch_answers_only_what_it_holds() {
    let mut polled = lines();
    let mut first = polled.send(&post("", "a"));
    polled.until_records(1);
    let older = polled.position();
    let mut second = polled.send(&post("", "b"));
    polled.until_records(2);
    polled.committed(&older);
    status(&polled.answer(&mut first), 200, "1");
    (0..100).for_each(|_| polled.poll());
    assert_eq!(second.answer(), None);
}

#[test]
fn a_request_that_is_sent_again_is_answered_and_counts_once() {
    let mut polled = lines();
    let request = with_key("k1", "a\nb");
    let mut lost = polled.send(&request);
    polled.until_records(2);
    // The sender gave up; the request that comes again waits for the same epoch.
    let mut again = polled.send(&request);
    (0..200).for_each(|_| polled.poll());
    assert_eq!((again.answer(), polled.records.len()), (None, 2));
    polled.commit();
    status(&polled.answer(&mut again), 200, "{\"records\":2}");
    status(&polled.answer(&mut lost), 200, "{\"records\":2}");
    status(&polled.ask(&request), 200, "{\"records\":2}");
    let position = polled.position();
    polled.restart(position);
    status(&polled.ask(&request), 200, "{\"records\":2}");
    assert!(polled.records.is_empty());
    // Without a key nobody can tell, and the documentation says so.
    let request = post("", "c");
    polled.ask_and_commit(&request);
    polled.ask_and_commit(&request);
    assert_eq!(polled.records, ["c", "c"]);
}

#[test]
fn a_request_that_was_half_read_goes_on_where_it_was() {
    for cut in 0..=10 {
        let mut polled = lines();
        polled.rows_max = 1;
        let body = (0..10).map(|n| format!("{n}\n")).collect::<String>();
        let request = with_key("k1", &body);
        let mut lost = polled.send(&request);
        polled.until_records(cut);
        let position = polled.position();
        let before = std::mem::take(&mut polled.records);
        polled.poll();
        polled.restart(position);
        assert_ne!(lost.answer().map_or(0, |answer| answer.status), 200);
        // Another body under this key would be torn.
        if cut > 0 {
            status(&polled.ask_and_commit(&with_key("k1", "x")), 422, "a key belongs to one request");
        }
        status(&polled.ask_and_commit(&request), 200, "{\"records\":10}");
        let all: Vec<u64> = before.iter().chain(&polled.records).map(|text| text.parse().unwrap()).collect();
        assert!(all.iter().copied().eq(0..10), "cut behind {cut}: {all:?}");
    }
}

#[test]
fn a_request_with_a_wrong_record_is_refused_and_shown() {
    let mut polled = Polled::new(HttpSource::<Reading>::json(""));
    let good = "{\"sensor\":\"a\",\"value\":1}\n";
    let request = with_key("k1", &format!("{good}\nno JSON\n{good}{{\"sensor\":7}}\n"));
    let answer = polled.ask_and_commit(&request);
    status(&answer, 422, "2 of 4 records cannot be understood, and none of the request was taken");
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let lines: Vec<_> = json["records"].as_array().unwrap().iter().map(|of| of["line"].as_u64()).collect();
    assert_eq!(lines, [Some(3), Some(5)]);
    assert!(polled.records.is_empty());
    let shown: Vec<_> = polled.rejected.iter().map(|of| (of.line, of.payload.as_str())).collect();
    assert_eq!(shown, [(3, "no JSON"), (5, "{\"sensor\":7}")]);
    assert_eq!(polled.rejected[0].origin, "request k1 of 127.0.0.1");
    // Sent again: told again, and not shown again.
    let position = polled.position();
    polled.restart(position);
    assert_eq!(polled.ask_and_commit(&request).body, answer.body);
    assert!(polled.rejected.is_empty());
    // Mended, under its key.
    status(&polled.ask_and_commit(&with_key("k1", good)), 200, "{\"records\":1}");
    assert_eq!(polled.records, [reading("a", 1)]);
}

#[test]
fn the_answer_names_twenty_records_at_most() {
    let mut polled = Polled::new(HttpSource::<Reading>::json(""));
    let answer = polled.ask_and_commit(&post("", &"x\n".repeat(90)));
    status(&answer, 422, "90 of 90 records");
    assert_eq!(answer.body.matches("\"line\"").count(), 20);
    assert_eq!(polled.rejected.len(), 90);
}

#[test]
fn bodies_are_what_the_content_type_says() {
    let mut polled = Polled::new(HttpSource::<Reading>::json(""));
    let document = "{\n  \"sensor\": \"a\",\n  \"value\": 1\n}\n";
    let json = |charset: &str| format!("Content-Type: Application/JSON{charset}\r\n");
    status(&polled.ask_and_commit(&post(&json("; charset=utf-8"), document)), 200, "1");
    status(&polled.ask_and_commit(&post("Content-Type: application/x-ndjson\r\n", document)), 422, "");
    let two = "{\"sensor\":\"b\",\"value\":2}\n{\"sensor\":\"c\",\"value\":3}";
    status(&polled.ask_and_commit(&post("Content-Type: application/x-ndjson\r\n", two)), 200, "2");
    status(&polled.ask_and_commit(&post(&json(""), two)), 422, "");
    assert_eq!(polled.records, [reading("a", 1), reading("b", 2), reading("c", 3)]);
    status(&polled.ask(&post("", " \n\r\n")), 200, "{\"records\":0}");
    status(&polled.ask(&post("Content-Type: image/png\r\n", "x")), 415, "application/x-ndjson");
    status(&polled.ask(&post("Content-Encoding: gzip\r\n", "x")), 415, "must not be packed");
    let mut polled = Polled::new(HttpSource::<Reading>::csv(""));
    let rows = "\"a\nb\",1\r\nc,2";
    status(&polled.ask_and_commit(&post("Content-Type: text/csv\r\n", rows)), 200, "2");
    assert_eq!(polled.records, [reading("a\nb", 1), reading("c", 2)]);
    status(&polled.ask(&post(&json(""), rows)), 415, "rows as text/csv");
}

#[test]
fn what_is_no_request_for_here_is_told_what_would_be() {
    let mut polled = Polled::new(HttpSource::lines("").path("/in").body_bytes_max(10));
    let ask = |polled: &mut Polled<String>, line: &str, rest: &str| {
        polled.ask(&format!("{line} HTTP/1.1\r\nHost: here\r\n{rest}"))
    };
    status(&ask(&mut polled, "GET /health", "\r\n"), 200, "\"ok\"");
    status(&ask(&mut polled, "POST /", "Content-Length: 1\r\n\r\nx"), 404, "records go to /in");
    let answer = ask(&mut polled, "GET /in?x=1", "\r\n");
    status(&answer, 405, "POST");
    assert!(answer.head.contains("\r\nallow: post"), "{answer:?}");
    status(&ask(&mut polled, "POST /in", "Content-Length: 11\r\n\r\n"), 413, "up to 10 bytes");
    let chunks = "Transfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n";
    status(&ask(&mut polled, "POST /in", chunks), 413, "up to 10 bytes");
    status(&ask(&mut polled, "POST /in", "Content-Length: x\r\n\r\n"), 400, "");
    for key in ["", &"k".repeat(257), "a\tb", "a\r\nIdempotency-Key: b"] {
        let head = format!("Idempotency-Key: {key}\r\nContent-Length: 1\r\n\r\nx");
        status(&ask(&mut polled, "POST /in", &head), 400, "one Idempotency-Key");
    }
    status(&polled.ask("no request\r\n\r\n"), 400, "");
    assert!(polled.records.is_empty());
    let good = "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n\r\n";
    let mut wire = polled.send(&format!("POST /in HTTP/1.1\r\nHost: here\r\n{good}"));
    polled.until_records(1);
    polled.commit();
    status(&polled.answer(&mut wire), 200, "1");
}

#[test]
fn a_slow_sender_is_sent_away_and_hurts_nobody() {
    let source = HttpSource::lines("").request_time_max(Duration::from_millis(60));
    let mut polled = Polled::new(source);
    let mut no_head = polled.send("POST / HT");
    let mut no_body = polled.send("POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nx");
    let mut good = polled.send(&post("", "good"));
    polled.until_records(1);
    polled.commit();
    status(&polled.answer(&mut good), 200, "1");
    status(&polled.answer(&mut no_body), 408, "took longer than");
    assert!(matches!(polled.answer(&mut no_head).status, 0 | 408));
}

#[test]
fn a_job_that_is_busy_says_so() {
    let mut polled = Polled::new(HttpSource::lines("").waiting_max(2).connections_max(4));
    let mut wires: Vec<Wire> = (0..4).map(|n| polled.send(&post("", &n.to_string()))).collect();
    // Nobody polls: two wait, two are told to come again.
    let (mut told, mut turns) = (0, 0_u64);
    while told < 2 && turns < 5_000_000 {
        wires.retain_mut(|wire| match wire.answer() {
            Some(answer) => {
                status(&answer, 503, "as many requests as it can take");
                assert!(answer.head.contains("\r\nretry-after: 1"), "{answer:?}");
                told += 1;
                false
            }
            None => true,
        });
        turns += 1;
    }
    assert_eq!(wires.len(), 2);
    polled.until_records(2);
    polled.commit();
    for mut wire in wires {
        status(&polled.answer(&mut wire), 200, "1");
    }
}

#[test]
fn a_connection_beyond_the_limit_is_turned_away() {
    let mut polled = Polled::new(HttpSource::lines("").connections_max(1));
    let mut first = polled.send(&post("", "a"));
    polled.until_records(1);
    let mut second = polled.connect();
    let answer = polled.answer(&mut second);
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("\r\nretry-after: 1"), "{answer:?}");
    polled.commit();
    status(&polled.answer(&mut first), 200, "1");
}

#[test]
fn who_waits_when_the_job_ends_is_told_to_come_again() {
    let mut polled = lines();
    let position = polled.position();
    let mut wire = polled.send(&with_key("k", "a"));
    polled.until_records(1);
    polled.stop();
    let mut answer = None;
    while answer.is_none() {
        answer = wire.answer();
    }
    status(&answer.unwrap(), 503, "send it again");
    polled.restart(position);
    status(&polled.ask_and_commit(&with_key("k", "a")), 200, "1");
    assert_eq!(polled.records, ["a"]);
}

#[test]
fn an_epoch_that_does_not_come_is_not_waited_for_forever() {
    let mut polled = Polled::new(HttpSource::lines("").answer_time_max(Duration::from_millis(50)));
    let request = with_key("k", "a");
    status(&polled.ask(&request), 503, "not made it durable yet");
    polled.commit();
    status(&polled.ask(&request), 200, "1");
    assert_eq!(polled.records, ["a"]);
}

#[test]
fn never_more_keys_are_remembered_than_was_said() {
    let mut polled = Polled::new(HttpSource::lines("").keys_max(2).keys_age_max(Duration::from_secs(5)));
    for key in 0..3 {
        polled.ask_and_commit(&with_key(&key.to_string(), "x"));
    }
    assert_eq!(polled.position().known.len(), 2);
    polled.ask_and_commit(&with_key("2", "x"));
    assert_eq!(polled.records.len(), 3);
    polled.ask_and_commit(&with_key("0", "x"));
    assert_eq!(polled.records.len(), 4, "it was forgotten, and counts again, as documented");
    polled.clock.advance(Duration::from_secs(10));
    polled.ask_and_commit(&with_key("3", "x"));
    assert_eq!(polled.position().known.len(), 1);
}

#[test]
fn the_end_is_when_all_requests_are_committed_and_answered() {
    let source = HttpSource::<Reading>::json("").until_requests(2);
    assert_eq!(source.boundedness(), Boundedness::Bounded);
    let mut polled = Polled::new(source);
    let good = with_key("k1", "{\"sensor\":\"a\",\"value\":1}");
    status(&polled.ask_and_commit(&good), 200, "1");
    // Neither a request that comes again nor a refused one is one more.
    status(&polled.ask_and_commit(&good), 200, "1");
    status(&polled.ask_and_commit(&post("", "x")), 422, "");
    assert_ne!(polled.last, Poll::Finished);
    let mut last = polled.send(&post("", "{\"sensor\":\"b\",\"value\":2}"));
    polled.until(|polled| polled.records.len() == 2);
    status(&polled.ask(&post("", "{\"sensor\":\"c\",\"value\":3}")), 503, "nothing of this one was taken");
    assert_ne!(polled.last, Poll::Finished, "nobody has heard of it");
    let position = polled.position();
    polled.commit();
    polled.until(|polled| polled.last == Poll::Finished);
    assert_eq!(last.answer().map(|answer| answer.status), Some(200), "it has left before the end");
    // A process that ended in between waits ten seconds for who has not heard of it.
    polled.restart(position);
    status(&polled.ask(&good), 200, "1");
    polled.poll();
    assert_ne!(polled.last, Poll::Finished);
    polled.clock.advance(Duration::from_secs(11));
    polled.until(|polled| polled.last == Poll::Finished);
}

#[test]
fn requests_can_be_read_again_from_every_position() {
    let make = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        std::thread::spawn(move || {
            for n in 0..9_u64 {
                let record = |line| match line {
                    3 if n % 4 == 3 => "no JSON\n".to_owned(),
                    _ => format!("{{\"sensor\":\"{n}\",\"value\":{line}}}\n"),
                };
                let body: String = (0..7).map(record).collect();
                // Whoever does not answer will, or is not wanted any more.
                for _ in 0..100_000 {
                    let Ok(mut wire) = Wire::try_connect(&address) else { return };
                    if std::io::Write::write_all(&mut wire.stream, with_key(&n.to_string(), &body).as_bytes())
                        .is_err()
                    {
                        continue;
                    }
                    let mut answer = None;
                    for _ in 0..1_000 {
                        answer = wire.answer();
                        if answer.is_some() {
                            break;
                        }
                    }
                    if answer.is_none_or(|answer| matches!(answer.status, 200 | 422)) {
                        break;
                    }
                }
            }
        });
        Ok(HttpSource::<Reading>::json("").on(listener).until_requests(7))
    };
    let check = SourceCheck::new().rows_per_poll(3).positions_max(5).records_max(51);
    let check = check.idle_polls_max(1_000_000, std::thread::yield_now);
    let report = check_source(make, &check).unwrap();
    assert_eq!((report.records, report.rejected), (49, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Requests with bytes changed, left out and put in: the job reads on, and a good sender is served as ever.
    #[test]
    fn damaged_bytes_hurt_nobody_else(
        damage in prop::collection::vec((0_usize..2_000, 0_u8..3, any::<u8>()), 1..6),
        count in (1_usize..6).prop_map(|count| count),
    ) {
        let mut polled = lines();
        let mut bytes = with_key("bad", "a bad record\n").repeat(count).into_bytes();
        for (at, kind, byte) in damage {
            let at = at % bytes.len();
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        let mut bad = polled.connect();
        let _ = std::io::Write::write_all(&mut bad.stream, &bytes);
        for _ in 0..20 {
            polled.poll();
            polled.commit();
        }
        let answer = polled.ask_and_commit(&post("", "good"));
        prop_assert_eq!(answer.status, 200);
        prop_assert!(polled.records.iter().any(|record| record == "good"));
    }
}

#[test]
fn limits_and_paths_that_make_no_sense_are_refused() {
    let bad = [
        HttpSource::lines("").body_bytes_max(0),
        HttpSource::lines("").connections_max(0),
        HttpSource::lines("").waiting_max(0),
        HttpSource::lines("").keys_max(0),
        HttpSource::lines("").until_requests(0),
        HttpSource::lines("").request_time_max(Duration::ZERO),
        HttpSource::lines("").path("/health"),
        HttpSource::lines("").path("in"),
        HttpSource::lines("").path("/in?x"),
    ];
    assert!(bad.iter().all(|source| source.partitions().is_err()));
    let error = HttpSource::lines("nowhere").open("requests", None).err().unwrap().to_string();
    assert!(error.contains("cannot listen on nowhere") && error.contains("choose another port"), "{error}");
}
