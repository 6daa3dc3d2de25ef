//! What routes and `unmatched` have in common: the price, and the terms of its payment.

use std::rc::Rc;

use tollway_core::caveat::{TIER_CREDITS, TIER_SESSION};
use tollway_core::minted::MintedCaveat;
use tollway_core::money::{MSAT_PER_SAT, Msat};
use tollway_core::pricing::{BodyNeed, Price, is_memo};
use tollway_core::tier::Tier;
use tollway_core::wire::{HOLD_TTL_MS_MAX, MEMO_BYTES_MAX, Overrun, Proof};

use super::free_tier::FreeTier;
use super::lease::{LeaseTerms, Spend};
use super::meter::Meter;
use super::mint::{mint_caveats, tier_wish};
use super::price::PriceReader;
use super::reader::{ConfigError, Node, Object};
use super::services::LIFE_S_MAX;
use super::{RefundOn, Service};

/// The highest price, and the most credit that one invoice sells.
pub(super) const PRICE_SATS_MAX: u64 = Msat::MAX.get() / MSAT_PER_SAT;
/// The fields that are read here, and the service's name.
pub(super) const TERMS: [&str; 24] = [
    "service",
    "price",
    "price_sats",
    "price_msat",
    "price_fiat",
    "class",
    "free",
    "body_bytes_max",
    "description",
    "refund_on",
    "charge_on",
    "meter",
    "hold_ttl_s",
    "mode",
    "free_tier",
    "idempotency",
    "overrun",
    "when_credit_ends",
    "mint_caveats",
    "tier_wish",
    "spend",
    "lease_max_sats",
    "exact_above_sats",
    "shadow",
];

const HOLD_TTL_S_DEFAULT: u64 = 300;
/// Enough for most questions to an API, and less than the proxy buffers.
const BODY_BYTES_DEFAULT: usize = 64 * 1024;
/// Envoy buffers no more unless it is told to, and every waiting request takes as much.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// A priced or free part of the API.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in logs, metrics and the ledger.
    pub name: String,
    /// The service it belongs to.
    pub service: Rc<Service>,
    /// What a request costs, or a session.
    pub price: Price,
    /// How much of a request's body is read, where the price hangs on it.
    pub body_bytes_max: usize,
    /// What the price buys.
    pub mode: Mode,
    /// The memo of its invoices.
    pub description: String,
    /// What a client has free before it must pay.
    pub free_tier: Option<FreeTier>,
    /// When a request is not charged.
    pub refund_on: RefundOn,
    /// What a request turns out to cost, where that is not its price.
    pub meter: Option<Meter>,
    /// What a client's `Idempotency-Key` does.
    pub idempotency: Idempotency,
    /// What happens to a cost above what was set aside for the request.
    pub overrun: Overrun,
    /// What becomes of a stream that costs more than can be set aside for it.
    pub when_credit_ends: WhenCreditEnds,
    /// What tokens that are sold here say beside the caveats that they need.
    pub mint_caveats: Vec<MintedCaveat>,
    /// The tiers that a client may choose from; none where it may not.
    pub tier_wish: Vec<Tier>,
    /// How long credit stays set aside for a request, from each time on that it is asked for.
    pub hold_ttl_ms: u64,
    /// How its requests are paid from their account.
    pub spend: Spend,
    /// Whether its price is only worked out and counted; `None` as the whole configuration says.
    pub shadow: Option<bool>,
}

/// What the price of a route buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each request spends from an account, which is filled in advance and topped up.
    Credits,
    /// Each invoice is for one request; a used token is not topped up.
    SingleUse,
    /// Time: requests cost nothing until the token expires, and are admitted without a call.
    Session {
        /// How long, from the challenge on.
        duration_s: u64,
    },
}

impl Mode {
    /// The tier in the `services` caveat of tokens that are sold here, and of those that open it.
    #[must_use]
    pub const fn tier(self) -> u8 {
        match self {
            Self::Credits | Self::SingleUse => TIER_CREDITS,
            Self::Session { .. } => TIER_SESSION,
        }
    }
}

/// What a client's `Idempotency-Key` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// Nothing; the upstream gets it as any other header.
    Off,
    /// A repeated request goes to the upstream and costs nothing.
    ChargeOnce,
    /// A repeated request gets the first one's response, if that was a success of at most 16 KiB
    /// without a content coding; else as [`Idempotency::ChargeOnce`].
    Replay,
}

