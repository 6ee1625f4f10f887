//! A bad network: passes TCP connections on, and delays, swallows and resets them at random.
//!
//! `cargo run --release -p benches --bin flaky -- --listen 127.0.0.1:9000 --to 127.0.0.1:9092`
#![allow(clippy::print_stderr, reason = "printing is what this program is for")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use clap::Parser;
use socket2::SockRef;

/// Stands between clients and a server, as a bad network.
#[derive(Parser, Clone)]
struct Options {
    /// Where clients connect, `host:port`.
    #[arg(long)]
    listen: String,
    /// The server, `host:port`.
    #[arg(long)]
    to: String,
    /// Which moments are taken.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One in so many pieces is delayed.
    #[arg(long, default_value_t = 10)]
    delay_every: u64,
    /// Longest delay in milliseconds.
    #[arg(long, default_value_t = 20)]
    delay_ms: u64,
    /// Behind one in so many pieces the connection is reset, in the middle of it.
    #[arg(long, default_value_t = 400)]
    reset_every: u64,
    /// From one in so many pieces on everything is swallowed, until the connection is reset.
    #[arg(long, default_value_t = 800)]
    swallow_every: u64,
    /// How long everything is swallowed in milliseconds.
    #[arg(long, default_value_t = 1_500)]
    swallow_ms: u64,
}

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);
static DELAYED: AtomicU64 = AtomicU64::new(0);
static RESET: AtomicU64 = AtomicU64::new(0);
static SWALLOWED: AtomicU64 = AtomicU64::new(0);

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    fn is_due(&mut self, every: u64) -> bool {
        every > 0 && self.below(every) == 0
    }
}

/// Both ends of a passed-on connection.
struct Ends {
    from: TcpStream,
    to: TcpStream,
}

impl Ends {
    /// Ends the connection as a cut cable does.
    fn reset(&self) {
        for end in [&self.from, &self.to] {
            // A connection that is gone already needs no reset.
            let _ = SockRef::from(end).set_linger(Some(Duration::ZERO));
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

/// Counts, and says now and then how it stands.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
    let of = |counter: &AtomicU64| counter.load(Relaxed);
    if (of(&RESET) + of(&SWALLOWED)).is_multiple_of(20) {
        eprintln!(
            "flaky: {} connections, {} pieces delayed, {} connections reset, {} swallowed",
            of(&CONNECTIONS),
            of(&DELAYED),
            of(&RESET),
            of(&SWALLOWED)
        );
    }
}

/// Passes on what comes from one end, until the connection ends or is ended.
fn pass_on(mut ends: Ends, options: &Options, mut random: Random) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let length = match ends.from.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        if random.is_due(options.delay_every) {
            DELAYED.fetch_add(1, Relaxed);
            thread::park_timeout(Duration::from_millis(1 + random.below(options.delay_ms)));
        }
        if random.is_due(options.reset_every) {
            count(&RESET);
            let part = random.below(length as u64) as usize;
            // What the other side has of it does not matter.
            let _ = ends.to.write_all(&bytes[..part]);
            return ends.reset();
        }
        if random.is_due(options.swallow_every) {
            count(&SWALLOWED);
            thread::park_timeout(Duration::from_millis(options.swallow_ms));
            return ends.reset();
        }
        if ends.to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = ends.to.shutdown(Shutdown::Write);
}

fn serve(options: &Options) -> io::Result<()> {
    let listener = TcpListener::bind(&options.listen)?;
    for (number, client) in listener.incoming().enumerate() {
        let Ok(client) = client else { continue };
        // A server that is away is nothing that a bad network would hide.
        let Ok(server) = TcpStream::connect(&options.to) else { continue };
        CONNECTIONS.fetch_add(1, Relaxed);
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ways =
            [Ends { from: client.try_clone()?, to: server.try_clone()? }, Ends { from: server, to: client }];
        for (way, ends) in ways.into_iter().enumerate() {
            let options = options.clone();
            let random =
                Random(options.seed.wrapping_add((2 * number + way) as u64).wrapping_mul(0x9e37_79b9));
            thread::spawn(move || pass_on(ends, &options, random));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match serve(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flaky: {error}");
            ExitCode::FAILURE
        }
    }
}
