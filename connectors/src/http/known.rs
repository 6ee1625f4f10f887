//! `Known`: the requests that were taken, by their keys, which is what makes one that is sent again count once.

use std::collections::{HashMap, VecDeque};

/// A request with a key that was taken, or begun.
#[derive(Clone, Debug, PartialEq, Eq, headwater::prelude::Record)]
pub struct HttpRequestPosition {
    /// Hash of its `Idempotency-Key`.
    pub key: u128,
    /// Hash of its body.
    pub body: u64,
    /// When it came, in seconds since 1970.
    pub second: u32,
    /// How many of its records were read.
    pub records: u32,
    /// All of them were.
    pub is_whole: bool,
    /// It was refused: none of them counts.
    pub is_refused: bool,
}

/// Which requests were taken: the position of a [`HttpSource`](super::HttpSource).
#[derive(Clone, Debug, PartialEq, Eq, headwater::prelude::Record)]
pub struct HttpPosition {
    /// How many requests were read, refused ones included.
    pub requests: u64,
    /// How many of them were taken.
    pub taken: u64,
    /// Those with a key that are remembered; the oldest is the first, and will be forgotten first.
    pub known: Vec<HttpRequestPosition>,
}

/// Which request is meant: the hashes of its key and of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) key: u128,
    pub(super) body: u64,
}

#[derive(Debug)]
struct Entry {
    position: HttpRequestPosition,
    /// How many requests had been read when this one was.
    number: u64,
}

/// What is to be done with a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new, or was read up to here when a crash came.
    Read { from: u32 },
    /// It was read before, as request of this number.
    Known { number: u64 },
    /// Another one had the key.
    Other,
}

/// All requests that are remembered, never more than so many, and none for longer than so long.
#[derive(Debug)]
pub(super) struct Known {
    by_key: HashMap<u128, Entry>,
    /// Keys, the oldest first.
    order: VecDeque<u128>,
    keys_max: usize,
    seconds_max: u32,
    pub(super) requests: u64,
    pub(super) taken: u64,
}

impl Known {
    pub(super) fn new(position: Option<HttpPosition>, keys_max: usize, seconds_max: u32) -> Self {
        let HttpPosition { requests, taken, known } =
            position.unwrap_or(HttpPosition { requests: 0, taken: 0, known: Vec::new() });
        let order = known.iter().map(|request| request.key).collect();
        let entry = |position: HttpRequestPosition| (position.key, Entry { position, number: requests });
        let by_key = known.into_iter().map(entry).collect();
        Known { by_key, order, keys_max, seconds_max, requests, taken }
    }

    pub(super) fn position(&self) -> HttpPosition {
        let known = self.order.iter().filter_map(|key| self.by_key.get(key));
        let known = known.map(|entry| entry.position.clone()).collect();
        HttpPosition { requests: self.requests, taken: self.taken, known }
    }

    /// What is to be done with a request that has a key; a new one is remembered from now on, `now` being the
    /// second that it is.
    pub(super) fn judge(&mut self, name: Name, now: u32) -> Verdict {
        match self.by_key.get(&name.key) {
            Some(Entry { position, number }) if position.body == name.body => {
                if position.is_whole {
                    return Verdict::Known { number: *number };
                }
                return Verdict::Read { from: position.records };
            }
            // Nothing of a refused request was taken: the mended one may have its key.
            Some(Entry { position, .. }) if !(position.is_refused && position.is_whole) => {
                return Verdict::Other;
            }
            _ => {}
        }
        self.forget(now);
        let position = HttpRequestPosition {
            key: name.key,
            body: name.body,
            second: now,
            records: 0,
            is_whole: false,
            is_refused: false,
        };
        if self.by_key.insert(name.key, Entry { position, number: 0 }).is_some() {
            self.order.retain(|key| *key != name.key);
        }
        self.order.push_back(name.key);
        Verdict::Read { from: 0 }
    }