/// What becomes of a stream that costs more than can be set aside for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenCreditEnds {
    /// It goes on, and its end is charged as [`Overrun`] says.
    GoOn,
    /// It ends: a stream of events with an event that says why, any other is cut off.
    End,
}

impl Route {
    /// What proves a payment here. A session is admitted without a call, by its preimage.
    #[must_use]
    pub fn proof(&self) -> Proof {
        match self.mode {
            Mode::Session { .. } => Proof::Preimage,
            Mode::Credits | Mode::SingleUse => self.service.form.proof,
        }
    }

    /// A route that costs nothing.
    pub(super) fn free(name: String, service: Rc<Service>) -> Self {
        Self {
            price: Price::Free,
            body_bytes_max: BODY_BYTES_DEFAULT,
            mode: Mode::Credits,
            description: format!("{} {name}", service.name),
            free_tier: None,
            refund_on: RefundOn::default(),
            meter: None,
            idempotency: Idempotency::Off,
            overrun: Overrun::Cap,
            when_credit_ends: WhenCreditEnds::GoOn,
            hold_ttl_ms: HOLD_TTL_S_DEFAULT * 1_000,
            spend: Spend::Exact,
            shadow: None,
            mint_caveats: service.mint_caveats.clone(),
            tier_wish: Vec::new(),
            name,
            service,
        }
    }
}

/// Reads the terms of a route.
pub(super) fn charge(
    fields: &Object<'_>,
    name: String,
    service: Rc<Service>,
    prices: &PriceReader,
) -> Result<Route, ConfigError> {
    let ttl_s = fields.integer("hold_ttl_s", HOLD_TTL_S_DEFAULT, 1..=HOLD_TTL_MS_MAX / 1_000)?;
    let mut route = Route::free(name, service);
    route.shadow = fields.optional("shadow").map(|node| node.flag()).transpose()?;
    route.price = prices.of_route(fields)?;
    route.body_bytes_max = body_bytes_max(fields, &route.price)?;
    route.hold_ttl_ms = ttl_s * 1_000;
    if let Some(node) = fields.optional("description") {
        route.description = description(&node)?;
    }
    route.refund_on = RefundOn::read(fields)?;
    if let Some(node) = fields.optional("meter") {
        if matches!(route.price, Price::Free) {
            return Err(node.problem(
                "expected none on a free route, but found one; write a price, which is the \
                 estimate"
                    .to_owned(),
            ));
        }
        route.meter = Some(Meter::read(&node)?);
    }
    if let Some(node) = fields.optional("mode") {
        route.mode = mode(&node)?;
    }
    one_price_for_time(fields, &route)?;
    route.free_tier = free_tier(fields, &route)?;
    for name in ["idempotency", "overrun", "when_credit_ends", "meter"] {
        if let (Mode::Session { .. }, Some(node)) = (route.mode, fields.optional(name)) {
            return Err(node.problem(
                "expected none on a session route, but found one; its requests are not charged"
                    .to_owned(),
            ));
        }
    }
    if let Some(node) = fields.optional("idempotency") {
        route.idempotency = idempotency(&node)?;
    }
    if let Some(node) = fields.optional("overrun") {
        route.overrun = overrun(&node)?;
    }
    if let Some(node) = fields.optional("when_credit_ends") {
        route.when_credit_ends = when_credit_ends(&node)?;
    }
    if let Some(minted) = mint_caveats(fields, route.service.form.profile)? {
        route.mint_caveats = minted;
    }
    route.tier_wish = tier_wish(fields, &route.price)?;
    route.spend = LeaseTerms::read(fields, route.service.lease)?.spend(fields, &route)?;
    Ok(route)
}

