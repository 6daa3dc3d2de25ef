//! The form of challenges and refusals: ours, lightning-toll's or toll-booth's.

use tollway_core::challenge::{Challenge, ChallengeNotes, ChallengeTerms, PAYMENT_REQUIRED};
use tollway_core::compat::lightning_toll::{self, Bindings};
use tollway_core::compat::{Format, LegacyKey, toll_booth};
use tollway_core::credential::{Rejection, RequestFacts, VerifiedCredential};
use tollway_core::header::Malformed;
use tollway_core::keyring::Keyring;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::Proof;

use super::offer::Offer;
use super::{Context, Exchange, Step};
use crate::config::{Form, Mode, Route};
use crate::host::{Reply, Stream};
use crate::ledger::CallFault;
use crate::metrics::Decision;
use crate::reply;

/// An invoice, and what it sells.
pub(super) struct Sold {
    pub(super) payment_hash: PaymentHash,
    pub(super) invoice: String,
    pub(super) amount: Msat,
    pub(super) credit: Msat,
    pub(super) invoice_expires_at: u64,
}

/// The form of what is sold on a route. Time is sold in ours: no other format tells a token that
/// buys time from one that buys credit.
fn profile(route: &Route) -> Format {
    match route.mode {
        Mode::Session { .. } => Format::L402,
        Mode::Credits | Mode::SingleUse => route.service.form.profile,
    }
}

/// What this request must show.
pub(super) fn proof_asked(context: &Context, credential: &VerifiedCredential) -> Proof {
    match context.headers.find("x-toll-top-up") {
        // Whose token pays into an account spends from it, and nobody has judged yet whether one
        // without its preimage may.
        Some(_) if !credential.shown().is_preimage() => Proof::Preimage,
        _ => context.route.proof(),
    }
}

impl Exchange {
    /// The 402 with this invoice.
    pub(super) fn sold(
        &self,
        stream: &impl Stream,
        context: &Context,
        offer: &Offer,
        sold: &Sold,
    ) -> Result<Reply, CallFault> {
        let (service, mode) = (&context.route.service, context.route.mode);
        let valid_for_s = match mode {
            Mode::Session { duration_s } => duration_s,
            Mode::Credits | Mode::SingleUse => service.credential_ttl_s,
        };
        let valid_until = (stream.now_ms() / 1_000).saturating_add(valid_for_s);
        let minted = self.gate.with_keyring(|keyring| match profile(&context.route) {
            Format::L402 => {
                let terms = ChallengeTerms {
                    location: &self.gate.config().location,
                    payment_hash: sold.payment_hash,
                    service: &service.name,
                    tier: mode.tier(),
                    valid_until,
                    random: self.gate.random(),
                };
                let minted = &context.route.mint_caveats;
                let challenge = Challenge::mint_with(keyring, terms, minted, &sold.invoice);
                let challenge = challenge.map_err(|_| CallFault::Garbage)?;
                Ok(own_form(&challenge, context, offer, sold))
            }
            Format::LightningToll => {
                lightning_toll_form(stream, keyring, context, (valid_until, sold))
            }
            Format::TollBooth => toll_booth_form(keyring, context, (self.gate.random(), sold)),
        });
        minted.unwrap_or(Err(CallFault::Garbage))
    }

    /// Answers a credential that is not accepted: by a challenge, or with an error where the
    /// profile has it so.
    pub(super) fn refuse(&mut self, stream: &impl Stream, context: Context, offer: Offer) -> Step {
        self.invalid(stream);
        match &offer.error {
            Some(error) if profile(&context.route) == Format::LightningToll => {
                stream.note(crate::host::LogField::Reason, offer.code);
                let answer = reply::unauthorized(error, context.grpc);
                self.answer(stream, Decision::Denied, answer)
            }
            _ => self.challenge(stream, context, offer),
        }
    }
}

