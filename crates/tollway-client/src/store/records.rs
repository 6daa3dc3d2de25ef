//! What is kept, and how it changes.

use std::collections::BTreeMap;

use reqwest::header::HeaderName;
use serde::{Deserialize, Serialize};
use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};

use crate::budget::{Budget, DAY_S, OverBudget};
use crate::challenge::Challenge;
use crate::token::{Scheme, Token};

/// The most paid credentials of one origin; the one that was bought first is forgotten first.
pub(super) const CREDENTIALS_PER_ORIGIN_MAX: usize = 64;
/// The most paths that are remembered for one credential.
const PATHS_MAX: usize = 32;
/// The most payments that are kept beyond those that the budget counts.
const PAYMENTS_MAX: usize = 1_000;
const VERSION: u32 = 2;

/// A credential, or one that waits for its payment's proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    pub(crate) scheme: Scheme,
    pub(crate) token: Token,
    /// What it opens; see [`Token::scope`].
    pub(crate) scope: String,
    /// Where it was sold and where it served, the latest first.
    pub(crate) paths: Vec<String>,
    pub(crate) proof: Proof,
    /// What the server last said is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) balance: Option<Msat>,
}

/// How far the payment is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// The invoice was handed to the wallet and no answer was seen.
    Invoice(String),
    /// It is paid.
    Preimage(Preimage),
}

/// A payment that was made, or begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentRecord {
    /// When it was begun, Unix time in seconds.
    pub at_s: u64,
    /// The host that asked for it.
    pub host: String,
    /// The path that was asked for; never the query, which may hold secrets.
    pub path: String,
    /// The invoice's amount.
    pub amount: Msat,
    /// What it cost beyond that.
    pub fee: Msat,
    /// The invoice's payment hash.
    pub payment_hash: PaymentHash,
    /// How far it is.
    pub state: PaymentState,
}

/// How far a payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// It was begun, and no answer was seen. The next call to its host takes it up.
    Pending,
    /// It arrived.
    Paid,
}

impl Credential {
    pub(crate) fn pending(challenge: &Challenge, path: &str) -> Self {
        Self {
            scheme: challenge.scheme(),
            token: challenge.token().clone(),
            scope: challenge.token().scope(path),
            paths: vec![path.to_owned()],
            proof: Proof::Invoice(challenge.invoice().text().to_owned()),
            balance: None,
        }
    }

    pub(crate) fn paid(self, preimage: Preimage) -> Self {
        Self { proof: Proof::Preimage(preimage), ..self }
    }

    /// The value of the `Authorization` header, once it is paid.
    pub(crate) fn authorization(&self) -> Option<String> {
        match &self.proof {
            Proof::Invoice(_) => None,
            Proof::Preimage(preimage) => Some(self.token.authorization(self.scheme, preimage)),
        }
    }

    /// The header that carries it.
    pub(crate) fn header(&self) -> HeaderName {
        self.token.header()
    }

    /// The payment that it proves, once it is paid.
    pub(crate) fn payment_hash(&self) -> Option<PaymentHash> {
        match &self.proof {
            Proof::Invoice(_) => None,
            Proof::Preimage(preimage) => Some(preimage.payment_hash()),
        }
    }

    /// The challenge that waits for its payment's proof.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        match &self.proof {
            Proof::Invoice(invoice) => {
                Challenge::new(self.scheme, self.token.clone(), invoice).ok()
            }
            Proof::Preimage(_) => None,
        }
    }

    /// Whether it opens one request and is worth nothing after that.
    pub(crate) fn is_single_use(&self) -> bool {
        self.scheme == Scheme::Payment
    }

    pub(crate) const fn is_paid(&self) -> bool {
        matches!(self.proof, Proof::Preimage(_))
    }
}

/// A purchase: where, what for, and when.
#[derive(Clone, Debug)]
pub(crate) struct Purchase {
    pub(crate) origin: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) now_s: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contents {
    version: u32,
    /// By origin, bought last first.
    origins: BTreeMap<String, Vec<Credential>>,
    /// In the order of time.
    payments: Vec<PaymentRecord>,
}

impl Default for Contents {
    fn default() -> Self {
        Self { version: VERSION, origins: BTreeMap::new(), payments: Vec::new() }
    }
}

