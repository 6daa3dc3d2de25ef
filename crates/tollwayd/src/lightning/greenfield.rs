//! The stand-in for BTCPay, as published clients of its API find it. `make test-lightning` installs
//! them and runs this; elsewhere each test prints why it is skipped.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::{Value, json};
use tollway_testkit::greenfield::Greenfield;
use tollway_testkit::standin::{Kind, Mischief, StandIn};

use super::contract::{Subject, keeps_the_contract};
use super::real::is_there;
use super::*;

/// A node that is only known through a client.
#[derive(Debug)]
struct Through {
    clients: Arc<Greenfield>,
    key: String,
    /// The store's own ids of its invoices, if the store makes them.
    ids: Option<Mutex<HashMap<PaymentHash, String>>>,
}

impl Through {
    async fn call(&self, what: &str, mut order: Value) -> Result<Option<Value>, NodeFault> {
        let fields = order.as_object_mut().unwrap();
        fields.extend([("do".to_owned(), json!(what)), ("key".to_owned(), json!(self.key))]);
        let (status, said) = self.clients.call(&order).await.unwrap();
        match status {
            200 => Ok(Some(said)),
            404 => Ok(None),
            401 | 403 => Err(NodeFault::Denied),
            _ => panic!("{what}: {status} {said}"),
        }
    }

    async fn make(&self, order: &InvoiceOrder) -> Result<MadeInvoice, NodeFault> {
        let (msat, memo) = (order.amount.get(), &order.memo);
        let made = match &self.ids {
            None => {
                let order =
                    json!({ "amount_msat": msat, "memo": memo, "expiry_s": order.expiry_s });
                self.call("make_of_node", order).await?.unwrap()
            }
            Some(_) => {
                let (sats, minutes) = (whole_sats(order.amount)?, order.expiry_s / 60);
                let order = json!({ "sats": sats, "memo": memo, "minutes": minutes });
                self.call("make_of_store", order).await?.unwrap()
            }
        };
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        let bolt11 = text("bolt11");
        let payment_hash = payment_hash_of(&bolt11).unwrap();
        match &self.ids {
            None => {
                let asked = (text("id"), text("amount"), text("status"));
                assert_eq!(asked, (payment_hash.to_hex(), msat.to_string(), "Unpaid".to_owned()));
            }
            Some(ids) => {
                let asked = (text("amount"), text("status"));
                assert_eq!(asked, ((msat / 1_000).to_string(), "New".to_owned()));
                ids.lock().unwrap().insert(payment_hash, text("id"));
            }
        }
        Ok(MadeInvoice { payment_hash, bolt11 })
    }

    /// What the store says of its invoice; the node behind it says what arrived.
    async fn see(&self, hash: &PaymentHash) -> Result<Answer, NodeFault> {
        if let Some(ids) = &self.ids {
            let id = ids.lock().unwrap().get(hash).cloned();
            let id = json!({ "id": id.unwrap_or_else(|| "nosuchinvoiceofthisone".to_owned()) });
            let Some(seen) = self.call("see_of_store", id).await? else {
                return Ok(Answer::Unknown);
            };
            match seen["status"].as_str() {
                Some("New") => return Ok(Answer::Open),
                Some("Expired") => return Ok(Answer::Expired),
                Some("Settled") => {}
                other => panic!("{other:?}"),
            }
        }
        let id = json!({ "id": hash.to_hex() });
        let Some(seen) = self.call("see_of_node", id).await? else { return Ok(Answer::Unknown) };
        Ok(match seen["status"].as_str() {
            Some("Unpaid") => Answer::Open,
            Some("Expired") => Answer::Expired,
            Some("Paid") => Answer::Settled(SettledInvoice {
                bolt11: seen["bolt11"].as_str().unwrap().to_owned(),
                note: None,
                received: Msat::new(seen["received"].as_str().unwrap().parse().unwrap()).unwrap(),
            }),
            other => panic!("{other:?}"),
        })
    }
}

impl Node for Through {
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice> {
        Box::pin(self.make(order))
    }

    fn ends_early_s_max(&self) -> u64 {
        u64::from(self.ids.is_some())
    }

    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer> {
        Box::pin(self.see(hash))
    }

    fn settled_after(&self, _position: u64) -> Option<Events> {
        None
    }

