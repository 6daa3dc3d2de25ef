//! The compiled table: hosts by name, paths by segment, conditions by header value.
//!
//! A look-up costs about as much as the path has segments, not as the table has routes. The
//! walk never leaves the configured patterns, so a hostile path cannot make it deep. Only where
//! a literal and a parameter stand at one place, both may have to be tried.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::entries::{Entries, Entry};
use super::host::{self, HostRule};
use super::path::{Extent, PathRule, Segment, decode_segment, split_segment};
use super::{RequestHead, RouteMatch};

/// Routes with what they stand for, ready for look-ups. See the [module](super) for the order.
#[derive(Clone, Debug)]
pub struct PriceTable<R> {
    exact_hosts: BTreeMap<String, Paths<R>>,
    /// By the domain below which they match.
    host_suffixes: BTreeMap<String, Paths<R>>,
    any_host: Paths<R>,
}

impl<R> PriceTable<R> {
    /// Compiles the routes; their order decides between equally specific ones.
    #[must_use]
    pub fn new(routes: Vec<(RouteMatch, R)>) -> Self {
        let rank = |rule: &RouteMatch| (rule.methods.is_any(), Reverse(rule.headers.len()));
        // Put in order one by one: a sort would be a hundredth of the filter. What is equally
        // specific keeps the order of the configuration.
        let mut ranked: Vec<(RouteMatch, R)> = Vec::with_capacity(routes.len());
        for route in routes {
            let mine = rank(&route.0);
            let at = ranked.partition_point(|(rule, _)| rank(rule) <= mine);
            ranked.insert(at, route);
        }
        let mut table = Self {
            exact_hosts: BTreeMap::new(),
            host_suffixes: BTreeMap::new(),
            any_host: Paths::default(),
        };
        for (rule, value) in ranked {
            let RouteMatch { host, path, methods, headers } = rule;
            let paths = match host {
                HostRule::Any => &mut table.any_host,
                HostRule::Exact(name) => table.exact_hosts.entry(name.0).or_default(),
                HostRule::Suffix(name) => table.host_suffixes.entry(name.0).or_default(),
            };
            paths.insert(path, Entry::new(methods, headers, value));
        }
        table
    }

    /// What the best matching route stands for, or `None` when no route matches.
    #[must_use]
    pub fn find(&self, head: &RequestHead<'_>) -> Option<&R> {
        let host = host::canonical(head.host);
        self.exact_hosts
            .get(host.as_ref())
            .and_then(|paths| paths.find(head))
            .or_else(|| self.find_below(&host, head))
            .or_else(|| self.any_host.find(head))
    }

    /// Looks below ever shorter domains: for `a.b.c` below `b.c`, then below `c`.
    fn find_below(&self, host: &str, head: &RequestHead<'_>) -> Option<&R> {
        if self.host_suffixes.is_empty() {
            return None;
        }
        let domains = host.match_indices('.').filter_map(|(dot, _)| host.get(dot + 1..));
        domains
            .filter_map(|domain| self.host_suffixes.get(domain))
            .find_map(|paths| paths.find(head))
    }
}

/// The routes of one host rule: a tree with one level per path segment.
#[derive(Clone, Debug)]
struct Paths<R> {
    literals: BTreeMap<Vec<u8>, Paths<R>>,
    parameter: Option<Box<Paths<R>>>,
    /// Routes for the path that ends here.
    whole: Entries<R>,
    /// Routes for the path that ends here and everything below it; no parameter leads to one.
    prefix: Entries<R>,
}

/// The best match below a node.
enum Found<'a, R> {
    /// A route for exactly this path: nothing further up is better.
    Whole(&'a R),
    /// The longest prefix, which a route for exactly this path would beat.
    Prefix(&'a R),
    Nothing,
}

// Derived, this would ask for `R: Default`.
impl<R> Default for Paths<R> {
    fn default() -> Self {
        Self {
            literals: BTreeMap::new(),
            parameter: None,
            whole: Entries::default(),
            prefix: Entries::default(),
        }
    }
}

impl<R> Paths<R> {
    fn insert(&mut self, path: PathRule, entry: Entry<R>) {
        let mut node = self;
        for segment in path.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text).or_default(),
                Segment::Parameter => node.parameter.get_or_insert_default(),
            };
        }
        match path.extent {
            Extent::Whole => node.whole.push(entry),
            Extent::Prefix => node.prefix.push(entry),
        }
    }

    fn find(&self, head: &RequestHead<'_>) -> Option<&R> {
        match self.walk(Some(head.path.strip_prefix(b"/")?), head) {
            Found::Whole(value) | Found::Prefix(value) => Some(value),
            Found::Nothing => None,
        }
    }

    /// An exact path is the branch with no parameter, so trying literals first finds it first.
    fn walk(&self, rest: Option<&[u8]>, head: &RequestHead<'_>) -> Found<'_, R> {
        #[cfg(test)]
        super::work_tests::visited();
        let mut longest = None;
        if let Some(rest) = rest {
            let (segment, next) = split_segment(rest);
            if let Some(literal) = self.literals.get(decode_segment(segment).as_ref()) {
                match literal.walk(next, head) {
                    Found::Whole(value) => return Found::Whole(value),
                    Found::Prefix(value) => longest = Some(value),
                    Found::Nothing => {}
                }
            }
            let parameter = self.parameter.as_deref().filter(|_| !segment.is_empty());
            if let Some(Found::Whole(value)) = parameter.map(|node| node.walk(next, head)) {
                return Found::Whole(value);
            }
        } else if let Some(value) = self.whole.find(head) {
            return Found::Whole(value);
        }
        match longest.or_else(|| self.prefix.find(head)) {
            Some(value) => Found::Prefix(value),
            None => Found::Nothing,
        }
    }
}
