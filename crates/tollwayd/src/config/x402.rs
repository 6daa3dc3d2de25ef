//! x402: what is taken for payment in a token of an EVM chain, and who settles it.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use tollway_core::rates::Currency;
use tollway_core::secret::SecretText;

use super::secrets::{RawSecret, secret};
use super::{ConfigError, Environment, NodeUrl, RatesConfig};

/// The networks that the first version of the protocol has names for. Its clients refuse a whole
/// answer that has another.
const NAMES: [(u64, &str); 15] = [
    (8_453, "base"),
    (84_532, "base-sepolia"),
    (43_114, "avalanche"),
    (43_113, "avalanche-fuji"),
    (137, "polygon"),
    (80_002, "polygon-amoy"),
    (1_329, "sei"),
    (1_328, "sei-testnet"),
    (4_689, "iotex"),
    (2_741, "abstract"),
    (11_124, "abstract-testnet"),
    (3_338, "peaq"),
    (1_514, "story"),
    (41_923, "educhain"),
    (324_705_682, "skale-base-sepolia"),
];
/// The most decimal places of a token: Ether has 18.
const DECIMALS_MAX: u32 = 18;
/// The longest name or version of a token's EIP-712 domain, in bytes.
const DOMAIN_BYTES_MAX: usize = 64;
/// Bounds of the waits, in ms.
const VERIFY_MS_MAX: u64 = 30_000;
/// Below what the door gives a call: a later settlement is written down, and found when the payment
/// is shown again.
const SETTLE_MS_MAX: u64 = 25_000;
/// The longest time that a signed payment may take, in seconds.
const PAYMENT_S_MAX: u64 = 3_600;

/// x402 as typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawX402 {
    facilitator: String,
    facilitator_token: Option<RawSecret>,
    public_url: String,
    network: String,
    pay_to: String,
    asset: String,
    asset_name: String,
    asset_version: String,
    #[serde(default = "six")]
    decimals: u32,
    currency: String,
    #[serde(default = "verify_timeout_ms")]
    verify_timeout_ms: u64,
    #[serde(default = "settle_timeout_ms")]
    settle_timeout_ms: u64,
    #[serde(default = "payment_timeout_s")]
    payment_timeout_s: u64,
}

const fn six() -> u32 {
    6
}

const fn verify_timeout_ms() -> u64 {
    1_500
}

const fn settle_timeout_ms() -> u64 {
    20_000
}

const fn payment_timeout_s() -> u64 {
    300
}

/// How requests are paid for with x402.
#[derive(Clone, Debug)]
pub struct X402Config {
    /// Who verifies and settles.
    pub facilitator: NodeUrl,
    /// What it wants to see with every call.
    pub facilitator_token: Option<SecretText>,
    /// What is sold, as clients are told: the address of the whole API.
    pub public_url: Url,
    /// The chain: its number, and its name in the first version of the protocol.
    pub chain: Chain,
    /// Who is paid.
    pub pay_to: EvmAddress,
    /// In which token.
    pub asset: EvmAddress,
    /// The token's EIP-712 domain: its name.
    pub asset_name: String,
    /// The token's EIP-712 domain: its version.
    pub asset_version: String,
    /// How many decimal places the token has.
    pub decimals: u32,
    /// What one token is worth.
    pub currency: Currency,
    /// How long the facilitator may take to verify.
    pub verify_timeout: Duration,
    /// How long it may take to settle.
    pub settle_timeout: Duration,
    /// How long a client has from the offer to the settlement, in seconds.
    pub payment_timeout_s: u64,
}

impl std::fmt::Display for X402Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (asset, chain) = (self.asset.as_str(), self.chain.caip2());
        write!(f, "{asset} on {chain}, to {}, by {}", self.pay_to.as_str(), self.facilitator)
    }
}

/// An EVM chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    id: u64,
    name: Option<&'static str>,
}

impl Chain {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("eip155:")?;
        let id = digits.parse().ok().filter(|id: &u64| *id > 0 && id.to_string() == digits)?;
        let name = NAMES.iter().find(|(known, _)| *known == id).map(|(_, name)| *name);
        Some(Self { id, name })
    }

    /// Its name in CAIP-2.
    #[must_use]
    pub fn caip2(self) -> String {
        format!("eip155:{}", self.id)
    }

    /// Its name in the first version of the protocol, if it has one there.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        self.name
    }
}