    fn may_pay(&self) -> Call<'_, Option<bool>> {
        Box::pin(async {
            let order = json!({ "key": self.key, "do": "pay", "bolt11": "no invoice" });
            let (status, said) = self.clients.call(&order).await.unwrap();
            let said: Value = serde_json::from_str(said.as_str().unwrap()).unwrap();
            Ok(Some(match status {
                403 => {
                    assert_eq!(said["missingPermission"], "btcpay.store.canuselightningnode");
                    false
                }
                422 => {
                    assert_eq!(said[0]["path"], "BOLT11");
                    true
                }
                other => panic!("{other} {said}"),
            }))
        })
    }

    fn name(&self) -> String {
        "btcpay through its clients".to_owned()
    }
}

async fn clients_find_what_the_contract_says(of_store: bool) {
    if !is_there(Greenfield::available()) {
        return;
    }
    let standin = StandIn::start(Kind::Btcpay).await.unwrap();
    let clients = Greenfield::start(&standin).await.unwrap_or_else(|error| panic!("{error}"));
    let clients = Arc::new(clients);
    let through = |key: &str| -> Arc<dyn Node> {
        let clients = Arc::clone(&clients);
        Arc::new(Through { clients, key: key.to_owned(), ids: of_store.then(Mutex::default) })
    };
    let till = Arc::clone(&standin.till);
    let node = through(standin.credential);
    let subject = Subject {
        lightning: Lightning { node, network: Network::Regtest },
        stranger: Some(through("0123456789")),
        pay: Box::new(move |bolt11| {
            till.pay(&bolt11, 0).expect("an invoice of this stand-in");
            Box::pin(std::future::ready(()))
        }),
        keeps_notes: false,
        counts_msat: !of_store,
        ends_early_s: u64::from(of_store),
    };
    keeps_the_contract(&subject).await;
    assert_eq!(subject.lightning.node.may_pay().await, Ok(Some(false)));
    standin.till.set(Mischief::Generous, true);
    assert_eq!(subject.lightning.node.may_pay().await, Ok(Some(true)));
}

#[tokio::test]
async fn the_btcpay_stand_in_serves_a_client_generated_from_btcpay_s_schema() {
    clients_find_what_the_contract_says(false).await;
}

#[tokio::test]
async fn the_btcpay_stand_in_serves_that_client_with_invoices_of_the_store() {
    clients_find_what_the_contract_says(true).await;
}

#[tokio::test]
async fn the_btcpay_stand_in_serves_the_client_of_another_paywall() {
    if !is_there(Greenfield::available()) {
        return;
    }
    let standin = StandIn::start(Kind::Btcpay).await.unwrap();
    let clients = Greenfield::start(&standin).await.unwrap_or_else(|error| panic!("{error}"));
    let call = async |what: &str, mut order: Value| {
        order["do"] = json!(what);
        order["key"] = json!(standin.credential);
        clients.call(&order).await.unwrap()
    };
    let granted = ["btcpay.store.cancreateinvoice:StandInStore", "btcpay.store.canviewinvoices"];
    standin.till.grant(&granted);
    for what in ["permissions", "paywall_permissions"] {
        let (status, said) = call(what, json!({})).await;
        assert_eq!((status, &said["permissions"]), (200, &json!(granted)), "{what}");
    }
    let (status, made) = call("paywall_makes", json!({ "sats": 21 })).await;
    assert_eq!((status, &made["status"]), (200, &json!("New")), "{made}");
    assert_eq!((&made["amount"], &made["currency"]), (&json!("21"), &json!("SATS")));
    let id = made["id"].as_str().unwrap();
    assert!(made["checkoutLink"].as_str().unwrap().ends_with(id), "{made}");
    assert_eq!(call("paywall_sees", json!({ "id": id })).await.1["status"], "New");
    let (_, ways) = call("ways", json!({ "id": id })).await;
    standin.till.pay(ways["bolt11"].as_str().unwrap(), 0).unwrap();
    assert_eq!(call("paywall_sees", json!({ "id": id })).await.1["status"], "Settled");
    let (status, _) = call("paywall_sees", json!({ "id": "nosuchinvoiceofthisone" })).await;
    assert_eq!(status, 404);
    // Without the right to look, it may not, whatever the invoice.
    standin.till.grant(&granted[..1]);
    let (status, said) = call("paywall_sees", json!({ "id": id })).await;
    assert_eq!(status, 403);
    assert!(said.as_str().unwrap().contains("btcpay.store.canviewinvoices"), "{said}");
}
