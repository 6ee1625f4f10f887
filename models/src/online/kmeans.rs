//! `KMeans`: centres that follow their rows, and forget old ones.

use headwater::prelude::Record;

use super::vector::widen;

/// Online k-means. Each row moves the nearest centre; a centre that stands for `n` rows moves by `1 / n` of
/// the way.
///
/// The first `k` different rows are the first centres. With a `decay` below 1 every row a centre gets makes
/// what it stood for count that much less (the streaming k-means of Spark with a time unit of one point), so
/// that it follows a drift.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct KMeans {
    count: u32,
    decay: f64,
    centres: Vec<Centre>,
}

/// The middle of a cluster and how many rows it stands for.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Centre {
    /// One coordinate per feature.
    pub middle: Vec<f64>,
    /// Rows, less those that were forgotten.
    pub weight: f64,
}

impl KMeans {
    /// So many clusters, at least 1, that forget nothing.
    #[must_use]
    pub fn new(count: u32) -> Self {
        KMeans { count: count.max(1), decay: 1.0, centres: Vec::new() }
    }

    /// What a centre stands for counts so much with each further row, above 0, at most 1.
    #[must_use]
    pub fn decay(self, decay: f64) -> Self {
        KMeans { decay, ..self }
    }

    /// The clusters so far.
    #[must_use]
    pub fn centres(&self) -> &[Centre] {
        &self.centres
    }

    /// The cluster of a row and its squared distance from the centre; `None` before the first row.
    #[must_use]
    pub fn nearest(&self, row: &[f64]) -> Option<(u32, f64)> {
        let mut best: Option<(u32, f64)> = None;
        for (cluster, centre) in (0..).zip(&self.centres) {
            let distance = centre.middle.iter().zip(row).map(|(a, b)| (a - b) * (a - b)).sum();
            if best.is_none_or(|(_, least)| distance < least) {
                best = Some((cluster, distance));
            }
        }
        best
    }

    /// Learns from a row; gives its cluster.
    pub fn learn(&mut self, row: &[f64]) -> u32 {
        match self.nearest(row) {
            Some((cluster, distance)) if distance == 0.0 || self.centres.len() >= self.count as usize => {
                let centre = &mut self.centres[cluster as usize];
                widen(&mut centre.middle, row.len());
                centre.weight = centre.weight * self.decay + 1.0;
                for (middle, value) in centre.middle.iter_mut().zip(row) {
                    *middle += (value - *middle) / centre.weight;
                }
                cluster
            }
            _ => {
                self.centres.push(Centre { middle: row.to_vec(), weight: 1.0 });
                self.centres.len() as u32 - 1
            }
        }
    }
}
