//! x402 over Lightning: scheme `exact` on a chain of `bip122`, proven by the preimage. Nobody has
//! to settle it: the payment has arrived before the request comes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tollway_core::payment::{PaymentHash, Preimage};

use super::payment::{Accepted, SCHEME};
use crate::config::Network;
use crate::payment_scheme::Charge;

/// The longest payment, as it travels: an invoice and little more.
const PAYMENT_BYTES_MAX: usize = 8 * 1_024;
const ASSET: &str = "BTC";
/// The invoice says who is paid.
const PAY_TO: &str = "merchant";

/// A proven payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LightningPayment {
    pub(crate) payment_hash: PaymentHash,
    /// What the client was asked for, in msat.
    pub(crate) amount_msat: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    x402_version: u8,
    accepted: Accepted,
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    preimage: String,
}

/// The chain's name in CAIP-2: the beginning of its first block's hash.
const fn chain(network: Network) -> Option<&'static str> {
    match network {
        Network::Bitcoin => Some("bip122:000000000019d6689c085ae165831e93"),
        Network::Testnet => Some("bip122:000000000933ea01ad0ee984209779ba"),
        Network::Signet => Some("bip122:00000008819873e925422c1ff0f99f7c"),
        Network::Regtest => Some("bip122:0f9188f13cb7b2c71f2a335e3a4fc328"),
        Network::Simnet => None,
    }
}

/// What a client has to pay; `None` on a chain without a name.
pub(crate) fn requirement(charge: &Charge, network: Network, seconds: u64) -> Option<Value> {
    Some(json!({
        "scheme": SCHEME,
        "network": chain(network)?,
        "amount": charge.amount.get().to_string(),
        "asset": ASSET,
        "payTo": PAY_TO,
        "maxTimeoutSeconds": seconds,
        "extra": {"paymentMethod": "lightning", "invoice": charge.invoice},
    }))
}

impl LightningPayment {
    /// Reads a payment on this network; `None` if it is another kind of payment, or proves nothing.
    pub(crate) fn read(text: &str, network: Network) -> Option<Self> {
        let text = Some(text.trim()).filter(|text| text.len() <= PAYMENT_BYTES_MAX)?;
        let envelope: Envelope = serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()?;
        let Envelope { x402_version: 2, accepted, payload } = envelope else { return None };
        let ours = accepted.scheme == SCHEME
            && Some(accepted.network.as_str()) == chain(network)
            && accepted.asset == ASSET
            && accepted.pay_to == PAY_TO;
        let preimage = Preimage::from_hex(payload.preimage.as_bytes()).ok().filter(|_| ours)?;
        Some(Self { payment_hash: preimage.payment_hash(), amount_msat: accepted.amount })
    }

    /// The value of `PAYMENT-RESPONSE` once it is spent.
    pub(crate) fn receipt(&self, network: Network) -> String {
        let receipt = json!({
            "success": true, "transaction": self.payment_hash, "network": chain(network),
            "payer": "anonymous",
        });
        STANDARD.encode(receipt.to_string())
    }
}

#[cfg(test)]
mod tests {
    use tollway_core::money::Msat;

    use super::*;

    #[test]
    fn what_is_asked_for_is_accepted_with_its_preimage_alone() {
        let preimage = Preimage::from_bytes([0x42; 32]);
        let hash = preimage.payment_hash();
        let amount = Msat::from_sats(21).unwrap();
        let charge = Charge::new(amount, "lnbcrt1".into(), hash, Network::Regtest).unwrap();
        let asked = requirement(&charge, Network::Regtest, 600).unwrap();
        assert_eq!((&asked["amount"], &asked["maxTimeoutSeconds"]), (&json!("21000"), &json!(600)));
        assert_eq!(asked["extra"]["invoice"], "lnbcrt1");
        let good = json!({"x402Version": 2, "accepted": asked,
                          "payload": {"preimage": preimage.reveal_hex()}});
        let read = |json: &Value| {
            LightningPayment::read(&STANDARD.encode(json.to_string()), Network::Regtest)
        };
        let payment = read(&good).unwrap();
        assert_eq!((payment.payment_hash, payment.amount_msat.as_str()), (hash, "21000"));
        for (path, value) in [
            ("/x402Version", json!(1)),
            ("/accepted/network", json!(chain(Network::Bitcoin))),
            ("/accepted/scheme", json!("upto")),
            ("/accepted/asset", json!("USD")),
            ("/accepted/payTo", json!("me")),
            ("/payload", json!({"invoice": "lnbcrt1"})),
            ("/payload/preimage", json!("42")),
        ] {
            let mut other = good.clone();
            *other.pointer_mut(path).unwrap() = value;
            assert_eq!(read(&other), None, "{path}");
        }
        for text in ["", "e30", "e30=", &"A".repeat(PAYMENT_BYTES_MAX + 4)] {
            assert_eq!(LightningPayment::read(text, Network::Regtest), None);
        }
    }
}
