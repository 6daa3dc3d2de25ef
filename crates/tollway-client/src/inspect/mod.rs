//! What a token says about itself, for people.
//!
//! Nothing is verified: only the server has the key. A preimage is compared with the payment
//! hash, but never shown.

mod moment;
pub(crate) mod read;

use std::fmt;

use serde::Serialize;
use tollway_core::budget::BudgetWindow;
use tollway_core::caveat::{Caveat, CaveatError};
use tollway_core::identifier::Identifier;
use tollway_core::macaroon::{Macaroon, MacaroonError};
use tollway_core::minted::minted;
use tollway_core::payment::{PaymentHash, Preimage};

use crate::invoice::{parse_bolt11, payment_hash};
pub use moment::date;
use moment::distance;

/// The most characters of a caveat that is not understood.
const UNKNOWN_CHARS_MAX: usize = 120;

/// A token, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The version of the macaroon's binary form.
    pub version: u8,
    /// The macaroon's hint where it may be used; nothing protects it.
    pub location: String,
    /// The payment that opens the token; `None` for an identifier that is not of L402.
    pub payment_hash: Option<PaymentHash>,
    /// The token's own name.
    pub token_id: Option<String>,
    /// The key it claims to be minted with, if Tollway minted it.
    pub key_id: Option<u32>,
    /// The identifier in hexadecimal digits, where it is not of L402.
    pub foreign_identifier: Option<String>,
    /// The caveats in their order.
    pub caveats: Vec<CaveatNote>,
    /// When the earliest of its terms ends, Unix time in seconds.
    pub expires_at: Option<u64>,
    /// The same in words.
    pub expires: String,
    /// Whether the proof of payment came with the token.
    pub preimage: PreimageNote,
    /// The invoice that came with the token.
    pub invoice: Option<InvoiceNote>,
    /// How many more macaroons came with this one; they are not explained.
    pub more_macaroons: usize,
}

/// One caveat, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaveatNote {
    /// Its text; a preimage in it is not shown.
    pub text: String,
    /// What it means to a Tollway gate.
    pub meaning: String,
}

/// What is known about the preimage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PreimageNote {
    /// There is none.
    Absent,
    /// It proves the payment that the token names.
    Proves,
    /// It belongs to another payment.
    Mismatch,
    /// It is there, and the token names no payment to compare it with.
    Present,
}

/// The invoice of a challenge, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvoiceNote {
    /// What it asks; `None` when it leaves that to the payer.
    pub amount_msat: Option<u64>,
    /// Where it can be paid.
    pub network: String,
    /// Whether its payment opens the token.
    pub opens_token: bool,
    /// When it can no longer be paid, in words.
    pub expires: String,
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// There is nothing in it.
    #[error("expected a token, but found nothing")]
    Empty,
    /// The macaroon cannot be read.
    #[error("the token cannot be read: {0}")]
    Macaroon(MacaroonError),
    /// What follows the colon is no preimage.
    #[error("expected 64 hexadecimal digits after the last colon, but found other text")]
    Preimage,
    /// A challenge's invoice cannot be read.
    #[error("expected a BOLT 11 invoice in the challenge, but found other text")]
    Invoice,
    /// A header without the token's parameter.
    #[error("expected macaroon=\"..\" or token=\"..\" in the header, but found neither")]
    NoMacaroon,
}

