//! Choices for a client, and its counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::answer::Payment;
use crate::budget::Budget;
use crate::client::PayingClient;
use crate::error::{ClientError, Fault, explained};
use crate::store::CredentialStore;
use crate::token::Scheme;
use crate::wallet::Wallet;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may be silent. There is no limit on the whole, for answers may stream.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Choices for a [`PayingClient`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    http: reqwest::ClientBuilder,
    wallet: Arc<dyn Wallet>,
    store: CredentialStore,
    budget: Budget,
    redirects_max: u32,
    keeps_balances: bool,
    prefers: Scheme,
}

impl Builder {
    /// A client that pays with this wallet, and the defaults for the rest.
    pub(crate) fn new(wallet: Arc<dyn Wallet>) -> Self {
        Self {
            http: reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(SILENCE_TIMEOUT)
                .user_agent(concat!("tollway/", env!("CARGO_PKG_VERSION"))),
            wallet,
            store: CredentialStore::in_memory(),
            budget: Budget::default(),
            redirects_max: 0,
            keeps_balances: false,
            prefers: Scheme::L402,
        }
    }

    /// What may be paid; 100 sats for one request by default.
    pub fn budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// Where credentials and payments are kept; in memory by default.
    pub fn store(self, store: CredentialStore) -> Self {
        Self { store, ..self }
    }

    /// Follows up to `max` redirects; none by default. What was paid for one origin is never
    /// shown to another one, nor are `Authorization`, `Cookie` and `Proxy-Authorization`.
    pub fn follow_redirects(self, max: u32) -> Self {
        Self { redirects_max: max, ..self }
    }

    /// Writes down what each answer says is left of its credential. It costs a write for each
    /// answer, so it is off by default.
    pub fn keep_balances(self) -> Self {
        Self { keeps_balances: true, ..self }
    }

    /// How to pay where a server offers several ways; [`Scheme::L402`] by default. With
    /// [`Scheme::Payment`] each request says so to the server, and pays for itself alone. What was
    /// bought before is spent first.
    pub fn prefer(self, scheme: Scheme) -> Self {
        Self { prefers: scheme, ..self }
    }

    /// Proxies, certificates, timeouts and the like. Its redirect policy is replaced.
    pub fn http(self, http: reqwest::ClientBuilder) -> Self {
        Self { http, ..self }
    }

    /// Builds the client.
    ///
    /// # Errors
    /// [`Fault::Request`] when the system gives no HTTP client.
    pub fn build(self) -> Result<PayingClient, ClientError> {
        let http = self.http.redirect(reqwest::redirect::Policy::none()).build();
        Ok(PayingClient {
            http: http.map_err(|error| Fault::Request(explained(&error)))?,
            wallet: self.wallet,
            store: self.store,
            budget: self.budget,
            redirects_max: self.redirects_max,
            keeps_balances: self.keeps_balances,
            prefers: self.prefers,
            counters: Arc::default(),
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    payments: AtomicU64,
    paid_msat: AtomicU64,
    fees_msat: AtomicU64,
}

/// What a client has done since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The calls.
    pub requests: u64,
    /// The invoices that were paid.
    pub payments: u64,
    /// What they asked, in msat.
    pub paid_msat: u64,
    /// What they cost beyond that, in msat.
    pub fees_msat: u64,
}

impl Counters {
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_payment(&self, payment: Payment) {
        self.payments.fetch_add(1, Ordering::Relaxed);
        self.paid_msat.fetch_add(payment.amount.get(), Ordering::Relaxed);
        self.fees_msat.fetch_add(payment.fee.get(), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            requests: read(&self.requests),
            payments: read(&self.payments),
            paid_msat: read(&self.paid_msat),
            fees_msat: read(&self.fees_msat),
        }
    }
}
