//! What came out: the report, as a page or as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use cueline::{Observer, Runtime, Sample, Signal, TopicReport, WorkflowId};
use serde::Serialize;

use crate::ledger::{Imported, Ledger};
use crate::processors::{Carrier, Hour, Passengers, Sky, Stranded};
use crate::rebooking::{COMMANDS, Care, Cared, Desk, Served};
use crate::turnaround::Fleet;

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

/// How many samples there were, in four steps from one power of two of nanoseconds to the next.
struct Buckets([AtomicU64; 256]);

impl Default for Buckets {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Buckets {
    fn add(&self, took: Duration) {
        let nanos = (took.as_nanos() as u64).max(4);
        let power = nanos.ilog2();
        let step = (nanos >> (power - 2)) & 3;
        self.0[(power * 4) as usize + step as usize].fetch_add(1, Relaxed);
    }

    /// The upper end of the bucket in which that share of the samples is reached: too long by a
    /// quarter at most.
    fn quantile(&self, share: f64) -> Duration {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Relaxed)).collect();
        let wanted = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut sum = 0;
        let shorter = counts.iter().take_while(|count| {
            sum += *count;
            sum < wanted
        });
        let bucket = shorter.count() as u64;
        Duration::from_nanos((5 + bucket % 4) << (bucket / 4).saturating_sub(2))
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
    workflows_started: u64,
    workflows_finished: u64,
    workflows_compensated: u64,
    workflows_waiting: u64,
    passengers_cared_for: u64,
    seats_rebooked: u64,
    passengers_refunded: u64,
    passengers_waiting: u64,
    cared_for_twice: u64,
    beds: u64,
    aircraft_replaced: u64,
    events_published: u64,
    commands_sent: u64,
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
        let imported = runtime.state::<Imported>("ledger", Ledger::IMPORTED).unwrap_or_default();
        let sum = |count: fn(&Carrier) -> u64| board.values().map(count).sum::<u64>();
        let (departed, arrived) = (sum(|of| of.departed), sum(|of| of.arrived));
        let cared: Cared = runtime.state("care", Care::TOTAL).unwrap_or_default();
        let served: Served = runtime.state("desk", Desk::ALL).unwrap_or_default();
        let replaced: u64 = runtime.state("fleet", Fleet::REPLACED).unwrap_or_default();
        let open = runtime.workflows(|_| true);
        let waiting = open.len() as u64;
        let show = |id: &WorkflowId| runtime.workflow(*id)?.shown::<u32>().map(u64::from);
        let finished = cared.rebookings + replaced;
        let is_command = |of: &&TopicReport| COMMANDS.contains(&of.topic.as_str());
        let sent = topology.iter().filter(is_command).map(|of| of.published).sum();
        let (counts, deliveries) = (&*watch.0, watch.deliveries());
        Self {
            flights: imported.flights,
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
            workflows_started: finished + cared.refunds + waiting,
            workflows_finished: finished,
            workflows_compensated: cared.refunds,
            workflows_waiting: waiting,
            passengers_cared_for: cared.stranded,
            seats_rebooked: cared.rebooked,
            passengers_refunded: cared.refunded,
            passengers_waiting: open.iter().filter_map(show).sum(),
            cared_for_twice: cared.twice,
            beds: served.beds,
            aircraft_replaced: replaced,
            events_published: topology.iter().map(|of| of.published).sum::<u64>() - sent,
            commands_sent: sent,
            deliveries,
            restarts: counts.restarts.load(Relaxed),
            seconds: took.as_secs_f64(),
            deliveries_per_second: (deliveries as f64 / took.as_secs_f64()) as u64,
            waiting_p50_us: micros(counts.waited.quantile(0.5)),
            waiting_p99_us: micros(counts.waited.quantile(0.99)),
            handling_p50_us: micros(counts.handled.quantile(0.5)),
            handling_p99_us: micros(counts.handled.quantile(0.99)),
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<27}{value:>13}");
        row("flights", &self.flights)?;
        row("  departed", &self.departed)?;
        row("    late", &self.departed_late)?;
        row("    arrived", &self.arrived)?;
        row("      of them diverted", &self.diverted)?;
        row("    never arrived", &self.never_arrived)?;
        row("  cancelled", &self.cancelled)?;
        for (carrier, count) in self.carriers() {
            row(&format!("    by {carrier}"), count)?;
        }
        row("aircraft", &"")?;
        row("  no tail number", &self.no_tail_number)?;
        row("  unknown tail number", &self.unknown_tail_number)?;
        row("passengers stranded", &self.stranded_passengers)?;
        row("  cancelled without seats", &self.cancelled_without_seats)?;
        row("storms", &self.storms)?;
        row("  hours without weather", &self.hours_without_weather)?;
        row("workflows", &self.workflows_started)?;
        row("  finished", &self.workflows_finished)?;
        row("  compensated", &self.workflows_compensated)?;
        row("  waiting for a person", &self.workflows_waiting)?;
        row("passengers cared for", &self.passengers_cared_for)?;
        row("  = rebooked", &self.seats_rebooked)?;
        row("  + refunded", &self.passengers_refunded)?;
        row("  + waiting", &self.passengers_waiting)?;
        row("  any of them twice", &self.cared_for_twice)?;
        row("  none is lost, none twice", &if self.lost().is_none() { "holds" } else { "BROKEN" })?;
        row("  beds for the night", &self.beds)?;
        row("aircraft replaced", &self.aircraft_replaced)?;
        row("events published, this run", &self.events_published)?;
        row("  commands sent", &self.commands_sent)?;
        row("  deliveries", &self.deliveries)?;
        for (reason, count) in &self.parked {
            row(&format!("  parked: {reason}"), count)?;
        }
        row("  waiting behind", &self.waiting_behind)?;
        row("  restarts", &self.restarts)?;
        row("seconds", &format!("{:.3}", self.seconds))?;
        row("  deliveries per second", &self.deliveries_per_second)?;
        row("  waiting, p50", &readable(self.waiting_p50_us))?;
        row("  waiting, p99", &readable(self.waiting_p99_us))?;
        row("  handling, p50", &readable(self.handling_p50_us))?;
        row("  handling, p99", &readable(self.handling_p99_us))
    }
}

