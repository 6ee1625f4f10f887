//! Tokens: which epoch of a subtask is shown, and which writer may show the next.

use std::collections::BTreeMap;

use headwater::sink::Subtask;
use headwater::{Error, Result};

/// The tokens that a writer holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    /// The generation that it has made, by subtask.
    pub(crate) generations: BTreeMap<u32, i64>,
    /// The newest epoch that the sink has shown when the tokens were taken.
    pub(crate) newest_epoch: u64,
}

/// What must be so for an epoch to be shown, and is then so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) sink: &'a str,
    pub(crate) subtask: u32,
    pub(crate) epoch: i64,
    pub(crate) generation: i64,
}

impl Turn<'_> {
    /// Judges a token that is locked until the transaction ends: true when the rows are to be written, false
    /// when they are shown already.
    ///
    /// # Errors
    /// The token is another writer's.
    pub(crate) fn is_due(&self, found: Option<(i64, i64)>) -> Result<bool> {
        let Turn { sink, subtask, epoch, generation } = self;
        match found {
            Some((_, taken)) if taken != *generation => Err(Error::failed(format!(
                "the exactly-once sink `{sink}` has been taken over by another run (subtask {subtask}, generation \
                 {taken} instead of {generation}), and this one has written nothing of epoch {epoch}: let one run \
                 go on, or give the other job's sink a name of its own"
            ))),
            Some((shown, _)) => Ok(shown < *epoch),
            None => Err(Error::failed(format!(
                "the token of the exactly-once sink `{sink}`, subtask {subtask}, is gone from headwater_tokens: \
                 somebody deleted it while the job was running; put it back, or the next run would show epochs \
                 twice"
            ))),
        }
    }
}

/// A job that begins anew has epochs from 1 on: tokens of an older one would hide them.
///
/// # Errors
/// There are such tokens.
pub(crate) fn begins_anew(sink: &str, tokens: &Tokens) -> Result<()> {
    if tokens.newest_epoch == 0 {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the exactly-once sink `{sink}` has shown rows up to epoch {}, and this run begins anew: run it with the \
         state directory of the job that wrote them; or give the sink another name and the rows another table; or \
         clean up: delete the old rows, and DELETE FROM headwater_tokens WHERE sink = '{}'",
        tokens.newest_epoch,
        sink.replace('\'', "''")
    )))
}

/// A job that goes on behind an epoch has shown no later one, or it is not the job that did.
///
/// # Errors
/// There is a later one.
pub(crate) fn goes_on(sink: &str, tokens: &Tokens, last: u64) -> Result<()> {
    if tokens.newest_epoch <= last {
        return Ok(());
    }
    Err(Error::failed(format!(
        "the exactly-once sink `{sink}` has shown rows up to epoch {}, and this run goes on behind epoch {last}: \
         its state is older than the table, or of another job; run it with the newest state directory, or give \
         the sink another name and the rows another table",
        tokens.newest_epoch
    )))
}

/// Subtasks as the tokens number them.
pub(crate) fn numbers(subtask: Subtask) -> (i64, i64) {
    (subtask.index as i64, subtask.count.max(1) as i64)
}
