//! What is left of sessions goes back to their payers, once.
//!
//! A return is decided with the end of its session and waits in the outbox. The payer's invoice is
//! the only one there will ever be, nodes pay one invoice once, and what became of it is asked for
//! before anything else; the wallet that was asked first is the only one that is ever asked.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::clock::Clock;
use crate::config::PayoutsConfig;
use crate::ledger::{Claimed, DeliveryKind, Ledger, News, RETURNS, Report, ReturnOrder};
use crate::lightning::{Outgoing, PayingWallet, check_return_invoice, payment_hash_of};
use crate::outbox::{Carrier, Fate};

/// A payment and two look-ups.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns what is left of sessions.
pub(crate) struct Return {
    wallet: PayingWallet,
    fee_max: Msat,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
}

impl Return {
    pub(crate) fn new(
        config: &PayoutsConfig,
        wallet: &PayingWallet,
        ledger: &Ledger,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            wallet: wallet.clone(),
            fee_max: config.fee_max,
            ledger: ledger.clone(),
            clock: Arc::clone(clock),
        }
    }

    async fn give_back(&self, parcel: &Claimed) -> Fate {
        let order = serde_json::from_str::<ReturnOrder>(&parcel.body).ok();
        let invoice = order.as_ref().and_then(|order| payment_hash_of(&order.bolt11));
        let (Some(order), Some(invoice)) = (order, invoice) else {
            return Fate::Unsure("the outbox holds no readable order".to_owned());
        };
        match &parcel.note {
            Some(wallet) if *wallet != self.wallet.name => {
                let reason = "another wallet was asked to pay it; name that one again in payouts";
                return Fate::Unsure(reason.to_owned());
            }
            Some(_) => {}
            None => {
                if let Some(fate) = self.choose_wallet(parcel).await {
                    return fate;
                }
            }
        }
        match self.wallet.payer.outgoing(&invoice).await {
            Ok(Outgoing::Failed | Outgoing::Unknown) => self.pay(&order, invoice).await,
            Ok(Outgoing::Paid) => paid(&order, invoice),
            Ok(Outgoing::InFlight) => Fate::Unsure("the payment is under way".to_owned()),
            Err(fault) => Fate::Unsure(fault.to_string()),
        }
    }

    /// Writes down who is asked, before that.
    async fn choose_wallet(&self, parcel: &Claimed) -> Option<Fate> {
        let twice_ms = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX).saturating_mul(2);
        let until_ms = self.clock.now_ms().saturating_add(twice_ms);
        let news = News::Chosen { note: self.wallet.name.clone(), until_ms };
        let report = Report { id: parcel.id, attempt: parcel.attempt, news };
        match self.ledger.report(report).await {
            Ok(true) => None,
            Ok(false) => Some(Fate::Unsure("another tollwayd has taken it over".to_owned())),
            Err(error) => Some(Fate::Failed(error.to_string())),
        }
    }

    /// Has the invoice paid, and asks what became of it: that alone counts.
    async fn pay(&self, order: &ReturnOrder, invoice: PaymentHash) -> Fate {
        let now_s = self.clock.now_s();
        if let Err(fault) = check_return_invoice(&order.bolt11, self.wallet.network, now_s) {
            return Fate::Failed(fault.to_string());
        }
        let payer = &self.wallet.payer;
        let asked = payer.pay_amount(&order.bolt11, order.amount_msat, self.fee_max).await;
        match (payer.outgoing(&invoice).await, asked) {
            (Ok(Outgoing::Paid), _) => paid(order, invoice),
            (Ok(Outgoing::InFlight), _) => Fate::Unsure("the payment is under way".to_owned()),
            (Ok(_), Err(fault)) => Fate::Failed(fault.to_string()),
            (Ok(_), Ok(())) => Fate::Failed("the node did not get the payment through".to_owned()),
            (Err(fault), _) => Fate::Unsure(fault.to_string()),
        }
    }
}

fn paid(order: &ReturnOrder, invoice: PaymentHash) -> Fate {
    Fate::PaidOut { amount: order.amount_msat, invoice }
}

impl Carrier for Return {
    fn kind(&self) -> DeliveryKind {
        DeliveryKind::Payout
    }

    fn target(&self) -> &str {
        RETURNS
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn fate_out_of_time(&self) -> Fate {
        Fate::Unsure("no answer in time".to_owned())
    }

    fn carry<'a>(&'a self, parcel: &'a Claimed) -> BoxFuture<'a, Fate> {
        Box::pin(self.give_back(parcel))
    }
}