    /// Whether a request was read, or begun.
    pub(super) fn remembers(&self, name: Name) -> bool {
        self.by_key.get(&name.key).is_some_and(|entry| entry.position.body == name.body)
    }

    /// Makes room for one more, and forgets what is too old.
    fn forget(&mut self, now: u32) {
        while let Some(key) = self.order.front() {
            let is_old = self.by_key.get(key).is_none_or(|entry| {
                u64::from(entry.position.second) + u64::from(self.seconds_max) < u64::from(now)
            });
            if !is_old && self.order.len() < self.keys_max {
                return;
            }
            self.by_key.remove(key);
            self.order.pop_front();
        }
    }

    /// One more record of a request was read.
    pub(super) fn advance(&mut self, name: Option<Name>) {
        if let Some(entry) = name.and_then(|name| self.by_key.get_mut(&name.key)) {
            entry.position.records += 1;
        }
    }

    /// All of a request was read; gives its number.
    pub(super) fn finish(&mut self, name: Option<Name>, is_refused: bool) -> u64 {
        self.requests += 1;
        self.taken += u64::from(!is_refused);
        if let Some(entry) = name.and_then(|name| self.by_key.get_mut(&name.key)) {
            (entry.position.is_whole, entry.position.is_refused) = (true, is_refused);
            entry.number = self.requests;
        }
        self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: u128, body: u64) -> Name {
        Name { key, body }
    }

    #[test]
    fn a_request_that_was_read_is_known_also_by_the_next_process() {
        let mut known = Known::new(None, 10, 60);
        assert_eq!(known.judge(name(1, 1), 0), Verdict::Read { from: 0 });
        known.advance(Some(name(1, 1)));
        // A crash in the middle.
        let mut next = Known::new(Some(known.position()), 10, 60);
        assert_eq!(next.judge(name(1, 1), 0), Verdict::Read { from: 1 });
        assert_eq!(next.judge(name(1, 2), 0), Verdict::Other);
        assert_eq!(next.finish(Some(name(1, 1)), false), 1);
        assert_eq!(next.finish(None, false), 2);
        assert_eq!(next.judge(name(1, 1), 0), Verdict::Known { number: 1 });
        assert_eq!(next.judge(name(1, 2), 0), Verdict::Other);
        let mut next = Known::new(Some(next.position()), 10, 60);
        assert_eq!(next.judge(name(1, 1), 0), Verdict::Known { number: 2 });
        assert_eq!((next.requests, next.taken), (2, 2));
    }

    #[test]
    fn a_request_that_was_refused_may_be_mended_under_its_key() {
        let mut known = Known::new(None, 10, 60);
        known.judge(name(1, 1), 0);
        known.finish(Some(name(1, 1)), true);
        assert_eq!(known.judge(name(1, 1), 0), Verdict::Known { number: 1 });
        assert_eq!(known.judge(name(1, 2), 0), Verdict::Read { from: 0 });
        known.finish(Some(name(1, 2)), false);
        assert_eq!(known.judge(name(1, 1), 0), Verdict::Other);
        assert_eq!((known.requests, known.taken, known.position().known.len()), (2, 1, 1));
    }

    #[test]
    fn never_more_keys_than_was_said_and_none_for_longer() {
        let mut known = Known::new(None, 2, 60);
        for key in 0..3 {
            known.judge(name(key, 0), 100 + key as u32);
            known.finish(Some(name(key, 0)), false);
        }
        let keys = |known: &Known| known.position().known.iter().map(|of| of.key).collect::<Vec<_>>();
        assert_eq!(keys(&known), [1, 2]);
        assert_eq!(known.judge(name(1, 0), 500), Verdict::Known { number: 2 });
        known.judge(name(3, 0), 162);
        assert_eq!(keys(&known), [2, 3]);
        known.judge(name(4, 0), 500);
        assert_eq!(keys(&known), [4]);
    }
}
