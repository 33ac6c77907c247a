//! Which handlers wait for which commands, so that nobody waits for itself unnoticed: the wait-for graph of
//! deadlock detection (Knapp, "Deadlock detection in distributed databases", 1987), with processors for
//! nodes. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::message::{EventId, Key};

/// A processor that handles a command, and in how many instances.
#[derive(Debug, Clone)]
pub(super) struct Servant {
    pub(super) number: usize,
    pub(super) name: Arc<str>,
    pub(super) instances: usize,
}

/// A handler that asks: of which processor it is, and which event it has in hand.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) number: usize,
    pub(crate) name: Arc<str>,
    pub(crate) event: EventId,
    pub(crate) key: Option<Key>,
    /// By what its host is known.
    pub(crate) host: usize,
}

/// What a handler waits for: somebody who handles a command with that key.
#[derive(Debug, Clone)]
struct Wait {
    number: u64,
    /// The command, once it is sent.
    command: Option<EventId>,
    servant: Servant,
    key: Option<Key>,
}

#[derive(Debug)]
struct Waiting {
    asker: Asker,
    waits: Vec<Wait>,
}

type Handler = (usize, EventId);

/// A handler on the way, and its processor.
type Step = (Handler, Arc<str>);

/// Who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// By processor, and by the event in hand. Who waited once is likely to do so again: what is empty stays.
    handlers: Hashed<usize, Hashed<EventId, Waiting>>,
    /// Who waits for which command, once that is sent.
    commands: Hashed<EventId, (Handler, u64)>,
}

type Hashed<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

impl Waits {
    /// A handler waits for a command from now on, under that number. If it would wait for itself, it does
    /// not, and that is the circle.
    pub(super) fn begin(
        &mut self,
        asker: &Asker,
        servant: Servant,
        key: Option<Key>,
        number: u64,
    ) -> Result<(), Vec<Arc<str>>> {
        let of_itself = servant.number == asker.number && servant.instances == 1;
        let all_are_free = servant.number != asker.number
            && self.handlers.get(&servant.number).is_none_or(HashMap::is_empty);
        let wait = Wait { number, command: None, servant, key };
        let of_processor = self.handlers.entry(asker.number).or_default();
        let known = of_processor.entry(asker.event);
        let waiting = known.or_insert_with(|| Waiting { asker: asker.clone(), waits: Vec::new() });
        if all_are_free {
            waiting.waits.push(wait);
            return Ok(());
        }
        let name = wait.servant.name.clone();
        waiting.waits.push(wait.clone());
        let mut path = vec![((asker.number, asker.event), asker.name.clone())];
        let mut circle = Vec::new();
        if !of_itself && self.goes_on(&wait, &mut path, &mut circle) {
            return Ok(());
        }
        self.end(asker, number);
        Err(if circle.is_empty() { vec![asker.name.clone(), name] } else { circle })
    }

    /// What is waited for under that number was sent as that command.
    pub(super) fn sent(&mut self, asker: &Asker, number: u64, command: EventId) {
        let handler = (asker.number, asker.event);
        if let Some(wait) =
            self.waits_of(handler).and_then(|waits| waits.iter_mut().find(|of| of.number == number))
        {
            wait.command = Some(command);
            self.commands.insert(command, (handler, number));
        }
    }

    /// That command has been handled: whoever waits for it will hear of it.
    pub(super) fn handled(&mut self, command: EventId) {
        if let Some((handler, number)) = self.commands.remove(&command) {
            self.forget(handler, number);
        }
    }

    /// It waits no more.
    pub(super) fn end(&mut self, asker: &Asker, number: u64) {
        self.forget((asker.number, asker.event), number);
    }

    /// A host is gone, and so are its handlers.
    pub(super) fn gone(&mut self, host: usize) {
        for of_processor in self.handlers.values_mut() {
            of_processor.retain(|_, waiting| waiting.asker.host != host);
        }
        self.handlers.retain(|_, of_processor| !of_processor.is_empty());
        let handlers = &self.handlers;
        self.commands.retain(|_, ((processor, event), _)| {
            handlers.get(processor).is_some_and(|of| of.contains_key(event))
        });
    }

    fn waits_of(&mut self, (processor, event): Handler) -> Option<&mut Vec<Wait>> {
        Some(&mut self.handlers.get_mut(&processor)?.get_mut(&event)?.waits)
    }

    fn forget(&mut self, (processor, event): Handler, number: u64) {
        let Some(waits) = self.waits_of((processor, event)) else { return };
        let gone = waits.extract_if(.., |wait| wait.number == number).next();
        let none = waits.is_empty();
        if let Some(command) = gone.and_then(|wait| wait.command) {
            self.commands.remove(&command);
        }
        if none && let Some(of_processor) = self.handlers.get_mut(&processor) {
            of_processor.remove(&event);
        }
    }

