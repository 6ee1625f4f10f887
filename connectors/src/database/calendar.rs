//! Milliseconds since 1970 as dates and times of UTC.

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// 0 is the year before the first.
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    pub(crate) millis: i64,
}

impl Moment {
    /// Of milliseconds since 1970.
    pub(crate) fn new(ms: i64) -> Self {
        let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
        let (year, month, day) = date(days);
        let (seconds, millis) = (of_day / 1_000, of_day % 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        Moment { year, month, day, hour, minute, second, millis }
    }
}

/// Year, month and day of a number of days since 1970. Years are counted from March on, so that the day that some
/// of them have is their last.
fn date(days: i64) -> (i64, i64, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let since_march_0 = days + 719_468;
    let (era, day) =
        (since_march_0.div_euclid(DAYS_OF_400_YEARS), since_march_0.rem_euclid(DAYS_OF_400_YEARS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month_since_march = (5 * day + 2) / 153;
    let day = day - (153 * month_since_march + 2) / 5 + 1;
    let month = if month_since_march < 10 { month_since_march + 3 } else { month_since_march - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let mut before = date(-200_001);
        for days in -200_000..100_000 {
            let (year, month, day) = date(days);
            let follows = (year, month, day) == (before.0, before.1, before.2 + 1)
                || (day == 1 && (year, month) == (before.0, before.1 + 1))
                || (day, month) == (1, 1) && year == before.0 + 1 && before.1 == 12;
            assert!(follows, "{before:?} {:?}", (year, month, day));
            before = (year, month, day);
        }
        for ms in [i64::MIN, i64::MAX] {
            Moment::new(ms);
        }
    }
}
