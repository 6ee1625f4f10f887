//! `LearnStream`: learners inside a topology, scoring each record before they learn from it.

use std::fmt;

use headwater::batch::Key;
use headwater::prelude::{KeyedStream, Record, Stream};
use headwater::source::Rejected;

use crate::learner::{Label, Learner, Score, Unfit, check_row};

/// A record with what was thought of it before anything was learned from it.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Scored<T, S> {
    /// The record.
    pub record: T,
    /// What the learner said of it; see [`Label::Score`].
    pub score: S,
    /// How many records the learner of its key had learned from by then: the version of the model.
    pub learned: u64,
}

/// What is kept of a key.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Learning<L> {
    /// How many records it has learned from.
    pub learned: u64,
    /// Features of a record, once there was one.
    pub width: Option<u32>,
    /// The learner.
    pub learner: L,
}

/// The words that put learners into a stream.
pub trait LearnStream<K: Key, T: Record> {
    /// Scores each record and then learns from it, if its label is known: one learner per key, and one for
    /// all with `.key_by(|_| 0_u8)`.
    ///
    /// What was learned is keyed state of the stream: in a job with a state directory it survives `kill -9`,
    /// and the records behind the last epoch are scored and learned from again as they were the first time,
    /// to the last bit, as long as they come in the same order (from one partition they do).
    ///
    /// The second stream has the records that nothing can be learned from: with features or labels that are no
    /// numbers, infinite or larger than [`VALUE_MAX`](crate::VALUE_MAX), or with another number of features
    /// than the first record of their key.
    ///
    /// ```
    /// use headwater::prelude::*;
    /// use headwater_connectors::{Collect, Generator};
    /// use headwater_models::LearnStream;
    /// use headwater_models::online::QrRls;
    ///
    /// #[derive(Record, Clone)]
    /// struct Ride {
    ///     km: f64,
    ///     minutes: f64,
    ///     price: Option<f64>,
    /// }
    ///
    /// let flow = StreamBuilder::new("fares");
    /// let rides = flow.source("rides", Generator::new(1000, |n| {
    ///     let (km, minutes) = ((n % 17) as f64, (n % 23) as f64);
    ///     Ride { km, minutes, price: Some(3.0 + 2.0 * km + 0.5 * minutes) }
    /// }));
    /// let (scored, rejected) = rides
    ///     .key_by(|_| 0_u8)
    ///     .learn_online(QrRls::new(), |ride| [ride.km, ride.minutes], |ride| ride.price);
    /// # let out = Collect::new();
    /// # scored.sink("scored", out.clone());
    /// # rejected.sink("rejected", Collect::new());
    /// # flow.build()?.run(EngineConfig::default().parallelism(1))?;
    /// let last = out.take().pop().unwrap();
    /// assert_eq!(last.learned, 999);
    /// assert!((last.score - last.record.price.unwrap()).abs() < 1e-3);
    /// # Ok::<(), headwater::Error>(())
    /// ```
    fn learn_online<L: Learner, F: AsRef<[f64]>>(
        &self,
        learner: L,
        features: impl for<'a> Fn(T::View<'a>) -> F + Clone + Send + Sync + 'static,
        label: impl for<'a> Fn(T::View<'a>) -> Option<L::Label> + Clone + Send + Sync + 'static,
    ) -> (Stream<Scored<T, Score<L>>>, Stream<Rejected>)
    where
        for<'a> T::View<'a>: fmt::Debug;
}

impl<K: Key, T: Record> LearnStream<K, T> for KeyedStream<K, T> {
    fn learn_online<L: Learner, F: AsRef<[f64]>>(
        &self,
        learner: L,
        features: impl for<'a> Fn(T::View<'a>) -> F + Clone + Send + Sync + 'static,
        label: impl for<'a> Fn(T::View<'a>) -> Option<L::Label> + Clone + Send + Sync + 'static,
    ) -> (Stream<Scored<T, Score<L>>>, Stream<Rejected>)
    where
        for<'a> T::View<'a>: fmt::Debug,
    {
        let nothing = Learning { learned: 0, width: None, learner };
        self.try_flat_map_with_state(nothing, move |learning: &mut Learning<L>, view, emit| {
            let row = features(view);
            let row = row.as_ref();
            check_row(row)?;
            let label = label(view);
            label.map_or(Ok(()), Label::check)?;
            let (found, known) = (row.len(), *learning.width.get_or_insert(row.len() as u32) as usize);
            if found != known {
                return Err(Unfit::Width { found, known });
            }
            let learned = learning.learned;
            let score = match label {
                Some(label) => {
                    learning.learned += 1;
                    learning.learner.score_and_learn(row, label)
                }
                None => learning.learner.score(row),
            };
            // Two views of one lifetime: the record is copied to live as long as its score.
            emit.push(Scored { record: T::from_view(view), score, learned }.view());
            Ok(())
        })
    }
}
