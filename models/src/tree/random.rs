//! `Random`: SplitMix64, so that equal seeds give equal draws wherever a model goes on.

use headwater::prelude::Record;

/// What is added to the state with each draw.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A generator whose state is one number.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random { state: seed }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * 2f64.powi(-53)
    }

    /// Below `end`, which is at least 1.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.unit() * end as f64) as usize
    }

    /// How often what happens `rate` times in the mean happens (Poisson), by one draw.
    pub(super) fn poisson(&mut self, rate: f64) -> u32 {
        let draw = self.unit();
        let (mut count, mut chance) = (0, (-rate).exp());
        let mut sum = chance;
        // The sum of all chances may stay a little below 1.
        while draw >= sum && chance > 0.0 {
            count += 1;
            chance *= rate / f64::from(count);
            sum += chance;
        }
        count
    }

    /// `count` different numbers below `end`, in ascending order; all of them if there are no more.
    pub(super) fn sample(&mut self, count: usize, end: usize) -> Vec<u32> {
        let mut left = count.min(end);
        let mut chosen = Vec::with_capacity(left);
        for (rest, index) in (0..end).rev().zip(0..) {
            if self.below(rest + 1) < left {
                chosen.push(index);
                left -= 1;
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_those_of_the_paper() {
        assert_eq!(Random::new(42).unit(), 0.741_564_878_771_823_3);
    }

    #[test]
    fn counts_of_a_rate_have_its_mean_and_its_variance() {
        let mut random = Random::new(1);
        let counts: Vec<f64> = (0..100_000).map(|_| f64::from(random.poisson(6.0))).collect();
        let mean = counts.iter().sum::<f64>() / 1e5;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 6.0).abs() < 0.05 && (variance - 6.0).abs() < 0.15, "{mean} {variance}");
    }

    #[test]
    fn each_number_is_in_a_sample_as_often_as_any_other() {
        let mut random = Random::new(2);
        let mut counts = [0; 9];
        for _ in 0..9_000 {
            let sample = random.sample(3, 9);
            assert!(sample.len() == 3 && sample.is_sorted_by(|a, b| a < b));
            sample.iter().for_each(|index| counts[*index as usize] += 1);
        }
        assert!(counts.iter().all(|count| (2_800..3_200).contains(count)), "{counts:?}");
        assert_eq!(random.sample(5, 3), [0, 1, 2]);
    }
}