fn own_form(challenge: &Challenge, context: &Context, offer: &Offer, sold: &Sold) -> Reply {
    let Form { reject_status, lsat_line, token_parameter, .. } = context.route.service.form;
    let credit = match context.route.mode {
        Mode::Session { .. } => None,
        Mode::Credits | Mode::SingleUse => Some(sold.credit),
    };
    let mut body = challenge.body(ChallengeNotes {
        detail: &offer.detail,
        code: offer.code,
        problem: offer.problem.as_deref().unwrap_or(PAYMENT_REQUIRED),
        amount: sold.amount,
        price: context.cost,
        credit,
        invoice_expires_at: sold.invoice_expires_at,
        description: &context.description(),
        balance: offer.balance,
    });
    if offer.rejected && reject_status != body.status {
        body.status = reject_status;
        body.title = "Unauthorized".into();
    }
    let mut lines = Vec::new();
    if lsat_line {
        lines.push(challenge.lsat());
    }
    let mut line = challenge.www_authenticate();
    if token_parameter {
        line.push_str(&format!(r#", version="0", token="{}""#, body.macaroon));
    }
    lines.push(line);
    match &context.rpc_id {
        Some(id) => reply::challenge_in_json_rpc(lines, &body, id),
        None => reply::challenge(lines, &body, context.grpc),
    }
}

fn lightning_toll_form(
    stream: &impl Stream,
    keyring: &Keyring,
    context: &Context,
    (valid_until, sold): (u64, &Sold),
) -> Result<Reply, CallFault> {
    let service = &context.route.service;
    let key = keyring.legacy().iter().find_map(|key| key.lightning_toll(&service.name));
    let key = key.ok_or(CallFault::NoLegacyKey)?;
    let binding = service.form.binding;
    let header = |name, wanted: bool| {
        let value = context.headers.find(name).filter(|_| wanted);
        value.and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    };
    let ip = if binding.ip { stream.client_address() } else { None };
    let bindings = Bindings {
        expires_at: valid_until,
        endpoint: path(header(":path", binding.endpoint)),
        method: header(":method", binding.method),
        ip: ip.as_deref().unwrap_or_default(),
    };
    let token = lightning_toll::Token::mint(key, &sold.payment_hash.to_hex(), &bindings);
    let challenge = lightning_toll::Challenge {
        token: &token,
        invoice: &sold.invoice,
        amount_sats: sold.amount.to_sats_rounded_up(),
        description: &context.description(),
    };
    let line = challenge.www_authenticate().ok_or(CallFault::Garbage)?;
    Ok(reply::foreign_challenge(line, challenge.body(), context.grpc))
}

fn toll_booth_form(
    keyring: &Keyring,
    context: &Context,
    (random, sold): ([u8; 32], &Sold),
) -> Result<Reply, CallFault> {
    let service = &context.route.service.name;
    let key = keyring.legacy().iter().find_map(|key: &LegacyKey| key.toll_booth(service));
    let key = key.ok_or(CallFault::NoLegacyKey)?;
    let target = context.headers.find(":path").unwrap_or_default();
    let challenge = toll_booth::Challenge {
        token: &toll_booth::mint(key, sold.payment_hash, random, sold.credit.get() / 1_000),
        invoice: &sold.invoice,
        payment_hash: sold.payment_hash,
        amount_sats: sold.amount.to_sats_rounded_up(),
        description: &context.description(),
        route: path(core::str::from_utf8(target).unwrap_or_default()),
    };
    let line = challenge.www_authenticate().ok_or(CallFault::Garbage)?;
    Ok(reply::foreign_challenge(line, challenge.body(), context.grpc))
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// What lightning-toll says of a credential that cannot be read; nothing of one that it does not
/// see as a credential.
pub(super) fn malformed_error(fault: Malformed) -> Option<Box<str>> {
    match fault {
        Malformed::Empty | Malformed::BadParameters => None,
        Malformed::BadPreimage => Some(WRONG_PREIMAGE.into()),
        _ => Some("Invalid macaroon".into()),
    }
}

const WRONG_PREIMAGE: &str = "Invalid preimage \u{2014} does not match payment hash";

/// What lightning-toll says of a credential that is not genuine.
pub(super) fn rejection_error(fault: Rejection) -> Option<Box<str>> {
    let error = match fault {
        Rejection::PreimageMissing => return None,
        Rejection::PreimageMismatch | Rejection::IdentifierUnknown => WRONG_PREIMAGE,
        Rejection::SignatureInvalid => "Invalid macaroon signature",
        Rejection::CaveatMalformed => "Malformed caveat",
        Rejection::CaveatUnknown => "Unknown caveat",
        Rejection::Expired => "Macaroon expired",
        _ => "Invalid macaroon",
    };
    Some(error.into())
}

/// What lightning-toll says of a credential that does not admit the request.
pub(super) fn mismatch_error(
    fault: Rejection,
    credential: &VerifiedCredential,
    facts: &RequestFacts<'_>,
) -> Option<Box<str>> {
    let (name, got) = match fault {
        Rejection::WrongEndpoint => ("Endpoint", String::from_utf8_lossy(facts.path)),
        Rejection::WrongMethod => ("Method", String::from_utf8_lossy(facts.method)),
        Rejection::WrongIp => ("IP", facts.client_ip.unwrap_or("unknown").into()),
        _ => return rejection_error(fault),
    };
    let expected = credential.expected(facts, fault).unwrap_or_default();
    Some(format!("{name} mismatch: expected {expected}, got {got}").into())
}
