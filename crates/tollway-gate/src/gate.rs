//! What all requests of one VM share, and the work between requests: fetching the keyring and
//! reporting postings.

use std::cell::{Cell, Ref, RefCell};
use std::fmt;

use tollway_core::entropy::Entropy;
use tollway_core::id::{HoldId, HoldIds};
use tollway_core::keyring::Keyring;
use tollway_core::payment::PaymentHash;
use tollway_core::rates::Rates;
use tollway_core::tier::Tier;
use tollway_core::wire::{KeyringReply, Posting, PostingReply, PostingResult};

use crate::cache::{Carriers, CredentialCache, Known};
use crate::config::Config;
use crate::host::{CallId, CallReply, Host};
use crate::keep::Keeper;
use crate::lease::Leases;
use crate::ledger::{self, CallFault};
use crate::outbox::Outbox;
use crate::tiers::Tiers;

/// The pause before the keyring is asked for again after a failure.
const KEYRING_RETRY_MS: u64 = 500;

/// The state that all requests of one VM share.
pub struct Gate {
    config: Config,
    keyring: RefCell<Option<Keyring>>,
    /// Tokens that the operator revoked, in order.
    revoked: RefCell<Vec<PaymentHash>>,
    /// Routes whose calls are counted one by one.
    limited: RefCell<Vec<String>>,
    rates: RefCell<Rates>,
    tiers: RefCell<Tiers>,
    /// The state of the keys and revocations that was fetched last; 0 where it has no number.
    revision: Cell<u64>,
    entropy: RefCell<Entropy>,
    hold_ids: RefCell<HoldIds>,
    cache: RefCell<CredentialCache>,
    outbox: RefCell<Outbox>,
    pub(crate) leases: Leases,
    pub(crate) keeper: Keeper,
    keyring_call: Cell<Option<CallId>>,
    keyring_due_ms: Cell<u64>,
    postings_call: Cell<Option<CallId>>,
    /// What the last call said of `tollwayd`, so that the log has one line for each change.
    last_fault: Cell<Option<CallFault>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate for this configuration. `seed` is what randomness the host can give; `tollwayd`
    /// adds its own before the first token or hold is minted.
    #[must_use]
    pub fn new(config: Config, seed: &[u8]) -> Self {
        Self {
            cache: RefCell::new(CredentialCache::new(config.cache)),
            config,
            keyring: RefCell::new(None),
            revoked: RefCell::new(Vec::new()),
            limited: RefCell::new(Vec::new()),
            rates: RefCell::new(Rates::NONE),
            tiers: RefCell::new(Tiers::default()),
            revision: Cell::new(0),
            entropy: RefCell::new(Entropy::from_seed(seed)),
            hold_ids: RefCell::default(),
            outbox: RefCell::new(Outbox::default()),
            leases: Leases::default(),
            keeper: Keeper::default(),
            keyring_call: Cell::new(None),
            keyring_due_ms: Cell::new(0),
            postings_call: Cell::new(None),
            last_fault: Cell::new(None),
        }
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Does what is due: refreshes the keyring, reports postings. To be called once at the start
    /// and then at every tick.
    pub fn tick(&self, host: &impl Host) {
        let now_ms = host.now_ms();
        if self.keyring_call.get().is_none() && now_ms >= self.keyring_due_ms.get() {
            match ledger::fetch_keyring(host, &self.config.tollwayd) {
                Ok(call) => self.keyring_call.set(Some(call)),
                Err(fault) => self.keyring_failed(host, fault),
            }
        }
        let Config { tollwayd, lease_idle_ms, .. } = &self.config;
        let unsent =
            self.leases.tick(host, tollwayd, *lease_idle_ms, &mut self.outbox.borrow_mut());
        if let Some(fault) = self.keeper.tick(host, tollwayd).or(unsent) {
            self.call_failed(host, fault);
        }
        self.report(host, now_ms);
    }

    /// Whether [`Gate::report_full`] has something to do.
    #[must_use]
    pub fn has_full_report(&self) -> bool {
        self.postings_call.get().is_none() && self.outbox.borrow().has_full_batch()
    }

    /// Sends a whole batch of postings that waits. Between two ticks more requests may end than the
    /// queue has room for. To be called inside a callback of the root, which gets the reply.
    pub fn report_full(&self, host: &impl Host) {
        if self.has_full_report() {
            self.report(host, host.now_ms());
        }
    }

    /// Sends the next batch of postings, if one is due.
    fn report(&self, host: &impl Host, now_ms: u64) {
        self.outbox.borrow_mut().wake(now_ms);
        let (rows, call) = {
            let outbox = self.outbox.borrow();
            let Some(batch) = outbox.next_batch(now_ms) else { return };
            let call = ledger::send_postings(host, &self.config.tollwayd, &batch);
            (batch.postings.len(), call)
        };
        self.outbox.borrow_mut().sent(rows);
        match call {
            Ok(call) => self.postings_call.set(Some(call)),
            Err(fault) => self.postings_failed(host, fault),
        }
    }

    /// A call that [`Gate::tick`] sent was answered.
    pub fn call_answered(&self, host: &impl Host, call: CallId, reply: &CallReply) {
        if self.keyring_call.get() == Some(call) {
            self.keyring_call.set(None);
            match ledger::decode::<KeyringReply>(reply).and_then(|reply| self.adopt(&reply)) {
                Ok(()) => {
                    self.reached(host);
                    let due_ms = host.now_ms().saturating_add(self.config.keyring_refresh_ms);
                    self.keyring_due_ms.set(due_ms);
                }
                Err(fault) => self.keyring_failed(host, fault),
            }
        } else if self.postings_call.get() == Some(call) {
            self.postings_call.set(None);
            let mut booked =
                |row: &Posting, result: &PostingResult| self.leases.posted(host, row, result);
            let outcome = ledger::decode::<PostingReply>(reply).and_then(|reply| {
                self.heard_of(reply.revision);
                let again_ms = host.now_ms().saturating_add(self.config.tollwayd.timeout_ms);
                self.outbox.borrow_mut().answered(&reply, again_ms, &mut booked)
            });
            match outcome {
                Ok(lost) => {
                    self.reached(host);
                    self.report_lost(host, lost);
                    self.report_full(host);
                }
                Err(fault) => self.postings_failed(host, fault),
            }
        } else {
            let extended = self.keeper.answered(host, call, reply);
            match extended.or_else(|| self.leases.refill_answered(host, call, reply)) {
                Some(Ok(())) => self.reached(host),
                Some(Err(fault)) => self.call_failed(host, fault),
                None => {}
            }
        }
    }

    /// The tokens whose waiting requests may be asked again now, since the last time.
    #[must_use]
    pub fn take_decided(&self) -> Vec<PaymentHash> {
        self.leases.take_decided()
    }

    /// Whether a request asks for a lease of this token now.
    #[must_use]
    pub fn is_opening(&self, token: &PaymentHash) -> bool {
        self.leases.is_opening(token)
    }

    /// Runs `with` on the keyring, or gives `None` while there is none yet.
    pub(crate) fn with_keyring<T>(&self, with: impl FnOnce(&Keyring) -> T) -> Option<T> {
        self.keyring.borrow().as_ref().map(with)
    }

    /// Whether priced requests can be decided at all: there are keys, and charges can be
    /// reported.
    pub(crate) fn is_ready(&self) -> bool {
        self.keyring.borrow().is_some() && !self.outbox.borrow().is_full()
    }

    /// Whether only so many calls of this route are sold.
    pub(crate) fn is_limited(&self, route: &str) -> bool {
        self.limited.borrow().iter().any(|name| name == route)
    }

    /// Whether the operator revoked the token of this payment, as far as the keyring says: it
    /// names the newest revocations only, and the ledger refuses all of them.
    pub(crate) fn is_revoked(&self, payment: &PaymentHash) -> bool {
        self.revoked.borrow().binary_search(payment).is_ok()
    }

    /// The rates of exchange, as far as they are known; some may no longer hold.
    pub(crate) fn rates(&self) -> Ref<'_, Rates> {
        self.rates.borrow()
    }