impl Inspection {
    /// Reads a macaroon in base64 or hexadecimal digits, `<macaroon>:<preimage>` with or without
    /// its scheme, or the value of a `WWW-Authenticate` header; and explains it as of `now_s`.
    ///
    /// # Errors
    /// [`InspectError`] for any other text; it never repeats the text.
    pub fn read(text: &str, now_s: u64) -> Result<Self, InspectError> {
        let parts = read::parts(text)?;
        let macaroon = &parts.macaroon;
        let identifier = Identifier::decode(macaroon.identifier()).ok();
        let payment = identifier.map(|identifier| identifier.payment_hash);
        let mut minted = minted(macaroon.identifier(), macaroon.caveats()).into_iter();
        let mut read = |bytes| match Caveat::parse(bytes) {
            Err(CaveatError::Unknown) => {
                minted.next().map(Caveat::Minted).ok_or(CaveatError::Unknown)
            }
            read => read,
        };
        let caveats: Vec<_> = macaroon.caveats().map(|bytes| (bytes, read(bytes))).collect();
        let expires_at = caveats.iter().filter_map(|(_, caveat)| ends_at(caveat)).min();
        let preimage = parts.preimage.or_else(|| {
            caveats.iter().find_map(|(_, caveat)| match caveat {
                Ok(Caveat::Preimage(preimage)) => Some(preimage.clone()),
                _ => None,
            })
        });
        Ok(Self {
            version: 2,
            location: printable(macaroon.location()),
            payment_hash: payment,
            token_id: identifier.map(|identifier| identifier.token_id.to_hex()),
            key_id: identifier.map(|identifier| identifier.token_id.key_id().get()),
            foreign_identifier: foreign(macaroon, identifier),
            caveats: caveats.iter().map(|(bytes, caveat)| note(bytes, caveat, now_s)).collect(),
            expires_at,
            expires: expires_at.map_or_else(|| "never".into(), |at| when(at, now_s)),
            preimage: compare(preimage.as_ref(), payment.as_ref()),
            invoice: match parts.invoice {
                Some(text) => Some(invoice(&text, payment, now_s)?),
                None => None,
            },
            more_macaroons: parts.more_macaroons,
        })
    }
}

fn foreign(macaroon: &Macaroon, identifier: Option<Identifier>) -> Option<String> {
    identifier.is_none().then(|| hex::encode(macaroon.identifier()))
}

const fn ends_at(caveat: &Result<Caveat, CaveatError>) -> Option<u64> {
    match caveat {
        Ok(Caveat::ExpiresAt(unix_s) | Caveat::ValidUntil { unix_s, .. }) => Some(*unix_s),
        _ => None,
    }
}

fn compare(preimage: Option<&Preimage>, payment: Option<&PaymentHash>) -> PreimageNote {
    match (preimage, payment) {
        (None, _) => PreimageNote::Absent,
        (Some(_), None) => PreimageNote::Present,
        (Some(preimage), Some(hash)) if preimage.proves(hash) => PreimageNote::Proves,
        (Some(_), Some(_)) => PreimageNote::Mismatch,
    }
}

fn invoice(
    text: &str,
    payment: Option<PaymentHash>,
    now_s: u64,
) -> Result<InvoiceNote, InspectError> {
    let invoice = parse_bolt11(text).ok_or(InspectError::Invoice)?;
    Ok(InvoiceNote {
        amount_msat: invoice.amount_milli_satoshis(),
        network: invoice.network().to_string(),
        opens_token: payment == Some(payment_hash(&invoice)),
        expires: match invoice.expires_at() {
            Some(at) => when(at.as_secs(), now_s),
            None => "never".into(),
        },
    })
}

fn note(bytes: &[u8], caveat: &Result<Caveat, CaveatError>, now_s: u64) -> CaveatNote {
    let (text, meaning) = match caveat {
        Ok(known) => (printable(&known.to_string()), meaning(known, now_s)),
        Err(fault) => {
            let text = String::from_utf8_lossy(bytes);
            let key = text.split('=').next().unwrap_or_default().trim();
            let text = match key {
                // A damaged preimage is still a secret.
                "preimage" => "preimage=(redacted)".to_owned(),
                _ => printable(&text),
            };
            let meaning = match fault {
                CaveatError::Unknown => "unknown: a Tollway gate refuses the token",
                CaveatError::Malformed => "malformed: a Tollway gate refuses the token",
            };
            (text, meaning.to_owned())
        }
    };
    CaveatNote { text, meaning }
}