/// An address on an EVM chain. Two are equal whatever the case of their letters.
#[derive(Clone, Debug, Eq)]
pub struct EvmAddress(String);

impl EvmAddress {
    /// Reads `0x` and forty hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x")?;
        let proper = digits.len() == 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        proper.then(|| Self(text.to_owned()))
    }

    /// As it was typed: its letters' case is a checksum.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for EvmAddress {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl RawX402 {
    pub(super) fn resolve(
        &self,
        rates: &RatesConfig,
        env: Environment<'_>,
    ) -> Result<X402Config, ConfigError> {
        let facilitator = NodeUrl::parse(&self.facilitator)
            .map_err(|problem| fault("x402.facilitator", problem.to_string(), NodeUrl::REMEDY))?;
        let public_url = public_url("x402.public_url", &self.public_url)?;
        let chain = Chain::parse(&self.network).ok_or_else(|| {
            let problem = format!("expected an EVM chain, but found {:?}", self.network);
            fault("x402.network", problem, "write it as \"eip155:8453\"")
        })?;
        let currency = Currency::parse(&self.currency)
            .filter(|currency| rates.sources.iter().any(|source| source.currency == *currency));
        let currency = currency.ok_or_else(|| {
            let problem = format!("expected a currency of rates, but found {:?}", self.currency);
            fault("x402.currency", problem, "add a [[rates.source]] for what one token is worth")
        })?;
        self.check()?;
        let token = self.facilitator_token.as_ref();
        Ok(X402Config {
            facilitator,
            facilitator_token: token
                .map(|token| secret(token, "x402.facilitator_token", env))
                .transpose()?,
            public_url,
            chain,
            pay_to: address("x402.pay_to", &self.pay_to)?,
            asset: address("x402.asset", &self.asset)?,
            asset_name: domain("x402.asset_name", &self.asset_name)?,
            asset_version: domain("x402.asset_version", &self.asset_version)?,
            decimals: self.decimals,
            currency,
            verify_timeout: Duration::from_millis(self.verify_timeout_ms),
            settle_timeout: Duration::from_millis(self.settle_timeout_ms),
            payment_timeout_s: self.payment_timeout_s,
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        let decimals = u64::from(self.decimals);
        for (field, number, least, most) in [
            ("x402.decimals", decimals, 0, u64::from(DECIMALS_MAX)),
            ("x402.verify_timeout_ms", self.verify_timeout_ms, 1, VERIFY_MS_MAX),
            ("x402.settle_timeout_ms", self.settle_timeout_ms, 1, SETTLE_MS_MAX),
            ("x402.payment_timeout_s", self.payment_timeout_s, 10, PAYMENT_S_MAX),
        ] {
            if !(least..=most).contains(&number) {
                let problem = format!("expected {least} to {most}, but found {number}");
                return Err(fault(field, problem, "leave it out for the usual value"));
            }
        }
        Ok(())
    }
}

fn public_url(field: &'static str, text: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| {
        let problem = format!("expected a URL, but found {text:?}");
        fault(field, problem, "write where clients find the API")
    })
}

/// x402 over Lightning as typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawX402OverLightning {
    public_url: String,
}

impl RawX402OverLightning {
    pub(super) fn resolve(&self) -> Result<Url, ConfigError> {
        public_url("x402_over_lightning.public_url", &self.public_url)
    }
}

fn address(field: &'static str, text: &str) -> Result<EvmAddress, ConfigError> {
    EvmAddress::parse(text).ok_or_else(|| {
        let problem = format!("expected 0x and 40 hexadecimal digits, but found {text:?}");
        fault(field, problem, "copy the address from your wallet or the token's page")
    })
}

fn domain(field: &'static str, text: &str) -> Result<String, ConfigError> {
    if (1..=DOMAIN_BYTES_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    let problem = format!("expected 1 to {DOMAIN_BYTES_MAX} bytes, but found {}", text.len());
    Err(fault(field, problem, "write it as the token's contract says it, like \"USDC\" and \"2\""))
}

fn fault(field: &'static str, problem: String, remedy: &str) -> ConfigError {
    ConfigError::Value { field, problem, remedy: remedy.to_owned() }
}
