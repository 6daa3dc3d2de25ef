//! What a look-up costs, counted in nodes and routes looked at: the same on every machine.

extern crate std;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;

use super::*;

std::thread_local! {
    static VISITED: Cell<usize> = const { Cell::new(0) };
}

/// A node of the tree, or a route at its end, is looked at.
pub(super) fn visited() {
    VISITED.with(|visited| visited.set(visited.get() + 1));
}

/// What is found, and how much was looked at for it.
fn look_up<R: Copy>(table: &PriceTable<R>, head: &RequestHead<'_>) -> (Option<R>, usize) {
    VISITED.with(|visited| visited.set(0));
    let found = table.find(head).copied();
    (found, VISITED.with(Cell::get))
}

fn get<'a>(path: &'a str, headers: &'a HeaderBlock) -> RequestHead<'a> {
    RequestHead { host: b"api.example.com", path: path.as_bytes(), method: b"GET", headers }
}

fn post_only() -> MethodRule {
    MethodRule::any().with("POST").unwrap()
}

/// Four rules for each of `count / 4` resources, as an API has them.
fn api(count: usize) -> PriceTable<usize> {
    let rules = |n: usize| {
        let path = format!("/v1/r{n}");
        [
            RouteMatch::new(PathRule::exact(&path).unwrap()),
            RouteMatch::new(PathRule::exact(&path).unwrap()).with_methods(post_only()),
            RouteMatch::new(PathRule::template(&format!("{path}/{{id}}")).unwrap()),
            RouteMatch::new(PathRule::prefix(&format!("{path}/files")).unwrap()),
        ]
    };
    let all = (0..count / 4).flat_map(rules);
    PriceTable::new(all.enumerate().map(|(at, rule)| (rule, at)).collect())
}

#[test]
fn a_thousand_routes_cost_no_more_than_four() {
    let (few, many) = (api(4), api(1_000));
    for (path, segments) in [
        ("/v1/r0", 2),
        ("/v1/r0/7", 3),
        ("/v1/r0/files", 3),
        ("/v1/r0/files/a/b/c/d", 7),
        ("/v1/none", 2),
        ("/elsewhere", 1),
    ] {
        let (found, work) = look_up(&many, &get(path, HeaderBlock::none()));
        assert_eq!((found, work), look_up(&few, &get(path, HeaderBlock::none())), "{path}");
        // The root, a node for each segment, a parameter beside one of them, two routes.
        assert!(work <= 1 + segments + 1 + 2, "{path}: looked at {work}");
    }
    for at in 0..250 {
        let (found, work) = look_up(&many, &get(&format!("/v1/r{at}/7"), HeaderBlock::none()));
        assert_eq!(found, Some(4 * at + 2));
        assert!(work <= 5, "{at}: looked at {work}");
    }
}

#[test]
fn a_thousand_hosts_cost_no_more_than_one() {
    let host = |n: usize| {
        let rule = RouteMatch::new(PathRule::exact("/joke").unwrap());
        (rule.with_host(HostRule::parse(&format!("h{n}.example.com")).unwrap()), n)
    };
    let table = PriceTable::new((0..1_000).map(host).collect());
    for n in [0, 499, 999] {
        let name = format!("h{n}.example.com");
        let head = RequestHead { host: name.as_bytes(), ..get("/joke", HeaderBlock::none()) };
        assert_eq!(look_up(&table, &head), (Some(n), 3));
    }
}

#[test]
fn a_thousand_prices_of_one_path_cost_no_more_than_one() {
    let model = |n: usize| {
        let rule = RouteMatch::new(PathRule::exact("/v1/chat").unwrap())
            .with_header(HeaderRule::value("x-model", &format!("m{n}")).unwrap())
            .and_then(|rule| rule.with_header(HeaderRule::value("a-tenant", "t").unwrap()));
        (rule.unwrap(), n)
    };
    let table = PriceTable::new((0..1_000).map(model).collect());
    for n in [0, 499, 999] {
        let headers = [("X-Model", format!("m{n}")), ("a-tenant", "t".into())].into();
        assert_eq!(look_up(&table, &get("/v1/chat", &headers)), (Some(n), 4));
    }
}

/// A parameter beside each literal: the most that a path can make the walk try.
#[test]
fn places_with_a_literal_and_a_parameter_are_tried_once_each_way() {
    let choices = |n: usize| {
        let segment = |at: usize| if n >> at & 1 == 1 { format!("{{p{at}}}") } else { "a".into() };
        let path: Vec<String> = (0..9).map(segment).collect();
        let path = format!("/{}/end", path.join("/"));
        let rule = if n == 0 { PathRule::exact(&path) } else { PathRule::template(&path) };
        (RouteMatch::new(rule.unwrap()), n)
    };
    let table = PriceTable::new((0..512).map(choices).collect());
    let (found, work) = look_up(&table, &get("/a/a/a/a/a/a/a/a/a/end", HeaderBlock::none()));
    assert_eq!((found, work), (Some(0), 12), "the literals come first");
    let (found, work) = look_up(&table, &get("/a/a/a/a/a/a/a/a/a/other", HeaderBlock::none()));
    // Each node of the tree once: 2^9 + 2^8 + .. + 1. No path can cost more.
    assert_eq!((found, work), (None, 1_023));
}
