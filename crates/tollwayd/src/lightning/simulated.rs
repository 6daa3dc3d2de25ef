//! The simulated node: real signed BOLT 11 invoices, payments without money.
//!
//! Invoices carry the regtest prefix (`lnbcrt`), so no wallet can pay one by mistake. The node's
//! signing key and every preimage are derived from one secret in the ledger's store, so an
//! invoice can still be paid after the process was killed, at each of several replicas. What it
//! made and what was paid, it remembers in a file of its own ([`Memory`]), which a restored
//! ledger does not turn back.
//!
//! It exists for demos and tests: it hands out proofs of payment to whoever asks.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};
use hmac::{Hmac, KeyInit, Mac};
use lightning_invoice::{Bolt11Invoice, Currency, InvoiceBuilder, PaymentSecret};
use sha2::Sha256;
use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};

use super::invoice::INVOICE_BYTES_MAX;
use super::memory::{Line, Memory, Remembered};
use super::{Answer, Call, Events, InvoiceOrder, MadeInvoice, Node, NodeFault, SettledInvoice};
use crate::clock::Clock;
use crate::entropy::{self, EntropyError};
use crate::ledger::KeyBytes;

/// What BOLT 11 asks for where nothing else is known.
const MIN_FINAL_CLTV_EXPIRY_DELTA: u64 = 18;

/// A node that pays its own invoices on request.
pub(crate) struct SimulatedNode {
    secret: KeyBytes,
    signing_key: SecretKey,
    node_id: PublicKey,
    secp: Secp256k1<All>,
    memory: Option<Memory>,
}

/// Why an invoice could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MintError {
    /// There was no randomness for the payment secret.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The invoice could not be built from the order.
    #[error("the order does not make a valid invoice")]
    Order,
    /// The node could not remember it.
    #[error(transparent)]
    Node(#[from] NodeFault),
}

/// Why an invoice was not paid. The texts never repeat the invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PayError {
    /// The node could not remember the payment, so it did not happen.
    #[error(transparent)]
    Down(#[from] NodeFault),
    /// It can no longer be paid.
    #[error("the invoice has expired; ask for a new challenge")]
    Expired,
    /// The text is no invoice.
    #[error("expected a BOLT 11 invoice, but found something else")]
    Malformed,
    /// Another node made it.
    #[error("the invoice was not made by this simulated node; pay it with a real wallet")]
    NotOurs,
}

impl SimulatedNode {
    /// The node of this secret; one secret gives one node. Without a file it remembers nothing.
    pub(crate) fn new(secret: KeyBytes, memory: Option<PathBuf>) -> Self {
        let secp = Secp256k1::new();
        let signing_key = signing_key(&secret);
        let node_id = signing_key.public_key(&secp);
        Self { secret, signing_key, node_id, secp, memory: memory.map(Memory::new) }
    }

    /// Makes an invoice.
    ///
    /// # Errors
    /// [`MintError`] if it cannot be built or remembered.
    pub(crate) fn create_invoice(
        &self,
        order: &InvoiceOrder,
        now_s: u64,
    ) -> Result<MadeInvoice, MintError> {
        let payment_secret = PaymentSecret(entropy::random_bytes()?);
        let hash = self.preimage(&payment_secret).payment_hash();
        let invoice = InvoiceBuilder::new(Currency::Regtest)
            .description(order.memo.clone())
            .payment_hash(sha256::Hash::from_byte_array(*hash.as_bytes()))
            .payment_secret(payment_secret)
            .amount_milli_satoshis(order.amount.get())
            .duration_since_epoch(Duration::from_secs(now_s))
            .expiry_time(Duration::from_secs(order.expiry_s))
            .min_final_cltv_expiry_delta(MIN_FINAL_CLTV_EXPIRY_DELTA)
            .build_signed(|message| self.sign(message))
            .map_err(|_| MintError::Order)?;
        let (bolt11, note) = (invoice.to_string(), order.note.clone());
        self.remember(&Line::Made { payment_hash: hash, bolt11: bolt11.clone(), note })?;
        Ok(MadeInvoice { payment_hash: hash, bolt11 })
    }

    /// Pays an invoice of this node and proves it. Paying twice proves the same, also after the
    /// invoice has expired.
    ///
    /// # Errors
    /// [`PayError`] if the text is no invoice of this node or the invoice has expired unpaid.
    pub(crate) fn pay(&self, text: &str, now_s: u64) -> Result<(PaymentHash, Preimage), PayError> {
        if text.len() > INVOICE_BYTES_MAX {
            return Err(PayError::Malformed);
        }
        // Parsing checks the signature.
        let invoice: Bolt11Invoice = text.trim().parse().map_err(|_| PayError::Malformed)?;
        let preimage = self.preimage(invoice.payment_secret());
        let hash = payment_hash(&invoice);
        let ours = invoice.get_payee_pub_key() == self.node_id && preimage.proves(&hash);
        if !ours {
            return Err(PayError::NotOurs);
        }
        if expired(&invoice, now_s) {
            let paid = self.recall(&hash)?.received.is_some();
            return if paid { Ok((hash, preimage)) } else { Err(PayError::Expired) };
        }
        let received_msat = amount(&invoice).ok_or(PayError::Malformed)?;
        self.remember(&Line::Paid { payment_hash: hash, received_msat })?;
        Ok((hash, preimage))
    }

