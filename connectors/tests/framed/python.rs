//! The client in the documentation is a client.

use std::process::{Command, Stdio};

use headwater_connectors::FramedSocket;

use super::server::Server;

/// The program as the documentation prints it.
fn documented() -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/framed/mod.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let lines = source.lines().skip_while(|line| *line != "/// ```python").skip(1);
    let lines = lines.take_while(|line| *line != "/// ```");
    lines
        .map(|line| line.trim_start_matches("///").strip_prefix(' ').unwrap_or("").to_owned() + "\n")
        .collect()
}

#[test]
fn the_documented_client_sends_each_record_once_through_restarts() {
    let mut server = Server::new(FramedSocket::lines(""));
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let call = format!("\nsend_all(('127.0.0.1', {port}), 'snake', [str(n) for n in range(20000)])\n");
    let program = documented() + &call;
    let started = Command::new("python3").args(["-c", &program]).stdin(Stdio::null()).spawn();
    let Ok(mut python) = started else {
        eprintln!("python3 is not there: nothing was checked");
        return;
    };
    let (mut committed, mut restarts) = (Vec::new(), 0);
    while committed.len() < 20_000 {
        server.until(|server| {
            server.records.len() >= 3_000 || server.records.len() + committed.len() == 20_000
        });
        let position = server.position();
        committed.append(&mut server.records);
        server.commit();
        // What comes now is lost with the process.
        server.poll();
        server.restart(position);
        restarts += 1;
    }
    server.until(|_| python.try_wait().unwrap().is_some());
    assert!(python.wait().unwrap().success());
    assert!(committed.iter().enumerate().all(|(n, record)| *record == n.to_string()), "{restarts} restarts");
}
