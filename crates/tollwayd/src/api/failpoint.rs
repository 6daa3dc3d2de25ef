//! Failpoints: where a debug build dies on request, to prove what survives it.
//!
//! `TOLLWAYD_FAILPOINT=<place>:abort:<n>` ends the process, as `kill -9` does, at about every
//! nth change that passes the place: `before_commit`, where a call of the gate has arrived and
//! nothing is done, or `after_commit`, where the change is on disk and the reply is not sent.
//! Release builds have none of this. `make crash` uses it.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::response::Response;

use super::Doors;
use crate::entropy;

const VARIABLE: &str = "TOLLWAYD_FAILPOINT";

/// The one failpoint of this process.
static ARMED: LazyLock<Option<Failpoint>> =
    LazyLock::new(|| std::env::var(VARIABLE).ok().and_then(|text| Failpoint::parse(&text)));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BeforeCommit,
    AfterCommit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failpoint {
    place: Place,
    /// It strikes about every nth time.
    one_in: u32,
}

impl Failpoint {
    fn parse(text: &str) -> Option<Self> {
        let (place, rest) = text.split_once(':')?;
        let place = match place {
            "before_commit" => Place::BeforeCommit,
            "after_commit" => Place::AfterCommit,
            _ => return None,
        };
        let one_in = rest.strip_prefix("abort:")?.parse().ok().filter(|n| *n > 0)?;
        Some(Self { place, one_in })
    }
}

/// The doors with failpoints around every change, if this process has one armed.
pub(super) fn around(router: Router<Doors>) -> Router<Doors> {
    match *ARMED {
        Some(failpoint) => {
            tracing::warn!(?failpoint, "this process will abort: a failpoint is armed");
            router.layer(from_fn(surround))
        }
        None => router,
    }
}

async fn surround(request: Request, next: Next) -> Response {
    let changes = request.method() != Method::GET;
    if changes {
        reached(Place::BeforeCommit);
    }
    let response = next.run(request).await;
    if changes {
        reached(Place::AfterCommit);
    }
    response
}

fn reached(place: Place) {
    let Some(failpoint) = *ARMED else { return };
    let drawn = entropy::random_bytes().map_or(0, u32::from_ne_bytes);
    if failpoint.place == place && drawn % failpoint.one_in == 0 {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_failpoints_are_armed() {
        let place = Place::AfterCommit;
        assert_eq!(
            Failpoint::parse("after_commit:abort:40"),
            Some(Failpoint { place, one_in: 40 })
        );
        for text in ["", "after_commit", "after_commit:abort:0", "later:abort:2", "after_commit:2"]
        {
            assert_eq!(Failpoint::parse(text), None, "{text}");
        }
    }
}
