//! Certificates of an authority: a purchase is only sold to who shows one.
//!
//! A certificate is a JWT (RFC 7519) under an Ed25519 key of the authority (RFC 8037). It is for
//! one operator and one purchase of exactly its net amount, and good once: the ledger remembers
//! its `jti` in the transaction that remembers the invoice. Only `EdDSA` is read, whatever the
//! token says of itself.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tollway_core::digest::Digest;
use tollway_core::money::Msat;

use crate::config::AuthorityConfig;
use crate::ledger::Certificate;

/// The longest certificate that is read; one with these claims is a quarter of it.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 2_048;
/// The longest `jti`.
const JTI_BYTES_MAX: usize = 128;
/// How long a certificate may live, since so long it is remembered.
const LIFE_S_MAX: u64 = 31 * 86_400;

/// Why a purchase is not sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateFault {
    /// It is not signed with EdDSA, or asks for extensions.
    #[error("expected a certificate signed with EdDSA, and without extensions")]
    Algorithm,
    /// It is for another amount.
    #[error("expected a certificate for exactly the amount of this purchase")]
    Amount,
    /// It is over, or has not begun.
    #[error("expected a certificate that is valid now, but found one of another time")]
    Expired,
    /// It is no certificate, or lacks a claim.
    #[error(
        "expected a JWT with operator_id, amount_sats, tax_paid_sats, net_sats, jti and exp, but \
         found something else"
    )]
    Malformed,
    /// There is none.
    #[error("expected a certificate of the authority in x-toll-certificate, but found none")]
    Missing,
    /// No key of the authority has signed it.
    #[error("expected a certificate of the authority, but found another signature")]
    Signature,
    /// It is for another operator, or another audience.
    #[error("expected a certificate for this operator, but found one for another")]
    Stranger,
    /// It was used for another purchase.
    #[error("expected a certificate that was not used, but this one was")]
    Used,
}

impl CertificateFault {
    /// A stable name for it.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Algorithm => "certificate_algorithm",
            Self::Amount => "certificate_amount",
            Self::Expired => "certificate_expired",
            Self::Malformed => "certificate_malformed",
            Self::Missing => "certificate_required",
            Self::Signature => "certificate_signature",
            Self::Stranger => "certificate_stranger",
            Self::Used => "certificate_used",
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that a reader has to know (RFC 7515); we know none.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    operator_id: String,
    amount_sats: u64,
    tax_paid_sats: u64,
    net_sats: u64,
    jti: String,
    exp: u64,
    nbf: Option<u64>,
    iat: Option<u64>,
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl AuthorityConfig {
    /// Judges the certificate of a purchase.
    ///
    /// # Errors
    /// [`CertificateFault`] if it is not sold.
    pub(crate) fn judge(
        &self,
        certificate: Option<&str>,
        amount: Msat,
        now_s: u64,
    ) -> Result<Certificate, CertificateFault> {
        let claims = self.verified(certificate.ok_or(CertificateFault::Missing)?)?;
        if claims.operator_id != self.operator_id || !self.is_meant(claims.aud.as_ref()) {
            return Err(CertificateFault::Stranger);
        }
        let leeway_s = self.leeway_s;
        let begins = [claims.nbf, claims.iat].into_iter().flatten().max().unwrap_or(0);
        if now_s >= claims.exp.saturating_add(leeway_s) || begins > now_s.saturating_add(leeway_s) {
            return Err(CertificateFault::Expired);
        }
        let sums = claims.net_sats.checked_add(claims.tax_paid_sats) == Some(claims.amount_sats);
        let is_named = (1..=JTI_BYTES_MAX).contains(&claims.jti.len());
        let lives = claims.exp.saturating_sub(now_s) <= LIFE_S_MAX;
        if !(sums && is_named && lives) {
            return Err(CertificateFault::Malformed);
        }
        if Msat::from_sats(claims.net_sats) != Some(amount) {
            return Err(CertificateFault::Amount);
        }
        let id = Digest::of(&[b"certificate", claims.jti.as_bytes()]);
        let until_s = claims.exp.saturating_add(leeway_s);
        Ok(Certificate { id, expires_at_ms: until_s.saturating_mul(1_000) })
    }

    /// Reads the claims once a key of the authority vouches for them.
    fn verified(&self, text: &str) -> Result<Claims, CertificateFault> {
        let malformed = CertificateFault::Malformed;
        if text.len() > CERTIFICATE_BYTES_MAX {
            return Err(malformed);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed);
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
        let of: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed)?;
        if of.alg != "EdDSA" || of.crit.is_some() {
            return Err(CertificateFault::Algorithm);
        }
        let signature = decode(signature)?;
        let signed = text.rsplit_once('.').map_or("", |(signed, _)| signed);
        let vouches = |key: &[u8; 32]| {
            let key = UnparsedPublicKey::new(&ED25519, key);
            key.verify(signed.as_bytes(), &signature).is_ok()
        };
        if !self.keys.iter().any(vouches) {
            return Err(CertificateFault::Signature);
        }
        serde_json::from_slice(&decode(claims)?).map_err(|_| malformed)
    }

