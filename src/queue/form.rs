//! What events that are published are to a queue: what they weigh, and what the log gets of them. Pure.

/// What consecutive events of one type are to a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form<'a> {
    /// Values, and nothing else: so much each, as their type says.
    Values {
        /// In bytes.
        each: u64,
    },
    /// They go into a log as these bytes, and weigh as much: whoever reads them there knows no type.
    Stored {
        bytes: &'a [u8],
        /// Where each ends, if they are several, if so much has been cut off before them.
        ends: &'a [usize],
        cut: usize,
    },
}

impl<'a> Form<'a> {
    /// As the log gets them.
    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Values { .. } => None,
            Self::Stored { bytes, .. } => Some(bytes),
        }
    }

    /// What the first one weighs.
    #[inline]
    pub(crate) fn first(self) -> u64 {
        match self {
            Self::Values { each } => each,
            Self::Stored { bytes, ends, cut } => {
                ends.first().map_or(bytes.len(), |end| end - cut) as u64
            }
        }
    }

    /// What all of them weigh, if they are so many.
    pub(crate) fn all(self, count: usize) -> u64 {
        match self {
            Self::Values { each } => each.saturating_mul(count as u64),
            Self::Stored { bytes, .. } => bytes.len() as u64,
        }
    }

    /// What each of so many weighs, if that is not what a value of so many bytes weighs anyway.
    pub(super) fn unusual(self, usual: usize, count: usize) -> Option<impl Iterator<Item = u64>> {
        let usual = matches!(self, Self::Values { each } if each == usual as u64);
        (!usual).then(|| {
            (0..count).map(move |index| match self {
                Self::Values { each } => each,
                Self::Stored { bytes, ends, cut } => {
                    let before = index.checked_sub(1).map_or(cut, |before| ends[before]);
                    (ends.get(index).copied().unwrap_or(bytes.len() + cut) - before) as u64
                }
            })
        })
    }

    /// How many of at most so many fit into so much.
    pub(crate) fn fitting(self, most: u64, room: u64) -> u64 {
        match self {
            Self::Values { each } => most.min(room / each.max(1)),
            Self::Stored { ends, cut, .. } => {
                most.min(ends.partition_point(|end| (end - cut) as u64 <= room) as u64)
            }
        }
    }

    /// The first so many, and the rest.
    pub(crate) fn split(self, count: usize) -> (Self, Self) {
        match self {
            Self::Stored { bytes, ends: [], cut } => {
                let none = Self::Stored { bytes: &[], ends: &[], cut: cut + bytes.len() };
                if count == 0 { (none, self) } else { (self, none) }
            }
            Self::Stored { bytes, ends, cut } => {
                let (head, tail) = ends.split_at(count.min(ends.len()));
                let end = head.last().copied().unwrap_or(cut);
                let (before, behind) = bytes.split_at(end - cut);
                let before = Self::Stored { bytes: before, ends: head, cut };
                (before, Self::Stored { bytes: behind, ends: tail, cut: end })
            }
            values @ Self::Values { .. } => (values, values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: [usize; 3] = [3, 10, 12];
    const BYTES: [u8; 12] = [0; 12];

    fn weights(form: Form<'_>, count: usize) -> Vec<u64> {
        form.unusual(usize::MAX, count).into_iter().flatten().collect()
    }

    #[test]
    fn stored_events_weigh_what_they_are_as_bytes_however_they_are_split() {
        let form = Form::Stored { bytes: &BYTES, ends: &ENDS, cut: 0 };
        assert_eq!(weights(form, 3), [3, 7, 2]);
        assert_eq!((form.first(), form.all(3)), (3, 12));
        for count in 0..=3 {
            let (head, tail) = form.split(count);
            let parts = [weights(head, count), weights(tail, 3 - count)].concat();
            assert_eq!(parts, [3, 7, 2], "split at {count}");
            assert_eq!(head.all(count) + tail.all(3 - count), 12);
            assert_eq!(tail.bytes().map(<[u8]>::len), Some(tail.all(3 - count) as usize));
        }
        let (_, tail) = form.split(1);
        assert_eq!(tail.first(), 7);
        assert_eq!(tail.fitting(9, 6), 0);
        assert_eq!(tail.fitting(9, 8), 1);
        assert_eq!(tail.fitting(9, 9), 2);
        assert_eq!(tail.fitting(1, 9), 1);
    }

    #[test]
    fn values_weigh_what_their_type_says() {
        let form = Form::Values { each: 5 };
        assert_eq!(weights(form, 2), [5, 5]);
        assert!(form.unusual(5, 2).is_none());
        assert_eq!((form.first(), form.all(3), form.fitting(9, 14)), (5, 15, 2));
        assert!(form.bytes().is_none());
    }

    #[test]
    fn one_event_alone_has_no_list_of_ends() {
        let form = Form::Stored { bytes: &BYTES, ends: &[], cut: 0 };
        assert_eq!(weights(form, 1), [12]);
        assert_eq!((form.first(), form.all(1)), (12, 12));
        let (all, none) = form.split(1);
        assert_eq!((all.all(1), none.all(0), none.first()), (12, 0, 0));
        assert_eq!(form.split(0).0.all(0), 0);
    }
}
