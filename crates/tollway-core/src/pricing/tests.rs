//! The table as a whole: which of several matching routes wins.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn exact(path: &str) -> RouteMatch {
    RouteMatch::new(PathRule::exact(path).unwrap())
}

fn prefix(path: &str) -> RouteMatch {
    RouteMatch::new(PathRule::prefix(path).unwrap())
}

fn template(path: &str) -> RouteMatch {
    RouteMatch::new(PathRule::template(path).unwrap())
}

fn host(text: &str) -> HostRule {
    HostRule::parse(text).unwrap()
}

fn methods(names: &[&str]) -> MethodRule {
    names.iter().fold(MethodRule::any(), |rule, name| rule.with(name).unwrap())
}

fn table<'a>(routes: &[(&'a str, RouteMatch)]) -> PriceTable<&'a str> {
    PriceTable::new(routes.iter().map(|(name, rule)| (rule.clone(), *name)).collect())
}

/// Looks `GET example.com{path}` up.
fn find<'a>(table: &PriceTable<&'a str>, path: &str) -> Option<&'a str> {
    find_on(table, "example.com", "GET", path)
}

fn find_on<'a>(
    table: &PriceTable<&'a str>,
    host: &str,
    method: &str,
    path: &str,
) -> Option<&'a str> {
    let (host, method, path) = (host.as_bytes(), method.as_bytes(), path.as_bytes());
    table.find(&RequestHead { host, path, method, headers: HeaderBlock::none() }).copied()
}

#[test]
fn a_prefix_respects_segments() {
    let table = table(&[("api", prefix("/api"))]);
    for (path, expected) in [
        ("/api", Some("api")),
        ("/api/", Some("api")),
        ("/api/x", Some("api")),
        ("/api/x/y/z", Some("api")),
        ("/apix", None),
        ("/ap", None),
        ("/API", None),
        ("/", None),
        ("", None),
        ("*", None),
        ("api", None),
        ("x/api", None),
    ] {
        assert_eq!(find(&table, path), expected, "{path}");
    }
}

#[test]
fn the_root_prefix_matches_every_path() {
    let table = table(&[("all", prefix("/"))]);
    for path in ["/", "/a", "/a/", "/a/b"] {
        assert_eq!(find(&table, path), Some("all"), "{path}");
    }
    assert_eq!(find(&table, "*"), None);
}

#[test]
fn an_exact_path_matches_itself_alone() {
    let table = table(&[("a", exact("/a")), ("slash", exact("/b/")), ("root", exact("/"))]);
    for (path, expected) in [
        ("/a", Some("a")),
        ("/a/", None),
        ("/a/b", None),
        ("/a;x", None),
        ("/b/", Some("slash")),
        ("/b", None),
        ("/", Some("root")),
    ] {
        assert_eq!(find(&table, path), expected, "{path}");
    }
}

#[test]
fn a_parameter_is_exactly_one_segment_that_is_not_empty() {
    let table = table(&[("posts", template("/users/{id}/posts"))]);
    for (path, expected) in [
        ("/users/7/posts", Some("posts")),
        ("/users/a%40b/posts", Some("posts")),
        ("/users//posts", None),
        ("/users/posts", None),
        ("/users/7/8/posts", None),
        ("/users/7/posts/", None),
        ("/users/7", None),
    ] {
        assert_eq!(find(&table, path), expected, "{path}");
    }
}

#[test]
fn spellings_of_one_path_have_one_price() {
    let table = table(&[("free", prefix("/")), ("paid", exact("/caf%C3%A9/a:b"))]);
    for path in ["/caf%C3%A9/a:b", "/caf%c3%a9/a:b", "/caf%C3%A9/a%3Ab", "/caf%c3%A9/a%3ab"] {
        assert_eq!(check_normalised(path.as_bytes()), Ok(()), "{path}");
        assert_eq!(find(&table, path), Some("paid"), "{path}");
    }
}

#[test]
fn exact_beats_template_beats_prefix_whatever_the_order() {
    let routes = [
        ("prefix", prefix("/users/me/posts")),
        ("template", template("/users/{id}/posts")),
        ("literal first", template("/users/me/{x}")),
        ("exact", exact("/users/me/posts")),
        ("short prefix", prefix("/users")),
    ];
    let mut reversed = routes.clone();
    reversed.reverse();
    for table in [table(&routes), table(&reversed)] {
        assert_eq!(find(&table, "/users/me/posts"), Some("exact"));
        assert_eq!(find(&table, "/users/me/likes"), Some("literal first"));
        assert_eq!(find(&table, "/users/7/posts"), Some("template"));
        assert_eq!(find(&table, "/users/me/posts/1"), Some("prefix"));
        assert_eq!(find(&table, "/users/7/likes"), Some("short prefix"));
    }
}

