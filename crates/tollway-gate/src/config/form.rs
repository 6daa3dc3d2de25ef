//! How tokens and challenges are written: our own form, or another paywall's while its customers
//! move here.

use tollway_core::compat::Format;
use tollway_core::wire::Proof;

use super::reader::{ConfigError, Node, Object};

/// The fields that are read here, of the whole and of a service.
pub(super) const FORM: [&str; 9] = [
    "accept_formats",
    "profile",
    "token_binding",
    "reject_status",
    "lsat_line",
    "token_parameter",
    "proof",
    "payment_scheme",
    "x402",
];

/// How tokens and challenges are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The formats of tokens that are accepted.
    accept: [bool; Format::ALL.len()],
    /// In whose form challenges are.
    pub profile: Format,
    /// What a token of the profile lightning-toll is bound to.
    pub binding: Binding,
    /// The status of a challenge to a credential that is not accepted: 402 or 401.
    pub reject_status: u16,
    /// Whether the challenge stands in a line with the scheme LSAT too, before the other.
    pub lsat_line: bool,
    /// Whether the challenge says the token again as `token`, after a `version`.
    pub token_parameter: bool,
    /// What proves a payment, but for sessions.
    pub proof: Proof,
    /// Whether requests may be paid by the scheme `Payment` too.
    pub payment_scheme: bool,
    /// Whether requests may be paid with x402 too.
    pub x402: bool,
}

/// What a new token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The request's path.
    pub endpoint: bool,
    /// The request's method.
    pub method: bool,
    /// The client's address.
    pub ip: bool,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            accept: accepted(&[Format::L402]),
            profile: Format::L402,
            binding: Binding { endpoint: true, method: true, ip: false },
            reject_status: 402,
            lsat_line: false,
            token_parameter: false,
            proof: Proof::Preimage,
            payment_scheme: false,
            x402: false,
        }
    }
}

fn accepted(formats: &[Format]) -> [bool; Format::ALL.len()] {
    Format::ALL.map(|format| formats.contains(&format))
}

impl Form {
    /// Whether tokens of this format are accepted.
    #[must_use]
    pub fn accepts(&self, format: Format) -> bool {
        Format::ALL.iter().zip(self.accept).any(|(known, accepted)| *known == format && accepted)
    }

    /// Whether requests may be paid on other rails than L402.
    #[must_use]
    pub const fn has_other_rails(&self) -> bool {
        self.payment_scheme || self.x402
    }

    /// Reads the form of an object; what it does not say is as in `above`.
    pub(super) fn read(fields: &Object<'_>, above: Self) -> Result<Self, ConfigError> {
        let mut form = above;
        if let Some(node) = fields.optional("profile") {
            form.profile = format(&node)?;
            if !form.accepts(form.profile) {
                form.accept = accepted(&[Format::L402, form.profile]);
            }
        }
        if let Some(node) = fields.optional("accept_formats") {
            let formats = node.items(Format::ALL.len())?;
            let formats = formats.iter().map(format).collect::<Result<Vec<_>, _>>()?;
            form.accept = accepted(&formats);
            if !form.accepts(form.profile) {
                return Err(node.problem(format!(
                    "expected the profile's format, but found only others; add \"{}\", or nobody \
                     can use what is sold",
                    form.profile.name()
                )));
            }
        }
        if let Some(node) = fields.optional("token_binding") {
            form.binding = Binding::read(&node)?;
        }
        if let Some(node) = fields.optional("reject_status") {
            form.reject_status = match node.integer(401, 402)? {
                401 => 401,
                _ => 402,
            };
        }
        for (name, flag) in [
            ("lsat_line", &mut form.lsat_line),
            ("token_parameter", &mut form.token_parameter),
            ("payment_scheme", &mut form.payment_scheme),
            ("x402", &mut form.x402),
        ] {
            if let Some(node) = fields.optional(name) {
                *flag = node.flag()?;
            }
        }
        if let Some(node) = fields.optional("proof") {
            form.proof = proof(&node)?;
        }
        Ok(form)
    }
}

fn proof(node: &Node<'_>) -> Result<Proof, ConfigError> {
    const EXPECTED: &str = "\"preimage\", \"lookup\" or \"payment_hash_alone\"";
    match node.text(EXPECTED)? {
        "preimage" => Ok(Proof::Preimage),
        "lookup" => Ok(Proof::Lookup),
        "payment_hash_alone" => Ok(Proof::Hash),
        _ => Err(node.fault(EXPECTED, "write one of the three")),
    }
}

impl Binding {
    fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        const EXPECTED: &str = "\"endpoint\", \"method\" or \"ip\"";
        let mut binding = Self { endpoint: false, method: false, ip: false };
        for node in node.items(3)? {
            match node.text(EXPECTED)? {
                "endpoint" => binding.endpoint = true,
                "method" => binding.method = true,
                "ip" => binding.ip = true,
                _ => return Err(node.fault(EXPECTED, "write what tokens are bound to")),
            }
        }
        Ok(binding)
    }
}

fn format(node: &Node<'_>) -> Result<Format, ConfigError> {
    const EXPECTED: &str = "\"l402\", \"lightning-toll\" or \"toll-booth\"";
    let name = node.text(EXPECTED)?;
    let known = Format::ALL.into_iter().find(|format| format.name() == name);
    known.ok_or_else(|| node.fault(EXPECTED, "write one of the three"))
}
