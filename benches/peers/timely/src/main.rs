//! The workloads on timely: `peer-timely WORKLOAD INPUT OUTPUT`, one worker per partition file.
//!
//! timely has no windows or watermarks of its own: they are written here on capabilities, its natural way. Nothing is
//! durable. `kc1000000` counts that many keys in process; `source` and `empty` are the overheads.

use ahash::RandomState;
use peer_common::{Arguments, Sink, or_exit, score};
use peer_data::{DISORDER_MS_MAX, NumBid, mix};
use std::collections::BTreeMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::{Capability, Operator};
use timely::dataflow::{Scope, Stream};

type Map<K, V> = hashbrown::HashMap<K, V, RandomState>;
type Rows<T> = CapacityContainerBuilder<Vec<T>>;
type Totals = (u64, u64, u64);

const WINDOW_MS: i64 = 10_000;
const SLIDE_MS: i64 = 2_000;
const BATCH: usize = 8_192;

fn main() {
    let arguments = Arguments::from_command_line();
    let config = timely::Config::process(arguments.input.workers());
    let guards = timely::execute(config, move |worker| {
        let (index, workers) = (worker.index(), worker.peers());
        let arguments = arguments.clone();
        worker.dataflow::<i64, _, _>(move |scope| say(scope, &arguments, index, workers));
    });
    or_exit(guards.map(drop), "timely");
}

fn say(scope: Scope<'_, i64>, arguments: &Arguments, index: usize, workers: usize) {
    let sink = Sink::of_worker(&arguments.output, index);
    match arguments.workload.as_str() {
        "empty" => {}
        "source" => checksum(bids(scope, arguments, index)),
        "w1" => filter(bids(scope, arguments, index), sink),
        "w2" => windows(bids(scope, arguments, index), WINDOW_MS, sink),
        "w3" => windows(bids(scope, arguments, index), SLIDE_MS, sink),
        "w4" => count_words(lines(scope, arguments, index), sink),
        "w5" => score_rows(lines(scope, arguments, index), sink),
        other => match other.strip_prefix("kc").and_then(|keys| keys.parse().ok()) {
            Some(keys) => count_keys(scope, arguments.input.events(), keys, index, workers),
            None => {
                eprintln!("timely: workload {other} is not written");
                std::process::exit(2);
            }
        },
    }
}

/// A source that hands out `batch` records per activation and then moves its capability to `time`.
fn feed<'scope, T: Send + 'static>(
    scope: Scope<'scope, i64>,
    name: &str,
    batch: usize,
    mut records: impl Iterator<Item = T> + 'static,
    mut time: impl FnMut(&T) -> i64 + 'static,
) -> Stream<'scope, i64, Vec<T>>
where
    Vec<T>: timely::Container + timely::container::SizableContainer,
{
    source::<_, Rows<T>, _, _>(scope, name, move |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut capability = Some(capability);
        let mut watermark = i64::MIN;
        move |output| {
            let Some(held) = capability.as_mut() else { return };
            let mut ended = true;
            {
                let mut session = output.session(&*held);
                for record in records.by_ref().take(batch) {
                    watermark = watermark.max(time(&record));
                    session.give(record);
                    ended = false;
                }
            }
            if watermark > *held.time() {
                held.downgrade(&watermark);
            }
            if ended {
                capability = None;
            } else {
                activator.activate();
            }
        }
    })
}

fn bids<'scope>(
    scope: Scope<'scope, i64>,
    arguments: &Arguments,
    index: usize,
) -> Stream<'scope, i64, Vec<NumBid>> {
    feed(scope, "bids", BATCH, arguments.input.bids(index), |bid| bid.ts - DISORDER_MS_MAX as i64)
}

fn lines<'scope>(
    scope: Scope<'scope, i64>,
    arguments: &Arguments,
    index: usize,
) -> Stream<'scope, i64, Vec<String>> {
    feed(scope, "lines", 1_024, arguments.input.lines(index), |_| i64::MIN)
}

fn checksum(stream: Stream<'_, i64, Vec<NumBid>>) {
    let mut sum = 0;
    stream.unary::<Rows<u64>, _, _, _>(Pipeline, "checksum", |_, _| {
        move |input, _| {
            input.for_each_time(|_, batches| {
                for b in batches.flat_map(|batch| batch.drain(..)) {
                    sum ^= b.auction ^ b.price ^ b.ts as u64;
                }
                std::hint::black_box(sum);
            })
        }
    });
}

fn filter(stream: Stream<'_, i64, Vec<NumBid>>, mut sink: Sink) {
    stream.unary::<Rows<u64>, _, _, _>(Pipeline, "filter", |_, _| {
        move |input, _| {
            input.for_each_time(|_, batches| {
                for b in batches.flat_map(|batch| batch.drain(..)) {
                    if b.auction % 123 == 0 {
                        sink.numbers(&[b.auction, b.price]);
                    }
                }
            })
        }
    });
}

