//! Buying a credential: once, within the budget, and so that a crash at any point costs nothing.
//!
//! The intent is written down before the wallet is asked, and the proof before it is used. What
//! was begun and not seen to end is asked for at the wallet before anything else is paid.

use reqwest::StatusCode;

use crate::answer::Payment;
use crate::challenge::{Challenge, ChallengeError};
use crate::client::{PayingClient, nearest, read_challenge};
use crate::error::{ClientError, Fault};
use crate::request::Outgoing;
use crate::store::{Credential, Purchase, StoreError, Usable};
use crate::token::{Scheme, Token};
use crate::wallet::{Outcome, Paid, WalletError};

/// A credential that the call has not tried.
enum Untried {
    Usable(Usable),
    /// Its buyer comes first.
    New(Credential),
}

/// A credential, and what this call paid for it.
pub(crate) struct Bought {
    pub(crate) usable: Usable,
    pub(crate) payment: Option<Payment>,
}

impl PayingClient {
    /// Pays the challenge that a request for more credit gets, with the credential that it is
    /// for; the request is not sent again.
    pub(crate) async fn buy_more(&self, outgoing: Outgoing) -> Result<Payment, ClientError> {
        let purchase = outgoing.purchase();
        let known = self.store.load(&purchase.origin)?;
        let held = nearest(&known, &purchase.path).into_iter().find(|held| !held.is_single_use());
        let answer = self.attempt(&outgoing, held).await?;
        if answer.status() != StatusCode::PAYMENT_REQUIRED {
            return Err(Fault::NotSold(answer.status().as_u16()).into());
        }
        let challenge = read_challenge(&answer.response, Scheme::L402)?;
        if challenge.scheme() == Scheme::Payment {
            // It would buy a single request.
            return Err(Fault::Challenge(ChallengeError::NotL402).into());
        }
        let scope = challenge.token().scope(&purchase.path);
        // The new token opens the same account, and takes the place of the old one.
        let tried: Vec<_> = held.map(|held| held.token.clone()).into_iter().collect();
        let _lock = self.store.purchase(&purchase.origin, &scope).await?;
        let (_, payment) = match self.resume(&purchase, &scope, &tried).await? {
            Some(bought) => bought,
            None => self.buy(&purchase, challenge, &tried).await?,
        };
        self.counters.count_payment(payment);
        Ok(payment)
    }

    /// A credential for the challenge that is not among those tried: one that is there already,
    /// one whose payment was begun before, or a new one. Says what was paid.
    pub(crate) async fn obtain(
        &self,
        purchase: &Purchase,
        challenge: Challenge,
        tried: &[Token],
    ) -> Result<Bought, ClientError> {
        let scope = challenge.token().scope(&purchase.path);
        let mut lock = None;
        loop {
            let usable = match self.untried(purchase, &scope, tried)? {
                Some(Untried::Usable(usable)) => usable,
                Some(Untried::New(credential)) => {
                    drop(lock);
                    self.store.after_first_use(credential).await?
                }
                None if lock.is_some() => break,
                None => {
                    // Another call may buy it while this one waits.
                    lock = Some(self.store.purchase(&purchase.origin, &scope).await?);
                    continue;
                }
            };
            return Ok(Bought { usable, payment: None });
        }
        let (usable, payment) = match self.resume(purchase, &scope, tried).await? {
            Some(bought) => bought,
            None => self.buy(purchase, challenge, tried).await?,
        };
        Ok(Bought { usable, payment: Some(payment) })
    }

    fn untried(
        &self,
        purchase: &Purchase,
        scope: &str,
        tried: &[Token],
    ) -> Result<Option<Untried>, StoreError> {
        let mut known = self.store.load(&purchase.origin)?;
        known.retain(|credential| {
            credential.is_paid()
                && credential.scope == scope
                && !credential.token.is_over(purchase.now_s)
                && !tried.contains(&credential.token)
        });
        if let Some(usable) = self.store.first_usable(&purchase.origin, &known)? {
            return Ok(Some(Untried::Usable(usable)));
        }
        Ok(known.into_iter().find(|known| !known.is_single_use()).map(Untried::New))
    }

    /// Takes up a payment that an earlier call began and did not see end.
    async fn resume(
        &self,
        purchase: &Purchase,
        scope: &str,
        tried: &[Token],
    ) -> Result<Option<(Usable, Payment)>, ClientError> {
        let known = self.store.load(&purchase.origin)?;
        for pending in known.into_iter().filter(|known| known.scope == scope) {
            let Some(challenge) = pending.challenge() else { continue };
            match self.wallet.look_up(challenge.invoice()).await? {
                Outcome::Paid(paid) => {
                    return self.keep(purchase, pending, &challenge, paid, tried).map(Some);
                }
                Outcome::InFlight => return Err(WalletError::InFlight.into()),
                Outcome::NotPaid if challenge.is_expired() => {
                    self.store.abandon(&purchase.origin, &pending)?;
                }
                // It may have been paid, so that its record stays; it opens nothing any more.
                Outcome::Unknown if pending.token.is_over(purchase.now_s) => {
                    self.store.forget(&purchase.origin, &pending.token)?;
                }
                // The invoice can be paid only once, so asking for it again is safe, and a new
                // invoice might not be.
                Outcome::NotPaid | Outcome::Unknown => {
                    self.budget.allows_request(challenge.invoice().amount())?;
                    match self.pay(purchase, pending, &challenge, tried).await {
                        Ok(bought) => return Ok(Some(bought)),
                        // It was never paid, and it is forgotten now.
                        Err(ClientError { fault: Fault::Wallet(error), .. })
                            if error.is_refusal() => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(None)
    }

    async fn buy(
        &self,
        purchase: &Purchase,
        challenge: Challenge,
        tried: &[Token],
    ) -> Result<(Usable, Payment), ClientError> {
        let pending = self.store.begin(purchase, &challenge, &self.budget)??;
        self.pay(purchase, pending, &challenge, tried).await
    }

    async fn pay(
        &self,
        purchase: &Purchase,
        pending: Credential,
        challenge: &Challenge,
        tried: &[Token],
    ) -> Result<(Usable, Payment), ClientError> {
        let invoice = challenge.invoice();
        match self.wallet.pay(invoice, self.budget.fee_max(invoice)).await {
            Ok(paid) => self.keep(purchase, pending, challenge, paid, tried),
            Err(error) => {
                if error.is_refusal() {
                    self.store.abandon(&purchase.origin, &pending)?;
                }
                Err(error.into())
            }
        }
    }

    fn keep(
        &self,
        purchase: &Purchase,
        pending: Credential,
        challenge: &Challenge,
        paid: Paid,
        tried: &[Token],
    ) -> Result<(Usable, Payment), ClientError> {
        let amount = challenge.invoice().amount();
        let payment = Payment { amount, fee: paid.fee, payment_hash: challenge.payment_hash() };
        let credential = pending.paid(paid.preimage);
        // The pending form is still there where this fails, and the next call takes it up.
        let fault = |error: StoreError| ClientError { fault: error.into(), paid: Some(payment) };
        // Before anybody else can see that it is paid, it is this call's.
        let usable = self.store.claim(credential.clone()).map_err(fault)?;
        self.store.settle(&purchase.origin, &credential, paid.fee, tried).map_err(fault)?;
        let taken = || ClientError { fault: WalletError::InFlight.into(), paid: Some(payment) };
        Ok((usable.ok_or_else(taken)?, payment))
    }
}
