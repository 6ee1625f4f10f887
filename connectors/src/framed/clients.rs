//! `Clients`: how far each client is, which is what makes a frame that is sent again count once.

use std::collections::HashMap;

/// How far one client is.
#[derive(Clone, Debug, PartialEq, Eq, headwater::prelude::Record)]
pub struct ClientPosition {
    /// What the client calls itself.
    pub id: String,
    /// The number of its last frame that was read.
    pub sequence: u64,
    /// The client has ended its input with that frame.
    pub ended: bool,
}

/// How far all clients are: the position of a [`FramedSocket`](super::FramedSocket).
#[derive(Clone, Debug, PartialEq, Eq, headwater::prelude::Record)]
pub struct FramedPosition {
    /// The client that has been silent for longest is the first, and will be forgotten first.
    pub clients: Vec<ClientPosition>,
}

#[derive(Debug, Default)]
struct Client {
    received: u64,
    committed: u64,
    ended: bool,
    /// Some connection has got the acknowledgement of the end.
    told: bool,
    /// When it was heard of last, counted in frames of all.
    heard: u64,
}

/// What is to be done with a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Take,
    /// It was read before.
    Drop,
}

/// All clients that are known, and never more than so many.
#[derive(Debug)]
pub(super) struct Clients {
    by_id: HashMap<String, Client>,
    clients_max: usize,
    frames: u64,
}

impl Clients {
    pub(super) fn new(position: Option<FramedPosition>, clients_max: usize) -> Self {
        let mut clients = Clients { by_id: HashMap::new(), clients_max, frames: 0 };
        for ClientPosition { id, sequence, ended } in position.map_or(Vec::new(), |before| before.clients) {
            clients.frames += 1;
            let heard = clients.frames;
            let client = Client { received: sequence, ended, heard, ..Client::default() };
            clients.by_id.insert(id, client);
        }
        clients
    }

    pub(super) fn position(&self) -> FramedPosition {
        let mut clients: Vec<_> = self.by_id.iter().collect();
        clients.sort_unstable_by_key(|(_, client)| client.heard);
        let position = |(id, client): (&String, &Client)| ClientPosition {
            id: id.clone(),
            sequence: client.received,
            ended: client.ended,
        };
        FramedPosition { clients: clients.into_iter().map(position).collect() }
    }

    /// Up to where the frames of a client are committed; 0 for one that is not known.
    pub(super) fn committed(&self, id: &str) -> u64 {
        self.by_id.get(id).map_or(0, |client| client.committed)
    }

    /// A client says hello and knows that its frames up to `acknowledged` are committed.
    ///
    /// # Errors
    /// Here nobody knows that, so that frames would count twice or not at all; in words for the client.
    pub(super) fn greet(&self, id: &str, acknowledged: u64) -> Result<(), String> {
        let known = self.by_id.get(id).map_or(0, |client| client.received);
        if acknowledged <= known {
            return Ok(());
        }
        Err(format!(
            "client `{id}` was acknowledged up to frame {acknowledged}, and here it is known up to {known}: the \
             job began anew, or has forgotten the client for others; go on under a new id, from frame 1"
        ))
    }

    /// What is to be done with a frame of a client.
    ///
    /// # Errors
    /// The frame cannot be taken; in words for the client.
    pub(super) fn judge(&self, id: &str, sequence: u64) -> Result<Verdict, String> {
        let client = self.by_id.get(id);
        let received = client.map_or(0, |client| client.received);
        if sequence == 0 {
            return Err("the first frame of a client has the number 1, not 0".to_owned());
        }
        if sequence <= received {
            return Ok(Verdict::Drop);
        }
        if sequence != received + 1 {
            return Err(format!("frame {sequence} came where {} is the next", received + 1));
        }
        if client.is_some_and(|client| client.ended) {
            return Err(format!("frame {sequence} came behind the end of the client's input"));
        }
        Ok(Verdict::Take)
    }

    /// Makes room for a client; `is_connected` says who must not be forgotten for it.
    ///
    /// # Errors
    /// There is no room; in words for the client.
    pub(super) fn admit(&mut self, id: &str, is_connected: impl Fn(&str) -> bool) -> Result<(), String> {
        if self.by_id.contains_key(id) {
            return Ok(());
        }
        if self.by_id.len() >= self.clients_max {
            let forgettable = |(other, client): &(&String, &Client)| {
                client.committed == client.received && !is_connected(other)
            };
            let silent = self.by_id.iter().filter(forgettable).min_by_key(|(_, client)| client.heard);
            let Some(silent) = silent.map(|(silent, _)| silent.clone()) else {
                return Err(format!(
                    "{} clients are known, and each is connected or waits to be acknowledged: raise \
                     `clients_max` of the source, or let them share a connection",
                    self.by_id.len()
                ));
            };
            self.by_id.remove(&silent);
        }
        self.by_id.insert(id.to_owned(), Client::default());
        Ok(())
    }

