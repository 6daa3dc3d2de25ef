//! The use cases that need both the node and the ledger.

use std::sync::Arc;

use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};
use tollway_core::wire::{ChallengeReply, ChallengeRequest, SaleRefusal};

use crate::authority::CertificateFault;
use crate::clients::NotAnAddress;
use crate::clock::Clock;
use crate::config::AuthorityConfig;
use crate::flood::Flood;
use crate::ledger::{
    Asker, Certificate, CouponOrder, InvoiceOutcome, InvoiceState, Ledger, LedgerError, NewInvoice,
    OpenInvoice, SettleOutcome, Settlement, Terms, Unsettled,
};
use crate::lightning::{InvoiceOrder, MakeError, PayError, SimulatedNode};
use crate::pool::{For, Pool};
use crate::recovery::{Recovery, RecoveryError, note};
use crate::sales::Sales;

/// Sells credit.
#[derive(Clone)]
pub(crate) struct Paywall {
    pub(crate) ledger: Ledger,
    /// The nodes that make the invoices.
    pub(crate) pool: Arc<Pool>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) flood: Arc<Flood>,
    pub(crate) recovery: Arc<Recovery>,
    pub(crate) invoice_expiry_s: u64,
    /// Whether credit of other paywalls is taken over.
    pub(crate) imports: bool,
    /// Whose certificate every purchase needs.
    pub(crate) authority: Option<Arc<AuthorityConfig>>,
    /// Coupons and supplies.
    pub(crate) sales: Arc<Sales>,
    /// Whether sessions of the scheme `Payment` are sold: there is a wallet that returns the rest.
    pub(crate) payment_sessions: bool,
    /// Where clients find the API, if x402 is taken over Lightning.
    pub(crate) x402_over_lightning: Option<reqwest::Url>,
}

/// Why there is no challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChallengeError {
    /// The credit would lift the balance above [`Msat::MAX`].
    #[error("the credit would lift the account's balance above {}", Msat::MAX)]
    BalanceLimit,
    /// It is not certified.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The node made no usable invoice.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// The node used a payment hash twice.
    #[error("the node used a payment hash twice")]
    HashTaken,
    /// The client's address is none.
    #[error(transparent)]
    Client(#[from] NotAnAddress),
    /// Nothing pays into the account that was to be topped up.
    #[error("no invoice with this payment hash is known")]
    TopUpUnknown,
}

/// Why a simulated payment did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PaymentError {
    /// The credit would lift the balance above [`Msat::MAX`].
    #[error("the credit would lift the account's balance above {}", Msat::MAX)]
    BalanceLimit,
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The node refused.
    #[error(transparent)]
    Pay(#[from] PayError),
    /// The ledger does not know the invoice, and the node or the ledger did not answer.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The node made the invoice, but neither it nor the ledger knows it.
    #[error("the ledger does not know the invoice; ask for a new challenge")]
    Unknown,
}

impl Paywall {
    /// Has an invoice made, checks it and remembers it. Only then is it handed out. Who asks for
    /// the same again within a short time gets the same invoice; who asks for too many gets
    /// none.
    ///
    /// # Errors
    /// [`ChallengeError`] if any of these fails.
    pub(crate) async fn challenge(
        &self,
        request: ChallengeRequest,
    ) -> Result<ChallengeReply, ChallengeError> {
        self.sell(request, true).await
    }

    /// The same for an invoice that goes out beside another and counts as one with it.
    ///
    /// # Errors
    /// [`ChallengeError`] if any of these fails.
    pub(crate) async fn challenge_beside(
        &self,
        request: ChallengeRequest,
    ) -> Result<ChallengeReply, ChallengeError> {
        self.sell(request, false).await
    }

