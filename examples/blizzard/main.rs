//! Every flight out of New York in the week of blizzard Nemo, through both topologies: processors that react
//! to each other's events, and mediators that own what is done for stranded passengers and missing aircraft.
//! `cargo run --release --example blizzard`

#![allow(missing_docs)]

mod events;
mod ledger;
mod processors;
mod progress;
mod rebooking;
mod reference;
mod report;
mod source;
mod table;
mod trouble;
mod turnaround;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use cueline::WorkflowState;
use cueline::prelude::*;
use indicatif::{ProgressBar, ProgressStyle};

use events::*;
use ledger::{Imported, Ledger};
use processors::*;
use progress::{Progress, SoFar};
use rebooking::*;
use reference::Reference;
use report::{Report, Watch};
use source::Happening;
use trouble::{Trouble, Wanted};
use turnaround::{Fleet, Replace, Turnaround};

/// Every flight of the week of blizzard Nemo, as events.
#[derive(Parser)]
struct Options {
    /// The flights: the committed week, or another file of the same format.
    #[arg(long, value_name = "PATH")]
    flights: Option<PathBuf>,
    /// The hourly weather.
    #[arg(long, value_name = "PATH")]
    weather: Option<PathBuf>,
    /// The delay board panics on the first delivery of every Nth event, and the seats on every Nth that is
    /// to be held, alternately before and after the state was changed. The report stays exactly right.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    panic_every: Option<u64>,
    /// They fail the first delivery of every Nth of these events, and it is tried again.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    fail_every: Option<u64>,
    /// The hangar takes so many milliseconds for each flight, and falls behind.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    slow: u64,
    /// So many hours of flights a second, instead of flat out.
    #[arg(long, value_name = "HOURS", value_parser = speed)]
    speed: Option<f64>,
    /// Serve /metrics, /healthz and /readyz there, also after the report, until ctrl-c.
    #[arg(long, value_name = "ADDRESS")]
    serve: Option<String>,
    /// Keep everything there: killed at any moment and started again, it goes on where it was.
    /// Default: a temporary directory, which is named and gone at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Keep everything in memory only.
    #[arg(long, conflicts_with = "data")]
    memory: bool,
    /// Die as by `kill -9` when so many rows have been published; start it again with the same
    /// `--data` to go on.
    #[arg(long, value_name = "N", requires = "data", value_parser = clap::value_parser!(u64).range(1..))]
    crash_after: Option<u64>,
    /// Print the report as one JSON object, and nothing else.
    #[arg(long)]
    json: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.001..=1e6).contains(&speed) => Ok(speed),
        _ => Err("a number of hours from 0.001 to 1,000,000, as in 4 or 0.5".to_owned()),
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    // The processors' panics are on demand, counted and reported: not worth a page each.
    if options.panic_every.is_some() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("blizzard: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let path = |given: &Option<PathBuf>, usual: &str| given.clone().unwrap_or(data.join(usual));
    let flights = path(&options.flights, "flights-2013-02-04-to-10.csv");
    let weather = path(&options.weather, "weather-2013-02-04-to-10.csv");
    let reference = Reference::read(&data).map_err(|error| error.to_string())?;
    let happenings = source::read(&flights, &weather).map_err(|error| error.to_string())?;
    let watch = Watch::default();
    let (store, temporary) = store(options);
    let flights = happenings.iter().filter_map(|(_, happening)| match happening {
        Happening::Flight(flight) => Some(flight),
        _ => None,
    });
    let plan = Arc::new(Plan::of(flights, &reference));
    let runtime = start(options, store, Arc::new(reference), plan, &watch)?;
    if let Some(address) = runtime.address() {
        eprintln!("serving http://{address}/metrics, /healthz and /readyz");
    }
    let began = Instant::now();
    // What an earlier run left is handled first: then it is known how far that came.
    rests(&runtime)?;
    let imported = runtime.state::<Imported>("ledger", Ledger::IMPORTED).unwrap_or_default();
    if imported.count > 0 {
        eprintln!("goes on behind the {} rows that are there already", imported.count);
    }
    let rest = happenings.into_iter().skip(imported.count as usize).collect();
    publish(&runtime, rest, options.speed, options.crash_after)?;
    settles(&runtime)?;
    let report = Report::of(&runtime, &watch, began.elapsed());
    print(&match options.json {
        true => serde_json::to_string(&report)? + "\n",
        false => report.to_string(),
    })?;
    let lost = report.lost();
    if options.serve.is_some() {
        eprintln!("the metrics stay up until ctrl-c");
        pollster::block_on(runtime.stop_signal());
    }
    runtime.shutdown(secs(5)).wait()?;
    if let Some(directory) = temporary {
        std::fs::remove_dir_all(directory)?;
    }
    lost.map_or(Ok(()), |lost| Err(lost.into()))
}

