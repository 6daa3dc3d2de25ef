//! Credentials: what a client presents, and the type that only verification can build.
//!
//! Verification is stateless. It reads the identifier, finds the master key by the key id in it,
//! checks the signature chain, then the proof of payment, then that every caveat can be read.
//! Whether the caveats admit a given request is asked for each request, by
//! [`VerifiedCredential::authorize`], also when the verification itself came from a cache.
//!
//! Whether the payment still has credit is not known here: that is the ledger's answer.

use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest, Sha256};

use crate::caveat::{Caveat, Caveats};
use crate::id::KeyId;
use crate::identifier::Identifier;
use crate::keyring::Keyring;
use crate::macaroon::Macaroon;
use crate::payment::{PaymentHash, Preimage};
pub use crate::verdict::{Rejection, RequestFacts};

/// The most macaroons in one credential; each is verified.
pub const MACAROONS_MAX: usize = 8;

/// A credential as presented: well formed, not verified.
///
/// Two are equal when their decoded bytes are, whatever carried them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    macaroons: Vec<Macaroon>,
    preimage: Option<Preimage>,
}

impl Credential {
    /// A credential of these macaroons. Without a preimage of its own it has the one of the
    /// first `preimage` caveat, as Aperture's clients send it.
    pub(crate) fn new(macaroons: Vec<Macaroon>, preimage: Option<Preimage>) -> Self {
        let preimage = preimage.or_else(|| {
            let mut caveats = macaroons.iter().flat_map(Macaroon::caveats);
            caveats.find_map(|caveat| match Caveat::parse(caveat) {
                Ok(Caveat::Preimage(preimage)) => Some(preimage),
                _ => None,
            })
        });
        Self { macaroons, preimage }
    }

    /// The macaroons, in the order presented.
    #[must_use]
    pub fn macaroons(&self) -> &[Macaroon] {
        &self.macaroons
    }

    /// The preimage, if one was presented.
    #[must_use]
    pub const fn preimage(&self) -> Option<&Preimage> {
        self.preimage.as_ref()
    }

    /// Names exactly this credential in a cache.
    #[must_use]
    pub fn cache_key(&self) -> CacheKey {
        let mut digest = Sha256::new();
        for macaroon in &self.macaroons {
            // A macaroon tells by itself where it ends, so no two lists give the same bytes.
            digest.update(macaroon.encode());
        }
        if let Some(preimage) = &self.preimage {
            digest.update(preimage.reveal_hex());
        }
        CacheKey(digest.finalize().into())
    }

    /// Checks that the credential is genuine and paid for.
    ///
    /// All macaroons must be: a second one never helps a forged first one.
    ///
    /// # Errors
    /// The first [`Rejection`] in its order.
    pub fn verify(&self, keyring: &Keyring) -> Result<VerifiedCredential, Rejection> {
        let mut key_ids = Vec::with_capacity(self.macaroons.len());
        let mut payment_hash = None;
        for macaroon in &self.macaroons {
            let identifier = verify_origin(macaroon, keyring)?;
            if *payment_hash.get_or_insert(identifier.payment_hash) != identifier.payment_hash {
                return Err(Rejection::PaymentsDiffer);
            }
            key_ids.push(identifier.token_id.key_id());
        }
        // The parser never builds a credential without a macaroon; if it did, it proves nothing.
        let payment_hash = payment_hash.ok_or(Rejection::IdentifierUnknown)?;
        let preimage = self.preimage.as_ref().ok_or(Rejection::PreimageMissing)?;
        if !preimage.proves(&payment_hash) {
            return Err(Rejection::PreimageMismatch);
        }
        let caveats = self
            .macaroons
            .iter()
            .map(|macaroon| Caveats::parse(macaroon.caveats(), preimage))
            .collect::<Result<_, _>>()?;
        Ok(VerifiedCredential { payment_hash, preimage: preimage.clone(), key_ids, caveats })
    }
}

/// Checks identifier, key and signature chain, in this order.
fn verify_origin(macaroon: &Macaroon, keyring: &Keyring) -> Result<Identifier, Rejection> {
    let bytes = macaroon.identifier();
    let identifier = Identifier::decode(bytes).map_err(|_| Rejection::IdentifierUnknown)?;
    let key = keyring.get(identifier.token_id.key_id()).ok_or(Rejection::KeyUnknown)?;
    if macaroon.verify(&key.root_key(bytes)) {
        Ok(identifier)
    } else {
        Err(Rejection::SignatureInvalid)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(redacted)")
    }
}

/// SHA-256 of a credential's decoded bytes. A digest, so that the time a look-up takes tells
/// nothing about the credentials in the cache.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey([u8; 32]);

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey(redacted)")
    }
}

/// A genuine credential of a proven payment. Only [`Credential::verify`] builds one.
#[derive(Clone, Debug)]
pub struct VerifiedCredential {
    payment_hash: PaymentHash,
    preimage: Preimage,
    key_ids: Vec<KeyId>,
    caveats: Vec<Caveats>,
}

impl VerifiedCredential {
    /// The payment that was proven.
    #[must_use]
    pub const fn payment_hash(&self) -> PaymentHash {
        self.payment_hash
    }

    /// The proof, for the ledger.
    #[must_use]
    pub const fn preimage(&self) -> &Preimage {
        &self.preimage
    }

    /// The master keys that the macaroons were minted with; a cache forgets the credential when
    /// one of them leaves the ring.
    #[must_use]
    pub fn key_ids(&self) -> &[KeyId] {
        &self.key_ids
    }

    /// Whether the caveats of at least one macaroon admit this request.
    ///
    /// # Errors
    /// The [`Rejection`] of the macaroon that came furthest in the order of the checks.
    pub fn authorize(&self, facts: &RequestFacts<'_>) -> Result<(), Rejection> {
        let mut furthest = Rejection::WrongService;
        for caveats in &self.caveats {
            match caveats.check(facts) {
                Ok(()) => return Ok(()),
                Err(rejection) => furthest = furthest.max(rejection),
            }
        }
        Err(furthest)
    }
}
