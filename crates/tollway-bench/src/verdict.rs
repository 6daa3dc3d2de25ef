//! The bars of the fast path, from what was measured.

use crate::bars::Bars;
use crate::memory::Memory;
use crate::rounds::{Outcome, Sample};

/// Everything that was measured, found by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured<'a>(pub(crate) &'a [Outcome]);

impl<'a> Measured<'a> {
    /// The case of this name, unless it could not be measured.
    pub(crate) fn case(self, name: &str) -> Option<&'a Outcome> {
        self.0.iter().find(|outcome| outcome.case.name == name)
    }

    fn value(self, name: &str, of: fn(&Sample) -> f64) -> Option<f64> {
        Some(self.case(name)?.median(of))
    }

    /// One case as a ratio to another.
    fn ratio(self, name: &str, to: &str, of: fn(&Sample) -> f64) -> Option<f64> {
        Some(self.value(name, of)? / self.value(to, of)?)
    }

    /// CPU per request above the case's bare route.
    pub(crate) fn added_us(self, name: &str) -> Option<f64> {
        let bare = self.case(name)?.case.bare;
        Some(self.value(name, |s| s.cpu_us)? - self.value(bare, |s| s.cpu_us)?)
    }

    /// The case, as a ratio to its bare route.
    pub(crate) fn to_bare(self, name: &str, of: fn(&Sample) -> f64) -> Option<f64> {
        self.ratio(name, self.case(name)?.case.bare, of)
    }

    /// What one filter adds, as a ratio to what another adds.
    fn added_ratio(self, name: &str, to: &str) -> Option<f64> {
        let (mine, theirs) = (self.added_us(name)?, self.added_us(to)?);
        // Where the other adds nothing that can be measured, the run was too short.
        (theirs > 0.0).then(|| mine / theirs)
    }
}

/// Judges a run; `memory` is missing if it could not be measured.
pub(crate) fn judge(measured: Measured<'_>, memory: Option<Memory>) -> Bars {
    let mut bars = Bars::default();
    let cpu = |s: &Sample| s.cpu_us;
    for (peer, limit, aim) in
        [("jwt_authn", 1.0, 0.6), ("ext_authz", 0.4, 0.25), ("noop", 2.5, 2.0)]
    {
        let name = format!("leased_added_cpu_to_{peer}");
        let value = measured.added_ratio("leased", peer);
        bars.at_most(&name, value, limit);
        bars.aim(&name, value, aim);
    }
    let exact = measured.added_ratio("exact", "ext_authz");
    bars.at_most("exact_added_cpu_to_ext_authz", exact, 1.5);
    for peer in ["toll_booth", "toll_booth_reconciled", "lightning_toll"] {
        let rate = |name: &str| measured.to_bare(name, |s| s.requests_per_s);
        let value = rate("leased").zip(rate(peer)).map(|(ours, theirs)| ours / theirs);
        bars.at_least(&format!("leased_rate_to_{peer}"), value, 1.0);
    }
    bars.at_most("routes_1000_cpu_to_1", measured.ratio("routes_1000", "leased", cpu), 1.10);
    let accounts = measured.ratio("accounts_many", "accounts_1", cpu);
    bars.at_most("accounts_many_cpu_to_1", accounts, 1.15);
    let flat = memory.map(|memory| memory.second_rss / memory.first_rss);
    bars.at_most("rss_after_other_accounts_to_before", flat, 1.05);
    bars.at_most("worker_vm_mb", memory.map(|memory| memory.vm), 32.0);
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Traffic;
    use crate::rounds::Case;

    fn outcome(name: &'static str, bare: &'static str, cpu_us: f64, rate: f64) -> Outcome {
        let case = Case {
            name,
            label: name,
            bare,
            url: String::new(),
            traffic: Traffic::Fixed(None),
            refused: false,
            server: 0,
            companion: None,
            load_cores: "",
            warm_up_requests: 0.0,
        };
        let sample =
            Sample { cpu_us, companion_us: 0.0, requests_per_s: rate, p50_ms: 1.0, p99_ms: 2.0 };
        Outcome { case, samples: vec![sample] }
    }

    #[test]
    fn filters_are_compared_by_what_they_add() {
        let outcomes = [
            outcome("bare", "bare", 10.0, 100.0),
            outcome("jwt_authn", "bare", 30.0, 30.0),
            outcome("leased", "bare", 15.0, 80.0),
            outcome("toll_booth_bare", "toll_booth_bare", 1.0, 200.0),
            outcome("toll_booth", "toll_booth_bare", 2.0, 100.0),
        ];
        let bars = judge(Measured(&outcomes), None);
        assert_eq!(bars.bars()["leased_added_cpu_to_jwt_authn"]["value"], 0.25);
        assert_eq!(bars.bars()["leased_rate_to_toll_booth"]["value"], 1.6);
    }

    #[test]
    fn what_is_missing_is_short() {
        let bars = judge(Measured(&[]), None);
        assert!(bars.bars().values().all(|bar| bar["ok"] == false));
        assert!(bars.short());
    }
}