    /// The tier of this token's account, as far as it is known here.
    pub(crate) fn tier_of(&self, token: &PaymentHash) -> Tier {
        self.tiers.borrow().of(token)
    }

    /// The ledger said what tier this token's account has.
    pub(crate) fn learn_tier(&self, token: PaymentHash, tier: Tier) {
        self.tiers.borrow_mut().learn(token, tier);
    }

    /// 32 unpredictable bytes.
    pub(crate) fn random(&self) -> [u8; 32] {
        self.entropy.borrow_mut().draw()
    }

    /// A new hold id.
    pub(crate) fn mint_hold_id(&self, now_ms: u64) -> HoldId {
        self.hold_ids.borrow_mut().mint(now_ms, &mut self.entropy.borrow_mut())
    }

    pub(crate) fn recall(&self, carriers: &Carriers<'_>) -> Option<Known> {
        self.cache.borrow_mut().find(carriers)
    }

    pub(crate) fn remember(&self, carriers: &Carriers<'_>, known: Known) {
        self.cache.borrow_mut().insert(carriers, known);
    }

    /// Queues a charge or a release.
    pub(crate) fn post(&self, row: Posting) {
        self.outbox.borrow_mut().push(row);
    }

    /// `tollwayd` answered as it should.
    pub(crate) fn reached(&self, host: &impl Host) {
        if self.last_fault.take().is_some() {
            host.warn("tollwayd answers again");
        }
    }

