//! Finding the token in what a person pastes.

use tollway_core::macaroon::Macaroon;
use tollway_core::payment::Preimage;

use super::InspectError;
use crate::auth_params::AuthParams;

/// The parts of a pasted text.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) macaroon: Macaroon,
    pub(crate) preimage: Option<Preimage>,
    pub(crate) invoice: Option<String>,
    pub(crate) more_macaroons: usize,
}

const HEADER_NAMES: [&str; 4] =
    ["www-authenticate:", "authorization:", "macaroon:", "grpc-metadata-macaroon:"];
const SCHEMES: [&str; 2] = ["L402", "LSAT"];

pub(crate) fn parts(text: &str) -> Result<Parts, InspectError> {
    let text = text.trim();
    let text = HEADER_NAMES.iter().find_map(|name| strip(text, name)).unwrap_or(text);
    let text = text.trim_start();
    let params = AuthParams::parse(text);
    let ours = params.iter().find(|params| SCHEMES.iter().any(|name| params.is_scheme(name)));
    let has = |params: &&AuthParams| params.param(&["macaroon", "token", "invoice"]).is_some();
    if let Some(params) = ours.filter(has) {
        let macaroon = params.param(&["macaroon", "token"]).ok_or(InspectError::NoMacaroon)?;
        let mut parts = credential(macaroon)?;
        parts.invoice = params.param(&["invoice"]).map(str::to_owned);
        if let Some(preimage) = params.param(&["preimage"]).filter(|text| !text.is_empty()) {
            parts.preimage = Some(read_preimage(preimage)?);
        }
        return Ok(parts);
    }
    let bare = SCHEMES.iter().find_map(|scheme| strip_scheme(text, scheme)).unwrap_or(text);
    credential(bare.trim())
}

/// Reads `<macaroon>[,<macaroon>][:<preimage>]`.
fn credential(text: &str) -> Result<Parts, InspectError> {
    let (macaroons, preimage) = match text.rsplit_once(':') {
        Some((macaroons, "")) => (macaroons, None),
        Some((macaroons, preimage)) => (macaroons, Some(read_preimage(preimage)?)),
        None => (text, None),
    };
    let mut macaroons = macaroons.split(',').map(str::trim).filter(|text| !text.is_empty());
    let macaroon = read_macaroon(macaroons.next().ok_or(InspectError::Empty)?)?;
    Ok(Parts { macaroon, preimage, invoice: None, more_macaroons: macaroons.count() })
}

fn read_macaroon(text: &str) -> Result<Macaroon, InspectError> {
    // Every V2 macaroon begins with the byte 2: "02" in hexadecimal digits, "A" in base64.
    let is_hex = text.starts_with("02") && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let read = if is_hex {
        Macaroon::from_hex(text.as_bytes())
    } else {
        Macaroon::from_base64(text.as_bytes())
    };
    read.map_err(InspectError::Macaroon)
}

fn read_preimage(text: &str) -> Result<Preimage, InspectError> {
    Preimage::from_hex(text.trim().as_bytes()).map_err(|_| InspectError::Preimage)
}

fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    strip(text, scheme).filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}
