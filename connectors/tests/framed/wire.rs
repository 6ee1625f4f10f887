//! The protocol, byte by byte: what the server does with good clients and with bad ones.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use headwater::prelude::Record;
use headwater::source::{Boundedness, Poll, Source};
use headwater::testing::{ManualClock, poll_source};
use headwater_connectors::{FramedClient, FramedSocket, SourceExt};
use proptest::prelude::*;

use super::server::{Answer, Server, Wire};

#[derive(Record, Debug, PartialEq)]
struct Reading {
    sensor: String,
    value: f64,
}

fn lines() -> Server<String> {
    Server::new(FramedSocket::lines(""))
}

/// The server refuses and says why, whatever the client still sends.
fn refused<T: Record>(server: &mut Server<T>, client: &mut Wire, reason: &str) {
    let answer = server.answer(client);
    assert!(matches!(&answer, Answer::Refused(said) if said.contains(reason)), "{answer:?}, not {reason}");
    assert_eq!(server.answer(client), Answer::Closed);
}

#[test]
fn a_record_is_acknowledged_when_it_is_committed_and_not_before() {
    let mut server = lines();
    let mut client = server.welcome("kitchen", 0, 0);
    client.send(1, "one");
    client.send(2, "");
    server.until_records(2);
    for _ in 0..100 {
        server.poll();
    }
    assert_eq!(client.answer(), None, "nothing is committed yet");
    let position = server.position();
    client.send(3, "drei\u{df}ig");
    server.until_records(3);
    server.commit();
    assert_eq!(server.answer(&mut client), Answer::Acknowledged(3));
    assert_eq!(server.records, ["one", "", "drei\u{df}ig"]);
    assert_ne!(position, server.position());
}

#[test]
fn what_is_sent_again_counts_once_on_every_way_back() {
    let mut server = lines();
    let mut client = server.welcome("a", 0, 0);
    client.send(1, "one");
    client.send(2, "two");
    server.until_records(2);
    let position = server.position();
    server.commit();
    client.send(3, "three");
    server.until_records(3);
    // The connection breaks, the acknowledgement of 2 was lost.
    drop(client);
    let mut client = server.welcome("a", 0, 2);
    for (sequence, record) in [(1, "one"), (2, "two"), (3, "three"), (4, "four")] {
        client.send(sequence, record);
    }
    server.until_records(4);
    assert_eq!(server.records, ["one", "two", "three", "four"]);
    // The process ends before 3 is committed.
    server.restart(position);
    let mut client = server.welcome("a", 2, 2);
    client.send(3, "three");
    client.send(4, "four");
    server.until_records(2);
    assert_eq!(server.records, ["three", "four"]);
    server.commit();
    assert_eq!(server.answer(&mut client), Answer::Acknowledged(4));
}

#[test]
fn frames_do_not_depend_on_how_the_bytes_arrive() {
    let mut server = lines();
    let mut client = Wire::connect(&server.address);
    let mut bytes = b"HWF1\x04slow\0\0\0\0\0\0\0\0".to_vec();
    for sequence in 1..=3 {
        bytes.extend(Wire::frame(sequence, "a record"));
    }
    for byte in bytes {
        client.stream.write_all(&[byte]).unwrap();
        server.poll();
    }
    server.until_records(3);
    assert_eq!(server.records, ["a record"; 3]);
}