    async fn sell(
        &self,
        mut request: ChallengeRequest,
        limited: bool,
    ) -> Result<ChallengeReply, ChallengeError> {
        // Where no authority is asked for, what a client sends keeps nobody from sharing.
        request.certificate = request.certificate.filter(|_| self.authority.is_some());
        let asker = self.asker(&request).await?;
        if let Some(hash) = request.pending
            && let Some(open) = self.still_open(hash, &request).await?
        {
            return Ok(reply(open));
        }
        if request.proof.is_preimage()
            && let Some(asker) = &asker
            && let Some(shared) = self.ledger.shared_invoice(asker).await?
        {
            return Ok(reply(shared));
        }
        if limited && let Some(retry_after_s) = self.limited(asker.as_ref()).await? {
            return Ok(ChallengeReply::Limited { retry_after_s });
        }
        let coupon = match self.reckon(&mut request).await? {
            Ok(coupon) => coupon,
            Err(refused) => return Ok(refused),
        };
        let certificate = self.certificate(&request)?;
        let terms = self.terms(&request).await?;
        let order = InvoiceOrder {
            amount: request.amount_msat,
            memo: request.memo,
            note: note(&terms),
            expiry_s: self.invoice_expiry_s,
        };
        let what = For { service: &request.service, route: &terms.route };
        let (invoice, node) = self.pool.make_invoice(&order, what, &*self.clock).await?;
        let made = NewInvoice {
            payment_hash: invoice.payment_hash,
            bolt11: invoice.bolt11,
            amount: order.amount,
            buys: terms.buys,
            credit: terms.credit,
            seed: terms.seed,
            credit_ttl_ms: terms.credit_ttl_ms,
            route: terms.route,
            expires_at_ms: invoice.expires_at_s.saturating_mul(1_000),
            top_up: request.top_up,
            proof: terms.proof,
            asker,
            certificate,
            coupon,
            node: node.map(str::to_owned),
        };
        let open = OpenInvoice::from(&made);
        let watched = Unsettled::new(&made, self.clock.now_ms());
        match self.ledger.open_invoice(made).await? {
            InvoiceOutcome::Stored => {
                self.pool.watch(&watched);
                Ok(reply(open))
            }
            InvoiceOutcome::Shared(shared) => Ok(reply(shared)),
            InvoiceOutcome::Refused(refusal) => Ok(refused(refusal)),
            InvoiceOutcome::BalanceLimit => Err(ChallengeError::BalanceLimit),
            InvoiceOutcome::CertificateUsed => Err(CertificateFault::Used.into()),
            InvoiceOutcome::HashTaken => Err(ChallengeError::HashTaken),
            InvoiceOutcome::TopUpUnknown => Err(ChallengeError::TopUpUnknown),
        }
    }

    async fn asker(&self, request: &ChallengeRequest) -> Result<Option<Asker>, ChallengeError> {
        let Some(client) = &request.client else { return Ok(None) };
        Ok(Some(self.ledger.day_secrets().await?.asker(client, request)?))
    }

    /// What the purchase was certified by, if an authority is asked for.
    fn certificate(
        &self,
        request: &ChallengeRequest,
    ) -> Result<Option<Certificate>, CertificateFault> {
        let Some(authority) = &self.authority else { return Ok(None) };
        let shown = request.certificate.as_deref();
        let judged = authority.judge(shown, request.amount_msat, self.clock.now_s());
        judged.map(Some).inspect_err(|fault| tracing::info!(%fault, "a purchase was refused"))
    }

    /// Changes a purchase as the account's tier and the coupon say, unless what it is for is sold
    /// out.
    async fn reckon(
        &self,
        request: &mut ChallengeRequest,
    ) -> Result<Result<Option<CouponOrder>, ChallengeReply>, ChallengeError> {
        if let Some(supply) = self.sales.supply(&request.route)
            && let Some(resets_at) = self.ledger.sold_out(supply).await?
        {
            let refusal = SaleRefusal::SoldOut;
            return Ok(Err(ChallengeReply::Refused { refusal, resets_at }));
        }
        if let Some(hash) = request.top_up.filter(|_| request.buys.is_credit())
            && let Some((_, tier)) = self.ledger.payer(hash).await?
        {
            request.credit_msat = self.sales.credit_for(tier, request.credit_msat);
        }
        Ok(self.sales.apply(request, self.clock.now_s()).map_err(refused))
    }

