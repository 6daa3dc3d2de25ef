//! What a client presents: base64 of JSON, in the form of either version of the protocol.
//!
//! Read far enough to know whose payment it is and what it pays; the signature is for the
//! facilitator to judge.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use tollway_core::digest::Digest;

use crate::config::{EvmAddress, X402Config};
use crate::ledger::TransferId;

/// The longest payment, as it travels. One with a plain signature has about 1 KiB; that of a smart
/// wallet, which is deployed with it, some KiB.
const PAYMENT_BYTES_MAX: usize = 16 * 1_024;
/// The one scheme that is taken.
pub(super) const SCHEME: &str = "exact";

/// Which version of the protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// Why a payment is not one that could be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("expected a payment of at most {PAYMENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("expected base64 of a JSON payment of scheme \"exact\" with an EIP-3009 authorization")]
    Malformed,
    #[error("expected a payment on the network that the challenge names")]
    Network,
    #[error("expected a payment in the asset that the challenge names")]
    Asset,
    #[error("expected a payment to the address that the challenge names")]
    PayTo,
    #[error("expected the amount that the challenge names, exactly; ask for a new challenge")]
    Amount,
    #[error("expected the requirement that the challenge names, unchanged")]
    Changed,
}

/// A payment of the right shape, for us.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) version: Version,
    /// All of it, as the client wrote it.
    pub(super) json: Value,
    pub(super) payer: EvmAddress,
    /// In the token's smallest units: decimal digits without leading zeros.
    pub(super) units: String,
    pub(super) id: TransferId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    x402_version: u8,
    /// Of the first version.
    scheme: Option<String>,
    network: Option<String>,
    /// Of the second.
    accepted: Option<Accepted>,
    payload: Payload,
}

/// The requirement that a client of the second version says it has met.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    pub(super) scheme: String,
    pub(super) network: String,
    pub(super) amount: String,
    pub(super) asset: String,
    pub(super) pay_to: String,
}

#[derive(Deserialize)]
struct Payload {
    authorization: Authorization,
}

#[derive(Deserialize)]
struct Authorization {
    from: String,
    to: String,
    value: String,
    nonce: String,
}

impl Payment {
    /// Reads what a client presents.
    ///
    /// # Errors
    /// [`Fault`]: it is none, or not one for us.
    pub(super) fn read(text: &str, config: &X402Config) -> Result<Self, Fault> {
        if text.len() > PAYMENT_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        let bytes = STANDARD.decode(text.trim()).map_err(|_| Fault::Malformed)?;
        let json: Value = serde_json::from_slice(&bytes).map_err(|_| Fault::Malformed)?;
        let envelope = Envelope::deserialize(&json).map_err(|_| Fault::Malformed)?;
        let Authorization { from, to, value, nonce } = &envelope.payload.authorization;
        let payer = EvmAddress::parse(from).ok_or(Fault::Malformed)?;
        let to = EvmAddress::parse(to).ok_or(Fault::Malformed)?;
        let nonce = nonce_bytes(nonce).ok_or(Fault::Malformed)?;
        if !is_amount(value) {
            return Err(Fault::Malformed);
        }
        let network = config.chain.caip2();
        let version = match &envelope {
            Envelope { x402_version: 1, scheme: Some(scheme), network: Some(network), .. } => {
                check(scheme == SCHEME, Fault::Malformed)?;
                check(config.chain.name() == Some(network), Fault::Network)?;
                Version::One
            }
            Envelope { x402_version: 2, accepted: Some(accepted), .. } => {
                check(accepted.scheme == SCHEME, Fault::Malformed)?;
                check(accepted.network == network, Fault::Network)?;
                let asset = EvmAddress::parse(&accepted.asset);
                check(asset.as_ref() == Some(&config.asset), Fault::Asset)?;
                let pay_to = EvmAddress::parse(&accepted.pay_to);
                check(pay_to.as_ref() == Some(&config.pay_to), Fault::PayTo)?;
                check(accepted.amount == *value, Fault::Changed)?;
                Version::Two
            }
            _ => return Err(Fault::Malformed),
        };
        check(to == config.pay_to, Fault::PayTo)?;
        let id = transfer_id(&network, &config.asset, &payer, &nonce);
        let units = value.clone();
        Ok(Self { version, payer, units, id, json })
    }
}

/// The token's contract takes a payer's nonce once, so this names the transfer.
fn transfer_id(
    network: &str,
    asset: &EvmAddress,
    payer: &EvmAddress,
    nonce: &[u8; 32],
) -> TransferId {
    let lower = |address: &EvmAddress| address.as_str().to_ascii_lowercase();
    let digest = Digest::of(&[
        b"x402 exact",
        network.as_bytes(),
        lower(asset).as_bytes(),
        lower(payer).as_bytes(),
        nonce,
    ]);
    TransferId::new(*digest.as_bytes())
}

fn nonce_bytes(text: &str) -> Option<[u8; 32]> {
    let mut nonce = [0; 32];
    hex::decode_to_slice(text.strip_prefix("0x")?, &mut nonce).ok()?;
    Some(nonce)
}

/// A positive number as a token's contract counts: below 2^256, which has 78 digits.
fn is_amount(text: &str) -> bool {
    (1..=78).contains(&text.len())
        && !text.starts_with('0')
        && text.bytes().all(|digit| digit.is_ascii_digit())
}

fn check(good: bool, fault: Fault) -> Result<(), Fault> {
    if good { Ok(()) } else { Err(fault) }
}
