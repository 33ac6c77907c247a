//! Numbers and stretches of bytes as they are stored, and read back without trust: nothing is
//! allocated by a length that has not been checked. Pure.

/// What was read makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

pub(crate) type Read<T> = Result<T, Malformed>;

/// Appends a number in as many bytes as it needs, seven bits each (LEB128).
#[inline]
pub(crate) fn put_number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// How many bytes [`put_number`] needs.
pub(crate) fn length_of(number: u64) -> usize {
    (number | 1).ilog2() as usize / 7 + 1
}

/// As [`put_number`], small ones of either sign in few bytes.
#[inline]
pub(crate) fn put_signed(into: &mut Vec<u8>, number: i64) {
    put_number(into, (number << 1 ^ number >> 63) as u64);
}

/// A stretch of bytes behind its length.
pub(crate) fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_number(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// Bytes that are read from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// As [`put_number`] wrote it, and in no other way.
    #[inline]
    pub(crate) fn number(&mut self) -> Read<u64> {
        let mut number = 0u64;
        for place in 0..10 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 {
                return Err(Malformed);
            }
            number |= bits << (7 * place);
            if byte & 0x80 == 0 {
                // A longer way to write it than needed is not ours.
                return if byte == 0 && place > 0 { Err(Malformed) } else { Ok(number) };
            }
        }
        Err(Malformed)
    }

    pub(crate) fn signed(&mut self) -> Read<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A number that counts something or measures it, and cannot be more than `most`.
    pub(crate) fn length(&mut self, most: usize) -> Read<usize> {
        let number = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        if number > most { Err(Malformed) } else { Ok(number) }
    }

    /// A stretch behind its length.
    pub(crate) fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.length(self.0.len())?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(number: u64, signed: i64, bytes: Vec<u8>) {
            let mut stored = Vec::new();
            put_number(&mut stored, number);
            put_signed(&mut stored, signed);
            put_bytes(&mut stored, &bytes);
            let mut read = Bytes(&stored);
            prop_assert_eq!(read.number(), Ok(number));
            prop_assert_eq!(read.signed(), Ok(signed));
            prop_assert_eq!(read.bytes(), Ok(&bytes[..]));
            prop_assert!(read.is_empty());
        }

        /// What is read can be written again as it was: there is one way to write anything.
        #[test]
        fn whatever_is_read_is_read_in_one_way(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut read = Bytes(&bytes);
            if let Ok(number) = read.number() {
                let mut stored = Vec::new();
                put_number(&mut stored, number);
                prop_assert_eq!(&stored[..], &bytes[..bytes.len() - read.0.len()]);
            }
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let mut stored = Vec::new();
        put_number(&mut stored, u64::MAX);
        assert_eq!(Bytes(&stored).bytes(), Err(Malformed));
    }
}