    /// What became of the invoice with this payment hash. Reads a file and may take long.
    ///
    /// # Errors
    /// [`NodeFault::Down`] if the file cannot be read.
    pub(crate) fn look_up(&self, hash: &PaymentHash, now_s: u64) -> Result<Answer, NodeFault> {
        let Remembered { made, received, .. } = self.recall(hash)?;
        let Some((bolt11, note)) = made else { return Ok(Answer::Unknown) };
        Ok(match received {
            Some(received) => {
                Answer::Settled(SettledInvoice { bolt11, note: Some(note), received })
            }
            None if bolt11.parse().is_ok_and(|invoice| expired(&invoice, now_s)) => Answer::Expired,
            None => Answer::Open,
        })
    }

    /// The public key that signs the invoices.
    pub(crate) fn node_id(&self) -> String {
        self.node_id.to_string()
    }

    fn remember(&self, line: &Line) -> Result<(), NodeFault> {
        self.memory.as_ref().map_or(Ok(()), |memory| memory.append(line)).map_err(|e| down(&e))
    }

    fn recall(&self, hash: &PaymentHash) -> Result<Remembered, NodeFault> {
        let found = self.memory.as_ref().map(|memory| memory.find(hash));
        found.unwrap_or_else(|| Ok(Remembered::default())).map_err(|error| down(&error))
    }

    fn preimage(&self, payment_secret: &PaymentSecret) -> Preimage {
        Preimage::from_bytes(derive(&self.secret, &payment_secret.0))
    }

    fn sign(&self, message: &Message) -> bitcoin::secp256k1::ecdsa::RecoverableSignature {
        self.secp.sign_ecdsa_recoverable(message, &self.signing_key)
    }
}

/// The simulated node behind the trait of all nodes.
#[derive(Clone, Debug)]
pub(crate) struct Simulated {
    pub(crate) node: Arc<SimulatedNode>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Node for Simulated {
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice> {
        let made = self.node.create_invoice(order, self.clock.now_s()).map_err(|error| {
            tracing::error!(%error, "the simulated node makes no invoice");
            match error {
                MintError::Order => NodeFault::Refused,
                MintError::Entropy(_) | MintError::Node(_) => NodeFault::Down,
            }
        });
        Box::pin(std::future::ready(made))
    }

    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer> {
        let (node, now_s, hash) = (Arc::clone(&self.node), self.clock.now_s(), *hash);
        // It reads a file, which may take long.
        let looked = tokio::task::spawn_blocking(move || node.look_up(&hash, now_s));
        Box::pin(async move { looked.await.unwrap_or(Err(NodeFault::Down)) })
    }

    /// Its payments credit at once, where they are wanted to.
    fn settled_after(&self, _position: u64) -> Option<Events> {
        None
    }

    /// It pays everybody everything.
    fn may_pay(&self) -> Call<'_, Option<bool>> {
        Box::pin(std::future::ready(Ok(Some(true))))
    }

    fn name(&self) -> String {
        format!("simulated {}", self.node.node_id())
    }
}

impl std::fmt::Debug for SimulatedNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedNode").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

fn payment_hash(invoice: &Bolt11Invoice) -> PaymentHash {
    PaymentHash::from_bytes(invoice.payment_hash().to_byte_array())
}

fn amount(invoice: &Bolt11Invoice) -> Option<Msat> {
    invoice.amount_milli_satoshis().and_then(Msat::new)
}

fn expired(invoice: &Bolt11Invoice, now_s: u64) -> bool {
    invoice.expires_at().is_none_or(|at| at.as_secs() <= now_s)
}

/// What the file system said goes to the log.
fn down(error: &io::Error) -> NodeFault {
    tracing::error!(%error, "the simulated node cannot use its file");
    NodeFault::Down
}

/// The first derived value that is a valid secp256k1 key; all but one in 2^128 are.
fn signing_key(secret: &KeyBytes) -> SecretKey {
    let mut candidate = derive(secret, b"tollway simulated node signing key");
    loop {
        match SecretKey::from_slice(&candidate) {
            Ok(key) => return key,
            Err(_) => candidate = derive(&KeyBytes(candidate), b"next"),
        }
    }
}

fn derive(secret: &KeyBytes, label: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length, so the error arm is never reached.
    match Hmac::<Sha256>::new_from_slice(&secret.0) {
        Ok(mut mac) => {
            mac.update(label);
            mac.finalize().into_bytes().into()
        }
        Err(_) => [0; 32],
    }
}
