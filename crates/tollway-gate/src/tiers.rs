//! The tiers of accounts, as the ledger last told them.
//!
//! A price by tier needs the tier before the ledger is asked. What is known here may be old: the
//! ledger refuses an amount that was reckoned for another tier, and says which is right.

use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;

/// Tokens whose tier is remembered. When one more comes, all are forgotten: what is in use costs
/// one more call to learn again.
const TOKENS_MAX: usize = 4_096;

/// The tiers of tokens in order; those without one are not kept. A map would be a sixtieth of the
/// whole module.
#[derive(Debug, Default)]
pub(crate) struct Tiers(Vec<(PaymentHash, Tier)>);

impl Tiers {
    pub(crate) fn of(&self, token: &PaymentHash) -> Tier {
        let found = self.find(token).ok().and_then(|at| self.0.get(at));
        found.map_or(Tier::NONE, |(_, tier)| *tier)
    }

    fn find(&self, token: &PaymentHash) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(token))
    }

    pub(crate) fn learn(&mut self, token: PaymentHash, tier: Tier) {
        match self.find(&token) {
            Ok(at) if tier.is_none() => {
                self.0.remove(at);
            }
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = tier;
                }
            }
            Err(_) if tier.is_none() => {}
            Err(_) if self.0.len() >= TOKENS_MAX => {
                self.0.clear();
                self.0.push((token, tier));
            }
            Err(at) => self.0.insert(at, (token, tier)),
        }
    }
}

/// What one request costs accounts of different tiers.
#[derive(Debug)]
pub(crate) struct TierCosts {
    /// The tiers that have a price of their own.
    pub(crate) costs: Vec<(Tier, Msat)>,
    /// What all others pay.
    pub(crate) otherwise: Msat,
    /// The tier that the account is taken to have.
    pub(crate) assumed: Tier,
    /// How often the ledger knew better.
    pub(crate) corrections: u8,
}

impl TierCosts {
    /// Assumes that the account has this tier, and gives what it costs, where its token was minted
    /// with the other one. What the account has been given since goes before.
    pub(crate) fn assume(&mut self, account: Tier, minted: Tier) -> Msat {
        self.assumed = account;
        let tier = if account.is_none() { minted } else { account };
        let own = self.costs.iter().find(|(known, _)| *known == tier);
        own.map_or(self.otherwise, |(_, cost)| *cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_kept_within_a_bound_and_forgotten_when_taken_away() {
        let token = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            PaymentHash::from_bytes(bytes)
        };
        let gold = Tier::parse("gold").unwrap();
        let mut tiers = Tiers::default();
        for n in 0..TOKENS_MAX {
            tiers.learn(token(n), gold);
        }
        tiers.learn(token(0), gold);
        assert_eq!((tiers.of(&token(0)), tiers.of(&token(7))), (gold, gold));
        tiers.learn(token(7), Tier::NONE);
        assert_eq!(tiers.of(&token(7)), Tier::NONE);
        tiers.learn(token(TOKENS_MAX), gold);
        tiers.learn(token(TOKENS_MAX + 1), gold);
        assert_eq!(tiers.0.len(), 1);
    }
}
