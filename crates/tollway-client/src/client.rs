//! The client that pays when it must.

use std::cmp::Reverse;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, COOKIE, HeaderValue, LOCATION};
use reqwest::header::{PROXY_AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{IntoUrl, Method, Request, Response, StatusCode};
use tollway_core::header::PAYMENT_AUTHORIZATION;
use tollway_core::money::Msat;

use crate::answer::{Answer, Payment, Quote};
use crate::budget::Budget;
use crate::builder::{Builder, Counters, Stats};
use crate::challenge::Challenge;
use crate::clock::now_s;
use crate::error::{ClientError, Fault, explained};
use crate::purchase::Bought;
use crate::request::{Outgoing, RequestBuilder, method_after, target};
use crate::store::{Credential, CredentialStore};
use crate::token::Scheme;
use crate::wallet::Wallet;

const PURCHASE_HEADER: &str = "x-toll-purchase-sats";
const TOP_UP_HEADER: &str = "x-toll-top-up";
const ACCEPT_PAYMENT_HEADER: &str = "accept-payment";
/// Asks for single requests in the Payment scheme.
const CHARGE: &str = "lightning/charge";
const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// An HTTP client with a wallet and a budget. Clones share everything.
#[derive(Clone, Debug)]
pub struct PayingClient {
    pub(crate) http: reqwest::Client,
    pub(crate) wallet: Arc<dyn Wallet>,
    pub(crate) store: CredentialStore,
    pub(crate) budget: Budget,
    pub(crate) redirects_max: u32,
    pub(crate) keeps_balances: bool,
    pub(crate) prefers: Scheme,
    pub(crate) counters: Arc<Counters>,
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
        match (read_challenge(response, self.prefers), answer.price()) {
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
        let near = if own { Vec::new() } else { nearest(&known, path) };
        let mut using = self.store.first_usable(&origin, near)?;
        let mut tried = Vec::new();
        loop {
            let credential = using.as_ref().map(|using| &using.credential);
            let mut answer = self
                .attempt(outgoing, credential)
                .await
                .map_err(|fault| ClientError { fault, paid })?;
            answer.paid = paid;
            if answer.response.status() != StatusCode::PAYMENT_REQUIRED {
                self.note(&origin, path, credential, &answer)
                    .map_err(|fault| ClientError { fault, paid })?;
                return Ok(answer);
            }
            if paid.is_some() {
                return Ok(answer);
            }
            let challenge = match read_challenge(&answer.response, self.prefers) {
                Ok(challenge) => challenge,
                // To HEAD, a gateway names the price alone.
                Err(_) if answer.price().is_some() => return Ok(answer),
                Err(fault) => return Err(fault.into()),
            };
            tried.extend(using.take().map(|using| using.credential.token));
            let purchase = outgoing.purchase();
            // The connection can be used again before the wallet has answered.
            drop(answer);
            let Bought { usable, payment } = self.obtain(&purchase, challenge, &tried).await?;
            if let Some(payment) = payment {
                self.counters.count_payment(payment);
                paid = Some(payment);
            }
            using = Some(usable);
        }
    }

    pub(crate) async fn attempt(
        &self,
        outgoing: &Outgoing,
        credential: Option<&Credential>,
    ) -> Result<Answer, Fault> {
        let mut request = outgoing.copy()?;
        let headers = request.headers_mut();
        if self.prefers == Scheme::Payment && !headers.contains_key(ACCEPT_PAYMENT_HEADER) {
            headers.insert(ACCEPT_PAYMENT_HEADER, HeaderValue::from_static(CHARGE));
        }
        if let Some(credential) = credential
            && let Some(text) = credential.authorization()
            // A stored token can stand in a header; one that cannot would not be sent.
            && let Ok(mut value) = HeaderValue::from_str(&text)
        {
            value.set_sensitive(true);
            headers.insert(credential.header(), value);
            // Where the answer is lost, the same request may ask for it again.
            let payment = credential.payment_hash().filter(|_| credential.is_single_use());
            if let Some(key) = payment.and_then(|payment| outgoing.idempotency_key(&payment))
                && !headers.contains_key(IDEMPOTENCY_HEADER)
            {
                headers.insert(IDEMPOTENCY_HEADER, key);
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

/// The credentials to try, the best first: one that served this path, then the one from the
/// nearest path, and of equals the one that was bought last.
pub(crate) fn nearest<'a>(known: &'a [Credential], path: &str) -> Vec<&'a Credential> {
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
    let mut usable: Vec<_> = known.iter().filter(usable).collect();
    usable.sort_by_key(|credential| Reverse(near(credential)));
    usable
}

fn redirect(outgoing: &mut Outgoing, url: reqwest::Url, status: StatusCode) {
    let request = &mut outgoing.request;
    if request.url().origin() != url.origin() {
        for secret in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
            request.headers_mut().remove(secret);
        }
        request.headers_mut().remove(PAYMENT_AUTHORIZATION);
    }
    *request.url_mut() = url;
    if let Some(method) = method_after(status.as_u16(), request.method()) {
        *request.method_mut() = method;
        outgoing.drop_body();
    }
}

pub(crate) fn read_challenge(response: &Response, prefers: Scheme) -> Result<Challenge, Fault> {
    let values = response.headers().get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
    Challenge::preferring(prefers, values).map_err(Fault::Challenge)
}
