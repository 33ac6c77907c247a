//! The source: reads the files, and puts flights and weather in the order in which they happened.

use std::ops::RangeInclusive;
use std::path::Path;

use cueline::Key;
use jiff::Timestamp;

use crate::events::{FlightScheduled, Instant, RowUnreadable, WeatherObserved};
use crate::table::{BadFile, BadRow, Row, Table};

/// What happened, with the time by which it is ordered.
pub enum Happening {
    Flight(FlightScheduled),
    Weather(WeatherObserved),
    Unreadable(RowUnreadable),
}

const FLIGHT: &[&str] = &[
    "year",
    "month",
    "day",
    "carrier",
    "flight",
    "origin",
    "dest",
    "tailnum",
    "dep_time",
    "dep_delay",
    "arr_time",
    "air_time",
    "minute",
    "time_hour",
];

const WEATHER: &[&str] = &["origin", "time_hour", "temp", "wind_speed", "precip", "visib"];

/// Everything that happened, in order: flights by their departure (scheduled plus delay), weather
/// by its hour, and weather before flights of the same instant. Unreadable rows come first.
pub fn read(flights: &Path, weather: &Path) -> Result<Vec<(Instant, Happening)>, BadFile> {
    let mut all = Vec::new();
    for row in Table::open(weather, WEATHER)?.rows() {
        all.push(match row.and_then(|row| self::weather(&row)) {
            Ok(weather) => (weather.hour, Happening::Weather(weather)),
            Err(bad) => unreadable(bad),
        });
    }
    for row in Table::open(flights, FLIGHT)?.rows() {
        all.push(match row.and_then(|row| flight(&row)) {
            Ok(flight) => {
                let delay = i64::from(flight.departure_delay.unwrap_or(0)) * 60;
                (flight.scheduled + delay, Happening::Flight(flight))
            }
            Err(bad) => unreadable(bad),
        });
    }
    all.sort_by_key(|(at, _)| *at); // stable: weather was read first
    Ok(all)
}

fn unreadable(bad: BadRow) -> (Instant, Happening) {
    let BadRow { file, line, column, problem, text } = bad;
    let file = file.display().to_string();
    (Instant::MIN, Happening::Unreadable(RowUnreadable { file, line, column, problem, text }))
}

fn time(row: &Row, column: usize) -> Result<Instant, BadRow> {
    row.required::<Timestamp>(column).map(Timestamp::as_second)
}

fn key(row: &Row, column: usize) -> Result<Key, BadRow> {
    row.required::<String>(column).map(Key::from)
}

fn number(row: &Row, column: usize, range: RangeInclusive<i64>) -> Result<i64, BadRow> {
    let number = row.required(column)?;
    if range.contains(&number) {
        return Ok(number);
    }
    let (least, most) = range.into_inner();
    Err(row.bad(column, format!("`{number}` is not from {least} to {most}")))
}

fn flight(row: &Row) -> Result<FlightScheduled, BadRow> {
    let year: u16 = row.required(0)?;
    let (month, day) = (number(row, 1, 1..=12)?, number(row, 2, 1..=31)?);
    let minute = number(row, 12, 0..=59)?;
    let (carrier, number, origin) = (key(row, 3)?, row.required::<u32>(4)?, key(row, 5)?);
    let departed: Option<u32> = row.optional(8)?;
    let mut departure_delay = row.optional(9)?;
    if departed.is_none() {
        departure_delay = None;
    } else if departure_delay.is_none() {
        return Err(row.bad(9, "is missing, although the flight departed".to_owned()));
    }
    let arrival_clock: Option<u32> = row.optional(10)?;
    if let Some(clock) = arrival_clock.filter(|clock| *clock > 2400 || clock % 100 > 59) {
        return Err(row.bad(10, format!("`{clock}` is no clock time")));
    }
    let hour = time(row, 13)?;
    Ok(FlightScheduled {
        flight: Key::from(format!("{carrier}{number}{origin}{year}{month:02}{day:02}")),
        scheduled: hour + minute * 60,
        carrier,
        origin,
        dest: key(row, 6)?,
        tail_number: row.optional::<String>(7)?.map(Key::from),
        hour,
        departure_delay,
        arrival_clock,
        air_time: row.optional(11)?,
    })
}

fn weather(row: &Row) -> Result<WeatherObserved, BadRow> {
    Ok(WeatherObserved {
        origin: key(row, 0)?,
        hour: time(row, 1)?,
        temperature: row.optional(2)?,
        wind: row.optional(3)?,
        precipitation: row.optional(4)?,
        visibility: row.optional(5)?,
    })
}