/// Windows of 10 s every `slide` ms per auction. One that slides writes the count only.
fn windows(stream: Stream<'_, i64, Vec<NumBid>>, slide: i64, mut sink: Sink) {
    stream
        .unary_frontier::<Rows<(i64, u64, Totals)>, _, _, _>(
            Exchange::new(|bid: &NumBid| mix(bid.auction)),
            "window",
            move |capability, _| {
                drop(capability);
                let mut open: BTreeMap<i64, (Capability<i64>, Map<u64, Totals>)> = BTreeMap::new();
                move |(input, frontier), output| {
                    let port = output.output_index();
                    input.for_each_time(|time, batches| {
                        for bid in batches.flat_map(|batch| batch.drain(..)) {
                            let mut start = bid.ts / slide * slide;
                            while start > bid.ts - WINDOW_MS {
                                let end = start + WINDOW_MS;
                                let (_, totals) = open
                                    .entry(end)
                                    .or_insert_with(|| (time.delayed(&end, port), Map::default()));
                                let totals = totals.entry(bid.auction).or_insert((0, 0, 0));
                                totals.0 += 1;
                                totals.1 += bid.price;
                                totals.2 = totals.2.max(bid.price);
                                start -= slide;
                            }
                        }
                    });
                    while let Some(first) =
                        open.first_entry().filter(|first| !frontier.less_than(first.key()))
                    {
                        let (end, (capability, totals)) = first.remove_entry();
                        let mut session = output.session(&capability);
                        for (auction, totals) in totals {
                            session.give((end - WINDOW_MS, auction, totals));
                        }
                    }
                }
            },
        )
        .unary::<Rows<u64>, _, _, _>(Pipeline, "sink", move |_, _| {
            move |input, _| {
                input.for_each_time(|_, batches| {
                    for (start, auction, t) in batches.flat_map(|batch| batch.drain(..)) {
                        let row = [start as u64, auction, t.0, t.1, t.2];
                        sink.numbers(if slide == WINDOW_MS { &row } else { &row[..3] });
                    }
                })
            }
        });
}

fn score_rows(stream: Stream<'_, i64, Vec<String>>, mut sink: Sink) {
    stream.unary::<Rows<u64>, _, _, _>(Pipeline, "score", |_, _| {
        move |input, _| {
            input.for_each_time(|_, batches| {
                for line in batches.flat_map(|batch| batch.drain(..)) {
                    let (id, score) = score(&line);
                    sink.score(id, score);
                }
            })
        }
    });
}

fn count_words(stream: Stream<'_, i64, Vec<String>>, mut sink: Sink) {
    // The workers must agree on the hash, so it is seeded.
    let hash = RandomState::with_seeds(1, 2, 3, 4);
    let counts_hash = hash.clone();
    stream
        .unary::<Rows<String>, _, _, _>(Pipeline, "split", |_, _| {
            move |input, output| {
                input.for_each_time(|time, batches| {
                    let mut session = output.session(&time);
                    for line in batches.flat_map(|batch| batch.drain(..)) {
                        for word in line.split(' ') {
                            session.give(word.to_string());
                        }
                    }
                })
            }
        })
        .unary_frontier::<Rows<u64>, _, _, _>(
            Exchange::new(move |word: &String| hash.hash_one(word)),
            "count",
            |capability, _| {
                drop(capability);
                let mut counts: Map<String, u64> = Map::with_hasher(counts_hash);
                move |(input, frontier), _| {
                    input.for_each_time(|_, batches| {
                        for word in batches.flat_map(|batch| batch.drain(..)) {
                            *counts.entry(word).or_insert(0) += 1;
                        }
                    });
                    if frontier.is_empty() {
                        for (word, count) in counts.drain() {
                            sink.count(&word, count);
                        }
                    }
                }
            },
        );
}

fn count_keys(scope: Scope<'_, i64>, events: u64, keys: u64, index: usize, workers: usize) {
    let numbers = (index as u64..events).step_by(workers).map(move |i| mix(i) % keys);
    feed(scope, "keys", BATCH, numbers, |_| i64::MIN).unary_frontier::<Rows<u64>, _, _, _>(
        Exchange::new(|key: &u64| mix(*key)),
        "count",
        |capability, _| {
            drop(capability);
            let mut counts: Map<u64, u64> = Map::default();
            let mut answered = false;
            move |(input, frontier), _| {
                input.for_each_time(|_, batches| {
                    for key in batches.flat_map(|batch| batch.drain(..)) {
                        *counts.entry(key).or_insert(0) += 1;
                    }
                });
                if frontier.is_empty() && !answered {
                    answered = true;
                    println!("{} keys, {} events", counts.len(), counts.values().sum::<u64>());
                }
            }
        },
    );
}
