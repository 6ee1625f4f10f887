//! `Writer`: the two phases of a sink into a database, whichever it is.

use std::marker::PhantomData;

use headwater::batch::{Batch, Record, Schema};
use headwater::sink::{Cut, Delivery, SinkWriter, Staged, Subtask};
use headwater::time::Epoch;
use headwater::{Error, Result, failpoint};

use super::cells::{Cells, Rules, base_of, encode_row, fields};
use super::options::Options;
use super::staged::Piece;
use super::token::{Tokens, Turn, begins_anew, goes_on};

/// What a database can do for a writer. Each call is one transaction, which is repeated where its outcome is
/// not known.
pub(crate) trait Database: Send {
    /// What it cannot hold.
    const RULES: Rules;

    /// Takes the tokens of a subtask over, so that no older writer shows another epoch.
    fn take_tokens(&mut self, sink: &str, subtask: Subtask) -> Result<Tokens>;

    /// Writes rows, when it is their turn, and says so in the token; without a turn writes them.
    fn show(&mut self, piece: &Piece<'_>, turn: Option<Turn<'_>>) -> Result<()>;
}

pub(crate) struct Writer<T, D> {
    database: D,
    /// The name of the sink and its tokens; `None`: at-least-once.
    tokens: Option<(String, Tokens)>,
    subtask: Subtask,
    schema: u64,
    base: usize,
    cells: Vec<u8>,
    rows: u64,
    /// It is known which epochs an earlier run has shown.
    has_begun: bool,
    _record: PhantomData<fn(T)>,
}

impl<T: Record, D: Database> Writer<T, D> {
    /// # Errors
    /// The options make no sense for the record, its table cannot be opened, or the database does not give the
    /// tokens.
    pub(crate) fn open(
        options: &Options,
        subtask: Subtask,
        open: impl FnOnce(Options, Vec<(String, Schema)>) -> Result<D>,
    ) -> Result<Self> {
        let fields = fields::<T>();
        options.check(&fields)?;
        let mut database = open(options.clone(), fields)?;
        let tokens = match options.exactly_once.clone() {
            Some(sink) => {
                let tokens = database.take_tokens(&sink, subtask)?;
                Some((sink, tokens))
            }
            None => None,
        };
        let (schema, base) = (T::schema().hash(), base_of::<T>());
        let (cells, rows, has_begun) = (Vec::new(), 0, false);
        Ok(Writer { database, tokens, subtask, schema, base, cells, rows, has_begun, _record: PhantomData })
    }

    /// Before anything is written by a run that goes on behind nothing.
    fn begin(&mut self) -> Result<()> {
        if self.has_begun {
            return Ok(());
        }
        if let Some((sink, tokens)) = &self.tokens {
            begins_anew(sink, tokens)?;
        }
        self.has_begun = true;
        Ok(())
    }
}

impl<T: Record, D: Database> SinkWriter<T> for Writer<T, D> {
    fn write(&mut self, batch: &Batch<T>) -> Result<()> {
        self.begin()?;
        let mut result = Ok(());
        batch.for_each(|_, view| {
            if result.is_ok() {
                result = encode_row::<T>(view, self.base, D::RULES, &mut self.cells);
                self.rows += 1;
            }
        });
        result
    }

    fn prepare(&mut self, _: Cut) -> Result<Staged> {
        self.begin()?;
        if self.rows == 0 {
            return Ok(Staged::nothing());
        }
        let (subtask, rows) = (self.subtask.index as u32, std::mem::take(&mut self.rows));
        let staged = Piece { subtask, schema: self.schema, rows, cells: Cells(&self.cells) }.write();
        self.cells.clear();
        Ok(staged)
    }

    fn commit(&mut self, epoch: Epoch, staged: &Staged) -> Result<Delivery> {
        if staged.is_nothing() {
            return Ok(Delivery::Final);
        }
        let piece = Piece::read(staged, self.schema)?;
        let turn = match &self.tokens {
            None => None,
            Some((sink, tokens)) => {
                let generation = *tokens.generations.get(&piece.subtask).ok_or_else(|| {
                    Error::failed(format!(
                        "the token of the exactly-once sink `{sink}`, subtask {}, is gone from headwater_tokens, so \
                         that nobody knows which of its epochs are shown: put it back",
                        piece.subtask
                    ))
                })?;
                let epoch = i64::try_from(epoch.0).map_err(Error::failed)?;
                Some(Turn { sink, subtask: piece.subtask, epoch, generation })
            }
        };
        self.database.show(&piece, turn).map_err(|error| error.at(format!("epoch {epoch}")))?;
        Ok(Delivery::Final)
    }

    fn recover(&mut self, epochs: Vec<(Epoch, Staged)>) -> Result<Delivery> {
        if let Some((sink, tokens)) = &self.tokens {
            goes_on(sink, tokens, epochs.last().map_or(0, |(epoch, _)| epoch.0))?;
        }
        self.has_begun = true;
        for (epoch, staged) in &epochs {
            if !failpoint::bug("not-recommitted") {
                self.commit(*epoch, staged)?;
            }
        }
        Ok(Delivery::Final)
    }
}
