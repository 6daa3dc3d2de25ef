//! Free tiers: what a network has used of a window.

use serde_json::json;

use super::{Answer, Books};
use crate::shop::{DAY_MS, RouteFacts, Span};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) used: u64,
    pub(crate) ends_ms: u64,
}

impl Books {
    /// What is left before this request, and when that ends.
    pub(crate) fn window(&self, route: RouteFacts, network: &str, now_ms: u64) -> Window {
        let free = route.free.expect("a route with a free tier");
        let known = self.windows.get(&(route.name, network.to_owned())).copied();
        known.filter(|window| now_ms < window.ends_ms).unwrap_or(Window {
            used: 0,
            ends_ms: match free.span {
                Span::Day => now_ms - now_ms % DAY_MS + DAY_MS,
                Span::RollingMs(ms) => now_ms + ms,
            },
        })
    }

    pub(crate) fn allowance(&mut self, route: RouteFacts, network: &str, now_ms: u64) -> Answer {
        let free = route.free.expect("a route with a free tier");
        let mut window = self.window(route, network, now_ms);
        let resets_at = window.ends_ms.div_ceil(1_000);
        if window.used + free.cost > free.limit {
            return (200, json!({"outcome": "exhausted", "resets_at": resets_at}));
        }
        window.used += free.cost;
        self.windows.insert((route.name, network.to_owned()), window);
        let remaining = free.limit - window.used;
        (200, json!({"outcome": "granted", "remaining": remaining, "resets_at": resets_at}))
    }
}
