//! The request that pays when it must.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Request, Response, StatusCode};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use url::Url;

use crate::challenge::Challenge;
use crate::error::{ClientError, Fault, explained};
use crate::store::{Credential, CredentialStore};
use crate::wallet::Wallet;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may be silent. There is no limit on the whole, for answers may stream.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// An HTTP client with a wallet and a budget.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    wallet: Wallet,
    store: CredentialStore,
    budget: Msat,
}

/// What a call paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The invoice's amount.
    pub amount: Msat,
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

impl Client {
    /// A client that pays at most `budget` for one request.
    ///
    /// # Errors
    /// [`Fault::Server`] when the system gives no HTTP client.
    pub fn new(wallet: Wallet, store: CredentialStore, budget: Msat) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("tollway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Fault::Server(explained(&error)))?;
        Ok(Self { http, wallet, store, budget })
    }

    /// Fetches `url`, and pays for it if it must.
    ///
    /// # Errors
    /// As [`Client::execute`].
    pub async fn get(&self, url: Url, headers: HeaderMap) -> Result<Answer, ClientError> {
        let mut request = Request::new(Method::GET, url);
        *request.headers_mut() = headers;
        self.execute(request).await
    }

    /// Sends the request, and pays for it if it must.
    ///
    /// An `Authorization` header of the request's own goes with the first attempt, instead of a
    /// stored credential; a credential that this call gets replaces it.
    ///
    /// # Errors
    /// [`ClientError`] when no answer could be had; an answer with an error status is no error.
    /// Its `paid` says whether something was paid before; the next call makes use of that.
    pub async fn execute(&self, request: Request) -> Result<Answer, ClientError> {
        let origin = request.url().origin().ascii_serialization();
        let known = self.store.load(&origin).map_err(Fault::Store)?;
        let own = request.headers().contains_key(AUTHORIZATION);
        let first = known.iter().find(|known| known.authorization().is_some()).filter(|_| !own);
        let answer = self.attempt(&request, first).await?;
        if answer.response.status() != StatusCode::PAYMENT_REQUIRED {
            return Ok(answer);
        }
        let challenge = read_challenge(&answer.response)?;

        // The origin may have several services, each with its own credential.
        let scope = challenge.scope();
        let mut rest = known.iter().filter(|known| known.scope == scope && Some(*known) != first);
        let Some(second) = rest.find(|known| known.authorization().is_some()) else {
            return self.buy(&request, &origin, &known, challenge).await;
        };
        let answer = self.attempt(&request, Some(second)).await?;
        self.store.put(&origin, second).map_err(Fault::Store)?;
        if answer.response.status() != StatusCode::PAYMENT_REQUIRED {
            return Ok(answer);
        }
        let challenge = read_challenge(&answer.response)?;
        self.buy(&request, &origin, &known, challenge).await
    }

    /// Pays, once, and sends the request with the credential.
    async fn buy(
        &self,
        request: &Request,
        origin: &str,
        known: &[Credential],
        challenge: Challenge,
    ) -> Result<Answer, ClientError> {
        let (credential, payment) = match self.resume(origin, known, &challenge).await? {
            Some(bought) => bought,
            None => self.pay(origin, challenge).await?,
        };
        let mut answer = self
            .attempt(request, Some(&credential))
            .await
            .map_err(|fault| ClientError { fault, paid: Some(payment) })?;
        answer.paid = Some(payment);
        Ok(answer)
    }

    /// Takes up a payment that an earlier call began and did not see end. The invoice can be
    /// paid only once, so asking for it again is safe, and a new invoice might not be.
    async fn resume(
        &self,
        origin: &str,
        known: &[Credential],
        challenge: &Challenge,
    ) -> Result<Option<(Credential, Payment)>, ClientError> {
        let scope = challenge.scope();
        for pending in known.iter().filter(|known| known.scope == scope) {
            let Some(earlier) = pending.challenge() else { continue };
            match self.pay(origin, earlier).await {
                Ok(bought) => return Ok(Some(bought)),
                // It was never paid, and it is forgotten now.
                Err(ClientError { fault: Fault::Wallet(error), .. }) if error.is_refusal() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn pay(
        &self,
        origin: &str,
        challenge: Challenge,
    ) -> Result<(Credential, Payment), ClientError> {
        let payment =
            Payment { amount: challenge.amount(), payment_hash: challenge.payment_hash() };
        if payment.amount > self.budget {
            let (asked, budget) = (payment.amount, self.budget);
            return Err(Fault::TooDear { asked, budget }.into());
        }
        let pending = Credential::pending(&challenge);
        self.store.put(origin, &pending).map_err(Fault::Store)?;
        let preimage = match self.wallet.pay(&challenge).await {
            Ok(preimage) => preimage,
            Err(error) => {
                if error.is_refusal() {
                    self.store.remove(origin, &pending).map_err(Fault::Store)?;
                }
                return Err(Fault::Wallet(error).into());
            }
        };
        let credential = Credential::paid(&challenge, preimage);
        match self.store.put(origin, &credential) {
            Ok(()) => Ok((credential, payment)),
            // The pending form is still there, and the next call takes it up.
            Err(error) => Err(ClientError { fault: error.into(), paid: Some(payment) }),
        }
    }

    async fn attempt(
        &self,
        request: &Request,
        credential: Option<&Credential>,
    ) -> Result<Answer, Fault> {
        let mut request = request.try_clone().ok_or(Fault::NotRepeatable)?;
        if let Some(text) = credential.and_then(Credential::authorization) {
            // A stored macaroon is base64; one that is not could not be sent, and is not.
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
}

fn read_challenge(response: &Response) -> Result<Challenge, Fault> {
    let values = response.headers().get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes);
    Challenge::from_headers(values).map_err(Fault::Challenge)
}
