//! Payouts: a share of what was paid goes on to somebody else, once.
//!
//! A share is decided with the credit and waits in the outbox. Then an invoice of the receiver is
//! chosen once and written down before a node is asked to pay it, and what became of that is asked
//! for before anything else. Nodes pay one invoice once; so a payout can only be made twice by
//! way of a second invoice. There is a second one only after the first has expired a while ago
//! and the node says that it has not paid it. Whatever is uncertain waits (docs/adr/0026).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::clock::Clock;
use crate::config::{PayoutsConfig, SplitConfig, SplitReceiver};
use crate::ledger::{Claimed, DeliveryKind, Ledger, News, PayoutOrder, Report, Split};
use crate::lightning::{
    CheckedInvoice, ConnectFault, InvoiceOrder, Lightning, NodeFault, Outgoing, PayingWallet,
    check_foreign_invoice,
};
use crate::lnurl;
use crate::outbound::Outbound;
use crate::outbox::{Carrier, Fate};

/// One call to a Lightning address.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(10);
/// Two calls for an invoice, a payment, and two look-ups.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long after its expiry an invoice may still be paid by an order that was on its way.
const LATE_S: u64 = 600;
/// An invoice of a second wallet; there is time to try again.
const EXPIRY_S: u64 = 3_600;
/// How often the right to pay is asked for.
const RIGHTS_INTERVAL: Duration = Duration::from_secs(60);

/// One who gets a share.
pub(crate) struct Payout {
    name: String,
    receiver: Receiver,
    comment: Option<String>,
    fee_max: Msat,
    wallet: PayingWallet,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
}

enum Receiver {
    Address { url: url::Url, outbound: Outbound },
    Wallet(Lightning),
}

/// The invoice that was chosen, as the outbox keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Chosen {
    payment_hash: PaymentHash,
    bolt11: String,
    expires_at_s: u64,
    /// Another wallet knows nothing of it.
    wallet: String,
}

