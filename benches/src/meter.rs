//! Small measurements inside one process: CPU time of a thread or of all, resident memory, medians.

/// CPU time of the calling thread in nanoseconds.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    cpu_ns("/proc/thread-self/schedstat")
}

/// User and system time of this process, ended threads included, in nanoseconds; in steps of 10 ms.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold spaces: state, ten more fields, then user and system ticks.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks * 10_000_000
}

fn cpu_ns(path: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default()
}

/// Resident memory now, in bytes.
#[must_use]
pub fn resident_bytes() -> usize {
    status_bytes("VmRSS")
}

/// The most resident memory that this process ever had, in bytes.
#[must_use]
pub fn resident_peak_bytes() -> usize {
    status_bytes("VmHWM")
}

fn status_bytes(name: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or_default() << 10
}

/// The median; of an even number the lower one.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// `value` beside its target, and whether it is met.
#[must_use]
pub fn verdict(value: f64, target: f64, less_is_better: bool) -> String {
    let met = if less_is_better { value <= target } else { value >= target };
    let sign = if less_is_better { "<=" } else { ">=" };
    format!("target {sign} {target}: {}", if met { "met" } else { "MISSED" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_cpu_time_and_memory() {
        let before = (thread_cpu_ns(), resident_bytes());
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(resident_bytes() > before.1 + (60 << 20));
        assert!(resident_peak_bytes() >= resident_bytes());
        assert!(block.len() == 64 << 20 && thread_cpu_ns() > before.0);
    }

    #[test]
    fn the_median_is_one_of_the_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![3.0, 1.0]), 1.0);
    }
}
