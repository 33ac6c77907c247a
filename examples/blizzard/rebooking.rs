//! The second half: what is done for those whose flight was cancelled. A mediator owns the workflow; the
//! desks it sends to know nothing of each other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cueline::prelude::*;
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::events::{FlightCancelled, FlightScheduled, Instant};
use crate::reference::Reference;
use crate::trouble::Trouble;

/// Looks who was on a flight, and what leaves later on its way.
#[derive(Serialize, Deserialize)]
pub struct FindSeats {
    pub flight: Key,
}
cueline::command!(FindSeats, "seats.find" => Found);

#[derive(Serialize, Deserialize)]
pub struct Found {
    /// How many were on it; none if its aircraft is not known.
    pub people: Option<u32>,
    /// Flights of the same route and day, or the next, with free seats; the earliest first.
    pub offers: Vec<Offer>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Offer {
    pub flight: Key,
    pub overnight: bool,
}

/// Holds as many seats as there are, at most so many; the reply says how many.
#[derive(Serialize, Deserialize)]
pub struct HoldSeats {
    pub flight: Key,
    pub people: u32,
}
cueline::command!(HoldSeats, "seats.hold" => u32, key: |hold| &hold.flight);

/// Gives back what was held by the command with that id, if anything was.
#[derive(Serialize, Deserialize)]
pub struct ReleaseSeats {
    pub flight: Key,
    pub hold: EventId,
}
cueline::command!(ReleaseSeats, "seats.release" => Done, key: |release| &release.flight);

/// From now on somebody has to see to these people.
#[derive(Serialize, Deserialize)]
pub struct TakeCare {
    pub flight: Key,
    pub people: u32,
}
cueline::command!(TakeCare, "care.take" => Done, key: |care| &care.flight);

/// They all have their seats.
#[derive(Serialize, Deserialize)]
pub struct Confirm {
    pub flight: Key,
}
cueline::command!(Confirm, "care.confirm" => Done, key: |care| &care.flight);

/// They all have their money back.
#[derive(Serialize, Deserialize)]
pub struct Refund {
    pub flight: Key,
}
cueline::command!(Refund, "care.refund" => Done, key: |care| &care.flight);

/// Tells them.
#[derive(Serialize, Deserialize)]
pub struct Notify {
    pub flight: Key,
    pub seats: Vec<(Key, u32)>,
}
cueline::command!(Notify, "desk.notify" => Done);

/// Brings their bags to where they fly from now.
#[derive(Serialize, Deserialize)]
pub struct MoveBaggage {
    pub flight: Key,
    pub seats: Vec<(Key, u32)>,
}
cueline::command!(MoveBaggage, "desk.move_baggage" => Done);

/// A bed for those who leave on the next day.
#[derive(Serialize, Deserialize)]
pub struct BookHotel {
    pub flight: Key,
    pub people: u32,
}
cueline::command!(BookHotel, "desk.book_hotel" => Done);

/// What is sent here, and answered.
pub const COMMANDS: &[&str] = &[
    "seats.find",
    "seats.hold",
    "seats.release",
    "care.take",
    "care.confirm",
    "care.refund",
    "care.so_far",
    "desk.notify",
    "desk.move_baggage",
    "desk.book_hotel",
    "fleet.replace",
];

/// Seats for all who were on a cancelled flight, on at most eight others; else their money back.
pub struct Rebook;

impl Workflow for Rebook {
    const NAME: &'static str = "rebook";
    type Input = FlightCancelled;
    type Output = u32;
    type Expects = ();

