//! A request's headers in the form in which a proxy hands them over.
//!
//! The proxy-wasm ABI serialises a map as the number of its pairs, the lengths of each name and
//! value, all as 32 bits with the low byte first, and then the names and values, a zero byte
//! behind each. [`HeaderBlock`] keeps these bytes as they came: an allocation for each name and
//! value would cost a request more than all that is looked for in them.
//!
//! What it does not do: decode or compare in any case; names are what the proxy made of them.

use alloc::vec::Vec;
use core::fmt;

/// The bytes of a length, or of the number of pairs.
const WORD: usize = 4;

/// A request's headers in their order: names and values as bytes.
///
/// ```
/// use tollway_core::header_block::HeaderBlock;
///
/// let headers = HeaderBlock::from([(":method", "GET"), ("accept", "*/*")]);
/// assert_eq!(headers.find("accept"), Some(&b"*/*"[..]));
/// assert_eq!(headers.find("Accept"), None);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// A bit for each length that a name has, so that most names that are not here need no look.
    lengths: u64,
}

/// Where a pair stands in the block; the value stands behind the name and one byte.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    start: usize,
    name_len: usize,
    value_len: usize,
}

impl HeaderBlock {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), places: Vec::new(), lengths: 0 }
    }

    /// No headers, for who asks for some.
    #[must_use]
    pub const fn none() -> &'static Self {
        static NONE: HeaderBlock = HeaderBlock::new();
        &NONE
    }

    /// Reads a serialised map; `None` for bytes that are none.
    #[must_use]
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<WORD>()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let (lengths, _) = rest.split_at_checked(count.checked_mul(2 * WORD)?)?;
        let mut start = WORD + lengths.len();
        let (mut places, mut seen) = (Vec::with_capacity(count), 0);
        for pair in lengths.as_chunks::<WORD>().0.as_chunks::<2>().0 {
            let [name, value] = pair.map(|length| u32::from_le_bytes(length) as usize);
            places.push(Place { start, name_len: name, value_len: value });
            seen |= length_bit(name);
            start = start.checked_add(name)?.checked_add(value)?.checked_add(2)?;
        }
        (start == bytes.len()).then_some(Self { bytes, places, lengths: seen })
    }

    /// Each name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places.iter().map(|place| (self.name(place), self.value(place)))
    }

    /// The value of a header, the first of its name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&[u8]> {
        self.find_all(name).next()
    }

    /// The values of all headers of this name.
    pub fn find_all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let may_be_here = self.lengths & length_bit(name.len()) != 0;
        let places = if may_be_here { self.places.as_slice() } else { &[] };
        let same = move |place: &&Place| {
            place.name_len == name.len() && self.name(place) == name.as_bytes()
        };
        places.iter().filter(same).map(|place| self.value(place))
    }

    fn name(&self, place: &Place) -> &[u8] {
        self.part(place.start, place.name_len)
    }

    fn value(&self, place: &Place) -> &[u8] {
        self.part(place.start + place.name_len + 1, place.value_len)
    }

    /// No part ends behind the block: the lengths were added up.
    fn part(&self, start: usize, len: usize) -> &[u8] {
        self.bytes.get(start..start + len).unwrap_or_default()
    }
}

const fn length_bit(name_len: usize) -> u64 {
    1 << (name_len % 64)
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for HeaderBlock {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut block = Self::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            let (start, name_len, value_len) = (block.bytes.len(), name.len(), value.len());
            for text in [name, value] {
                block.bytes.extend_from_slice(text);
                block.bytes.push(0);
            }
            block.places.push(Place { start, name_len, value_len });
            block.lengths |= length_bit(name_len);
        }
        block
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const COUNT: usize> From<[(N, V); COUNT]> for HeaderBlock {
    fn from(pairs: [(N, V); COUNT]) -> Self {
        pairs.into_iter().collect()
    }
}

/// Says how many there are: a credential may be among them.
impl fmt::Debug for HeaderBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderBlock({} headers)", self.places.len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    /// As the ABI has it.
    fn serialised(pairs: &Pairs) -> Vec<u8> {
        let word = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
        let mut bytes = word(pairs.len()).to_vec();
        for (name, value) in pairs {
            bytes.extend([word(name.len()), word(value.len())].concat());
        }
        for (name, value) in pairs {
            bytes.extend([name, &b"\0"[..], value, b"\0"].concat());
        }
        bytes
    }

    fn owned(block: &HeaderBlock) -> Pairs {
        block.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    }

    proptest! {
        #[test]
        fn what_the_proxy_serialised_is_read(pairs: Pairs) {
            let parsed = HeaderBlock::parse(serialised(&pairs)).unwrap();
            let collected: HeaderBlock = pairs.iter().map(|(n, v)| (n, v)).collect();
            prop_assert_eq!(&owned(&parsed), &pairs);
            prop_assert_eq!(&owned(&collected), &pairs);
            for (name, _) in &pairs {
                let name = String::from_utf8_lossy(name);
                let first = pairs.iter().find(|(known, _)| known == name.as_bytes());
                prop_assert_eq!(parsed.find(&name), first.map(|(_, value)| value.as_slice()));
                prop_assert_eq!(collected.find(&name), parsed.find(&name));
            }
        }

        #[test]
        fn no_bytes_panic_it(bytes: Vec<u8>) {
            if let Some(block) = HeaderBlock::parse(bytes) {
                owned(&block);
            }
        }

        #[test]
        fn a_map_of_another_length_is_refused(
            pairs: Pairs,
            cut in 1_usize..20,
            more in 1_usize..3,
        ) {
            let whole = serialised(&pairs);
            let less = whole[..whole.len().saturating_sub(cut)].to_vec();
            prop_assert_eq!(HeaderBlock::parse(less), None);
            let longer = [whole, alloc::vec![0; more]].concat();
            prop_assert_eq!(HeaderBlock::parse(longer), None);
        }
    }

    #[test]
    fn lengths_beyond_all_bounds_are_refused() {
        for bytes in [
            &b"\xff\xff\xff\xff"[..],
            b"\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x01\0\0\0\xff\xff\xff\xff\x02\0\0\0ab",
            b"\x02\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(HeaderBlock::parse(bytes.to_vec()), None, "{bytes:?}");
        }
        assert_eq!(HeaderBlock::parse(Vec::new()), None);
        let none = HeaderBlock::parse(b"\0\0\0\0".to_vec()).unwrap();
        assert_eq!(owned(&none), Vec::new());
    }

    #[test]
    fn all_of_a_name_are_found_in_their_order() {
        let block = HeaderBlock::from([("a", "1"), ("b", "2"), ("a", "3"), ("ab", "4")]);
        assert_eq!(block.find("a"), Some(&b"1"[..]));
        assert_eq!(block.find_all("a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(block.find("c"), None);
        // As long as one that is here, by the bits.
        assert_eq!(block.find(&"a".repeat(65)), None);
        assert_eq!(alloc::format!("{block:?}"), "HeaderBlock(4 headers)");
    }
}
