//! `Migrations`: values that an earlier version of the program wrote, turned into today's by typed functions.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::batch::{BatchError, Key, Record, Schema, decode_one};

/// An entry `(key, value)` whose type only the functions around it know.
type AnyEntry = Box<dyn Any>;

/// A schema and its hash, which is asked for with every value.
#[derive(Clone)]
struct End {
    schema: Schema,
    hash: u64,
}

impl End {
    fn of<E: Record>() -> Self {
        let schema = E::schema();
        End { hash: schema.hash(), schema }
    }
}

/// One function, with what it takes and gives.
#[derive(Clone)]
struct Migration {
    from: End,
    to: End,
    read: fn(&[u8]) -> Result<AnyEntry, BatchError>,
    turn: Arc<dyn Fn(AnyEntry) -> Option<AnyEntry> + Send + Sync>,
}

/// The functions of one operator; several in a row lead from a value of long ago to one of today.
#[derive(Clone, Default)]
pub(crate) struct Migrations(Vec<Migration>);

impl fmt::Debug for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ways = self.0.iter().map(|way| format!("{} -> {}", way.from.schema, way.to.schema));
        f.debug_list().entries(ways).finish()
    }
}

fn read<E: Record>(bytes: &[u8]) -> Result<AnyEntry, BatchError> {
    Ok(Box::new(decode_one::<E>(bytes)?))
}

impl Migrations {
    /// Adds the way from values of `Old` to values of `New`, for keys of `K`.
    pub(crate) fn add<K: Key, Old: Record, New: Record>(
        &mut self,
        migrate: impl Fn(Old) -> New + Send + Sync + 'static,
    ) {
        self.0.push(Migration {
            from: End::of::<(K, Old)>(),
            to: End::of::<(K, New)>(),
            read: read::<(K, Old)>,
            turn: Arc::new(move |entry| {
                let (key, old) = *entry.downcast::<(K, Old)>().ok()?;
                Some(Box::new((key, migrate(old))))
            }),
        });
    }

    /// The functions that lead from one schema to another, the shortest way.
    fn way(&self, from: u64, to: u64) -> Option<Vec<&Migration>> {
        let mut ways: Vec<Vec<&Migration>> = vec![Vec::new()];
        let mut seen = vec![from];
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                let end = way.last().map_or(from, |step| step.to.hash);
                if end == to {
                    return Some(way);
                }
                for step in self.0.iter().filter(|step| step.from.hash == end) {
                    if !seen.contains(&step.to.hash) {
                        seen.push(step.to.hash);
                        longer.push([way.as_slice(), &[step]].concat());
                    }
                }
            }
            ways = longer;
        }
        None
    }

    /// True when entries of the schema with this hash can be read as `to`.
    pub(crate) fn reach(&self, from: u64, to: &Schema) -> bool {
        self.way(from, to.hash()).is_some()
    }

    /// Reads an entry of the schema `from` as one of `to`, which is that of `E`; `None` when nothing leads there.
    pub(super) fn read<E: Record>(&self, from: u64, to: u64, bytes: &[u8]) -> Option<Result<E, BatchError>> {
        let way = self.way(from, to)?;
        let entry = match (way.first()?.read)(bytes) {
            Ok(entry) => way.iter().try_fold(entry, |entry, step| (step.turn)(entry))?,
            Err(error) => return Some(Err(error)),
        };
        entry.downcast::<E>().ok().map(|entry| Ok(*entry))
    }

    /// What is wrong with them, if state is of the schema `to`.
    pub(crate) fn problems(&self, to: &Schema) -> Vec<String> {
        let lost = self.0.iter().filter(|step| !self.reach(step.to.hash, to));
        lost.map(|step| {
            format!(
                "`migrate_state` turns {} into {}, but the state is {to}: let it give that, or add the step \
                 that is missing",
                step.from.schema, step.to.schema
            )
        })
        .collect()
    }
}
