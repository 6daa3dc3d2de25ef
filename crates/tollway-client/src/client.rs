//! The client that pays when it must.

use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, LOCATION};
use reqwest::header::{PROXY_AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{IntoUrl, Method, Request, Response, StatusCode};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::budget::Budget;
use crate::builder::{Builder, Counters, Stats};
use crate::challenge::Challenge;
use crate::clock::now_s;
use crate::error::{ClientError, Fault, explained};
use crate::request::{Outgoing, RequestBuilder, method_after, target};
use crate::store::{Credential, CredentialStore};
use crate::wallet::Wallet;

const COST_HEADER: &str = "x-toll-cost-msat";
const BALANCE_HEADER: &str = "x-toll-balance-msat";
const PURCHASE_HEADER: &str = "x-toll-purchase-sats";
const TOP_UP_HEADER: &str = "x-toll-top-up";
const PRICE_HEADER: &str = "x-toll-price-msat";

/// An HTTP client with a wallet and a budget. Clones share everything.
#[derive(Clone, Debug)]
pub struct PayingClient {
    pub(crate) http: reqwest::Client,
    pub(crate) wallet: Arc<dyn Wallet>,
    pub(crate) store: CredentialStore,
    pub(crate) budget: Budget,
    pub(crate) redirects_max: u32,
    pub(crate) keeps_balances: bool,
    pub(crate) counters: Arc<Counters>,
}

/// What a call paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The invoice's amount.
    pub amount: Msat,
    /// What it cost beyond that.
    pub fee: Msat,
    /// The invoice's payment hash.
    pub payment_hash: PaymentHash,
}

/// The server's answer, and what it cost to get.
#[derive(Debug)]
pub struct Answer {
    /// The answer; its body is still to be read.
    pub response: Response,
    /// What this call paid, if it paid.
    pub paid: Option<Payment>,
    /// The payment hash of the credential that the request carried, if it carried one.
    pub payment_hash: Option<PaymentHash>,
}

/// What a request costs.
#[derive(Clone, Debug)]
pub enum Quote {
    /// The server served it without a payment.
    Free(StatusCode),
    /// It asks for this.
    Challenge(Box<Challenge>),
    /// It names a price without an invoice, as a gateway does for HEAD.
    Price(Msat),
}