    async fn run(&self, cancelled: FlightCancelled, steps: Steps) -> Outcome<u32> {
        let flight = cancelled.flight;
        let found = steps.call(FindSeats { flight: flight.clone() }).await?;
        let people = match found.people {
            Some(people) => people,
            None => {
                let question = format!("how many were on {flight}? its aircraft is not known");
                steps.ask_person(question).await?
            }
        };
        let refund = Refund { flight: flight.clone() };
        let care = TakeCare { flight: flight.clone(), people };
        steps.call(care).undo_with(move |_, _| refund).await?;
        steps.show(&people)?;

        let (mut left, mut overnight, mut seats) = (people, 0, Vec::new());
        for offer in found.offers {
            let (of, people) = (offer.flight.clone(), left);
            let hold = steps.call(HoldSeats { flight: of.clone(), people });
            let held = hold.undo_with(move |hold, _| ReleaseSeats { flight: of, hold }).await?;
            left -= held;
            overnight += if offer.overnight { held } else { 0 };
            seats.push((offer.flight, held));
            if left == 0 {
                break;
            }
        }
        if left > 0 {
            let text = format!("there are no seats for {left} of {people}");
            return Err(Failure::permanent(text).reason("no_seats"));
        }
        let notify = steps.call(Notify { flight: flight.clone(), seats: seats.clone() });
        let baggage = steps.call(MoveBaggage { flight: flight.clone(), seats });
        let hotel = async {
            match overnight {
                0 => Ok(Done),
                people => steps.call(BookHotel { flight: flight.clone(), people }).await,
            }
        };
        tokio::try_join!(notify, baggage, hotel)?;
        steps.call(Confirm { flight: flight.clone() }).await?;
        Ok(people)
    }
}

/// A flight as it was planned.
struct Planned {
    origin: Key,
    dest: Key,
    at: Instant,
    seats: Option<u32>,
    /// It did leave: its seats may be given to others.
    leaves: bool,
}

/// Knows the schedule, and keeps which seats are free: one in three of those flights that leave.
pub struct Seats {
    plan: Arc<Plan>,
    trouble: Trouble,
}

/// The schedule, by flight and by route.
pub struct Plan {
    flights: HashMap<Key, Planned>,
    routes: HashMap<(Key, Key), Vec<(Instant, Key)>>,
}

impl Plan {
    pub fn of<'a>(flights: impl Iterator<Item = &'a FlightScheduled>, known: &Reference) -> Self {
        let mut plan = Self { flights: HashMap::new(), routes: HashMap::new() };
        for row in flights {
            let seats = row.tail_number.as_ref().and_then(|tail| known.seats.get(tail.as_str()));
            let (origin, dest) = (row.origin.clone(), row.dest.clone());
            let route = plan.routes.entry((origin.clone(), dest.clone())).or_default();
            route.push((row.scheduled, row.flight.clone()));
            let (at, leaves) = (row.scheduled, row.departure_delay.is_some());
            let planned = Planned { origin, dest, at, seats: seats.copied(), leaves };
            plan.flights.insert(row.flight.clone(), planned);
        }
        plan.routes.values_mut().for_each(|route| route.sort());
        plan
    }
}

/// The day in New York.
fn day(at: Instant) -> Option<jiff::civil::Date> {
    let zone = TimeZone::get("America/New_York").ok()?;
    Some(Timestamp::from_second(at).ok()?.to_zoned_datetime(zone).date())
}

/// What is free on one flight, and what is held by which command.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Free {
    taken: u32,
    holds: BTreeMap<EventId, u32>,
}

impl Seats {
    pub fn new(plan: Arc<Plan>, trouble: Trouble) -> Self {
        Self { plan, trouble }
    }

    fn free(&self, flight: &Key, cx: &mut Context) -> Outcome<u32> {
        let planned = self.plan.flights.get(flight).filter(|of| of.leaves);
        let seats = planned.and_then(|of| of.seats).unwrap_or(0);
        Ok((seats / 3).saturating_sub(cx.state::<Free>(flight)?.taken))
    }
}

impl Processor for Seats {}

impl Handle<FindSeats> for Seats {
    async fn handle(&mut self, find: &FindSeats, cx: &mut Context) -> Outcome<Found> {
        let plan = self.plan.clone();
        let Some(planned) = plan.flights.get(&find.flight) else {
            return Ok(Found { people: None, offers: Vec::new() });
        };
        let today = day(planned.at).permanent_if_none()?;
        let route = &plan.routes[&(planned.origin.clone(), planned.dest.clone())];
        let mut offers = Vec::new();
        for (at, flight) in route.iter().filter(|(at, _)| *at > planned.at) {
            let on = day(*at).permanent_if_none()?;
            if on > today.tomorrow().permanent()? || offers.len() == 8 {
                break;
            }
            if self.free(flight, cx)? > 0 {
                offers.push(Offer { flight: flight.clone(), overnight: on > today });
            }
        }
        Ok(Found { people: planned.seats, offers })
    }
}