/// Waits until all is done. A disk that fails is waited for only so long: nobody else is there to look
/// after it.
fn rests(runtime: &Runtime) -> Result<(), String> {
    let (tell, told) = std::sync::mpsc::channel();
    let resting = runtime.clone();
    std::thread::spawn(move || {
        resting.idle().wait();
        tell.send(()).ok();
    });
    let mut failing = 0;
    while told.recv_timeout(Duration::from_secs(1)).is_err() {
        let why = runtime.why_not_ready();
        let why = why.into_iter().find(|why| why.contains("the log cannot be written"));
        failing = if why.is_some() { failing + 1 } else { 0 };
        if let Some(why) = why.filter(|_| failing == 5) {
            return Err(why);
        }
    }
    Ok(())
}

/// Waits until nothing is left but what waits for a person.
fn settles(runtime: &Runtime) -> Result<(), String> {
    loop {
        rests(runtime)?;
        let waits = |id| Some(runtime.workflow(id)?.report()?.waits_for);
        let all = runtime.workflows(|state| state == WorkflowState::Running);
        let other = all.into_iter().filter_map(waits).flatten().any(|of| of.kind != "ask_person");
        if !other {
            return Ok(());
        }
        std::thread::sleep(millis(10)); // a deadline has to come
    }
}

/// Where everything is kept; and a directory that is to be removed at the end.
fn store(options: &Options) -> (Store, Option<PathBuf>) {
    if options.memory {
        return (Store::memory(), None);
    }
    if let Some(data) = &options.data {
        return (Store::directory(data).into(), None);
    }
    let directory = std::env::temp_dir().join(format!("blizzard-{}", std::process::id()));
    eprintln!("keeps everything in {} until the end", directory.display());
    (Store::directory(&directory).into(), Some(directory))
}

/// A reader that has seen enough, as `head` has, is no error.
fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn start(
    options: &Options,
    store: Store,
    reference: Arc<Reference>,
    plan: Arc<Plan>,
    watch: &Watch,
) -> Result<Runtime, Error> {
    let Options { panic_every, fail_every, slow, .. } = *options;
    let trouble = || Trouble::new(Wanted { panic_every, fail_every });
    let board = trouble();
    let [schedule, hangar, destinations] = [(); 3].map(|()| reference.clone());
    let operations = Supervisor::new("operations")
        .backoff(Backoff::new(millis(1), secs(1)))
        .child(
            processor("schedule", move || Schedule(schedule.clone()))
                .on::<FlightScheduled>()
                .emits::<FlightDeparted>()
                .emits::<FlightArrived>()
                .emits::<FlightCancelled>()
                .emits::<FlightDiverted>()
                .emits::<AircraftMissing>(),
        )
        .child(
            processor("hangar", move || Hangar(hangar.clone(), millis(slow)))
                .on::<FlightScheduled>()
                .emits::<AircraftLookedUp>(),
        )
        .child(
            processor("destinations", move || Destinations(destinations.clone()))
                .on::<FlightScheduled>()
                .on::<FlightArrived>()
                .emits::<DestinationFound>()
                .held(1_000_000),
        )
        .child(
            processor("weather", || Weather)
                .on::<WeatherObserved>()
                .on::<FlightScheduled>()
                .emits::<StormDeclared>()
                .emits::<StormLifted>(),
        )
        .child(
            processor("delay-board", move || DelayBoard(board.clone()))
                .on::<FlightDeparted>()
                .on::<FlightArrived>()
                .on::<FlightDiverted>()
                .on::<FlightCancelled>(),
        )
        .child(
            processor("stranded", || Stranded)
                .on::<AircraftLookedUp>()
                .on::<FlightCancelled>()
                .emits::<PassengersStranded>(),
        )
        .child(
            processor("operations", || Operations)
                .on::<StormDeclared>()
                .on::<StormLifted>()
                .on::<FlightCancelled>()
                .emits::<AirportParalysed>(),
        )
        .child(
            processor("ledger", || Ledger)
                .on::<FlightScheduled>()
                .on::<WeatherObserved>()
                .on::<RowUnreadable>(),
        )
        .child(processor("inspector", || Inspector).on::<RowUnreadable>().held(1_000_000));
    let care = care(plan, trouble());
    let mut builder = Runtime::builder("blizzard").store(store).observe(watch.clone());
    builder = builder.supervise(operations).supervise(care);
    if let Some(address) = &options.serve {
        builder = builder.serve(address.as_str());
    }
    builder.start()
}

