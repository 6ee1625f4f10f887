//! A sensor network that does not exist: lines of text as its gateways deliver them, out of order, some
//! much too late and some broken. The same number always gives the same line.

use std::time::Duration;

use headwater::prelude::*;

/// What a sensor measured. As text: `sensor,at,value,unit`.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Reading {
    /// Who measured what.
    pub sensor: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// How much.
    pub value: f64,
    /// Of what; a file of readings may leave it out.
    pub unit: Option<String>,
}

impl Reading {
    /// Reads a line `sensor,at,value,unit`.
    ///
    /// # Errors
    /// Says what is wrong with the line.
    pub fn parse(line: &str) -> Result<Reading, String> {
        let cells: Vec<&str> = line.split(',').collect();
        let [sensor, at, value, unit] = cells[..] else {
            return Err(format!(
                "a reading has 4 cells `sensor,at,value,unit`, this line has {}",
                cells.len()
            ));
        };
        let at = at.parse().map_err(|_| format!("`{at}` is not a time in milliseconds"))?;
        let value: f64 = value.parse().map_err(|_| format!("`{value}` is not a number"))?;
        if !value.is_finite() {
            return Err(format!("{value} is no measured value"));
        }
        Ok(Reading { sensor: sensor.to_owned(), at, value, unit: Some(unit.to_owned()) })
    }
}

const PLACES: [&str; 4] = ["hall", "lab", "roof", "yard"];
/// Name, unit, usual value and daily swing, both in eighths: sums of eighths are exact in any order.
const MEASURES: [(&str, &str, u64, u64); 3] = [
    ("temperature", "°C", 16 * 8, 10 * 8),
    ("humidity", "%", 40 * 8, 25 * 8),
    ("co2", "ppm", 420 * 8, 400 * 8),
];

/// 2026-03-01 00:00:00 UTC.
const START_MS: i64 = 1_772_323_200_000;
const DAY_SECONDS: u64 = 86_400;

/// A network in which every sensor measures once a second.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// One gateway collects the sensors of each place.
    pub sensors: u64,
    /// Length of the time that is simulated.
    pub duration: Duration,
    /// Readings arrive out of order by less than this: whole seconds, not divisible by 7.
    pub disorder: Duration,
    /// Late readings are behind by this or up to a half more; there are none before such a time has passed.
    pub delay: Duration,
    /// Late readings, of 1,000.
    pub late: u64,
    /// Broken lines, of 1,000.
    pub broken: u64,
}

impl Network {
    /// How many lines there are.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.sensors * self.duration.as_secs()
    }

    /// The line with this number.
    #[must_use]
    pub fn line(&self, number: u64) -> String {
        let (second, sensor) = (number / self.sensors, number % self.sensors);
        let place = PLACES[(sensor % 4) as usize];
        let (measure, unit, usual, swing) = MEASURES[(sensor / 4 % 3) as usize];
        let mut draw = Draws(number);

        // Every second once, but shuffled: seven has no divisor in common with the length.
        let shuffled = self.disorder.as_secs();
        let turn = (second % shuffled * 7 + sensor * 11) % shuffled;
        let mut at = START_MS + (second - second % shuffled + turn) as i64 * 1000;
        let delay_ms = self.delay.as_millis() as u64;
        let delay_drawn_ms = delay_ms + draw.below(delay_ms / 2);
        if draw.below(1000) < self.late && second * 1000 > delay_ms * 3 / 2 {
            at -= delay_drawn_ms as i64;
        }
        // Up until the middle of the day, then down again.
        let day = second % DAY_SECONDS;
        let height = swing * day.min(DAY_SECONDS - day) / (DAY_SECONDS / 2);
        let value = (usual + height + sensor % 4 * 8 + draw.below(16)) as f64 / 8.0;

        if draw.below(1000) >= self.broken {
            return format!("{place}/{measure},{at},{value},{unit}");
        }
        match draw.below(4) {
            0 => format!("{place}/{measure},{at}"),
            1 => format!("{place}/{measure},yesterday,{value},{unit}"),
            2 => format!("{place}/{measure},{at},,{unit}"),
            _ => format!("{place}/{measure},{at},NaN,{unit}"),
        }
    }
}

/// Random numbers of one line (splitmix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15).rotate_left(17);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}
