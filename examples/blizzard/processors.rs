//! The processors: each does one thing, and says so. None knows another.

use std::sync::Arc;
use std::time::Duration;

use cueline::prelude::*;
use jiff::{Timestamp, ToSpan, civil::Time, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::events::*;
use crate::reference::Reference;
use crate::trouble::Trouble;

/// Turns a row of the schedule into what happened: departed, arrived, cancelled, diverted.
pub struct Schedule(pub Arc<Reference>);

impl Processor for Schedule {}

impl Handle<FlightScheduled> for Schedule {
    async fn handle(&mut self, row: &FlightScheduled, cx: &mut Context) -> Outcome {
        let (flight, carrier) = (row.flight.clone(), row.carrier.clone());
        let Some(delay) = row.departure_delay else {
            let (origin, at) = (row.origin.clone(), row.scheduled);
            cx.publish(FlightCancelled { flight, carrier, origin, at });
            return Ok(());
        };
        let departed = row.scheduled + i64::from(delay) * 60;
        cx.publish(FlightDeparted {
            flight: flight.clone(),
            carrier: carrier.clone(),
            origin: row.origin.clone(),
            at: departed,
            delay,
        });
        let Some(clock) = row.arrival_clock else {
            cx.publish(AircraftMissing { flight, at: departed });
            return Ok(());
        };
        let at = match (self.0.zone(row.dest.as_str()), row.air_time) {
            (Some(zone), _) => arrival(departed, clock, zone).permanent()?,
            (None, Some(minutes)) => departed + i64::from(minutes) * 60,
            (None, None) => row.scheduled,
        };
        let dest = row.dest.clone();
        cx.publish(FlightArrived { flight: flight.clone(), carrier: carrier.clone(), dest, at });
        if row.air_time.is_none() {
            cx.publish(FlightDiverted { flight: flight.clone(), carrier, at });
            cx.publish(AircraftMissing { flight, at });
        }
        Ok(())
    }
}

/// The first time after the departure at which clocks at the destination show `hmm`; 2400 is the
/// midnight that ends the day.
fn arrival(departed: Instant, hmm: u32, zone: &TimeZone) -> Result<Instant, jiff::Error> {
    let departed = Timestamp::from_second(departed)?;
    let time = Time::new((hmm / 100 % 24) as i8, (hmm % 100) as i8, 0, 0)?;
    let mut day = departed.to_zoned_datetime(zone.clone()).date();
    loop {
        let arrived = day.to_datetime(time).to_zoned_datetime(zone.clone())?.timestamp();
        if arrived >= departed {
            return Ok(arrived.as_second());
        }
        day = day.checked_add(1.day())?;
    }
}

/// Looks up the aircraft. That a tail number is unknown is news, not an error.
pub struct Hangar(pub Arc<Reference>, pub Duration);

impl Processor for Hangar {}

impl Handle<FlightScheduled> for Hangar {
    async fn handle(&mut self, row: &FlightScheduled, cx: &mut Context) -> Outcome {
        if !self.1.is_zero() {
            tokio::time::sleep(self.1).await; // slow on demand
        }
        let aircraft = match &row.tail_number {
            None => Aircraft::NoTailNumber,
            Some(tail) => match self.0.seats.get(tail.as_str()) {
                Some(seats) => Aircraft::Seats(*seats),
                None => Aircraft::UnknownTailNumber,
            },
        };
        cx.publish(AircraftLookedUp { flight: row.flight.clone(), aircraft, at: row.scheduled });
        Ok(())
    }
}

/// How many flights are on their way to an airport.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Inbound {
    pub expected: u64,
    pub landed: u64,
}

/// Looks up the destination once per flight. An airport that nobody knows is an error no
/// repetition cures: the event is parked, and what follows of the same flight waits behind it.
pub struct Destinations(pub Arc<Reference>);

impl Processor for Destinations {}

impl Handle<FlightScheduled> for Destinations {
    async fn handle(&mut self, row: &FlightScheduled, cx: &mut Context) -> Outcome {
        let Some(airport) = self.0.airports.get(row.dest.as_str()) else {
            return Err(Failure::permanent(format!(
                "the destination `{}` of flight {} is not in airports.csv; add it there, then \
                 resubmit",
                row.dest, row.flight
            ))
            .reason("unknown_airport"));
        };
        cx.state::<Inbound>(&row.dest)?.expected += 1;
        let (flight, name) = (row.flight.clone(), airport.name.clone());
        cx.publish(DestinationFound { flight, name, at: row.scheduled });
        Ok(())
    }
}