impl Report {
    /// Every passenger that was stranded is rebooked, refunded or waiting, none twice; every flight that was
    /// cancelled or missed its aircraft has its workflow. Or else what does not add up: the numbers on the left were
    /// counted in the broker half, those on the right by the mediators and those that work for them.
    pub fn lost(&self) -> Option<String> {
        let cared = self.seats_rebooked + self.passengers_refunded + self.passengers_waiting;
        let missing = self.diverted + self.never_arrived;
        let laws = [
            ("passengers stranded, cared for", self.stranded_passengers, self.passengers_cared_for),
            ("passengers stranded, rebooked + refunded + waiting", self.stranded_passengers, cared),
            ("flights to care for, workflows", self.cancelled + missing, self.workflows_started),
            (
                "flights with nobody known, waiting",
                self.cancelled_without_seats,
                self.workflows_waiting,
            ),
            ("passengers allowed twice, cared for twice", 0, self.cared_for_twice),
        ];
        let broken = laws.iter().find(|(_, left, right)| left != right)?;
        Some(format!("it does not add up: {}: {} and {}", broken.0, broken.1, broken.2))
    }

    /// The carriers that cancelled, the worst first.
    fn carriers(&self) -> Vec<(&String, &u64)> {
        let mut carriers: Vec<_> = self.cancelled_by_carrier.iter().collect();
        carriers.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        carriers
    }
}

fn readable(micros: f64) -> String {
    match micros {
        ..1_000.0 => format!("{micros:.1} us"),
        ..1_000_000.0 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}