/// Why no payout can be made at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayoutFault {
    #[error("splits: {0}")]
    Connect(#[from] ConnectFault),
    #[error("splits: no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

impl Payout {
    /// The payouts of one split.
    ///
    /// # Errors
    /// [`PayoutFault`] if no connection can be made.
    pub(crate) fn new(
        split: &SplitConfig,
        config: &PayoutsConfig,
        wallet: &PayingWallet,
        ledger: &Ledger,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, PayoutFault> {
        let receiver = match &split.receiver {
            SplitReceiver::Address { url, allow_private } => Receiver::Address {
                url: url.clone(),
                outbound: Outbound::new(*allow_private, ADDRESS_TIMEOUT)?,
            },
            SplitReceiver::Wallet { node, network } => Receiver::Wallet(
                // The configuration lets no simulated one through.
                Lightning::connect(node, *network)?.ok_or_else(|| {
                    ConnectFault::Client("a simulated wallet receives nothing".to_owned())
                })?,
            ),
        };
        Ok(Self {
            name: split.name.clone(),
            receiver,
            comment: split.comment.clone(),
            fee_max: config.fee_max,
            wallet: wallet.clone(),
            ledger: ledger.clone(),
            clock: Arc::clone(clock),
        })
    }

    async fn pay_out(&self, parcel: &Claimed) -> Fate {
        let Ok(order) = serde_json::from_str::<PayoutOrder>(&parcel.body) else {
            return Fate::Unsure("the outbox holds no readable order".to_owned());
        };
        if let Some(note) = &parcel.note {
            let Ok(chosen) = serde_json::from_str::<Chosen>(note) else {
                return Fate::Unsure("the outbox holds no readable invoice".to_owned());
            };
            if let Some(fate) = self.go_on(&chosen, order.amount_msat).await {
                return fate;
            }
        }
        let invoice = match self.choose(order.amount_msat).await {
            Ok(invoice) => invoice,
            Err(reason) => return Fate::Failed(reason),
        };
        let chosen = Chosen {
            payment_hash: invoice.payment_hash,
            bolt11: invoice.bolt11,
            expires_at_s: invoice.expires_at_s,
            wallet: self.wallet.name.clone(),
        };
        // Hashes, numbers and text always serialise.
        let note = serde_json::to_string(&chosen).unwrap_or_default();
        let until_ms = self.clock.now_ms().saturating_add(lease_ms());
        let news = News::Chosen { note, until_ms };
        let report = Report { id: parcel.id, attempt: parcel.attempt, news };
        match self.ledger.report(report).await {
            Ok(true) => self.pay(&chosen, order.amount_msat).await,
            // Nothing is paid that is not on record.
            Ok(false) => Fate::Unsure("another tollwayd has taken it over".to_owned()),
            Err(error) => Fate::Failed(error.to_string()),
        }
    }

    /// Goes on with the invoice that was chosen; `None` if it is over and was never paid.
    async fn go_on(&self, chosen: &Chosen, amount: Msat) -> Option<Fate> {
        if chosen.wallet != self.wallet.name {
            let reason = "another wallet was asked to pay it; name that one again in payouts";
            return Some(Fate::Unsure(reason.to_owned()));
        }
        match self.wallet.payer.outgoing(&chosen.payment_hash).await {
            Ok(Outgoing::Paid) => return Some(chosen.paid(amount)),
            Ok(Outgoing::InFlight) => return Some(Fate::Unsure("the payment is under way".into())),
            Ok(Outgoing::Failed | Outgoing::Unknown) => {}
            Err(fault) => return Some(Fate::Unsure(fault.to_string())),
        }
        let now_s = self.clock.now_s();
        if now_s < chosen.expires_at_s {
            return Some(self.pay(chosen, amount).await);
        }
        let over_s = chosen.expires_at_s.saturating_add(LATE_S);
        let wait = "its invoice has expired, and another is asked for in some minutes";
        (now_s < over_s).then(|| Fate::Failed(wait.to_owned()))
    }

    /// Has an invoice paid, and asks what became of it: that alone counts.
    async fn pay(&self, chosen: &Chosen, amount: Msat) -> Fate {
        let asked = self.wallet.payer.pay(&chosen.bolt11, self.fee_max).await;
        match (self.wallet.payer.outgoing(&chosen.payment_hash).await, asked) {
            (Ok(Outgoing::Paid), _) => chosen.paid(amount),
            (Ok(Outgoing::InFlight), _) => Fate::Unsure("the payment is under way".to_owned()),
            (Ok(Outgoing::Failed | Outgoing::Unknown), Err(fault)) => {
                Fate::Failed(fault.to_string())
            }
            (Ok(Outgoing::Failed | Outgoing::Unknown), Ok(())) => {
                Fate::Failed("the node did not get the payment through".to_owned())
            }
            (Err(fault), _) => Fate::Unsure(fault.to_string()),
        }
    }

    /// Has an invoice made of exactly this amount.
    async fn choose(&self, amount: Msat) -> Result<CheckedInvoice, String> {
        let now_s = self.clock.now_s();
        match &self.receiver {
            Receiver::Address { url, outbound } => {
                let comment = self.comment.as_deref();
                let bolt11 = lnurl::invoice(outbound, url, amount, comment).await?;
                check_foreign_invoice(bolt11, amount, self.wallet.network, now_s)
                    .map_err(|fault| fault.to_string())
            }
            Receiver::Wallet(lightning) => {
                let order = InvoiceOrder {
                    amount,
                    memo: self.comment.clone().unwrap_or_default(),
                    note: String::new(),
                    expiry_s: EXPIRY_S,
                };
                let made = lightning.make_invoice(&order, now_s).await;
                made.map_err(|error| error.to_string())
            }
        }
    }
}

impl Chosen {
    fn paid(&self, amount: Msat) -> Fate {
        Fate::PaidOut { amount, invoice: self.payment_hash }
    }
}

fn lease_ms() -> u64 {
    u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX).saturating_mul(2)
}

impl Carrier for Payout {
    fn kind(&self) -> DeliveryKind {
        DeliveryKind::Payout
    }

    fn target(&self) -> &str {
        &self.name
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn fate_out_of_time(&self) -> Fate {
        Fate::Unsure("no answer in time".to_owned())
    }

    fn carry<'a>(&'a self, parcel: &'a Claimed) -> BoxFuture<'a, Fate> {
        Box::pin(self.pay_out(parcel))
    }
}

impl From<&SplitConfig> for Split {
    fn from(config: &SplitConfig) -> Self {
        Self {
            target: config.name.clone(),
            routes: config.routes.clone(),
            basis_points: config.basis_points,
            min: config.min,
            max: config.max,
        }
    }
}

/// Whether the wallet lets us pay out, as far as we know.
#[derive(Debug, Default)]
pub(crate) struct Rights(AtomicU8);

impl Rights {
    const UNASKED: u8 = 0;
    const DENIED: u8 = 1;
    /// It may, or it did not answer, which says nothing against it.
    const NOT_DENIED: u8 = 2;

    /// Whether the wallet was asked and has not said that the credential may not pay.
    pub(crate) fn are_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::NOT_DENIED
    }

    fn hear(&self, answer: Result<bool, NodeFault>) {
        let known = match answer {
            Ok(true) => Self::NOT_DENIED,
            Ok(false) => {
                tracing::error!("the payout wallet's credential may not pay: not ready");
                Self::DENIED
            }
            Err(fault) => {
                tracing::warn!(%fault, "the payout wallet does not say whether we may pay");
                let known = self.0.load(Ordering::Relaxed);
                if known == Self::UNASKED { Self::NOT_DENIED } else { known }
            }
        };
        self.0.store(known, Ordering::Relaxed);
    }

    /// Asks again and again, until told to stop.
    pub(crate) async fn follow(
        self: Arc<Self>,
        wallet: PayingWallet,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut ticks = tokio::time::interval(RIGHTS_INTERVAL);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            self.hear(wallet.may_pay().await);
        }
    }
}

#[cfg(test)]
mod tests;