impl PayingClient {
    /// A client that pays with this wallet at most 100 sats for one request, and keeps
    /// credentials in memory.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new(wallet: impl Wallet + 'static) -> Result<Self, ClientError> {
        Self::builder(wallet).build()
    }

    /// Choices for a client that pays with this wallet.
    pub fn builder(wallet: impl Wallet + 'static) -> Builder {
        Self::builder_with(Arc::new(wallet))
    }

    /// As [`Self::builder`], for a wallet that is chosen at run time.
    pub fn builder_with(wallet: Arc<dyn Wallet>) -> Builder {
        Builder::new(wallet)
    }

    /// Begins a GET.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder<'_> {
        self.request(Method::GET, url)
    }

    /// Begins a POST.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder<'_> {
        self.request(Method::POST, url)
    }

    /// Begins a PUT.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder<'_> {
        self.request(Method::PUT, url)
    }

    /// Begins a DELETE.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder<'_> {
        self.request(Method::DELETE, url)
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder<'_> {
        RequestBuilder::new(self, self.http.request(method, url))
    }

    /// Sends a request that reqwest built, and pays for it if it must.
    ///
    /// An `Authorization` header of the request's own goes with the first attempt, instead of a
    /// stored credential; a credential that this call gets replaces it.
    ///
    /// # Errors
    /// [`ClientError`] when no answer could be had; an answer with an error status is no error.
    /// Its `paid` says whether something was paid before; the next call makes use of that.
    pub async fn execute(&self, request: Request) -> Result<Answer, ClientError> {
        self.run(Outgoing::new(request)).await
    }

    /// Asks what a request costs, and pays nothing. The request is sent without a stored
    /// credential, so that it spends no credit; one that turns out to be free has been served.
    ///
    /// # Errors
    /// [`ClientError`] as for [`Self::execute`]; [`Fault::Challenge`] for a 402 that cannot be
    /// paid.
    pub async fn quote(&self, request: Request) -> Result<Quote, ClientError> {
        self.ask(&Outgoing::new(request)).await
    }

    /// Whether the budget allows to pay this to the host now, the payments in the store counted.
    ///
    /// # Errors
    /// [`Fault::OverBudget`] if not, [`Fault::Store`] when the payments cannot be read.
    pub fn check_budget(&self, host: &str, amount: Msat) -> Result<(), ClientError> {
        let payments = self.store.payments()?;
        Ok(self.budget.allows(amount, host, now_s(), payments.iter())?)
    }

    /// Buys more credit for the account of a URL, whatever it has left, and returns what was
    /// paid. Where nothing was bought there before, this opens the account. Only gateways that
    /// know `x-toll-top-up` do this; others serve the request as any other.
    ///
    /// # Errors
    /// [`ClientError`] as for [`Self::execute`]; [`Fault::NotSold`] when the server asked for no
    /// payment.
    pub async fn top_up(&self, url: impl IntoUrl, sats: u64) -> Result<Payment, ClientError> {
        let request = self.get(url).header(TOP_UP_HEADER, "1").header(PURCHASE_HEADER, sats);
        self.buy_more(request.build()?).await
    }

    /// What this client, clones included, has done since it was built.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    /// Where this client keeps credentials and payments.
    #[must_use]
    pub const fn store(&self) -> &CredentialStore {
        &self.store
    }

    pub(crate) async fn ask(&self, outgoing: &Outgoing) -> Result<Quote, ClientError> {
        let answer = self.attempt(outgoing, None).await?;
        let response = &answer.response;
        if response.status() != StatusCode::PAYMENT_REQUIRED {
            return Ok(Quote::Free(response.status()));
        }
        match (read_challenge(response), answer.price()) {
            (Ok(challenge), _) => Ok(Quote::Challenge(Box::new(challenge))),
            (Err(_), Some(price)) => Ok(Quote::Price(price)),
            (Err(fault), None) => Err(fault.into()),
        }
    }

    /// Sends the request and follows redirects. All together pay at most once.
    pub(crate) async fn run(&self, mut outgoing: Outgoing) -> Result<Answer, ClientError> {
        self.counters.count_request();
        let mut paid = None;
        let mut hops = 0;
        loop {
            let answer = match self.pay_and_send(&outgoing, paid).await {
                Ok(answer) => answer,
                Err(error) => return Err(ClientError { paid: error.paid.or(paid), ..error }),
            };
            paid = answer.paid;
            let location = answer.response.headers().get(LOCATION);
            let (Some(location), true) = (location, answer.response.status().is_redirection())
            else {
                return Ok(answer);
            };
            if self.redirects_max == 0 {
                return Ok(answer);
            }
            hops += 1;
            if hops > self.redirects_max {
                let fault = Fault::Redirect("there were too many of them");
                return Err(ClientError { fault, paid });
            }
            let url = target(outgoing.request.url(), location)
                .map_err(|fault| ClientError { fault, paid })?;
            redirect(&mut outgoing, url, answer.response.status());
        }
    }

    async fn pay_and_send(
        &self,
        outgoing: &Outgoing,
        mut paid: Option<Payment>,
    ) -> Result<Answer, ClientError> {
        let (origin, path) = (outgoing.origin(), outgoing.request.url().path());
        let own = outgoing.request.headers().contains_key(AUTHORIZATION);
        let known = self.store.load(&origin)?;
        let mut credential = if own { None } else { best(&known, path).cloned() };
        let mut tried = Vec::new();
        loop {
            let mut answer = self
                .attempt(outgoing, credential.as_ref())
                .await
                .map_err(|fault| ClientError { fault, paid })?;
            answer.paid = paid;
            if answer.response.status() != StatusCode::PAYMENT_REQUIRED {
                self.note(&origin, path, credential.as_ref(), &answer)
                    .map_err(|fault| ClientError { fault, paid })?;
                return Ok(answer);
            }
            if paid.is_some() {
                return Ok(answer);
            }
            let challenge = match read_challenge(&answer.response) {
                Ok(challenge) => challenge,
                // To HEAD, a gateway names the price alone.
                Err(_) if answer.price().is_some() => return Ok(answer),
                Err(fault) => return Err(fault.into()),
            };
            tried.extend(credential.map(|credential| credential.token));
            let purchase = outgoing.purchase();
            // The connection can be used again before the wallet has answered.
            drop(answer);
            let (next, payment) = self.obtain(&purchase, challenge, &tried).await?;
            if let Some(payment) = payment {
                self.counters.count_payment(payment);
                paid = Some(payment);
            }
            credential = Some(next);
        }
    }

    pub(crate) async fn attempt(
        &self,
        outgoing: &Outgoing,
        credential: Option<&Credential>,
    ) -> Result<Answer, Fault> {
        let mut request = outgoing.copy()?;
        if let Some(text) = credential.and_then(Credential::authorization) {
            // A stored token can stand in a header; one that cannot would not be sent.
            if let Ok(mut value) = HeaderValue::from_str(&text) {
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
            }
        }
        let response = self.http.execute(request).await;
        let response = response.map_err(|error| Fault::Server(explained(&error)))?;
        let payment_hash = credential.and_then(Credential::payment_hash);
        Ok(Answer { response, paid: None, payment_hash })
    }

    /// Remembers what a credential was good for, where that is news.
    fn note(
        &self,
        origin: &str,
        path: &str,
        credential: Option<&Credential>,
        answer: &Answer,
    ) -> Result<(), Fault> {
        let Some(credential) = credential else { return Ok(()) };
        let status = answer.response.status();
        if credential.is_single_use() {
            // A server that failed may take it again.
            if !status.is_server_error() {
                self.store.forget(origin, &credential.token)?;
            }
        } else if self.keeps_balances || !credential.paths.iter().any(|known| known == path) {
            self.store.served(origin, &credential.token, path, answer.balance())?;
        }
        Ok(())
    }
}