impl Handle<FlightArrived> for Destinations {
    async fn handle(&mut self, arrived: &FlightArrived, cx: &mut Context) -> Outcome {
        cx.state::<Inbound>(&arrived.dest)?.landed += 1;
        Ok(())
    }
}

/// The weather of one airport.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Sky {
    storm: bool,
    calm_hours: u32,
    pub storms: u64,
}

/// One hour at one airport: whether it was observed, and who needed it.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Hour {
    pub observed: bool,
    pub flights: u64,
}

/// Joins each flight with its hour's weather, and declares storms.
///
/// A stormy hour is one at or below 36 °F with precipitation, and with wind of 20 mph or more or
/// visibility of a mile or less. The first one declares a storm; three calm hours in a row lift it.
pub struct Weather;

impl Processor for Weather {}

impl Handle<WeatherObserved> for Weather {
    async fn handle(&mut self, seen: &WeatherObserved, cx: &mut Context) -> Outcome {
        cx.state::<Hour>((&seen.origin, seen.hour))?.observed = true;
        let stormy = seen.temperature.is_some_and(|degrees| degrees <= 36.0)
            && seen.precipitation.is_some_and(|inches| inches > 0.0)
            && (seen.wind.is_some_and(|mph| mph >= 20.0)
                || seen.visibility.is_some_and(|miles| miles <= 1.0));
        let sky = cx.state::<Sky>(&seen.origin)?;
        sky.calm_hours = if stormy { 0 } else { sky.calm_hours + 1 };
        let (origin, at) = (seen.origin.clone(), seen.hour);
        if stormy && !sky.storm {
            sky.storm = true;
            sky.storms += 1;
            cx.publish(StormDeclared { origin, at });
        } else if sky.storm && sky.calm_hours >= 3 {
            sky.storm = false;
            cx.publish(StormLifted { origin, at });
        }
        Ok(())
    }
}

impl Handle<FlightScheduled> for Weather {
    async fn handle(&mut self, row: &FlightScheduled, cx: &mut Context) -> Outcome {
        cx.state::<Hour>((&row.origin, row.hour))?.flights += 1;
        Ok(())
    }
}

/// What the delay board shows of one carrier.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Carrier {
    pub departed: u64,
    pub departed_late: u64,
    pub arrived: u64,
    pub diverted: u64,
    pub cancelled: u64,
}

/// Keeps the delay board per carrier. On demand it panics now and then, to show that it does not
/// matter.
pub struct DelayBoard(pub Trouble);

impl Processor for DelayBoard {}

impl DelayBoard {
    fn note(&self, carrier: &Key, cx: &mut Context, note: impl Fn(&mut Carrier)) -> Outcome {
        self.0.around(cx.attempt(), || {
            note(cx.state::<Carrier>(carrier)?);
            Ok(())
        })
    }
}

impl Handle<FlightDeparted> for DelayBoard {
    async fn handle(&mut self, event: &FlightDeparted, cx: &mut Context) -> Outcome {
        self.note(&event.carrier, cx, |carrier| {
            carrier.departed += 1;
            carrier.departed_late += u64::from(event.delay > 0);
        })
    }
}

impl Handle<FlightArrived> for DelayBoard {
    async fn handle(&mut self, event: &FlightArrived, cx: &mut Context) -> Outcome {
        self.note(&event.carrier, cx, |carrier| carrier.arrived += 1)
    }
}

impl Handle<FlightDiverted> for DelayBoard {
    async fn handle(&mut self, event: &FlightDiverted, cx: &mut Context) -> Outcome {
        self.note(&event.carrier, cx, |carrier| carrier.diverted += 1)
    }
}

impl Handle<FlightCancelled> for DelayBoard {
    async fn handle(&mut self, event: &FlightCancelled, cx: &mut Context) -> Outcome {
        self.note(&event.carrier, cx, |carrier| carrier.cancelled += 1)
    }
}

/// What is known of one flight that may have stranded its passengers.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Flight {
    cancelled: bool,
    aircraft: Option<Aircraft>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Passengers {
    pub stranded: u64,
    pub without_seats: u64,
    pub no_tail_number: u64,
    pub unknown_tail_number: u64,
}

/// Estimates stranded passengers: the seats of cancelled flights, as if each had been sold. A
/// cancellation and its aircraft are announced by two processors that do not know each other, so
/// they may come in either order.
pub struct Stranded;

