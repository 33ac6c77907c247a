//! What came out: the report, as a page or as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use cueline::{Observer, Runtime, Sample, Signal};
use serde::Serialize;

use crate::processors::{Carrier, Hour, Passengers, Sky, Stranded};

/// Counts what the runtime states while it runs.
#[derive(Clone, Default)]
pub struct Watch(Arc<Counts>);

#[derive(Default)]
struct Counts {
    deliveries: AtomicU64,
    restarts: AtomicU64,
    waited: Buckets,
    handled: Buckets,
}

/// How many samples were shorter than 2^n/8 microseconds and not shorter than the half of that.
struct Buckets([AtomicU64; 40]);

impl Default for Buckets {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Buckets {
    fn add(&self, took: Duration) {
        let steps = (took.as_nanos() / 125).max(1).ilog2() as usize;
        self.0[steps.min(39)].fetch_add(1, Relaxed);
    }

    /// The upper end of the bucket in which that share of the samples is reached, in microseconds.
    fn quantile(&self, share: f64) -> f64 {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Relaxed)).collect();
        let wanted = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut sum = 0;
        let steps = counts.iter().take_while(|count| {
            sum += *count;
            sum < wanted
        });
        0.125 * 2f64.powi(steps.count() as i32 + 1)
    }
}

impl Watch {
    pub fn deliveries(&self) -> u64 {
        self.0.deliveries.load(Relaxed)
    }
}

impl Observer for Watch {
    fn observe(&self, signal: &Signal<'_>) {
        match signal {
            Signal::Handled { events, samples, .. } => {
                self.0.deliveries.fetch_add(*events, Relaxed);
                for Sample { waited, handled, .. } in *samples {
                    waited.iter().for_each(|waited| self.0.waited.add(*waited));
                    self.0.handled.add(*handled);
                }
            }
            Signal::Restarted { .. } => {
                self.0.restarts.fetch_add(1, Relaxed);
            }
            _ => {}
        }
    }
}

#[derive(Serialize)]
pub struct Report {
    flights: u64,
    departed: u64,
    arrived: u64,
    cancelled: u64,
    diverted: u64,
    never_arrived: u64,
    departed_late: u64,
    no_tail_number: u64,
    unknown_tail_number: u64,
    parked: BTreeMap<&'static str, u64>,
    waiting_behind: u64,
    storms: u64,
    hours_without_weather: u64,
    cancelled_by_carrier: BTreeMap<String, u64>,
    stranded_passengers: u64,
    cancelled_without_seats: u64,
    events_published: u64,
    deliveries: u64,
    restarts: u64,
    seconds: f64,
    deliveries_per_second: u64,
    waiting_p50_us: f64,
    waiting_p99_us: f64,
    handling_p50_us: f64,
    handling_p99_us: f64,
}

impl Report {
    /// Reads what the processors keep, once the runtime is idle.
    pub fn of(runtime: &Runtime, watch: &Watch, took: Duration) -> Self {
        let board = runtime.states::<Carrier>("delay-board");
        let passengers: Passengers = runtime.state("stranded", Stranded::TOTAL).unwrap_or_default();
        let hours = runtime.states::<Hour>("weather");
        let without = hours.values().filter(|hour| hour.flights > 0 && !hour.observed).count();
        let topology = runtime.topology();
        let published = |topic: &str| -> u64 {
            topology.iter().filter(|of| of.topic == topic).map(|of| of.published).sum()
        };
        let sum = |count: fn(&Carrier) -> u64| board.values().map(count).sum::<u64>();
        let (departed, arrived) = (sum(|of| of.departed), sum(|of| of.arrived));
        let (counts, deliveries) = (&*watch.0, watch.deliveries());
        Self {
            flights: published("flight.scheduled"),
            departed,
            arrived,
            cancelled: sum(|of| of.cancelled),
            diverted: sum(|of| of.diverted),
            never_arrived: departed - arrived,
            departed_late: sum(|of| of.departed_late),
            no_tail_number: passengers.no_tail_number,
            unknown_tail_number: passengers.unknown_tail_number,
            parked: runtime.parked_by_reason(),
            waiting_behind: runtime.processors().iter().map(|of| of.waiting_behind as u64).sum(),
            storms: runtime.states::<Sky>("weather").values().map(|sky| sky.storms).sum(),
            hours_without_weather: without as u64,
            cancelled_by_carrier: board
                .iter()
                .filter(|(_, of)| of.cancelled > 0)
                .map(|(carrier, of)| (carrier.to_string(), of.cancelled))
                .collect(),
            stranded_passengers: passengers.stranded,
            cancelled_without_seats: passengers.without_seats,
            events_published: topology.iter().map(|of| of.published).sum(),
            deliveries,
            restarts: counts.restarts.load(Relaxed),
            seconds: took.as_secs_f64(),
            deliveries_per_second: (deliveries as f64 / took.as_secs_f64()) as u64,
            waiting_p50_us: counts.waited.quantile(0.5),
            waiting_p99_us: counts.waited.quantile(0.99),
            handling_p50_us: counts.handled.quantile(0.5),
            handling_p99_us: counts.handled.quantile(0.99),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<26}{value:>12}");
        row("flights", &self.flights)?;
        row("  departed", &self.departed)?;
        row("    late", &self.departed_late)?;
        row("    arrived", &self.arrived)?;
        row("      of them diverted", &self.diverted)?;
        row("    never arrived", &self.never_arrived)?;
        row("  cancelled", &self.cancelled)?;
        row("  no tail number", &self.no_tail_number)?;
        row("  unknown tail number", &self.unknown_tail_number)?;
        row("storms", &self.storms)?;
        row("hours without weather", &self.hours_without_weather)?;
        row("stranded passengers", &self.stranded_passengers)?;
        row("cancelled without seats", &self.cancelled_without_seats)?;
        for (reason, count) in &self.parked {
            row(&format!("parked: {reason}"), count)?;
        }
        row("waiting behind", &self.waiting_behind)?;
        row("events published", &self.events_published)?;
        row("deliveries", &self.deliveries)?;
        row("restarts", &self.restarts)?;
        row("seconds", &format!("{:.3}", self.seconds))?;
        row("deliveries per second", &self.deliveries_per_second)?;
        let waiting = format!("{:.1} / {:.1} us", self.waiting_p50_us, self.waiting_p99_us);
        writeln!(f, "{:<22}{waiting:>16}", "waiting p50 / p99")?;
        let handling = format!("{:.1} / {:.1} us", self.handling_p50_us, self.handling_p99_us);
        writeln!(f, "{:<22}{handling:>16}", "handling p50 / p99")?;
        let mut carriers: Vec<_> = self.cancelled_by_carrier.iter().collect();
        carriers.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let carriers: Vec<String> =
            carriers.iter().map(|(carrier, count)| format!("{carrier} {count}")).collect();
        writeln!(f, "cancelled by carrier: {}", carriers.join(", "))
    }
}