    /// What is sold. A top-up names the account itself, which stays when the payment that the
    /// client named is lost.
    async fn terms(&self, request: &ChallengeRequest) -> Result<Terms, ChallengeError> {
        let account = match request.top_up {
            None => None,
            Some(hash) => {
                let pays_into = self.ledger.invoice(hash).await?.map(|invoice| invoice.account);
                Some(pays_into.ok_or(ChallengeError::TopUpUnknown)?)
            }
        };
        Ok(Terms {
            account,
            buys: request.buys,
            proof: request.proof,
            credit: request.credit_msat,
            seed: request.seed_msat,
            credit_ttl_ms: request.credit_ttl_s.map(|seconds| seconds.saturating_mul(1_000)),
            route: request.route.clone(),
        })
    }

    /// The invoice that the client has not paid yet, if it sells what is asked for and still can.
    async fn still_open(
        &self,
        hash: PaymentHash,
        request: &ChallengeRequest,
    ) -> Result<Option<OpenInvoice>, LedgerError> {
        let found = self.ledger.invoice(hash).await?.filter(|invoice| {
            invoice.state == InvoiceState::Open
                && invoice.revoked_at_ms.is_none()
                && invoice.amount_msat == request.amount_msat
                && invoice.buys == request.buys
                && invoice.credit_msat == request.credit_msat
                && invoice.proof == request.proof
                && invoice.route == request.route
        });
        Ok(found.map(|invoice| OpenInvoice {
            payment_hash: hash,
            bolt11: invoice.invoice,
            amount: invoice.amount_msat,
            credit: invoice.credit_msat,
            expires_at_ms: invoice.expires_at_ms,
        }))
    }

    /// In how many seconds to come back, if not now.
    async fn limited(&self, asker: Option<&Asker>) -> Result<Option<u64>, ChallengeError> {
        let now_ms = self.clock.now_ms();
        if let Err(wait_s) = self.flood.admit(asker.map(|asker| &asker.client), now_ms) {
            return Ok(Some(wait_s));
        }
        let Some(asker) = asker else { return Ok(None) };
        let max = self.flood.open_per_client();
        let first_ends_ms = self.ledger.too_many_open(asker, max).await?;
        Ok(first_ends_ms.map(|ends_ms| ends_ms.saturating_sub(now_ms).div_ceil(1_000).max(1)))
    }

    /// Pays an invoice of the simulated node and, with `event`, credits it as a real node's event
    /// would.
    ///
    /// # Errors
    /// [`PaymentError`] if the node refuses or the ledger cannot credit it.
    pub(crate) async fn pay(
        &self,
        node: &SimulatedNode,
        invoice: &str,
        event: bool,
    ) -> Result<Preimage, PaymentError> {
        let (hash, preimage) = node.pay(invoice, self.clock.now_s())?;
        if !event {
            return Ok(preimage);
        }
        match self.settle(hash).await? {
            SettleOutcome::Credited | SettleOutcome::AlreadyCredited => Ok(preimage),
            SettleOutcome::BalanceLimit => Err(PaymentError::BalanceLimit),
            SettleOutcome::Unknown if self.recover(hash).await? => Ok(preimage),
            SettleOutcome::Unknown => Err(PaymentError::Unknown),
        }
    }

    async fn settle(&self, hash: PaymentHash) -> Result<SettleOutcome, LedgerError> {
        let outcome = self.ledger.settle(Settlement::of(hash)).await?;
        tracing::info!(payment_hash = %hash, ?outcome, "the node reports a payment");
        Ok(outcome)
    }
}

fn refused(refusal: SaleRefusal) -> ChallengeReply {
    ChallengeReply::Refused { refusal, resets_at: None }
}

fn reply(invoice: OpenInvoice) -> ChallengeReply {
    ChallengeReply::Invoice {
        payment_hash: invoice.payment_hash,
        invoice: invoice.bolt11,
        amount_msat: invoice.amount,
        credit_msat: invoice.credit,
        expires_at: invoice.expires_at_ms / 1_000,
    }
}