impl Handle<HoldSeats> for Seats {
    async fn handle(&mut self, hold: &HoldSeats, cx: &mut Context) -> Outcome<u32> {
        let held = self.free(&hold.flight, cx)?.min(hold.people);
        let id = cx.envelope().map(|envelope| envelope.id);
        self.trouble.around(cx.attempt(), || {
            let free = cx.state::<Free>(&hold.flight)?;
            free.taken += held;
            free.holds.extend(id.map(|id| (id, held)));
            Ok(held)
        })
    }
}

impl Handle<ReleaseSeats> for Seats {
    async fn handle(&mut self, release: &ReleaseSeats, cx: &mut Context) -> Outcome<Done> {
        let free = cx.state::<Free>(&release.flight)?;
        free.taken -= free.holds.remove(&release.hold).unwrap_or(0);
        Ok(Done)
    }
}

trait OrPermanent<T> {
    fn permanent_if_none(self) -> Outcome<T>;
}

impl<T> OrPermanent<T> for Option<T> {
    fn permanent_if_none(self) -> Outcome<T> {
        self.ok_or_else(|| Failure::permanent("the flight is on no day").reason("bad_time"))
    }
}

/// Keeps who has to be cared for, and what became of them: each once.
pub struct Care;

impl Care {
    pub const TOTAL: &'static str = "total";

    fn settles(flight: &Key, refunded: bool, cx: &mut Context) -> Outcome<Done> {
        let case = cx.state::<Case>(flight)?;
        let (people, again) = (u64::from(case.people), case.settled);
        case.settled = true;
        let all = cx.state::<Cared>(Self::TOTAL)?;
        match (again, refunded) {
            (true, _) => all.twice += 1,
            (false, true) => {
                all.refunded += people;
                all.refunds += 1;
            }
            (false, false) => {
                all.rebooked += people;
                all.rebookings += 1;
            }
        }
        Ok(Done)
    }
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Case {
    people: u32,
    settled: bool,
}

/// Passengers, and flights.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Cared {
    pub stranded: u64,
    pub rebooked: u64,
    pub refunded: u64,
    pub rebookings: u64,
    pub refunds: u64,
    pub twice: u64,
}

impl Processor for Care {}

impl Handle<TakeCare> for Care {
    async fn handle(&mut self, care: &TakeCare, cx: &mut Context) -> Outcome<Done> {
        let case = cx.state::<Case>(&care.flight)?;
        let again = case.people > 0;
        case.people = care.people;
        let all = cx.state::<Cared>(Self::TOTAL)?;
        all.stranded += u64::from(care.people);
        all.twice += u64::from(again);
        Ok(Done)
    }
}

impl Handle<Confirm> for Care {
    async fn handle(&mut self, confirm: &Confirm, cx: &mut Context) -> Outcome<Done> {
        Self::settles(&confirm.flight, false, cx)
    }
}

impl Handle<Refund> for Care {
    async fn handle(&mut self, refund: &Refund, cx: &mut Context) -> Outcome<Done> {
        Self::settles(&refund.flight, true, cx)
    }
}

/// Tells passengers, moves bags, books beds.
pub struct Desk;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Served {
    pub told: u64,
    pub bags: u64,
    pub beds: u64,
}

impl Desk {
    pub const ALL: &'static str = "all";
}

impl Processor for Desk {}

impl Handle<Notify> for Desk {
    async fn handle(&mut self, notify: &Notify, cx: &mut Context) -> Outcome<Done> {
        let people: u32 = notify.seats.iter().map(|(_, people)| people).sum();
        cx.state::<Served>(Self::ALL)?.told += u64::from(people);
        Ok(Done)
    }
}

impl Handle<MoveBaggage> for Desk {
    async fn handle(&mut self, moved: &MoveBaggage, cx: &mut Context) -> Outcome<Done> {
        let people: u32 = moved.seats.iter().map(|(_, people)| people).sum();
        cx.state::<Served>(Self::ALL)?.bags += u64::from(people);
        Ok(Done)
    }
}

impl Handle<BookHotel> for Desk {
    async fn handle(&mut self, book: &BookHotel, cx: &mut Context) -> Outcome<Done> {
        cx.state::<Served>(Self::ALL)?.beds += u64::from(book.people);
        Ok(Done)
    }
}
