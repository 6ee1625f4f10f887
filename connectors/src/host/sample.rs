//! `Sampler`: one look at processors, memory, disks and network.

use headwater::{Error, Result};
use sysinfo::{DiskRefreshKind, Disks, NetworkData, Networks, System};

use super::HostReading;

/// The counters of this host, and what they were at the last look.
#[derive(Debug)]
pub(super) struct Sampler {
    system: System,
    disks: Disks,
    networks: Networks,
}

impl Sampler {
    /// # Errors
    /// The system does not show its counters.
    pub(super) fn new() -> Result<Self> {
        let unreadable = |error| Error::failed(format!("the metrics of this host cannot be read: {error}"));
        Ok(Sampler {
            system: System::new().map_err(unreadable)?,
            disks: Disks::new().map_err(unreadable)?,
            networks: Networks::new().map_err(unreadable)?,
        })
    }

    /// Looks again; the rates of [`Self::readings`] are about the time since the last look.
    pub(super) fn refresh(&mut self) {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage().with_io_usage());
        self.networks.refresh(true);
    }

    /// The readings of the last look, `passed_ms` after the one before.
    pub(super) fn readings(&self, at: i64, passed_ms: u64) -> Vec<HostReading> {
        let mut page = Page { at, seconds: passed_ms.max(1) as f64 / 1000.0, readings: Vec::new() };
        self.processors(&mut page);
        self.memory(&mut page);
        self.disks(&mut page);
        self.networks(&mut page);
        load(&mut page);
        page.readings
    }

    fn processors(&self, page: &mut Page) {
        page.percent("cpu/total", f64::from(self.system.global_cpu_usage()));
        for (index, processor) in self.system.cpus().iter().enumerate() {
            page.percent(format!("cpu/{index}"), f64::from(processor.usage()));
        }
    }

    fn memory(&self, page: &mut Page) {
        page.add("mem/used", self.system.used_memory() as f64, "B");
        page.add("mem/available", self.system.available_memory() as f64, "B");
        page.add("mem/total", self.system.total_memory() as f64, "B");
    }

    fn disks(&self, page: &mut Page) {
        // A disk that is mounted in several places is one disk.
        let mut disks: Vec<_> = self.disks.iter().map(|disk| (disk_name(disk), disk)).collect();
        disks.sort_by(|(left, _), (right, _)| left.cmp(right));
        disks.dedup_by(|(left, _), (right, _)| left == right);
        for (name, disk) in disks {
            let (total, available) = (disk.total_space(), disk.available_space());
            if total > 0 {
                let used = total.saturating_sub(available);
                page.percent(format!("disk/{name}/used"), 100.0 * used as f64 / total as f64);
            }
            let usage = disk.usage();
            page.per_second(format!("disk/{name}/read"), usage.read_bytes);
            page.per_second(format!("disk/{name}/write"), usage.written_bytes);
        }
    }

    fn networks(&self, page: &mut Page) {
        let mut interfaces: Vec<_> = self.networks.iter().collect();
        interfaces.sort_by_key(|(name, _)| name.as_os_str());
        for (name, interface) in interfaces {
            let name = name.to_string_lossy();
            let family = if is_loopback(interface) { "loopback" } else { "net" };
            page.per_second(format!("{family}/{name}/rx"), interface.received());
            page.per_second(format!("{family}/{name}/tx"), interface.transmitted());
        }
    }
}

fn load(page: &mut Page) {
    // Not every system counts the processes that wait; then there are no such readings.
    if let Ok(load) = System::load_average() {
        page.add("load/1", load.one, "");
        page.add("load/5", load.five, "");
        page.add("load/15", load.fifteen, "");
    }
}

fn disk_name(disk: &sysinfo::Disk) -> String {
    let name = disk.name().to_string_lossy();
    name.strip_prefix("/dev/").unwrap_or(&name).to_owned()
}

fn is_loopback(interface: &NetworkData) -> bool {
    let networks = interface.ip_networks();
    !networks.is_empty() && networks.iter().all(|network| network.addr.is_loopback())
}

/// The readings of one look.
struct Page {
    at: i64,
    seconds: f64,
    readings: Vec<HostReading>,
}

impl Page {
    fn add(&mut self, sensor: impl Into<String>, value: f64, unit: &str) {
        self.readings.push(HostReading { sensor: sensor.into(), at: self.at, value, unit: unit.to_owned() });
    }

    fn percent(&mut self, sensor: impl Into<String>, value: f64) {
        self.add(sensor, value, "%");
    }

    fn per_second(&mut self, sensor: impl Into<String>, bytes: u64) {
        self.add(sensor, bytes as f64 / self.seconds, "B/s");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_every_family_of_sensors_once() {
        let mut sampler = Sampler::new().unwrap();
        sampler.refresh();
        sampler.refresh();
        let readings = sampler.readings(7, 500);
        let mut sensors: Vec<&str> = readings.iter().map(|reading| reading.sensor.as_str()).collect();
        assert!(sensors.contains(&"cpu/total") && sensors.contains(&"cpu/0"), "{sensors:?}");
        assert!(sensors.contains(&"mem/used") && sensors.contains(&"mem/available"), "{sensors:?}");
        let count = sensors.len();
        sensors.sort_unstable();
        sensors.dedup();
        assert_eq!(sensors.len(), count, "{sensors:?}");
        assert!(readings.iter().all(|reading| reading.at == 7 && reading.value.is_finite()), "{readings:?}");
        let percents = readings.iter().filter(|reading| reading.unit == "%");
        assert!(percents.clone().all(|reading| (0.0..=100.0).contains(&reading.value)), "{readings:?}");
    }
}
