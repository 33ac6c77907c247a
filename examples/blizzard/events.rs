//! What is said in this system.

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

/// Seconds since 1970 (UTC).
pub type Instant = i64;

/// One row of the schedule, as it was planned and as it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlightScheduled {
    /// Carrier, number, origin and day: unique in the file.
    pub flight: Key,
    pub carrier: Key,
    pub origin: Key,
    pub dest: Key,
    pub tail_number: Option<Key>,
    pub scheduled: Instant,
    /// The scheduled hour, by which weather is looked up.
    pub hour: Instant,
    /// Minutes; none if the flight was cancelled.
    pub departure_delay: Option<i32>,
    /// Clock time at the destination, as `hmm`.
    pub arrival_clock: Option<u32>,
    /// Minutes; none if it never arrived, or was diverted.
    pub air_time: Option<u32>,
}
cueline::event!(FlightScheduled, "flight.scheduled", key: |event| &event.flight);

/// A row that is no flight.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowUnreadable {
    pub file: String,
    pub line: u64,
    pub column: String,
    pub problem: String,
    pub text: String,
}
cueline::event!(RowUnreadable, "row.unreadable");

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WeatherObserved {
    pub origin: Key,
    pub hour: Instant,
    /// Degrees Fahrenheit.
    pub temperature: Option<f64>,
    /// Miles an hour.
    pub wind: Option<f64>,
    /// Inches.
    pub precipitation: Option<f64>,
    /// Miles.
    pub visibility: Option<f64>,
}
cueline::event!(WeatherObserved, "weather.observed", key: |event| &event.origin);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlightDeparted {
    pub flight: Key,
    pub carrier: Key,
    pub origin: Key,
    pub at: Instant,
    pub delay: i32,
}
cueline::event!(FlightDeparted, "flight.departed", key: |event| &event.flight);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlightArrived {
    pub flight: Key,
    pub carrier: Key,
    pub dest: Key,
    pub at: Instant,
}
cueline::event!(FlightArrived, "flight.arrived", key: |event| &event.flight);

/// It arrived, but not by the way that was planned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlightDiverted {
    pub flight: Key,
    pub carrier: Key,
    pub at: Instant,
}
cueline::event!(FlightDiverted, "flight.diverted", key: |event| &event.flight);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlightCancelled {
    pub flight: Key,
    pub carrier: Key,
    pub origin: Key,
    pub at: Instant,
}
cueline::event!(FlightCancelled, "flight.cancelled", key: |event| &event.flight);

/// What is known about the aircraft of a flight.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Aircraft {
    Seats(u32),
    NoTailNumber,
    UnknownTailNumber,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AircraftLookedUp {
    pub flight: Key,
    pub aircraft: Aircraft,
    pub at: Instant,
}
cueline::event!(AircraftLookedUp, "aircraft.looked_up", key: |event| &event.flight);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DestinationFound {
    pub flight: Key,
    pub name: String,
    pub at: Instant,
}
cueline::event!(DestinationFound, "destination.found", key: |event| &event.flight);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StormDeclared {
    pub origin: Key,
    pub at: Instant,
}
cueline::event!(StormDeclared, "storm.declared", key: |event| &event.origin);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StormLifted {
    pub origin: Key,
    pub at: Instant,
}
cueline::event!(StormLifted, "storm.lifted", key: |event| &event.origin);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PassengersStranded {
    pub flight: Key,
    pub passengers: u32,
    pub at: Instant,
}
cueline::event!(PassengersStranded, "passengers.stranded", key: |event| &event.flight);

/// In one storm so many flights of an airport were cancelled that it stands still.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AirportParalysed {
    pub origin: Key,
    pub cancelled: u32,
    pub at: Instant,
}
cueline::event!(AirportParalysed, "airport.paralysed", key: |event| &event.origin);

/// An aircraft is not where it should be: it was diverted, or never arrived.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AircraftMissing {
    pub flight: Key,
    pub at: Instant,
}
cueline::event!(AircraftMissing, "aircraft.missing", key: |event| &event.flight);

/// Somebody decided about a missing aircraft.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Decided {
    pub flight: Key,
    pub replace: bool,
}
cueline::event!(Decided, "turnaround.decided", key: |event| &event.flight);