#[test]
fn exact_host_beats_suffix_beats_any_before_the_path_counts() {
    let table = table(&[
        ("any", exact("/a")),
        ("com", prefix("/").with_host(host("*.com"))),
        ("suffix", prefix("/").with_host(host("*.example.com"))),
        ("exact", prefix("/a").with_host(host("api.example.com"))),
    ]);
    for (name, path, expected) in [
        ("api.example.com", "/a", Some("exact")),
        ("API.Example.Com:8402", "/a", Some("exact")),
        ("api.example.com.", "/a", Some("exact")),
        ("api.example.com", "/b", Some("suffix")),
        ("www.example.com", "/a", Some("suffix")),
        ("a.b.example.com", "/a", Some("suffix")),
        ("example.com", "/a", Some("com")),
        ("notexample.com", "/a", Some("com")),
        ("com", "/a", Some("any")),
        ("example.org", "/a", Some("any")),
        ("", "/a", Some("any")),
        ("[::1]:80", "/a", Some("any")),
        ("example.org", "/b", None),
    ] {
        assert_eq!(find_on(&table, name, "GET", path), expected, "{name}{path}");
    }
}

#[test]
fn listed_methods_beat_any_and_a_route_that_does_not_match_hides_nothing() {
    let table = table(&[
        ("any", exact("/a")),
        ("post", exact("/a").with_methods(methods(&["POST"]))),
        ("put", template("/{x}").with_methods(methods(&["PUT"]))),
        ("get b", exact("/b").with_methods(methods(&["GET"]))),
        ("below", prefix("/")),
    ]);
    for (method, path, expected) in [
        ("POST", "/a", "post"),
        ("GET", "/a", "any"),
        ("HEAD", "/b", "get b"),
        ("PUT", "/b", "put"),
        ("DELETE", "/b", "below"),
    ] {
        assert_eq!(find_on(&table, "h", method, path), Some(expected), "{method} {path}");
    }
}

#[test]
fn more_header_conditions_win_then_the_order() {
    let with = |rule: RouteMatch, name| {
        rule.with_header(HeaderRule::present(name, true).unwrap()).unwrap()
    };
    let table = table(&[
        ("none", exact("/a")),
        ("x", with(exact("/a"), "x")),
        ("y", with(exact("/a"), "y")),
        ("x and y", with(with(exact("/a"), "y"), "x")),
    ]);
    for (names, expected) in
        [(&[][..], "none"), (&["X"], "x"), (&["y"], "y"), (&["y", "x"], "x and y")]
    {
        let headers = names.iter().map(|name| (*name, "1")).collect();
        let head = RequestHead { host: b"h", path: b"/a", method: b"GET", headers: &headers };
        assert_eq!(table.find(&head), Some(&expected), "{names:?}");
    }
}

#[test]
fn ties_go_to_the_route_that_stands_first() {
    let table = table(&[
        ("first", exact("/a").with_methods(methods(&["GET"]))),
        ("second", exact("/a").with_methods(methods(&["GET", "POST"]))),
    ]);
    assert_eq!(find_on(&table, "h", "GET", "/a"), Some("first"));
    assert_eq!(find_on(&table, "h", "POST", "/a"), Some("second"));
}

#[test]
fn equal_matches_are_equal_however_they_were_written() {
    let both = ["x", "y"].map(|name| HeaderRule::present(name, true).unwrap());
    let [x, y] = both;
    let xy = exact("/a").with_header(x.clone()).unwrap().with_header(y.clone()).unwrap();
    let yx = exact("/a").with_header(y).unwrap().with_header(x.clone()).unwrap();
    assert_eq!(xy, yx);
    assert_eq!(xy.with_header(x), Err(HeaderFault::Repeated));
    assert_eq!(
        exact("/a").with_methods(methods(&["GET", "POST"])),
        exact("/a").with_methods(methods(&["POST", "GET"]))
    );
    assert_eq!(exact("/a").with_host(host("A.b")), exact("/a").with_host(host("a.B.")));
    assert_eq!(exact("/a").with_host(host("*")), exact("/a"));
    assert_ne!(exact("/a"), prefix("/a"));
}

#[test]
fn a_very_deep_path_ends_the_walk_early() {
    let table = table(&[("all", prefix("/")), ("deep", template("/a/{b}/a/{c}"))]);
    assert_eq!(find(&table, &"/a".repeat(100_000)), Some("all"));
}

/// A route of the property test, matched and ranked by the plain words of the module's doc.
#[derive(Clone, Debug)]
struct Plain {
    host: &'static str,
    kind: u8,
    segments: Vec<&'static str>,
    methods: Vec<&'static str>,
    /// A header and what it must be: "-" absent, "+" present, else that one value.
    headers: Vec<(&'static str, &'static str)>,
}

/// Headers as they are sent: a name may come twice.
type Sent = [(&'static str, &'static str)];

