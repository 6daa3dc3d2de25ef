//! What happened in a run, and how a broken one is told.

use std::fmt;

/// Lines of a failed run that are shown.
const TRACE_SHOWN: usize = 60;

/// What happened in one run, or in all of them.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) trace: Vec<String>,
    counts: [u64; COUNTED.len()],
}

const COUNTED: [&str; 38] = [
    "requests",
    "served",
    "bills",
    "bills by choice",
    "payments",
    "top-ups",
    "looks at several lots that end",
    "lost",
    "repeated",
    "companion deaths",
    "replies lost to a death",
    "VM deaths",
    "key rotations",
    "late postings",
    "jumps of the clock",
    "session requests",
    "sessions over",
    "single uses",
    "tokens used up",
    "free requests",
    "free tiers used up",
    "keys in flight",
    "keys mismatched",
    "repeats for nothing",
    "repeats replayed",
    "extensions",
    "extensions by the rest",
    "postings answered in a word",
    "holds that gave credit back",
    "over-runs",
    "operator's acts",
    "requests of revoked accounts",
    "postings of revoked accounts",
    "revoked sessions",
    "tokens revoked alone",
    "payments settled by hand",
    "top-ups refused",
    "msat of operator's loss",
];

impl Default for Summary {
    fn default() -> Self {
        Self { trace: Vec::new(), counts: [0; COUNTED.len()] }
    }
}

impl Summary {
    pub(crate) fn count(&mut self, what: &str, by: u64) {
        let at = COUNTED.iter().position(|name| *name == what).expect("a name of COUNTED");
        self.counts[at] += by;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
    }

    /// A simulation in which nothing goes wrong proves little.
    pub(crate) fn assert_everything_happened(&self) {
        for (name, count) in COUNTED.iter().zip(self.counts) {
            assert!(count > 0, "no {name} in all seeds");
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = COUNTED
            .iter()
            .zip(self.counts)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

/// A broken invariant and the way there.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) violation: String,
    pub(crate) trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.trace.len().saturating_sub(TRACE_SHOWN);
        write!(f, "{}\n{}", self.trace[from..].join("\n"), self.violation)
    }
}