    /// A frame of an admitted client was taken.
    pub(super) fn take(&mut self, id: &str, sequence: u64, is_end: bool) {
        self.frames += 1;
        if let Some(client) = self.by_id.get_mut(id) {
            (client.received, client.ended, client.heard) = (sequence, is_end, self.frames);
        }
    }

    /// What these clients had sent is committed.
    pub(super) fn commit(&mut self, position: &FramedPosition) {
        for ClientPosition { id, sequence, .. } in &position.clients {
            if let Some(client) = self.by_id.get_mut(id) {
                // A client that was forgotten and is back has its own count.
                client.committed = client.committed.max(*sequence).min(client.received);
            }
        }
    }

    /// An acknowledgement has left for a client.
    pub(super) fn told(&mut self, id: &str, sequence: u64) {
        if let Some(client) = self.by_id.get_mut(id) {
            client.told |= client.ended && sequence >= client.received;
        }
    }

    /// How many clients have ended and are committed; and how many of them know it.
    pub(super) fn ended(&self) -> (usize, usize) {
        let ended = self.by_id.values().filter(|client| client.ended && client.committed == client.received);
        ended.fold((0, 0), |(all, told), client| (all + 1, told + usize::from(client.told)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(clients: &[(&str, u64)]) -> FramedPosition {
        let client = |(id, sequence): &(&str, u64)| ClientPosition {
            id: (*id).to_owned(),
            sequence: *sequence,
            ended: false,
        };
        FramedPosition { clients: clients.iter().map(client).collect() }
    }

    fn send(clients: &mut Clients, id: &str, sequence: u64) {
        assert_eq!(clients.judge(id, sequence), Ok(Verdict::Take));
        clients.admit(id, |_| false).unwrap();
        clients.take(id, sequence, false);
    }

    #[test]
    fn a_frame_counts_once_and_none_is_missing() {
        let mut clients = Clients::new(Some(position(&[("a", 5)])), 10);
        assert_eq!(clients.judge("a", 5), Ok(Verdict::Drop));
        assert!(clients.judge("a", 7).unwrap_err().contains("where 6 is the next"));
        assert!(clients.judge("b", 2).unwrap_err().contains("where 1 is the next"));
        assert!(clients.judge("a", 0).is_err());
        send(&mut clients, "a", 6);
        assert_eq!(clients.judge("a", 6), Ok(Verdict::Drop));
        assert_eq!(clients.position(), position(&[("a", 6)]));
    }

    #[test]
    fn who_has_been_silent_for_longest_is_forgotten_but_nobody_who_waits() {
        let mut clients = Clients::new(None, 2);
        send(&mut clients, "a", 1);
        send(&mut clients, "b", 1);
        assert!(clients.admit("c", |_| false).unwrap_err().contains("raise `clients_max`"));
        send(&mut clients, "a", 2);
        clients.commit(&clients.position());
        send(&mut clients, "c", 1);
        assert_eq!(clients.position(), position(&[("a", 2), ("c", 1)]));
        // It is told when it comes back, and nothing counts twice.
        assert!(clients.greet("b", 1).unwrap_err().contains("a new id"));
        assert!(clients.admit("d", |id| id == "a").is_err(), "`a` is connected, `c` waits");
        let before = Clients::new(Some(clients.position()), 2);
        assert_eq!(before.position(), clients.position(), "the order survives");
    }

    #[test]
    fn an_old_position_does_not_commit_what_came_later() {
        let mut clients = Clients::new(Some(position(&[("a", 2)])), 2);
        assert_eq!(clients.committed("a"), 0);
        clients.commit(&position(&[("a", 2)]));
        send(&mut clients, "a", 3);
        clients.commit(&position(&[("a", 1)]));
        assert_eq!(clients.committed("a"), 2);
        clients.commit(&position(&[("a", 9), ("b", 1)]));
        assert_eq!((clients.committed("a"), clients.committed("b")), (3, 0));
    }
}
