//! Segments written anew and given back, under power failures: whatever somebody still needs is there,
//! as it was, and the log stays small whoever holds on to some old event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bytes::put_number;
use super::crash::{CrashDisk, Fault};
use super::disk::Disk;
use super::events::{Chain, Entries, Entry, Run};
use super::facts::{name_at, name_of};
use super::keeper::{Floor, Keeper, Pace};
use super::log::{Commit, Log, Sizes};
use super::needed::{Lasts, SubscriptionFact};
use super::record::{FactKind, Record, Records, put_deleted, put_events, put_fact};
use super::recovery::{Found, open};
use super::spares::Spares;
use crate::store::channel::Retention;

const SIZES: Sizes = Sizes { segment: 4096 + 600, frame: 200 };
const PACE: Pace = Pace(800);

/// Everything that is known of an event.
type Event = (u32, u128, Option<u128>, Option<u128>, u64, Vec<u8>, Option<Vec<u8>>);

/// What a segment's readers see, by position.
fn events_of(body: &[u8], into: &mut BTreeMap<u64, Event>) {
    for record in Records::new(body) {
        let Ok(record) = record else { panic!("a record is malformed") };
        let Record::Events(events) = record else { continue };
        let mut entries = Entries::new(events.entries);
        let mut position = events.first;
        for run in &events.runs {
            position += u64::from(run.skipped);
            for at in 0..run.count {
                let Some(Ok(Entry { key, payload })) = entries.next() else { panic!("no entry") };
                let at = u128::from(at);
                let chain = |chain: Option<Chain>| {
                    chain.map(|of| if of.steps { of.first + at } else { of.first })
                };
                let ids = (run.first + at, chain(run.correlation), chain(run.causation));
                let event = (run.channel, ids.0, ids.1, ids.2, run.at, payload.to_vec());
                let (a, b, c, d, e, f) = event;
                into.insert(position, (a, b, c, d, e, f, key.map(<[u8]>::to_vec)));
                position += 1;
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Reader {
    channels: Vec<u32>,
    to: u64,
    held: BTreeSet<u64>,
}

/// What is published, and who has yet to handle it.
#[derive(Clone, Default)]
struct Model {
    events: BTreeMap<u64, Event>,
    readers: Vec<Reader>,
    next: u64,
}

impl Model {
    fn is_needed(&self, position: u64, channel: u32) -> bool {
        let by = |reader: &Reader| {
            let reads = position >= reader.to && reader.channels.contains(&channel);
            reads || reader.held.contains(&position)
        };
        self.readers.iter().any(by)
    }

    fn floor(&self) -> u64 {
        let needs =
            |reader: &Reader| reader.held.first().map_or(reader.to, |of| reader.to.min(*of));
        self.readers.iter().map(needs).min().unwrap_or(self.next)
    }
}

struct World {
    disk: CrashDisk,
    log: Log,
    keeper: Keeper,
    floor: Floor,
    model: Model,
    /// As it was when everything was acknowledged last.
    acknowledged: Model,
    random: fastrand::Rng,
    /// By how much each reader goes on, at most.
    hurry: u64,
    now: u64,
}

fn opened(disk: &CrashDisk, seed: u64) -> Option<(Log, Keeper, Floor, Found)> {
    opened_with(disk, seed, SIZES)
}

fn opened_with(disk: &CrashDisk, seed: u64, sizes: Sizes) -> Option<(Log, Keeper, Floor, Found)> {
    let of: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut log, mut found) = open(&of, sizes, fastrand::Rng::with_seed(seed), |_| {}).ok()?;
    let floor = Floor::new(crossbeam_channel::bounded(1).0);
    let newest = std::mem::take(&mut found.checkpoints);
    let spares = Spares::new(of.clone(), sizes.segment, None);
    let random = fastrand::Rng::with_seed(seed + 1);
    let segments = log.segments();
    let keeper = Keeper::new(of, segments, PACE, random, newest, floor.clone(), spares.clone());
    keeper.clear().ok()?;
    let (full, _) = crossbeam_channel::bounded(1);
    log.reuse(spares, full);
    Some((log, keeper, floor, found))
}

impl World {
    fn new(disk: CrashDisk, seed: u64) -> Option<Self> {
        let (log, keeper, floor, _) = opened(&disk, seed)?;
        let random = fastrand::Rng::with_seed(seed);
        let (model, acknowledged) = (Model::default(), Model::default());
        Some(Self { disk, log, keeper, floor, model, acknowledged, random, hurry: 8, now: 0 })
    }

    fn begins(&mut self, records: &mut Vec<u8>, channels: Vec<u32>) {
        let number = self.model.readers.len() as u32;
        let topics = channels.iter().map(|of| format!("channel-{of}")).collect();
        let fact = SubscriptionFact { lasts: Lasts::Named, name: format!("{number}"), topics };
        put_fact(records, &name_of(FactKind::Subscription, number), &fact.write());
        self.model.readers.push(Reader { channels, to: self.model.next, held: BTreeSet::new() });
        self.progress(records, number);
    }

    fn progress(&self, records: &mut Vec<u8>, number: u32) {
        let mut value = Vec::new();
        put_number(&mut value, self.model.readers[number as usize].to);
        put_fact(records, &name_of(FactKind::Progress, number), &value);
    }

    fn publish(&mut self, records: &mut Vec<u8>) {
        let (first, mut runs, mut entries) = (self.model.next, Vec::new(), Vec::new());
        for _ in 0..self.random.usize(1..3) {
            let count = self.random.u32(1..4);
            let chain = |random: &mut fastrand::Rng| {
                let there = random.bool();
                there.then(|| Chain { first: u128::from(random.u32(..)), steps: random.bool() })
            };
            let run = Run {
                skipped: 0,
                channel: self.random.u32(0..3),
                codec: 1,
                count,
                first: u128::from(self.random.u32(..)),
                correlation: chain(&mut self.random),
                causation: chain(&mut self.random),
                at: self.random.u64(0..1 << 40),
                hops: 0,
                path: Vec::new(),
            };
            for _ in 0..count {
                let key = self.random.bool().then(|| b"key".to_vec());
                let payload = vec![self.random.u8(..); self.random.usize(0..30)];
                Entry { key: key.as_deref(), payload: &payload }.put(&mut entries);
            }
            self.model.next += u64::from(count);
            runs.push(run);
        }
        let begin = records.len();
        put_events(records, first, &runs, &entries);
        events_of(&records[begin..], &mut self.model.events);
    }

    /// A reader goes on, and holds some of what it has passed.
    fn goes_on(&mut self, records: &mut Vec<u8>, number: u32, keeps: bool) {
        let to = (self.model.readers[number as usize].to + self.random.u64(0..=self.hurry))
            .min(self.model.next);
        let reader = &mut self.model.readers[number as usize];
        let passed = reader.to..to;
        for (position, event) in self.model.events.range(passed) {
            if reader.channels.contains(&event.0) && keeps && self.random.u8(0..20) == 0 {
                reader.held.insert(*position);
                put_fact(records, &name_at(FactKind::Held, number, *position), b"held");
            }
        }
        if self.random.u8(0..4) == 0
            && let Some(done) = reader.held.iter().nth(self.random.usize(0..4)).copied()
        {
            reader.held.remove(&done);
            put_deleted(records, &name_at(FactKind::Held, number, done));
        }
        reader.to = to;
        self.progress(records, number);
    }

    fn step(&mut self, keeps: bool) -> std::io::Result<()> {
        let mut records = Vec::new();
        if self.model.readers.is_empty() {
            for number in 0..3 {
                let name = format!("channel-{number}");
                put_fact(&mut records, &name_of(FactKind::Channel, number), name.as_bytes());
            }
            for channels in [vec![0, 1], vec![2], vec![0, 1, 2]] {
                self.begins(&mut records, channels);
            }
        }
        let first = self.model.next;
        self.publish(&mut records);
        for number in 0..self.model.readers.len() as u32 {
            self.goes_on(&mut records, number, keeps);
        }
        let next = self.model.next;
        self.log.keep(Commit { records: &records, first, next }, self.now)?;
        self.acknowledged = self.model.clone();
        self.floor.set(self.model.floor());
        self.now += 1;
        self.keeper.look(self.now, &mut || Ok(()))
    }

    /// All that is needed is there, as it was; and nothing that never was.
    fn check(&self, log: &Log, what: &str) {
        let (mut there, segments) = (BTreeMap::new(), log.segments());
        let mut place = segments.seek(0);
        while segments
            .read(&mut place, &|_| true, |_, body| events_of(body, &mut there))
            .unwrap_or(false)
        {}
        let Model { events, .. } = &self.model;
        for (position, event) in &there {
            assert_eq!(events.get(position), Some(event), "{what}: position {position}");
        }
        for (position, event) in &self.acknowledged.events {
            // What was handled in a commit that may be there or not is needed by neither.
            let needed = self.acknowledged.is_needed(*position, event.0)
                && self.model.is_needed(*position, event.0);
            assert!(!needed || there.contains_key(position), "{what}: {position} is gone");
        }
    }

    fn bytes(&self) -> u64 {
        self.keeper.used()
    }
}

#[test]
fn what_is_needed_is_there_after_every_crash() {
    const STEPS: usize = 60;
    let Some(mut whole) = World::new(CrashDisk::default(), 1) else { panic!("it opens") };
    for step in 0..STEPS {
        assert!(whole.step(true).is_ok());
        whole.check(&whole.log, &format!("step {step}"));
    }
    assert!(whole.keeper.copied() > 0, "nothing was compacted");
    for crash in 0..=whole.disk.done() {
        let disk = CrashDisk::default();
        disk.fails(crash, Fault::Crash);
        let Some(mut world) = World::new(disk, 1) else { continue };
        while world.step(true).is_ok() && world.model.next < whole.model.next {}
        for seed in 0..3 {
            let what = format!("crash {crash}, seed {seed}");
            let left = match seed {
                0 => world.disk.after_kill(),
                seed => world.disk.after_crash(&mut fastrand::Rng::with_seed(seed * 77 + crash)),
            };
            let Some((log, _, _, found)) = opened(&left, seed) else { panic!("{what}") };
            assert_eq!(found.lost, [], "{what}");
            world.check(&log, &what);
            let again = left.after_crash(&mut fastrand::Rng::with_seed(crash));
            let Some((log, ..)) = opened(&again, seed + 9) else { panic!("{what}") };
            world.check(&log, &format!("{what}, again"));
        }
    }
}

/// Whoever holds on to some events of long ago, or is slow on a channel of its own, costs what these
/// weigh and no more; and what is written anew is written anew seldom.
#[test]
fn a_log_is_as_small_as_what_is_needed_of_it() {
    for seed in 0..2 {
        let Some(mut world) = World::new(CrashDisk::default(), seed) else { panic!("it opens") };
        for _ in 0..60 {
            assert!(world.step(true).is_ok());
        }
        world.hurry = 1_000;
        let before = world.log.current().head.number;
        let mut most = 0;
        for step in 0..2_000 {
            assert!(world.step(false).is_ok());
            most = most.max(if step < 100 { 0 } else { world.bytes() });
            if step % 500 == 0 {
                world.check(&world.log, &format!("seed {seed}, step {step}"));
            }
        }
        let segments = world.log.current().head.number - before;
        assert!(segments > 200, "{segments}");
        let bound = 20 * SIZES.segment;
        assert!(most < bound, "{most} bytes, of at most {bound}");
        let (copied, written) = (world.keeper.copied(), segments * (SIZES.segment - 4096));
        assert!(copied * 2 < written * 9, "{copied} of {written} bytes"); // heads of 4096 bytes count
        world.check(&world.log, "at the end");
    }
}

/// Small events that all are held, among large ones that nobody needs: it seems as if the large ones could
/// be meant, and only a look says which.
#[test]
fn what_is_held_holds_nothing_that_lies_between() {
    const COMMITS: u64 = 1_000;
    let sizes = Sizes { segment: 4096 + 12_000, frame: 2_000 };
    let disk = CrashDisk::default();
    let Some((mut log, mut keeper, floor, _)) = opened_with(&disk, 1, sizes) else {
        panic!("it opens")
    };
    let mut records = Vec::new();
    for (number, name) in [(0, "small"), (1, "large")] {
        put_fact(&mut records, &name_of(FactKind::Channel, number), name.as_bytes());
    }
    let name = "holds on".to_owned();
    let fact = SubscriptionFact { lasts: Lasts::Named, name, topics: vec!["small".to_owned()] };
    put_fact(&mut records, &name_of(FactKind::Subscription, 0), &fact.write());
    for at in 0..COMMITS {
        let (first, mut entries) = (at * 2, Vec::new());
        Entry { key: None, payload: b"few" }.put(&mut entries);
        Entry { key: None, payload: &[0; 1_000] }.put(&mut entries);
        put_events(&mut records, first, &[Run::plain(0, 1), Run::plain(1, 1)], &entries);
        put_fact(&mut records, &name_at(FactKind::Held, 0, first), b"held");
        let mut to = Vec::new();
        put_number(&mut to, first + 2);
        put_fact(&mut records, &name_of(FactKind::Progress, 0), &to);
        assert!(log.keep(Commit { records: &records, first, next: first + 2 }, at).is_ok());
        records.clear();
        floor.set(0);
        assert!(keeper.look(at, &mut || Ok(())).is_ok());
    }
    let (used, published) = (keeper.used(), COMMITS * 1_000);
    assert!(used < published / 3, "{used} bytes, of {published}");
    let (mut there, segments) = (BTreeMap::new(), log.segments());
    let mut place = segments.seek(0);
    while segments
        .read(&mut place, &|_| true, |_, body| events_of(body, &mut there))
        .unwrap_or(false)
    {}
    let small = there.iter().filter(|(_, event)| event.0 == 0).map(|(position, _)| *position);
    assert!(small.eq((0..COMMITS).map(|at| at * 2)));
}

#[test]
fn what_is_retained_stays_although_everybody_has_consumed_it() {
    for retention in [Retention::Size(2_000), Retention::Age(std::time::Duration::from_millis(200))]
    {
        let Some(mut world) = World::new(CrashDisk::default(), 3) else { panic!("it opens") };
        world.keeper.retention.insert("channel-1".to_owned(), retention);
        world.hurry = 1_000;
        let mut recent = 0;
        for step in 0..1_000 {
            recent = if step == 800 { world.model.next } else { recent };
            assert!(world.step(false).is_ok());
        }
        let (mut there, segments) = (BTreeMap::new(), world.log.segments());
        let mut place = segments.seek(0);
        while segments
            .read(&mut place, &|_| true, |_, body| events_of(body, &mut there))
            .unwrap_or(false)
        {}
        let of = |channel: u32, events: &BTreeMap<u64, Event>| {
            events
                .values()
                .filter(|event| event.0 == channel)
                .map(|event| event.5.len())
                .sum::<usize>()
        };
        let (kept, others) = (of(1, &there), of(0, &there) + of(2, &there));
        let all = of(1, &world.model.events);
        match retention {
            Retention::Age(_) => {
                assert!(kept < all / 3, "{kept} of {all}");
                let mut recent = world.model.events.range(recent..);
                assert!(recent.all(|(at, event)| event.0 != 1 || there.contains_key(at)));
            }
            _ => assert!((300..3_000).contains(&kept), "{kept} of {all}"),
        }
        assert!(others < 4_000, "{others}");
        world.check(&world.log, "retained");
    }
}
