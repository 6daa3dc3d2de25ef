//! Routes that share host and path, told apart by methods and headers.

use alloc::string::String;
use alloc::vec::Vec;

use super::RequestHead;
use super::conditions::{self, HeaderRule, MethodRule};

/// A route whose host and path already match.
#[derive(Clone, Debug)]
pub(super) struct Entry<R> {
    methods: MethodRule,
    headers: Vec<HeaderRule>,
    value: R,
}

impl<R> Entry<R> {
    pub(super) const fn new(methods: MethodRule, headers: Vec<HeaderRule>, value: R) -> Self {
        Self { methods, headers, value }
    }

    fn matches(&self, head: &RequestHead<'_>) -> bool {
        #[cfg(test)]
        super::work_tests::visited();
        self.methods.matches(head.method) && self.headers.iter().all(|header| header.matches(head))
    }
}

/// The routes of one place, the better ones first.
///
/// Those that ask for values of headers are found by those values, so that a thousand prices of
/// one path cost no more than one.
#[derive(Clone, Debug)]
pub(super) struct Entries<R> {
    ranked: Vec<Entry<R>>,
    /// The places of those that ask for no value.
    plain: Vec<usize>,
    by_values: Vec<ByValues>,
}

/// The routes that ask for values of the same headers.
#[derive(Clone, Debug)]
struct ByValues {
    names: Vec<String>,
    /// The values, in the order of the names, and the places of the routes that ask for them;
    /// sorted by the values.
    places: Vec<(Vec<Vec<u8>>, Vec<usize>)>,
}

// Derived, this would ask for `R: Default`.
impl<R> Default for Entries<R> {
    fn default() -> Self {
        Self { ranked: Vec::new(), plain: Vec::new(), by_values: Vec::new() }
    }
}

impl<R> Entries<R> {
    /// Adds an entry that is not better than those before it.
    pub(super) fn push(&mut self, entry: Entry<R>) {
        let asked = || entry.headers.iter().filter_map(HeaderRule::asked_value);
        let names: Vec<String> = asked().map(|(name, _)| name.into()).collect();
        let values: Vec<Vec<u8>> = asked().map(|(_, value)| value.into()).collect();
        let place = self.ranked.len();
        self.ranked.push(entry);
        if names.is_empty() {
            self.plain.push(place);
            return;
        }
        match self.by_values.iter_mut().find(|by| by.names == names) {
            Some(by) => by.push(values, place),
            None => {
                let places = Vec::from([(values, Vec::from([place]))]);
                self.by_values.push(ByValues { names, places });
            }
        }
    }

    /// The best entry whose conditions hold.
    pub(super) fn find(&self, head: &RequestHead<'_>) -> Option<&R> {
        let fits =
            |place: &&usize| self.ranked.get(**place).is_some_and(|entry| entry.matches(head));
        let plain = self.plain.iter().find(fits);
        let asking = self.by_values.iter().filter_map(|by| by.places(head).iter().find(fits));
        let best = asking.chain(plain).min()?;
        self.ranked.get(*best).map(|entry| &entry.value)
    }
}

impl ByValues {
    fn push(&mut self, values: Vec<Vec<u8>>, place: usize) {
        match self.places.binary_search_by(|(known, _)| known.cmp(&values)) {
            Ok(at) => self.places.get_mut(at).into_iter().for_each(|(_, all)| all.push(place)),
            Err(at) => self.places.insert(at, (values, Vec::from([place]))),
        }
    }

    /// The places of the routes that ask for what the request sends.
    fn places(&self, head: &RequestHead<'_>) -> &[usize] {
        let sent = self.names.iter().map(|name| conditions::only_value(head, name));
        let Some(sent) = sent.collect::<Option<Vec<&[u8]>>>() else { return &[] };
        let by = |known: &Vec<Vec<u8>>| known.iter().map(Vec::as_slice).cmp(sent.iter().copied());
        self.places
            .binary_search_by(|(known, _)| by(known))
            .ok()
            .and_then(|at| self.places.get(at))
            .map_or(&[], |(_, places)| places)
    }
}