impl Plain {
    fn rule(&self) -> RouteMatch {
        let named = self.segments.iter().enumerate().map(|(at, text)| match *text {
            "*" => format!("{{p{at}}}"),
            text => text.to_owned(),
        });
        let path = format!("/{}", named.collect::<Vec<_>>().join("/"));
        let path = match self.kind {
            0 => PathRule::prefix(&path),
            _ if path.contains('{') => PathRule::template(&path),
            _ => PathRule::exact(&path),
        };
        let rule = RouteMatch::new(path.unwrap())
            .with_host(host(self.host))
            .with_methods(methods(&self.methods));
        self.headers.iter().fold(rule, |rule, (name, want)| {
            let header = match *want {
                "-" => HeaderRule::present(name, false),
                "+" => HeaderRule::present(name, true),
                value => HeaderRule::value(name, value),
            };
            rule.with_header(header.unwrap()).unwrap()
        })
    }

    fn matches(&self, host: &str, path: &[&str], method: &str, sent: &Sent) -> bool {
        let host_matches = match self.host.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
            None => self.host == "*" || self.host == host,
        };
        let long_enough = match self.kind {
            0 => path.len() >= self.segments.len(),
            _ => path.len() == self.segments.len(),
        };
        let steps = self.segments.iter().zip(path);
        let holds = |(name, want): &(&str, &str)| {
            let of_name = sent.iter().filter(|(key, _)| key == name);
            let values: Vec<&str> = of_name.map(|(_, value)| *value).collect();
            match *want {
                "-" => values.is_empty(),
                "+" => !values.is_empty(),
                want => values == [want],
            }
        };
        host_matches
            && long_enough
            && steps.into_iter().all(|(mine, theirs)| *mine == "*" || mine == theirs)
            && (self.methods.is_empty() || self.methods.contains(&method))
            && self.headers.iter().all(holds)
    }

    /// Smaller is better.
    fn rank(&self) -> impl Ord + use<> {
        let host = match self.host {
            "*" => (2, 0),
            name if name.starts_with("*.") => (1, usize::MAX - name.len()),
            _ => (0, 0),
        };
        let parameters: Vec<bool> = self.segments.iter().map(|text| *text == "*").collect();
        let path = match self.kind {
            0 => (1, usize::MAX - self.segments.len(), Vec::new()),
            _ => (0, 0, parameters),
        };
        (host, path, self.methods.is_empty(), usize::MAX - self.headers.len())
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let host = prop::sample::select(&["*", "*.c", "*.b.c", "a.b.c", "b.c"][..]);
    let path = (0..2_u8).prop_flat_map(|kind| {
        // A prefix takes no parameters.
        let texts = if kind == 0 { &["x", "y"][..] } else { &["x", "y", "*"] };
        (Just(kind), prop::collection::vec(prop::sample::select(texts), 1..4))
    });
    let methods = prop::sample::subsequence(&["GET", "POST"][..], 0..=2);
    let want = || prop::sample::select(&["-", "+", "1", "2"][..]);
    let headers = (prop::sample::subsequence(&["h1", "h2"][..], 0..=2), want(), want())
        .prop_map(|(names, first, second)| names.into_iter().zip([first, second]).collect());
    (host, path, methods, headers).prop_map(|(host, (kind, segments), methods, headers)| Plain {
        host,
        kind,
        segments,
        methods,
        headers,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_192))]

    #[test]
    fn finds_what_a_scan_of_the_ranked_list_finds(
        routes in prop::collection::vec(plain(), 0..40),
        host in prop::sample::select(&["a.b.c", "b.c", "z.b.c", "c", "other"][..]),
        path in prop::collection::vec(prop::sample::select(&["x", "y", "z"][..]), 1..5),
        method in prop::sample::select(&["GET", "POST", "PUT"][..]),
        headers in prop::collection::vec(
            (prop::sample::select(&["h1", "h2"][..]), prop::sample::select(&["1", "2"][..])),
            0..4,
        ),
    ) {
        let expected = routes
            .iter()
            .enumerate()
            .filter(|(_, route)| route.matches(host, &path, method, &headers))
            .min_by_key(|(at, route)| (route.rank(), *at))
            .map(|(at, _)| at);
        let table = PriceTable::new(
            routes.iter().enumerate().map(|(at, route)| (route.rule(), at)).collect(),
        );
        let sent = headers.iter().copied().collect();
        let path = format!("/{}", path.join("/"));
        let head = RequestHead {
            host: host.as_bytes(),
            path: path.as_bytes(),
            method: method.as_bytes(),
            headers: &sent,
        };
        prop_assert_eq!(table.find(&head).copied(), expected);
    }
}

proptest! {
    #[test]
    fn no_byte_string_breaks_the_check_or_the_look_up(
        path in prop::collection::vec(any::<u8>(), 0..64),
        host in prop::collection::vec(any::<u8>(), 0..32),
    ) {
        let table = table(&[("t", template("/{a}/b")), ("p", prefix("/"))]);
        let head = RequestHead { host: &host, path: &path, method: b"GET", headers: HeaderBlock::none() };
        let found = table.find(&head);
        if check_normalised(&path).is_ok() {
            prop_assert!(found.is_some());
        }
    }
}