    /// A call to `tollwayd` failed; says so in the log, once until that changes.
    pub(crate) fn call_failed(&self, host: &impl Host, fault: CallFault) {
        if self.last_fault.replace(Some(fault)) != Some(fault) {
            let cluster = &self.config.tollwayd.cluster;
            host.warn(&format!("a call to tollwayd (cluster {cluster:?}) failed: {fault}"));
        }
    }

    /// Takes over the keys that `tollwayd` serves.
    pub(crate) fn adopt(&self, reply: &KeyringReply) -> Result<(), CallFault> {
        let keyring = Keyring::from_reply(reply).map_err(|_| CallFault::Garbage)?;
        let rates = Rates::from_reply(&reply.rates).ok_or(CallFault::Garbage)?;
        self.rates.replace(rates);
        self.limited.borrow_mut().clone_from(&reply.limited);
        self.entropy.borrow_mut().mix(reply.seed.as_bytes());
        let before = self.keyring.replace(Some(keyring));
        let same_keys = self.with_keyring(|now| before.as_ref() == Some(now)).unwrap_or(false);
        let revision_before = self.revision.replace(reply.revision);
        let same_revision = reply.revision == revision_before;
        if !same_revision || reply.revision == 0 {
            self.revoke_only(&reply.revoked);
        }
        if !same_keys || !same_revision {
            // Neither a key that left the ring nor a revoked token may live on in the cache.
            self.cache.borrow_mut().clear();
        }
        Ok(())
    }

    /// Puts the tokens in order one by one: a sort would be a twentieth of the whole module.
    fn revoke_only(&self, tokens: &[PaymentHash]) {
        let mut revoked = self.revoked.borrow_mut();
        revoked.clear();
        for token in tokens {
            if let Err(at) = revoked.binary_search(token) {
                revoked.insert(at, *token);
            }
        }
    }

    /// Another state of keys and revocations than the known one is fetched with the next tick.
    /// A `tollwayd` that does not number them says 0.
    fn heard_of(&self, revision: u64) {
        if revision != 0 && revision != self.revision.get() {
            self.keyring_due_ms.set(0);
        }
    }

    fn keyring_failed(&self, host: &impl Host, fault: CallFault) {
        self.call_failed(host, fault);
        self.keyring_due_ms.set(host.now_ms().saturating_add(KEYRING_RETRY_MS));
    }

    fn postings_failed(&self, host: &impl Host, fault: CallFault) {
        self.call_failed(host, fault);
        let dropped = self.outbox.borrow_mut().failed(fault, host.now_ms());
        self.report_lost(host, dropped);
    }

    fn report_lost(&self, host: &impl Host, rows: u64) {
        if rows > 0 {
            host.count_lost_postings(rows);
            host.warn(&format!(
                "{rows} postings were not counted: their holds had expired, or tollwayd refused \
                 them; the customers' credit is untouched"
            ));
        }
    }
}
