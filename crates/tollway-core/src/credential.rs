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

use crate::budget::TokenBudget;
use crate::caveat::{Caveat, Caveats};
use crate::compat::{Admission, Format, lightning_toll, toll_booth};
use crate::id::KeyId;
use crate::identifier::Identifier;
use crate::keyring::Keyring;
use crate::macaroon::Macaroon;
use crate::minted::MintedCaveat;
use crate::money::Msat;
use crate::payment::{PaymentHash, Preimage};
pub use crate::verdict::{Rejection, RequestFacts};
use crate::wire::Proof;

/// The most macaroons in one credential; each is verified.
pub const MACAROONS_MAX: usize = 8;

/// A credential as presented: well formed, not verified.
///
/// Two are equal when their decoded bytes are, whatever carried them.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    tokens: Tokens,
    preimage: Option<Preimage>,
}

#[derive(Clone, PartialEq, Eq)]
enum Tokens {
    Macaroons(Vec<Macaroon>),
    LightningToll(lightning_toll::Token),
    /// None: the payment hash stands alone.
    None(PaymentHash),
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
        Self { tokens: Tokens::Macaroons(macaroons), preimage }
    }

    /// A credential of lightning-toll, which has one token.
    pub(crate) const fn lightning_toll(
        token: lightning_toll::Token,
        preimage: Option<Preimage>,
    ) -> Self {
        Self { tokens: Tokens::LightningToll(token), preimage }
    }

    /// A payment hash without a token.
    pub(crate) const fn hash_alone(payment_hash: PaymentHash, preimage: Option<Preimage>) -> Self {
        Self { tokens: Tokens::None(payment_hash), preimage }
    }

    /// The macaroons, in the order presented; none in a credential of lightning-toll.
    #[must_use]
    pub fn macaroons(&self) -> &[Macaroon] {
        match &self.tokens {
            Tokens::Macaroons(macaroons) => macaroons,
            Tokens::LightningToll(_) | Tokens::None(_) => &[],
        }
    }

    /// The preimage, if one was presented.
    #[must_use]
    pub const fn preimage(&self) -> Option<&Preimage> {
        self.preimage.as_ref()
    }

    /// Checks that the credential is genuine, and its preimage, if it has one, the payment's.
    ///
    /// All macaroons must be: a second one never helps a forged first one. A payment hash without
    /// a token is always genuine; [`VerifiedCredential::authorize`] says where that is enough.
    ///
    /// # Errors
    /// The first [`Rejection`] in its order.
    pub fn verify(&self, keyring: &Keyring) -> Result<VerifiedCredential, Rejection> {
        let (payment_hash, admits) = match &self.tokens {
            Tokens::LightningToll(token) => foreign(token.admit(keyring.legacy())?),
            Tokens::Macaroons(macaroons) => match macaroons.as_slice() {
                [token] if toll_booth::is_toll_booth(token) => {
                    foreign(toll_booth::admit(token, keyring.legacy())?)
                }
                macaroons => return self.verify_macaroons(macaroons, keyring),
            },
            // Without a token nothing says what it is good for.
            Tokens::None(payment_hash) => (*payment_hash, Admits::Native(Vec::new())),
        };
        self.check_preimage(&payment_hash)?;
        let preimage = self.preimage.clone();
        Ok(VerifiedCredential { payment_hash, preimage, key_ids: Vec::new(), admits })
    }

    fn check_preimage(&self, payment_hash: &PaymentHash) -> Result<(), Rejection> {
        match &self.preimage {
            Some(preimage) if !preimage.proves(payment_hash) => Err(Rejection::PreimageMismatch),
            _ => Ok(()),
        }
    }

    fn verify_macaroons(
        &self,
        macaroons: &[Macaroon],
        keyring: &Keyring,
    ) -> Result<VerifiedCredential, Rejection> {
        let mut key_ids = Vec::with_capacity(macaroons.len());
        let mut payment_hash = None;
        for macaroon in macaroons {
            let identifier = verify_origin(macaroon, keyring)?;
            if *payment_hash.get_or_insert(identifier.payment_hash) != identifier.payment_hash {
                return Err(Rejection::PaymentsDiffer);
            }
            key_ids.push(identifier.token_id.key_id());
        }
        // The parser never builds a credential without a macaroon; if it did, it proves nothing.
        let payment_hash = payment_hash.ok_or(Rejection::IdentifierUnknown)?;
        self.check_preimage(&payment_hash)?;
        let preimage = self.preimage.as_ref();
        let caveats = macaroons
            .iter()
            .map(|macaroon| Caveats::parse(macaroon.identifier(), macaroon.caveats(), preimage))
            .collect::<Result<_, _>>()?;
        let admits = Admits::Native(caveats);
        Ok(VerifiedCredential { payment_hash, preimage: preimage.cloned(), key_ids, admits })
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

/// A genuine credential; what it shows of its payment is true. Only [`Credential::verify`] builds
/// one.
#[derive(Clone, Debug)]
pub struct VerifiedCredential {
    payment_hash: PaymentHash,
    preimage: Option<Preimage>,
    key_ids: Vec<KeyId>,
    admits: Admits,
}

#[derive(Clone, Debug)]
enum Admits {
    /// What one of the macaroons admits to; there is none beside a hash alone.
    Native(Vec<Caveats>),
    Foreign(Admission),
}

fn foreign((payment_hash, admission): (PaymentHash, Admission)) -> (PaymentHash, Admits) {
    (payment_hash, Admits::Foreign(admission))
}

impl VerifiedCredential {
    /// The payment.
    #[must_use]
    pub const fn payment_hash(&self) -> PaymentHash {
        self.payment_hash
    }

    /// The proof, for the ledger, if it was shown.
    #[must_use]
    pub const fn preimage(&self) -> Option<&Preimage> {
        self.preimage.as_ref()
    }

    /// What was shown.
    #[must_use]
    pub fn shown(&self) -> Proof {
        match &self.admits {
            Admits::Native(list) if list.is_empty() => Proof::Hash,
            _ if self.preimage.is_none() => Proof::Lookup,
            _ => Proof::Preimage,
        }
    }

    /// The master keys that the macaroons were minted with; a cache forgets the credential when
    /// one of them leaves the ring.
    #[must_use]
    pub fn key_ids(&self) -> &[KeyId] {
        &self.key_ids
    }

    /// Whether [`VerifiedCredential::authorize`] looks at the client's address at all; few
    /// tokens are bound to one, and in a proxy it costs to ask.
    #[must_use]
    pub fn names_client_ip(&self) -> bool {
        match &self.admits {
            Admits::Native(caveats) => caveats.iter().any(Caveats::name_client_ip),
            Admits::Foreign(admission) => admission.name_client_ip(),
        }
    }

    /// How the token is written.
    #[must_use]
    pub const fn format(&self) -> Format {
        match &self.admits {
            Admits::Native(_) => Format::L402,
            Admits::Foreign(admission) => admission.format,
        }
    }

    /// The credit that a token of another paywall says it was sold with.
    #[must_use]
    pub const fn legacy_credit(&self) -> Option<Msat> {
        match &self.admits {
            Admits::Native(_) => None,
            Admits::Foreign(admission) => admission.credit,
        }
    }

    /// What a token of another paywall asks for where [`VerifiedCredential::authorize`] gives
    /// this rejection: the path, the method or the address.
    #[must_use]
    pub fn expected(&self, facts: &RequestFacts<'_>, why: Rejection) -> Option<&str> {
        match &self.admits {
            Admits::Native(_) => None,
            Admits::Foreign(admission) => admission.expected(facts, why),
        }
    }

    /// The most that this request may turn out to cost, by the caveats of the macaroon that
    /// [`VerifiedCredential::authorize`] admits it for.
    #[must_use]
    pub fn max_cost(&self, facts: &RequestFacts<'_>) -> Msat {
        let Admits::Native(list) = &self.admits else { return Msat::MAX };
        let admits = list.iter().find(|caveats| caveats.check(facts).is_ok());
        admits.map_or(Msat::MAX, Caveats::max_cost)
    }

    /// What the operator wrote into the token, in the first macaroon that has any of it.
    pub fn minted(&self) -> impl Iterator<Item = &MintedCaveat> {
        let list: &[Caveats] = match &self.admits {
            Admits::Native(list) => list,
            Admits::Foreign(_) => &[],
        };
        let first = list.iter().find(|caveats| caveats.minted().next().is_some());
        first.into_iter().flat_map(Caveats::minted)
    }

    /// Whether enough was shown and the caveats of at least one macaroon admit this request, and
    /// which budgets of that one it counts against, the outermost first.
    ///
    /// # Errors
    /// The [`Rejection`] of the macaroon that came furthest in the order of the checks.
    pub fn authorize(&self, facts: &RequestFacts<'_>) -> Result<&[TokenBudget], Rejection> {
        if self.shown() > facts.proof {
            return Err(Rejection::PreimageMissing);
        }
        let list = match &self.admits {
            Admits::Native(list) if list.is_empty() => return Ok(&[]),
            Admits::Native(list) => list,
            Admits::Foreign(admission) => return admission.check(facts).map(|()| &[][..]),
        };
        let mut furthest = Rejection::WrongService;
        for caveats in list {
            match caveats.check(facts) {
                Ok(()) => return Ok(caveats.budgets()),
                Err(rejection) => furthest = furthest.max(rejection),
            }
        }
        Err(furthest)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;
    use crate::entropy::Seed;
    use crate::identifier::TokenId;
    use crate::secret::{MasterKey, RootKey};
    use crate::wire::{KeyringKey, KeyringReply};

    const PREIMAGE: Preimage = Preimage::from_bytes([0x42; 32]);

    const FACTS: RequestFacts<'_> = RequestFacts {
        service: "joke",
        tier: crate::caveat::TIER_CREDITS,
        path: b"/v1/joke",
        method: b"GET",
        client_ip: None,
        now_ms: 1_000_000,
        cost: Msat::ZERO,
        proof: Proof::Preimage,
    };

    fn key(number: u32) -> MasterKey {
        MasterKey::from_bytes([number as u8; 32])
    }

    /// A ring of the keys 1 and 2, the second one current.
    fn keyring() -> Keyring {
        let keys = [1, 2].map(|n| KeyringKey { id: KeyId::new(n), secret: key(n) });
        let current = KeyId::new(2);
        let reply = KeyringReply {
            current,
            keys: keys.into(),
            seed: Seed::from_bytes([0; 32]),
            revoked: Vec::new(),
            legacy: Vec::new(),
            revision: 0,
            rates: Vec::new(),
            limited: Vec::new(),
        };
        Keyring::from_reply(&reply).unwrap()
    }

    fn identifier(key_id: u32, preimage: &Preimage) -> Identifier {
        let token_id = TokenId::new(KeyId::new(key_id), [9; 32]);
        Identifier { payment_hash: preimage.payment_hash(), token_id }
    }

    fn bare_token(key_id: u32, preimage: &Preimage) -> Macaroon {
        let identifier = identifier(key_id, preimage).encode();
        Macaroon::mint(&key(key_id).root_key(&identifier), "lsat", &identifier)
    }

    fn token() -> Macaroon {
        bare_token(2, &PREIMAGE).attenuate(b"services=joke:0").attenuate(b"joke_valid_until=2000")
    }

    fn verify(macaroons: &[Macaroon]) -> Result<VerifiedCredential, Rejection> {
        Credential::new(macaroons.into(), Some(PREIMAGE)).verify(&keyring())
    }

    fn with_preimage_caveat(byte: &str) -> Macaroon {
        token().attenuate(format!("preimage={}", byte.repeat(32)).as_bytes())
    }

    #[test]
    fn ok_a_paid_token_of_any_key_in_the_ring() {
        for id in [1, 2] {
            let token = bare_token(id, &PREIMAGE).attenuate(b"services=joke:0");
            let verified = verify(&[token]).unwrap();
            assert_eq!(verified.payment_hash(), PREIMAGE.payment_hash());
            assert_eq!(verified.preimage(), Some(&PREIMAGE));
            assert_eq!(verified.key_ids(), [KeyId::new(id)]);
            assert_eq!(verified.authorize(&FACTS), Ok(&[][..]));
        }
    }

    #[test]
    fn ok_the_preimage_repeated_in_a_caveat_or_only_there() {
        let token = with_preimage_caveat("42");
        for preimage in [Some(PREIMAGE), None] {
            let credential = Credential::new([token.clone()].into(), preimage);
            let verified = credential.verify(&keyring()).unwrap();
            assert_eq!(verified.authorize(&FACTS), Ok(&[][..]));
        }
    }

    #[test]
    fn err_in_the_order_of_the_checks() {
        use Rejection::*;
        let other = Preimage::from_bytes([0x43; 32]);
        let of_other_payment = bare_token(2, &other).attenuate(b"services=joke:0");
        let root = RootKey::from_bytes([2; 32]);
        let version_1 = {
            let mut bytes = identifier(2, &PREIMAGE).encode();
            bytes[1] = 1;
            Macaroon::mint(&key(2).root_key(&bytes), "lsat", &bytes)
        };
        let underived = Macaroon::mint(&root, "lsat", &identifier(2, &PREIMAGE).encode());
        let foreign = bare_token(3, &PREIMAGE);
        for (macaroons, expected) in [
            (&[][..], IdentifierUnknown),
            (&[Macaroon::mint(&root, "lsat", b"id")], IdentifierUnknown),
            (&[version_1], IdentifierUnknown),
            (&[foreign], KeyUnknown),
            (core::slice::from_ref(&underived), SignatureInvalid),
            (&[token(), underived.clone()], SignatureInvalid),
            (&[token(), of_other_payment.clone()], PaymentsDiffer),
            (&[of_other_payment], PreimageMismatch),
            (&[with_preimage_caveat("43")], PreimageMismatch),
            (&[token().attenuate(b"x=y"), with_preimage_caveat("43")], CaveatUnknown),
            (&[with_preimage_caveat("42").attenuate(b"tier=gold")], CaveatUnknown),
            (&[token().attenuate(b"joke_capabilities=tell")], CaveatUnknown),
            (&[token().attenuate(b"expires_at=never")], CaveatMalformed),
            (&[token().attenuate(b"\xff=1")], CaveatMalformed),
            (&[token().attenuate(b"services=joke:0,time:0")], CaveatWidens),
            (&[token().attenuate(b"joke_valid_until=2001")], CaveatWidens),
            (&[bare_token(2, &PREIMAGE)], WrongService),
            (&[token(), bare_token(1, &PREIMAGE)], WrongService),
        ] {
            assert_eq!(verify(macaroons).unwrap_err(), expected, "{macaroons:?}");
        }
    }

    #[test]
    fn a_missing_preimage_is_told_only_for_a_genuine_token() {
        let without = |token| {
            let verified = Credential::new([token].into(), None).verify(&keyring())?;
            verified.authorize(&FACTS).map(drop)
        };
        assert_eq!(without(token()), Err(Rejection::PreimageMissing));
        assert_eq!(without(bare_token(3, &PREIMAGE)), Err(Rejection::KeyUnknown));
        assert_eq!(without(token().attenuate(b"tier=gold")), Err(Rejection::CaveatUnknown));
        assert_eq!(without(with_preimage_caveat("42")), Ok(()));
    }

    #[test]
    fn what_must_be_shown_is_the_routes_affair_and_the_rest_of_the_token_too() {
        let hash = PREIMAGE.payment_hash();
        let whole = Credential::new([token()].into(), Some(PREIMAGE));
        let bare = Credential::new([token()].into(), None);
        let alone = Credential::hash_alone(hash, None);
        let alone_and_paid = Credential::hash_alone(hash, Some(PREIMAGE));
        for (credential, shown) in [
            (&whole, Proof::Preimage),
            (&bare, Proof::Lookup),
            (&alone, Proof::Hash),
            (&alone_and_paid, Proof::Hash),
        ] {
            let verified = credential.verify(&keyring()).unwrap();
            assert_eq!((verified.payment_hash(), verified.shown()), (hash, shown));
            for proof in [Proof::Preimage, Proof::Lookup, Proof::Hash] {
                let enough = verified.authorize(&RequestFacts { proof, ..FACTS }).map(drop);
                let expected =
                    if shown <= proof { Ok(()) } else { Err(Rejection::PreimageMissing) };
                assert_eq!(enough, expected, "{shown:?} where {proof:?} is asked for");
            }
        }
        let late = RequestFacts { proof: Proof::Hash, now_ms: 2_000_000, ..FACTS };
        assert_eq!(bare.verify(&keyring()).unwrap().authorize(&late), Err(Rejection::Expired));
        let other = PaymentHash::from_bytes([9; 32]);
        let wrong = Credential::hash_alone(other, Some(PREIMAGE)).verify(&keyring());
        assert_eq!(wrong.unwrap_err(), Rejection::PreimageMismatch);
    }

    #[test]
    fn err_a_caveat_that_was_changed_or_taken_away() {
        let genuine = token();
        let rebuilt = |caveats: &[&[u8]], signature: &[u8; 32]| {
            let token = bare_token(2, &PREIMAGE);
            let token = caveats.iter().fold(token, |token, caveat| token.attenuate(caveat));
            let mut bytes = token.encode();
            let at = bytes.len() - 32;
            bytes[at..].copy_from_slice(signature);
            verify(&[Macaroon::decode(&bytes).unwrap()]).map(drop)
        };
        let [first, second] = [&b"services=joke:0"[..], b"joke_valid_until=2000"];
        assert_eq!(rebuilt(&[first, second], genuine.signature()), Ok(()));
        for caveats in [
            &[][..],
            &[first],
            &[second, first],
            &[b"services=time:0", second],
            &[first, b"joke_valid_until=9000"],
            &[first, second, b"expires_at=9"],
        ] {
            let found = rebuilt(caveats, genuine.signature());
            assert_eq!(found, Err(Rejection::SignatureInvalid));
        }
    }

    #[test]
    fn caveats_are_asked_again_for_every_request() {
        let verified = verify(&[token()]).unwrap();
        assert_eq!(verified.authorize(&FACTS), Ok(&[][..]));
        let later = RequestFacts { now_ms: 2_000_000, ..FACTS };
        assert_eq!(verified.authorize(&later), Err(Rejection::Expired));
        let elsewhere = RequestFacts { service: "time", ..FACTS };
        assert_eq!(verified.authorize(&elsewhere), Err(Rejection::WrongService));
    }

    #[test]
    fn one_macaroon_that_admits_is_enough() {
        let head = token().attenuate(b"method=HEAD");
        let time = bare_token(1, &PREIMAGE).attenuate(b"services=time:0");
        let verified = verify(&[head.clone(), token(), time.clone()]).unwrap();
        assert_eq!(verified.authorize(&FACTS), Ok(&[][..]));
        assert_eq!(verified.key_ids(), [2, 2, 1].map(KeyId::new));
        // The rejection of the one that came furthest, in either order.
        for macaroons in [[head.clone(), time.clone()], [time, head]] {
            let verified = verify(&macaroons).unwrap();
            assert_eq!(verified.authorize(&FACTS), Err(Rejection::WrongMethod));
        }
    }

    #[test]
    fn a_budget_is_named_by_the_token_that_it_was_added_to() {
        let verified = |macaroons: &[Macaroon]| verify(macaroons).unwrap();
        let ids = |macaroons: &[Macaroon]| -> Vec<_> {
            let verified = verified(macaroons);
            verified.authorize(&FACTS).unwrap().iter().map(|budget| budget.id).collect()
        };
        let first = token().attenuate(b"budget=9/day");
        let outer = ids(core::slice::from_ref(&first));
        assert_eq!(outer.len(), 1);
        // Whoever narrows it further spends from it, and perhaps from a budget of its own.
        assert_eq!(ids(&[first.clone().attenuate(b"method=GET")]), outer);
        let second = first.clone().attenuate(b"method=GET").attenuate(b"budget=9/day");
        let inner = ids(core::slice::from_ref(&second));
        assert_eq!((inner.len(), inner[0]), (2, outer[0]));
        assert_ne!(inner[1], inner[0]);
        // Other tokens, and other narrowings of one, have budgets of their own.
        for other in [
            token().attenuate(b"budget=9/day/a"),
            token().attenuate(b"budget = 9/day"),
            token().attenuate(b"method=GET").attenuate(b"budget=9/day"),
            bare_token(1, &PREIMAGE).attenuate(b"services=joke:0").attenuate(b"budget=9/day"),
        ] {
            assert_ne!(ids(&[other]), outer);
        }
        // The macaroon that admits is the one that pays.
        assert_eq!(ids(&[token(), first.clone()]), []);
        assert_eq!(ids(&[first.clone(), token()]), outer);
        let eight =
            (0..crate::budget::BUDGETS_MAX).fold(token(), |t, _| t.attenuate(b"budget=9/day"));
        assert_eq!(ids(core::slice::from_ref(&eight)).len(), crate::budget::BUDGETS_MAX);
        let nine = verify(&[eight.attenuate(b"budget=9/day")]);
        assert_eq!(nine.unwrap_err(), Rejection::CaveatMalformed);
        let dear = RequestFacts { cost: Msat::new(10).unwrap(), ..FACTS };
        assert_eq!(verified(&[first]).authorize(&dear), Err(Rejection::CostTooHigh));
    }

    #[test]
    fn debug_shows_no_secret() {
        let credential = Credential::new([with_preimage_caveat("42")].into(), Some(PREIMAGE));
        let verified = credential.verify(&keyring()).unwrap();
        let shown = format!("{credential:?} {verified:?}");
        let shown = shown.replace(&PREIMAGE.payment_hash().to_hex(), "");
        assert!(!shown.contains("4242") && !shown.contains("66, 66"), "{shown}");
    }

    #[test]
    fn reasons_have_codes_of_their_own_and_a_remedy() {
        use Rejection::*;
        let all = [
            IdentifierUnknown,
            KeyUnknown,
            SignatureInvalid,
            PaymentsDiffer,
            PreimageMismatch,
            CaveatUnknown,
            CaveatMalformed,
            CaveatWidens,
            PreimageMissing,
            WrongService,
            Expired,
            WrongEndpoint,
            WrongMethod,
            WrongIp,
            CostTooHigh,
        ];
        assert!(all.is_sorted(), "the order of the checks");
        let mut codes: Vec<_> = all.iter().map(|rejection| rejection.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all.len());
        for rejection in all {
            assert!(rejection.to_string().ends_with('.'), "{rejection}");
        }
    }
}