impl Answer {
    /// What the server says this request cost.
    #[must_use]
    pub fn cost(&self) -> Option<Msat> {
        number(self.response.headers(), COST_HEADER)
    }

    /// What the server says is left of the credit.
    #[must_use]
    pub fn balance(&self) -> Option<Msat> {
        number(self.response.headers(), BALANCE_HEADER)
    }

    /// What the server says such a request costs, where it says so without a challenge.
    #[must_use]
    pub fn price(&self) -> Option<Msat> {
        number(self.response.headers(), PRICE_HEADER)
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// [`Fault::Server`] when the answer breaks off.
    pub async fn text(self) -> Result<String, ClientError> {
        let paid = self.paid;
        let text = self.response.text().await;
        text.map_err(|error| ClientError { fault: Fault::Server(explained(&error)), paid })
    }
}

/// The credential to try first: one that served this path, then the one from the nearest path.
pub(crate) fn best<'a>(known: &'a [Credential], path: &str) -> Option<&'a Credential> {
    let now_s = now_s();
    let near = |credential: &Credential| {
        let common = |other: &String| {
            let pairs = other.split('/').zip(path.split('/'));
            (other == path, pairs.take_while(|(one, other)| one == other).count())
        };
        credential.paths.iter().map(common).max()
    };
    let usable = |credential: &&Credential| {
        credential.is_paid()
            && !credential.token.is_over(now_s)
            && (!credential.is_single_use() || credential.paths.iter().any(|known| known == path))
    };
    // The last of equals wins, and the one that was bought last stands first.
    known.iter().rev().filter(usable).max_by_key(|credential| near(credential))
}

fn redirect(outgoing: &mut Outgoing, url: reqwest::Url, status: StatusCode) {
    let request = &mut outgoing.request;
    if request.url().origin() != url.origin() {
        for secret in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
            request.headers_mut().remove(secret);
        }
    }
    *request.url_mut() = url;
    if let Some(method) = method_after(status.as_u16(), request.method()) {
        *request.method_mut() = method;
        outgoing.drop_body();
    }
}

pub(crate) fn read_challenge(response: &Response) -> Result<Challenge, Fault> {
    let values = response.headers().get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
    Challenge::from_headers(values).map_err(Fault::Challenge)
}

fn number(headers: &HeaderMap, name: &str) -> Option<Msat> {
    Msat::new(headers.get(name)?.to_str().ok()?.parse().ok()?)
}