fn meaning(caveat: &Caveat, now_s: u64) -> String {
    match caveat {
        Caveat::Services(services) => {
            let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
            match names.as_slice() {
                [name] => format!("only for the service {name}"),
                names => format!("only for the services {}", names.join(", ")),
            }
        }
        Caveat::ValidUntil { service, unix_s } => {
            format!("for {service}, ends {}", when(*unix_s, now_s))
        }
        Caveat::ExpiresAt(unix_s) => format!("ends {}", when(*unix_s, now_s)),
        Caveat::Endpoint(path) => format!("only for the path {}", printable(path)),
        Caveat::Method(method) => format!("only for {}", printable(method)),
        Caveat::Ip(ip) => format!("only from the address {}", printable(ip)),
        Caveat::Preimage(_) => "a copy of the preimage".to_owned(),
        Caveat::MaxCost(max) => {
            format!("only for requests of at most {}", sats(max.get()))
        }
        Caveat::Minted(minted) => {
            format!("the seller wrote it: {} is {}", minted.name(), printable(minted.value()))
        }
        Caveat::Budget(budget) => {
            let limit = sats(budget.limit.get());
            match budget.window {
                BudgetWindow::Total => format!("spends at most {limit} in all"),
                BudgetWindow::Rolling(seconds) => {
                    format!("spends at most {limit} in {seconds} seconds")
                }
                window => format!("spends at most {limit} in one {window} (UTC)"),
            }
        }
    }
}

fn when(unix_s: u64, now_s: u64) -> String {
    format!("{} ({})", distance(unix_s, now_s), date(unix_s))
}

/// An amount in satoshi, with thousandths only where there are some.
#[must_use]
pub fn sats(msat: u64) -> String {
    let (whole, part) = (msat / 1_000, msat % 1_000);
    match (whole, part) {
        (1, 0) => "1 sat".to_owned(),
        (_, 0) => format!("{whole} sats"),
        _ => format!("{} sats", format!("{whole}.{part:03}").trim_end_matches('0')),
    }
}

/// Text of a stranger, safe for a terminal.
fn printable(text: &str) -> String {
    let shown: String = text.chars().take(UNKNOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > UNKNOWN_CHARS_MAX { shown + "..." } else { shown }
}

impl fmt::Display for PreimageNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Proves => "present, and it proves the payment",
            Self::Mismatch => "present, but it belongs to ANOTHER payment",
            Self::Present => "present",
        })
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "macaroon       version {}", self.version)?;
        writeln!(f, "location       {}", self.location)?;
        if let Some(hash) = self.payment_hash {
            writeln!(f, "payment hash   {hash}")?;
        }
        if let (Some(token_id), Some(key_id)) = (&self.token_id, self.key_id) {
            writeln!(f, "token id       {token_id}")?;
            writeln!(f, "key id         {key_id} (if Tollway minted it)")?;
        }
        if let Some(identifier) = &self.foreign_identifier {
            writeln!(f, "identifier     {identifier} (not of L402)")?;
        }
        match self.caveats.as_slice() {
            [] => writeln!(f, "caveats        none")?,
            caveats => {
                writeln!(f, "caveats")?;
                let width = caveats.iter().map(|caveat| caveat.text.chars().count()).max();
                let width = width.unwrap_or_default().min(48);
                for CaveatNote { text, meaning } in caveats {
                    writeln!(f, "  {text:width$}  {meaning}")?;
                }
            }
        }
        writeln!(f, "expires        {}", self.expires)?;
        writeln!(f, "preimage       {}", self.preimage)?;
        if let Some(invoice) = &self.invoice {
            let amount = match invoice.amount_msat {
                Some(msat) => sats(msat),
                None => "any amount".to_owned(),
            };
            let opens = if invoice.opens_token { "opens" } else { "does NOT open" };
            writeln!(
                f,
                "invoice        {amount} on {}; its payment {opens} the token",
                invoice.network
            )?;
            writeln!(f, "               can be paid until {}", invoice.expires)?;
        }
        if self.more_macaroons > 0 {
            writeln!(
                f,
                "not shown      {} more macaroons of this credential",
                self.more_macaroons
            )?;
        }
        write!(f, "signature      not checked: only the server has the key")
    }
}

#[cfg(test)]
mod tests;