    /// Whether somebody will come to what is waited for. A handler that waits for several things is taken to
    /// need only one of them: it may have a choice, and whoever errs here refuses what would have worked.
    /// `path` is the way there; the first time that it comes to itself, that is the circle.
    fn goes_on(&self, wait: &Wait, path: &mut Vec<Step>, circle: &mut Vec<Arc<str>>) -> bool {
        let servant = &wait.servant;
        let Some(busy) = self.handlers.get(&servant.number) else { return true };
        // One key is with one instance at a time.
        let holds_key = |of: &&Waiting| wait.key.is_some() && of.asker.key == wait.key;
        let holder = busy.values().find(holds_key);
        if holder.is_none() && busy.len() < servant.instances {
            return true;
        }
        let mut goes_on = |of: &Waiting| {
            let step = ((of.asker.number, of.asker.event), of.asker.name.clone());
            let seen = path.iter().any(|(on, _)| *on == step.0);
            path.push(step);
            if seen && circle.is_empty() {
                circle.extend(path.iter().map(|(_, name)| name.clone()));
            }
            let goes_on = !seen && of.waits.iter().any(|wait| self.goes_on(wait, path, circle));
            path.pop();
            goes_on
        };
        match holder {
            Some(holder) => goes_on(holder),
            None => busy.values().any(goes_on),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn servant(number: usize, instances: usize) -> Servant {
        Servant { number, name: format!("p{number}").into(), instances }
    }

    fn asker(number: usize, event: u128, key: Option<&str>) -> Asker {
        let key = key.map(Key::from);
        let name = format!("p{number}").into();
        Asker { number, name, event: EventId(event), key, host: number }
    }

    #[test]
    fn who_asks_itself_is_told() {
        let mut waits = Waits::default();
        let circle = waits.begin(&asker(1, 1, None), servant(1, 1), None, 1).unwrap_err();
        assert_eq!(circle, ["p1".into(), "p1".into()]);
        assert!(waits.handlers.values().all(HashMap::is_empty), "it does not wait");
    }

    #[test]
    fn another_instance_of_oneself_may_answer_while_one_is_free() {
        let mut waits = Waits::default();
        waits.begin(&asker(1, 1, None), servant(1, 2), None, 1).unwrap();
        waits.begin(&asker(1, 2, None), servant(1, 2), None, 2).unwrap_err();
        waits.end(&asker(1, 1, None), 1);
        waits.begin(&asker(1, 2, None), servant(1, 2), None, 2).unwrap();
    }

    #[test]
    fn a_key_is_with_one_instance() {
        let mut waits = Waits::default();
        let own = asker(1, 1, Some("k"));
        waits.begin(&own, servant(1, 4), Some("k".into()), 1).unwrap_err();
        waits.begin(&own, servant(1, 4), Some("other".into()), 2).unwrap();
    }

    #[test]
    fn a_circle_of_three_is_named_in_its_order() {
        let mut waits = Waits::default();
        waits.begin(&asker(1, 1, None), servant(2, 1), None, 1).unwrap();
        waits.begin(&asker(2, 2, None), servant(3, 1), None, 2).unwrap();
        let circle = waits.begin(&asker(3, 3, None), servant(1, 1), None, 3).unwrap_err();
        assert_eq!(circle.join(" -> "), "p3 -> p1 -> p2 -> p3");
    }

    #[test]
    fn who_is_through_a_key_s_holder_is_not_everybody() {
        let mut waits = Waits::default();
        waits.begin(&asker(1, 1, Some("k1")), servant(2, 1), None, 1).unwrap();
        waits.begin(&asker(2, 2, None), servant(1, 4), Some("k2".into()), 2).unwrap();
        waits.begin(&asker(3, 3, None), servant(1, 4), Some("k1".into()), 3).unwrap();
    }

    #[test]
    fn an_answer_that_is_on_its_way_is_not_waited_for() {
        let mut waits = Waits::default();
        waits.begin(&asker(1, 1, None), servant(2, 1), None, 1).unwrap();
        waits.sent(&asker(1, 1, None), 1, EventId(9));
        waits.handled(EventId(9));
        waits.begin(&asker(2, 2, None), servant(1, 1), None, 2).unwrap();
    }

    /// Whatever begins is over in the end, and nothing is left of it.
    #[test]
    fn nothing_is_left_of_those_that_wait_no_more() {
        let mut waits = Waits::default();
        for event in 0..6 {
            let asker = asker(1, event, None);
            let number = event as u64;
            waits.begin(&asker, servant(2, 9), None, number).unwrap();
            waits.sent(&asker, number, EventId(100 + event));
        }
        waits.handled(EventId(100));
        waits.end(&asker(1, 0, None), 0);
        (1..3).for_each(|event| waits.end(&asker(1, event, None), event as u64));
        waits.handled(EventId(101));
        assert_eq!(waits.commands.len(), 3);
        waits.gone(1);
        assert!(waits.handlers.is_empty() && waits.commands.is_empty());
    }

    #[test]
    fn a_handler_never_waits_for_its_only_instance_whatever_else_it_waits_for() {
        let mut waits = Waits::default();
        waits.begin(&asker(1, 1, None), servant(4, 1), None, 1).unwrap();
        waits.begin(&asker(1, 1, None), servant(1, 1), None, 2).unwrap_err();
    }

    #[test]
    fn a_host_that_is_gone_keeps_nobody_waiting() {
        let mut waits = Waits::default();
        waits.begin(&asker(1, 1, None), servant(2, 1), None, 1).unwrap();
        waits.gone(1);
        waits.begin(&asker(2, 2, None), servant(1, 1), None, 2).unwrap();
    }

    #[test]
    fn who_has_a_way_out_is_waited_for() {
        let mut waits = Waits::default();
        waits.begin(&asker(1, 1, None), servant(2, 1), None, 1).unwrap();
        waits.begin(&asker(1, 1, None), servant(4, 1), None, 2).unwrap();
        waits.begin(&asker(2, 2, None), servant(1, 1), None, 3).unwrap();
    }
}
