//! Keys: the name of the thing an event is about. Order is kept per key.

use std::fmt::{self, Write};

use compact_str::{CompactString, ToCompactString};
use serde::{Deserialize, Serialize};

/// The name of what an event is about: a flight, an account, an order.
///
/// Up to 24 bytes are kept in place, without an allocation. Keys are compared whole, never by hash
/// alone.
///
/// ```
/// use cueline::Key;
/// assert_eq!(Key::from(7u64), Key::from("7"));
/// assert_eq!(Key::from(("UA", 650)).as_str(), "UA/650");
/// assert_ne!(Key::from(("a/b", "c")), Key::from(("a", "b/c")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(CompactString);

impl Key {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Self {
        Self(text.into())
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

macro_rules! from_numbers {
    ($($number:ty)*) => {$(
        impl From<$number> for Key {
            fn from(number: $number) -> Self {
                Self(number.to_compact_string())
            }
        }
    )*};
}
from_numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

/// The parts with `/` between them. A `/` or `\` in a part has a `\` before it, so that different
/// parts are different keys.
fn joined(parts: &[&dyn fmt::Display]) -> CompactString {
    let mut key = Escaped(CompactString::default());
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            key.0.push('/');
        }
        // Only a part's own `Display` can fail; it is as long as it came.
        write!(key, "{part}").ok();
    }
    key.0
}

struct Escaped(CompactString);

impl fmt::Write for Escaped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(['/', '\\']) {
            match piece.strip_suffix(['/', '\\']) {
                Some(before) => {
                    self.0.push_str(before);
                    self.0.push('\\');
                    self.0.push_str(&piece[before.len()..]);
                }
                None => self.0.push_str(piece),
            }
        }
        Ok(())
    }
}

impl<A: fmt::Display, B: fmt::Display> From<(A, B)> for Key {
    fn from((a, b): (A, B)) -> Self {
        Self(joined(&[&a, &b]))
    }
}

impl<A: fmt::Display, B: fmt::Display, C: fmt::Display> From<(A, B, C)> for Key {
    fn from((a, b, c): (A, B, C)) -> Self {
        Self(joined(&[&a, &b, &c]))
    }
}