impl Processor for Stranded {}

impl Stranded {
    pub const TOTAL: &str = "total";

    fn count(flight: &Key, at: Instant, cx: &mut Context) -> Outcome {
        let known = cx.state::<Flight>(flight)?;
        let (true, Some(aircraft)) = (known.cancelled, known.aircraft.clone()) else {
            return Ok(());
        };
        let total = cx.state::<Passengers>(Self::TOTAL)?;
        match aircraft {
            Aircraft::Seats(seats) => {
                total.stranded += u64::from(seats);
                let flight = flight.clone();
                cx.publish(PassengersStranded { flight, passengers: seats, at });
            }
            Aircraft::NoTailNumber | Aircraft::UnknownTailNumber => total.without_seats += 1,
        }
        Ok(())
    }
}

impl Handle<AircraftLookedUp> for Stranded {
    async fn handle(&mut self, event: &AircraftLookedUp, cx: &mut Context) -> Outcome {
        let total = cx.state::<Passengers>(Self::TOTAL)?;
        match event.aircraft {
            Aircraft::NoTailNumber => total.no_tail_number += 1,
            Aircraft::UnknownTailNumber => total.unknown_tail_number += 1,
            Aircraft::Seats(_) => {}
        }
        cx.state::<Flight>(&event.flight)?.aircraft = Some(event.aircraft.clone());
        Self::count(&event.flight, event.at, cx)
    }
}

impl Handle<FlightCancelled> for Stranded {
    async fn handle(&mut self, event: &FlightCancelled, cx: &mut Context) -> Outcome {
        cx.state::<Flight>(&event.flight)?.cancelled = true;
        Self::count(&event.flight, event.at, cx)
    }
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Runway {
    storms: Vec<Storm>,
    cancelled: Vec<Instant>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Storm {
    from: Instant,
    until: Option<Instant>,
    told: bool,
}

/// Watches the airports: one that cancels fifty flights in one storm stood still. Storms and
/// cancellations come from different processors, in no order of their own: they are joined by when
/// they happened, once the storm is over.
pub struct Operations;

impl Operations {
    const STANDSTILL: usize = 50;

    fn look(origin: &Key, cx: &mut Context) -> Outcome {
        let Runway { storms, cancelled } = cx.state::<Runway>(origin)?;
        let mut found = Vec::new();
        for storm in storms.iter_mut().filter(|storm| !storm.told) {
            let Some(until) = storm.until else { continue };
            let during = cancelled.iter().filter(|at| (storm.from..until).contains(*at));
            let mut during: Vec<Instant> = during.copied().collect();
            if during.len() >= Self::STANDSTILL {
                storm.told = true;
                during.sort_unstable();
                found.push(during[Self::STANDSTILL - 1]);
            }
        }
        for at in found {
            let (origin, cancelled) = (origin.clone(), Self::STANDSTILL as u32);
            cx.publish(AirportParalysed { origin, cancelled, at });
        }
        Ok(())
    }
}

impl Processor for Operations {}

impl Handle<StormDeclared> for Operations {
    async fn handle(&mut self, event: &StormDeclared, cx: &mut Context) -> Outcome {
        let storm = Storm { from: event.at, until: None, told: false };
        cx.state::<Runway>(&event.origin)?.storms.push(storm);
        Ok(())
    }
}

impl Handle<StormLifted> for Operations {
    async fn handle(&mut self, event: &StormLifted, cx: &mut Context) -> Outcome {
        if let Some(storm) = cx.state::<Runway>(&event.origin)?.storms.last_mut() {
            storm.until = Some(event.at);
        }
        Self::look(&event.origin, cx)
    }
}

impl Handle<FlightCancelled> for Operations {
    async fn handle(&mut self, event: &FlightCancelled, cx: &mut Context) -> Outcome {
        cx.state::<Runway>(&event.origin)?.cancelled.push(event.at);
        Self::look(&event.origin, cx)
    }
}

/// Puts rows that are no flights where a person finds them.
pub struct Inspector;

impl Processor for Inspector {}

impl Handle<RowUnreadable> for Inspector {
    async fn handle(&mut self, row: &RowUnreadable, _: &mut Context) -> Outcome {
        let RowUnreadable { file, line, column, problem, .. } = row;
        let text = format!("{file}: line {line}, column `{column}`: {problem}");
        Err(Failure::permanent(text).reason("bad_row"))
    }
}