#[test]
fn a_record_that_cannot_be_understood_is_rejected_and_acknowledged() {
    let mut server = Server::new(FramedSocket::<Reading>::json(""));
    let mut client = server.welcome("a", 0, 0);
    client.send(1, r#"{"sensor": "hall", "value": 1.5}"#);
    client.send(2, "no JSON");
    client.stream.write_all(&[&Wire::frame(3, "ab")[..12], b"\xff\xfe"].concat()).unwrap();
    client.send(4, r#"{"sensor": "roof", "value": 2}"#);
    server.until_records(4);
    assert_eq!(server.records.iter().map(|row| row.value).collect::<Vec<_>>(), [1.5, 2.0]);
    let [json, text] = &server.rejected[..] else { panic!("{:?}", server.rejected) };
    assert_eq!((json.origin.as_str(), json.line, json.payload.as_str()), ("client a", 2, "no JSON"));
    assert!(text.line == 3 && text.reason.contains("UTF-8"));
    server.commit();
    assert_eq!(server.answer(&mut client), Answer::Acknowledged(4));

    let mut server = Server::new(FramedSocket::<Reading>::csv(""));
    let mut client = server.welcome("a", 0, 0);
    client.send(1, "\"the hall\",1.5");
    client.send(2, "hall");
    server.until_records(2);
    assert_eq!(server.records, [Reading { sensor: "the hall".to_owned(), value: 1.5 }]);
    assert_eq!(server.rejected[0].line, 2);
}

#[test]
fn garbage_is_refused_and_the_others_notice_nothing() {
    let mut server = Server::new(FramedSocket::lines("").frame_bytes_max(1 << 20));
    let mut good = server.welcome("good", 0, 0);
    for (bytes, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "a connection begins with `HWF1`"),
        (b"HWF1\0", "1 to 64 bytes"),
        (b"HWF1\x02\xff\xff\0\0\0\0\0\0\0\0", "text without control"),
    ] {
        let mut bad = Wire::connect(&server.address);
        bad.stream.write_all(bytes).unwrap();
        refused(&mut server, &mut bad, reason);
    }
    // The length is judged before there is room for it.
    let mut long = server.welcome("long", 0, 0);
    long.stream.write_all(&[&0xffff_fff0_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat()).unwrap();
    refused(&mut server, &mut long, "4294967280 bytes, more than the 1048576");
    for (frames, reason) in [(&[2][..], "frame 2 came where 1"), (&[0], "number 1, not 0")] {
        let mut bad = server.welcome("bad", 0, 0);
        frames.iter().for_each(|sequence| bad.send(*sequence, "x"));
        refused(&mut server, &mut bad, reason);
    }
    let mut gap = server.welcome("gap", 0, 0);
    gap.send(1, "x");
    gap.send(3, "x");
    refused(&mut server, &mut gap, "frame 3 came where 2");
    good.send(1, "still here");
    server.until_records(2);
    server.commit();
    assert_eq!(server.answer(&mut good), Answer::Acknowledged(1));
}

#[test]
fn a_refused_client_that_goes_on_sending_learns_why() {
    let mut server = Server::new(FramedSocket::lines("").frame_bytes_max(10));
    let mut client = server.welcome("eager", 0, 0);
    for sequence in 1..=2_000 {
        client.send(sequence, if sequence == 1 { "much too long" } else { "short" });
    }
    refused(&mut server, &mut client, "more than the 10");
    assert!(server.records.is_empty());
}

#[test]
fn the_newer_of_two_connections_with_one_id_stays() {
    let mut server = lines();
    let mut old = server.welcome("twin", 0, 0);
    old.send(1, "one");
    server.until_records(1);
    let mut new = server.welcome("twin", 0, 0);
    refused(&mut server, &mut old, "another connection of client `twin` has taken over");
    new.send(1, "one");
    new.send(2, "two");
    server.until_records(2);
    server.commit();
    assert_eq!(server.answer(&mut new), Answer::Acknowledged(2));
}

#[test]
fn who_says_nothing_is_sent_away_and_who_has_said_hello_may_be_silent() {
    let mut server = lines();
    let mut silent = Wire::connect(&server.address);
    let mut half = Wire::connect(&server.address);
    half.stream.write_all(b"HWF1\x04ha").unwrap();
    let mut calm = server.welcome("calm", 0, 0);
    server.clock.advance(Duration::from_secs(9));
    for _ in 0..100 {
        server.poll();
    }
    assert_eq!((silent.answer(), half.answer()), (None, None));
    server.clock.advance(Duration::from_secs(2));
    refused(&mut server, &mut silent, "no hello came");
    refused(&mut server, &mut half, "no hello came");
    server.clock.advance(Duration::from_secs(10_000));
    calm.send(1, "after three hours");
    server.until_records(1);
}

#[test]
fn a_client_that_does_not_read_stops_nobody() {
    let mut server = lines();
    let mut deaf = server.welcome("deaf", 0, 0);
    let mut other = server.welcome("other", 0, 0);
    let all = 5_000;
    for sequence in 1..=all {
        deaf.send(sequence, "x");
        if sequence % 100 == 0 {
            server.until_records(sequence as usize);
            server.commit();
        }
    }
    other.send(1, "x");
    server.until_records(all as usize + 1);
    server.commit();
    assert_eq!(server.answer(&mut other), Answer::Acknowledged(1));
    let mut newest = 0;
    while newest < all {
        let Answer::Acknowledged(number) = server.answer(&mut deaf) else { panic!("refused") };
        assert!(number > newest);
        newest = number;
    }
}

#[test]
fn frames_that_are_not_polled_stay_in_the_socket() {
    let mut server = lines();
    let mut client = server.welcome("fast", 0, 0);
    client.stream.set_nonblocking(true).unwrap();
    let (frame, mut taken) = (Wire::frame(1, &"x".repeat(1_000)), 0_usize);
    // The system's own buffers are all there is.
    while let Ok(count) = client.stream.write(&frame) {
        taken += count;
        assert!(taken < 1 << 30, "somebody reads without being asked");
    }
    server.until_records(1);
}

#[test]
fn there_are_never_more_connections_and_clients_than_was_said() {
    let mut server = Server::new(FramedSocket::lines("").connections_max(2).clients_max(2));
    let mut first = server.welcome("first", 0, 0);
    let second = server.welcome("second", 0, 0);
    let mut third = Wire::connect(&server.address);
    assert_eq!(server.answer(&mut third), Answer::Closed);
    first.send(1, "x");
    server.until_records(1);
    drop(second);
    let mut second = server.welcome("other", 0, 0);
    second.send(1, "x");
    server.until_records(2);
    server.commit();
    drop(first);
    let mut third = server.welcome("third", 0, 0);
    third.send(1, "x");
    server.until_records(3);
    let ids: Vec<_> = server.position().clients.into_iter().map(|client| client.id).collect();
    assert_eq!(ids, ["other", "third"]);
    drop(third);
    // It knows of its acknowledgement: it is not taken for a new one.
    let mut first = server.connect("first", 1);
    refused(&mut server, &mut first, "go on under a new id");
}

#[test]
fn a_connection_that_is_half_open_is_replaced_by_the_next() {
    let mut server = lines();
    let mut client = server.welcome("a", 0, 0);
    client.stream.write_all(&Wire::frame(1, "torn")[..14]).unwrap();
    server.poll();
    client.half_close();
    assert_eq!(server.answer(&mut client), Answer::Closed);
    let mut client = server.welcome("a", 0, 0);
    client.send(1, "whole");
    server.until_records(1);
    assert_eq!(server.records, ["whole"]);
}

#[test]
fn the_end_is_when_all_clients_have_ended_and_know_that_they_are_committed() {
    let source = FramedSocket::lines("").until_ended(2);
    assert_eq!(source.boundedness(), Boundedness::Bounded);
    let mut server = Server::new(source);
    let (mut a, mut b) = (server.welcome("a", 0, 0), server.welcome("b", 0, 0));
    a.send(1, "x");
    a.end(2);
    b.end(1);
    server.until(|server| server.position().clients.iter().filter(|client| client.ended).count() == 2);
    server.poll();
    assert_ne!(server.last, Poll::Finished);
    let position = server.position();
    server.commit();
    server.until(|server| server.last == Poll::Finished);
    assert_eq!(a.answer(), Some(Answer::Acknowledged(2)));
    assert_eq!(b.answer(), Some(Answer::Acknowledged(1)));
    // A process that ended in between waits until they have asked, or for a minute.
    server.restart(position.clone());
    server.until(|server| server.last == Poll::Idle);
    server.welcome("a", 0, 2);
    server.until(|server| server.last == Poll::Idle);
    server.welcome("b", 0, 1);
    server.until(|server| server.last == Poll::Finished);
    server.restart(position);
    server.until(|server| server.last == Poll::Idle);
    server.clock.advance(Duration::from_secs(61));
    server.until(|server| server.last == Poll::Finished);
}

#[test]
fn a_slowed_down_socket_acknowledges_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Wire::connect(&listener.local_addr().unwrap().to_string());
    let source = FramedSocket::lines("").on(listener).rate(1e6);
    let (mut reader, clock) = (source.open("clients", None).unwrap(), ManualClock::new());
    client.hello("a", 0);
    client.send(1, "one");
    let mut records = Vec::new();
    while records.is_empty() {
        clock.advance(Duration::from_millis(1));
        records = poll_source(&mut *reader, &clock, 10).unwrap().0;
    }
    assert_eq!(client.answer(), Some(Answer::Acknowledged(0)));
    let position = reader.position();
    reader.committed(&position).unwrap();
    assert_eq!(client.answer(), Some(Answer::Acknowledged(1)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Frames with bytes changed, left out and put in: no record is given twice or out of order, and a good
    /// client is served as ever.
    #[test]
    fn damaged_bytes_hurt_nobody_else(
        count in 1_u64..30,
        damage in prop::collection::vec((0_usize..2_000, 0_u8..3, any::<u8>()), 0..6),
    ) {
        let mut server = Server::new(FramedSocket::lines("").frame_bytes_max(1_000));
        let mut bytes = b"HWF1\x03bad\0\0\0\0\0\0\0\0".to_vec();
        (1..=count).for_each(|sequence| bytes.extend(Wire::frame(sequence, "a bad record")));
        for (at, kind, byte) in damage {
            let at = at % bytes.len();
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        let mut bad = Wire::connect(&server.address);
        bad.stream.write_all(&bytes).unwrap();
        for _ in 0..20 {
            server.poll();
        }
        let mut good = server.welcome("good", 0, 0);
        good.send(1, "good");
        server.until(|server| server.records.iter().any(|record| record == "good"));
        prop_assert!(server.records.len() + server.rejected.len() <= count as usize + 1);
        server.commit();
        prop_assert_eq!(server.answer(&mut good), Answer::Acknowledged(1));
    }
}

#[test]
fn nothing_comes_behind_the_end_of_a_client() {
    let mut server = lines();
    let mut client = server.welcome("a", 0, 0);
    client.end(1);
    client.send(2, "x");
    refused(&mut server, &mut client, "behind the end");
}

#[test]
fn a_client_says_who_refused_it_and_who_is_not_there() {
    let error = FramedClient::connect("localhost:1", "").unwrap_err().to_string();
    assert!(error.contains("1 to 64 bytes"), "{error}");
    let mut server = Server::new(FramedSocket::lines("").frame_bytes_max(10));
    let address = server.address.clone();
    let client = std::thread::spawn(move || {
        let mut client = FramedClient::connect(address, "a").unwrap().patience(Duration::ZERO);
        client.send("much too long for it").unwrap();
        let error = client.flush().unwrap_err();
        (client, error.to_string())
    });
    server.until(|_| client.is_finished());
    let (mut client, error) = client.join().unwrap();
    assert!(error.contains("refused client `a`: frame 1 has 20 bytes"), "{error}");
    drop(server);
    let error = client.flush().unwrap_err().to_string();
    assert!(error.contains("1 records are not acknowledged: start the job"), "{error}");
}

#[test]
fn limits_of_nothing_are_refused() {
    let bad = [
        FramedSocket::lines("").frame_bytes_max(0),
        FramedSocket::lines("").connections_max(0),
        FramedSocket::lines("").clients_max(0),
        FramedSocket::lines("").until_ended(0),
    ];
    assert!(bad.iter().all(|source| source.partitions().is_err()));
    let error = FramedSocket::lines("nowhere").open("clients", None).err().unwrap().to_string();
    assert!(error.contains("cannot listen on nowhere"), "{error}");
}