impl Contents {
    /// Reads what [`serde_json`] wrote; anything else is not ours.
    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        let contents: Self = serde_json::from_slice(json).ok()?;
        (contents.version == VERSION).then_some(contents)
    }

    pub(super) fn credentials(&self, origin: &str) -> &[Credential] {
        self.origins.get(origin).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn origins(&self) -> impl Iterator<Item = (&str, &Credential)> {
        self.origins
            .iter()
            .flat_map(|(origin, all)| all.iter().map(move |one| (origin.as_str(), one)))
    }

    pub(super) fn payments(&self) -> &[PaymentRecord] {
        &self.payments
    }

    /// Writes the intent to pay down, if the budget allows it.
    pub(super) fn begin(
        &mut self,
        purchase: &Purchase,
        challenge: &Challenge,
        budget: &Budget,
    ) -> Result<Credential, OverBudget> {
        let invoice = challenge.invoice();
        let Purchase { origin, host, path, now_s } = purchase;
        budget.allows(invoice.amount(), host, *now_s, self.payments.iter())?;
        let pending = Credential::pending(challenge, path);
        let known = self.origins.entry(origin.clone()).or_default();
        known.retain(|other| other.token != pending.token);
        known.insert(0, pending.clone());
        self.payments.push(PaymentRecord {
            at_s: *now_s,
            host: host.clone(),
            path: path.clone(),
            amount: invoice.amount(),
            fee: Msat::ZERO,
            payment_hash: invoice.payment_hash(),
            state: PaymentState::Pending,
        });
        self.forget_old_payments(*now_s);
        Ok(pending)
    }

    /// Keeps the proof, and forgets the tokens that it succeeds.
    pub(super) fn settle(
        &mut self,
        origin: &str,
        paid: &Credential,
        fee: Msat,
        succeeded: &[Token],
    ) {
        let known = self.origins.entry(origin.to_owned()).or_default();
        known.retain(|other| {
            let over =
                other.is_paid() && other.scope == paid.scope && succeeded.contains(&other.token);
            other.token != paid.token && !over
        });
        known.insert(0, paid.clone());
        let mut paid_count = 0;
        // A payment that is still open is never forgotten: it may have cost something.
        known.retain(|credential| {
            paid_count += usize::from(credential.is_paid());
            !credential.is_paid() || paid_count <= CREDENTIALS_PER_ORIGIN_MAX
        });
        let hash = paid.payment_hash();
        let records = self.payments.iter_mut().rev();
        for record in records.filter(|record| Some(record.payment_hash) == hash).take(1) {
            record.state = PaymentState::Paid;
            record.fee = fee;
        }
    }

    /// Forgets a purchase of which it is certain that nothing was paid.
    pub(super) fn abandon(&mut self, origin: &str, pending: &Credential) {
        let hash = pending.challenge().map(|challenge| challenge.payment_hash());
        self.payments.retain(|record| {
            record.state == PaymentState::Paid || Some(record.payment_hash) != hash
        });
        self.forget(origin, &pending.token);
    }

    pub(super) fn forget(&mut self, origin: &str, token: &Token) {
        if let Some(known) = self.origins.get_mut(origin) {
            known.retain(|other| other.token != *token);
            if known.is_empty() {
                self.origins.remove(origin);
            }
        }
    }

    /// Remembers where a credential served and what is left of it. Returns whether that is news.
    pub(super) fn served(
        &mut self,
        origin: &str,
        token: &Token,
        path: &str,
        balance: Option<Msat>,
    ) -> bool {
        let known = self.origins.get_mut(origin).into_iter().flatten();
        let Some(credential) = known.into_iter().find(|other| other.token == *token) else {
            return false;
        };
        let mut news = false;
        if !credential.paths.iter().any(|known| known == path) {
            credential.paths.insert(0, path.to_owned());
            credential.paths.truncate(PATHS_MAX);
            news = true;
        }
        if balance.is_some() && credential.balance != balance {
            credential.balance = balance;
            news = true;
        }
        news
    }

    fn forget_old_payments(&mut self, now_s: u64) {
        let old = |record: &PaymentRecord| record.at_s.saturating_add(DAY_S) <= now_s;
        let count = self.payments.iter().filter(|record| old(record)).count();
        let mut surplus = count.saturating_sub(PAYMENTS_MAX);
        self.payments.retain(|record| {
            let forgotten = surplus > 0 && old(record);
            surplus -= usize::from(forgotten);
            !forgotten
        });
    }
}