    /// Without an audience of our own, the claim says nothing here.
    fn is_meant(&self, claimed: Option<&Audience>) -> bool {
        match (&self.audience, claimed) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(Audience::One(one))) => one == own,
            (Some(own), Some(Audience::Many(many))) => many.contains(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        now: u64,
        public_key: String,
        other_public_key: String,
        operator_id: String,
        certificates: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        expect: String,
        token: String,
    }

    fn vectors() -> Vectors {
        let text = include_str!("../tests/certificates.json");
        serde_json::from_str(text).unwrap()
    }

    fn authority(keys: &[&str], audience: Option<&str>) -> AuthorityConfig {
        let read = |pem: &&str| crate::config::ed25519_key(pem).unwrap();
        AuthorityConfig {
            keys: keys.iter().map(read).collect(),
            operator_id: vectors().operator_id,
            audience: audience.map(str::to_owned),
            leeway_s: 30,
        }
    }

    #[test]
    fn certificates_of_pyjwt_are_judged_as_they_are_meant() {
        let Vectors { now, public_key, other_public_key, certificates, .. } = vectors();
        let own = authority(&[&public_key], None);
        let amount = Msat::from_sats(980).unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for Vector { name, expect, token } in &certificates {
            let judged = own.judge(Some(token), amount, now);
            let said = match judged {
                Ok(certificate) => {
                    ids.insert(*certificate.id.as_bytes());
                    "certificate_ok"
                }
                Err(fault) => fault.code(),
            };
            assert_eq!(said, format!("certificate_{expect}"), "{name}");
        }
        // "good" and "expires within the leeway" have the same jti.
        assert_eq!(ids.len(), 4);
        let good = &certificates[0].token;
        for sats in [979, 981, 1_000] {
            let amount = Msat::from_sats(sats).unwrap();
            assert_eq!(own.judge(Some(good), amount, now), Err(CertificateFault::Amount));
        }
        let close = Msat::new(980_001).unwrap();
        assert_eq!(own.judge(Some(good), close, now), Err(CertificateFault::Amount));
        assert_eq!(own.judge(None, amount, now), Err(CertificateFault::Missing));
        // While the authority changes its key, both vouch.
        let both = authority(&[&other_public_key, &public_key], None);
        assert!(both.judge(Some(good), amount, now).is_ok());
        let other = authority(&[&other_public_key], None);
        assert_eq!(other.judge(Some(good), amount, now), Err(CertificateFault::Signature));
        let long = format!("{good}{}", "x".repeat(CERTIFICATE_BYTES_MAX));
        assert_eq!(own.judge(Some(&long), amount, now), Err(CertificateFault::Malformed));
    }

    #[test]
    fn an_audience_of_ours_has_to_be_named() {
        let Vectors { now, public_key, certificates, .. } = vectors();
        let own = authority(&[&public_key], Some("shop"));
        let amount = Msat::from_sats(980).unwrap();
        let judge = |name: &str| {
            let found = certificates.iter().find(|it| it.name == name).unwrap();
            own.judge(Some(&found.token), amount, now).map(drop)
        };
        assert_eq!(judge("with an audience"), Ok(()));
        assert_eq!(judge("with audiences"), Ok(()));
        assert_eq!(judge("good"), Err(CertificateFault::Stranger));
    }
}
