//! What is said of the retention of channels, as facts: so that a tool knows it as well. Pure.

use std::collections::HashMap;
use std::time::Duration;

use super::bytes::{Bytes, put_number};
use super::facts::Facts;
use super::record::{FactKind, put_deleted, put_fact};
use crate::store::channel::Retention;

mod tag {
    pub(super) const AGE: u8 = 1;
    pub(super) const SIZE: u8 = 2;
}

fn write(retention: Retention) -> Option<Vec<u8>> {
    let (tag, number) = match retention {
        Retention::None => return None,
        Retention::Age(age) => (tag::AGE, u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        Retention::Size(bytes) => (tag::SIZE, bytes),
    };
    let mut value = vec![tag];
    put_number(&mut value, number);
    Some(value)
}

fn read(value: &[u8]) -> Option<Retention> {
    let mut value = Bytes(value);
    match (value.byte().ok()?, value.number().ok()?) {
        (tag::AGE, millis) => Some(Retention::Age(Duration::from_millis(millis))),
        (tag::SIZE, bytes) => Some(Retention::Size(bytes)),
        _ => None,
    }
}

/// What the facts say, by the names of channels.
pub(crate) fn retained(facts: &Facts) -> HashMap<String, Retention> {
    let all = facts.of(FactKind::Retention);
    let all = all.filter_map(|(name, value)| {
        Some((String::from_utf8_lossy(name.0).into_owned(), read(value)?))
    });
    all.collect()
}

/// The records that make the facts say that.
pub(crate) fn retain(facts: &Facts, wanted: &HashMap<String, Retention>) -> Vec<u8> {
    let (mut records, known) = (Vec::new(), retained(facts));
    let name = |channel: &str| [&[FactKind::Retention as u8], channel.as_bytes()].concat();
    for channel in known.keys().filter(|channel| !wanted.contains_key(*channel)) {
        put_deleted(&mut records, &name(channel));
    }
    for (channel, retention) in wanted.iter().filter(|(of, new)| known.get(*of) != Some(*new)) {
        if let Some(value) = write(*retention) {
            put_fact(&mut records, &name(channel), &value);
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::super::record::Records;
    use super::*;

    #[test]
    fn what_was_wanted_last_is_what_the_facts_say() {
        let mut facts = Facts::default();
        let week = Retention::Age(Duration::from_secs(7 * 24 * 3600));
        for wanted in [
            vec![("a", week), ("b", Retention::Size(1 << 40))],
            vec![("b", Retention::Size(7))],
            vec![("b", Retention::Size(7)), ("c", week)],
            vec![],
        ] {
            let wanted: HashMap<_, _> =
                wanted.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
            let records = retain(&facts, &wanted);
            Records::new(&records).flatten().for_each(|record| facts.apply(&record));
            assert_eq!(retained(&facts), wanted);
            assert!(retain(&facts, &wanted).is_empty(), "said once");
        }
    }
}