fn body_bytes_max(fields: &Object<'_>, price: &Price) -> Result<usize, ConfigError> {
    let Some(node) = fields.optional("body_bytes_max") else { return Ok(BODY_BYTES_DEFAULT) };
    if price.body_need() == BodyNeed::Nothing {
        return Err(node.problem(
            "expected none on a route whose price does not depend on the body, but found one; \
             leave it out"
                .to_owned(),
        ));
    }
    // The range fits 32 bits, the filter's word.
    node.integer(1, BODY_BYTES_MAX).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

fn mode(node: &Node<'_>) -> Result<Mode, ConfigError> {
    const EXPECTED: &str = "\"credits\", \"single_use\" or {\"session\": {\"duration_s\": 3600}}";
    if node.is_object() {
        let session = node.object(&["session"])?.required("session", "write its duration_s")?;
        let fields = session.object(&["duration_s"])?;
        let duration = fields.required("duration_s", "write how long one payment lasts")?;
        return Ok(Mode::Session { duration_s: duration.integer(1, LIFE_S_MAX)? });
    }
    match node.text(EXPECTED)? {
        "credits" => Ok(Mode::Credits),
        "single_use" => Ok(Mode::SingleUse),
        _ => Err(node.fault(EXPECTED, "write one of the three")),
    }
}

/// What time costs cannot hang on the request that happens to ask for it.
fn one_price_for_time(fields: &Object<'_>, route: &Route) -> Result<(), ConfigError> {
    match (route.mode, &route.price) {
        (Mode::SingleUse, price) if price.follows_the_moment() => Err(fields.problem(
            "expected a price in sats on a single-use route, but found one of the moment; it would \
             be another when the payment is used"
                .to_owned(),
        )),
        (Mode::Session { .. }, Price::Rule(_) | Price::Denied) => Err(fields.problem(
            "expected one price for all requests of a session route, but found a rule; write \
             price_sats or price_msat"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The route's own free tier, or its service's.
fn free_tier(fields: &Object<'_>, route: &Route) -> Result<Option<FreeTier>, ConfigError> {
    match fields.optional("free_tier") {
        None => Ok(route.service.free_tier.clone()),
        Some(node) if node.is_object() => {
            FreeTier::read(&node, format!("{}/{}", route.service.name, route.name)).map(Some)
        }
        Some(node) => match node.text("an object or \"off\"")? {
            "off" => Ok(None),
            _ => Err(node.fault("an object or \"off\"", "\"off\" leaves the service's out")),
        },
    }
}

fn idempotency(node: &Node<'_>) -> Result<Idempotency, ConfigError> {
    const EXPECTED: &str = "\"off\", \"charge_once\" or \"replay\"";
    match node.text(EXPECTED)? {
        "off" => Ok(Idempotency::Off),
        "charge_once" => Ok(Idempotency::ChargeOnce),
        "replay" => Ok(Idempotency::Replay),
        _ => Err(node.fault(EXPECTED, "write one of the three")),
    }
}

fn overrun(node: &Node<'_>) -> Result<Overrun, ConfigError> {
    const EXPECTED: &str = "\"cap\", \"debit_rest\" or {\"debt_sats\": 100}";
    if node.is_object() {
        let fields = node.object(&["debt_sats"])?;
        let limit = fields.required("debt_sats", "write how far an account may go below zero")?;
        let limit = Msat::from_sats(limit.integer(1, PRICE_SATS_MAX)?);
        return Ok(Overrun::Debt { limit_msat: limit.unwrap_or(Msat::MAX) });
    }
    match node.text(EXPECTED)? {
        "cap" => Ok(Overrun::Cap),
        "debit_rest" => Ok(Overrun::DebitRest),
        _ => Err(node.fault(EXPECTED, "write one of the three")),
    }
}

fn when_credit_ends(node: &Node<'_>) -> Result<WhenCreditEnds, ConfigError> {
    const EXPECTED: &str = "\"go_on\" or \"end\"";
    match node.text(EXPECTED)? {
        "go_on" => Ok(WhenCreditEnds::GoOn),
        "end" => Ok(WhenCreditEnds::End),
        _ => Err(node.fault(EXPECTED, "write one of the two")),
    }
}

fn description(node: &Node<'_>) -> Result<String, ConfigError> {
    let expected = format!("a text of at most {MEMO_BYTES_MAX} bytes without control characters");
    let text = node.text(&expected)?;
    if !is_memo(text) {
        return Err(node.fault(
            "a text in which \"{\" and \"}\" stand around method, path or query.name alone",
            "correct it, or leave the braces out",
        ));
    }
    if text.len() <= MEMO_BYTES_MAX && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(node.fault(&expected, "it becomes the memo of the route's invoices"))
    }
}
