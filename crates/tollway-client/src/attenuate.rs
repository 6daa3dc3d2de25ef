//! Narrower tokens, made offline: what an agent is handed instead of the whole account.

use tollway_core::budget::Budget;
use tollway_core::caveat::Caveat;
use tollway_core::macaroon::{CAVEATS_MAX, Macaroon, TOKEN_BYTES_MAX};
use tollway_core::money::Msat;

use crate::inspect::InspectError;
use crate::inspect::read;

/// What the narrower token is limited to; what is `None` stays as it was.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// The most that one request may cost.
    pub max_cost: Option<Msat>,
    /// The most that all requests of a window may cost; the gate's ledger counts them.
    pub budget: Option<Budget>,
    /// When it ends, Unix time in seconds.
    pub expires_at: Option<u64>,
    /// The only path.
    pub endpoint: Option<String>,
    /// The only method.
    pub method: Option<String>,
    /// The only client address.
    pub ip: Option<String>,
}

impl Limits {
    fn caveats(&self) -> Vec<Caveat> {
        let caveats = [
            self.max_cost.map(Caveat::MaxCost),
            self.budget.clone().map(Caveat::Budget),
            self.expires_at.map(Caveat::ExpiresAt),
            self.endpoint.clone().map(Caveat::Endpoint),
            self.method.clone().map(Caveat::Method),
            self.ip.clone().map(Caveat::Ip),
        ];
        caveats.into_iter().flatten().collect()
    }
}

/// Why no narrower token can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttenuateError {
    /// The text is no token.
    #[error(transparent)]
    Token(#[from] InspectError),
    /// It stands beside others, which would still open what this one does not.
    #[error("expected one macaroon, but found several; narrow each, or send one of them")]
    SeveralMacaroons,
    /// A limit that is none: an empty path, a method with a space.
    #[error("expected a limit that a gate can read, but found an odd path, method or address")]
    Limit,
    /// Nothing would be narrower.
    #[error("expected a limit, but found none; see --help")]
    NoLimit,
    /// More caveats, or more bytes, than a gate reads.
    #[error("the token cannot be narrowed further: a gate reads no longer one")]
    TooLong,
}

/// A credential that is narrower than `text` by these limits: `L402 <macaroon>:<preimage>`, or
/// the macaroon alone where no preimage came with it. Needs no key and asks nobody; whoever has
/// the original keeps it.
///
/// # Errors
/// [`AttenuateError`]; it never repeats the text.
pub fn attenuate(text: &str, limits: &Limits) -> Result<String, AttenuateError> {
    let parts = read::parts(text)?;
    if parts.more_macaroons > 0 {
        return Err(AttenuateError::SeveralMacaroons);
    }
    let caveats = limits.caveats();
    if caveats.is_empty() {
        return Err(AttenuateError::NoLimit);
    }
    let mut macaroon: Macaroon = parts.macaroon;
    for caveat in caveats {
        let bytes = caveat.to_string().into_bytes();
        if Caveat::parse(&bytes) != Ok(caveat) {
            return Err(AttenuateError::Limit);
        }
        macaroon = macaroon.attenuate(&bytes);
    }
    if macaroon.caveats().len() > CAVEATS_MAX || macaroon.encode().len() > TOKEN_BYTES_MAX {
        return Err(AttenuateError::TooLong);
    }
    let macaroon = macaroon.to_base64();
    Ok(match parts.preimage {
        Some(preimage) => format!("L402 {macaroon}:{}", preimage.reveal_hex()),
        None => macaroon,
    })
}

#[cfg(test)]
mod tests {
    use tollway_core::secret::RootKey;

    use super::*;

    fn token() -> (RootKey, Macaroon) {
        let key = RootKey::from_bytes([7; 32]);
        let token = Macaroon::mint(&key, "tollway", b"id").attenuate(b"services=a:0");
        (key, token)
    }

    fn budget() -> Limits {
        let Ok(Caveat::Budget(budget)) = Caveat::parse(b"budget=5000/day/agent") else {
            panic!("a budget")
        };
        Limits { budget: Some(budget), ..Limits::default() }
    }

    #[test]
    fn a_narrower_token_is_genuine_and_keeps_its_preimage() {
        let (key, token) = token();
        let preimage = "42".repeat(32);
        let limits = Limits {
            max_cost: Msat::new(1_500),
            expires_at: Some(9),
            endpoint: Some("/v1/a".into()),
            method: Some("GET".into()),
            ip: Some("::1".into()),
            ..budget()
        };
        for text in [format!("L402 {}:{preimage}", token.to_base64()), token.to_base64()] {
            let narrower = attenuate(&text, &limits).unwrap();
            let parts = read::parts(&narrower).unwrap();
            assert!(parts.macaroon.verify(&key));
            let caveats: Vec<_> = parts.macaroon.caveats().map(<[u8]>::to_vec).collect();
            let expected = [
                "services=a:0",
                "max_cost_msat=1500",
                "budget=5000/day/agent",
                "expires_at=9",
                "endpoint=/v1/a",
                "method=GET",
                "ip=::1",
            ];
            assert_eq!(caveats, expected.map(|text| text.as_bytes().to_vec()));
            assert_eq!(narrower.ends_with(&preimage), text.ends_with(&preimage));
        }
    }

    #[test]
    fn err_what_no_gate_would_read() {
        let (_, token) = token();
        let text = token.to_base64();
        let odd = |limits| attenuate(&text, &limits).unwrap_err();
        assert_eq!(odd(Limits::default()), AttenuateError::NoLimit);
        for limits in [
            Limits { endpoint: Some("v1".into()), ..Limits::default() },
            Limits { endpoint: Some("/a?b".into()), ..Limits::default() },
            Limits { endpoint: Some("/a ".into()), ..Limits::default() },
            Limits { method: Some("GET POST".into()), ..Limits::default() },
            Limits { ip: Some(String::new()), ..Limits::default() },
        ] {
            assert_eq!(odd(limits), AttenuateError::Limit);
        }
        assert_eq!(
            attenuate(&format!("{text},{text}:{}", "42".repeat(32)), &budget()),
            Err(AttenuateError::SeveralMacaroons)
        );
        assert!(matches!(attenuate("what", &budget()), Err(AttenuateError::Token(_))));
        let full = (1..CAVEATS_MAX).fold(token.clone(), |token, _| token.attenuate(b"method=GET"));
        assert_eq!(attenuate(&full.to_base64(), &budget()), Err(AttenuateError::TooLong));
    }
}