/// Two domains, and the desks that work for them.
fn care(plan: Arc<Plan>, trouble: Trouble) -> Supervisor {
    let seats = processor("seats", move || Seats::new(plan.clone(), trouble.clone()));
    let seats = seats.serves::<FindSeats>().serves::<HoldSeats>().serves::<ReleaseSeats>();
    let care = processor("care", || Care).serves::<TakeCare>().serves::<Confirm>();
    let desk = processor("desk", || Desk).serves::<Notify>().serves::<MoveBaggage>();
    Supervisor::new("care")
        .backoff(Backoff::new(millis(1), secs(1)))
        .child(seats)
        .child(care.serves::<Refund>().serves::<SoFar>())
        .child(desk.serves::<BookHotel>())
        .child(processor("fleet", || Fleet).serves::<Replace>())
        .child(Mediator::for_domain("rebooking").workflow(Rebook).starts_on::<FlightCancelled>())
        .child(
            Mediator::for_domain("turnaround").workflow(Turnaround).starts_on::<AircraftMissing>(),
        )
}

/// Publishes in order, flat out or at so many hours a second.
fn publish(
    runtime: &Runtime,
    happenings: Vec<(i64, Happening)>,
    speed: Option<f64>,
    crash_after: Option<u64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let bar = ProgressBar::new(happenings.len() as u64); // shows itself on terminals only
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {eta} left {msg}") {
        bar.set_style(style);
    }
    let began = Instant::now();
    let first = happenings.iter().map(|(at, _)| *at).find(|at| *at != i64::MIN).unwrap_or(0);
    let mut flights = Vec::new();
    let mut progress = Progress::on(bar.clone());
    for (at, happening) in happenings {
        if let Some(speed) = speed {
            let due = Duration::from_secs_f64((at - first).max(0) as f64 / 3600.0 / speed);
            if let Some(wait) = due.checked_sub(began.elapsed()).filter(|wait| *wait > millis(1)) {
                publish_flights(runtime, &mut flights, &bar)?;
                std::thread::sleep(wait);
                progress.look(runtime);
            }
        }
        match happening {
            Happening::Flight(flight) => {
                flights.push(flight);
                if crash_after.is_some_and(|after| bar.position() + flights.len() as u64 >= after) {
                    publish_flights(runtime, &mut flights, &bar)?;
                    die();
                }
                continue;
            }
            other => publish_flights(runtime, &mut flights, &bar).map(|()| other)?,
        }
        .publish(runtime)?;
        bar.inc(1);
    }
    publish_flights(runtime, &mut flights, &bar)?;
    bar.finish_and_clear();
    Ok(())
}

/// As by `kill -9`: nobody gets to say or write anything any more.
fn die() -> ! {
    std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status().ok();
    std::process::abort() // where there is no `kill`
}

/// Flights that follow each other are published together.
fn publish_flights(
    runtime: &Runtime,
    flights: &mut Vec<FlightScheduled>,
    bar: &ProgressBar,
) -> Result<(), String> {
    let count = flights.len() as u64;
    runtime.publish_all(flights.drain(..)).wait().map_err(|refused| refused.to_string())?;
    bar.inc(count);
    Ok(())
}

impl Happening {
    fn publish(self, runtime: &Runtime) -> Result<(), String> {
        match self {
            Self::Flight(event) => runtime.publish(event).wait().map(drop).map_err(text),
            Self::Weather(event) => runtime.publish(event).wait().map(drop).map_err(text),
            Self::Unreadable(event) => runtime.publish(event).wait().map(drop).map_err(text),
        }
    }
}

fn text<E>(refused: Refused<E>) -> String {
    refused.to_string()
}
