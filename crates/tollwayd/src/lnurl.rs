//! Invoices of a Lightning address or an LNURL-pay address (LUD-06, LUD-12, LUD-16).
//!
//! Two calls: what the receiver takes, and an invoice of exactly so much. Both go to public https
//! addresses only, unless the operator says otherwise.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tollway_core::money::Msat;
use url::Url;

use crate::outbound::Outbound;
use crate::webhooks::root_cause;

/// Metadata may hold a small picture.
const REPLY_BYTES_MAX: usize = 256 * 1_024;
/// How much of a receiver's own words is kept.
const WORDS_CHARS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PayRequest {
    tag: Option<String>,
    callback: Option<String>,
    min_sendable: Option<u64>,
    max_sendable: Option<u64>,
    /// The longest comment in characters (LUD-12).
    #[serde(default)]
    comment_allowed: u64,
    /// Words in place of all that.
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Invoice {
    pr: Option<String>,
    reason: Option<String>,
}

/// The address that a Lightning address stands for; `None` for other text.
pub(crate) fn address_url(text: &str) -> Option<Url> {
    let (name, host) = text.split_once('@')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let fits = !name.is_empty()
        && name.bytes().all(is_name)
        && host.contains('.')
        && host.bytes().all(is_host);
    let url = format!("https://{host}/.well-known/lnurlp/{}", name.to_ascii_lowercase());
    fits.then(|| Url::parse(&url).ok()).flatten()
}

/// Asks for an invoice of exactly this amount. What comes back is only text: the caller checks it.
///
/// # Errors
/// What went wrong, for the log.
pub(crate) async fn invoice(
    outbound: &Outbound,
    address: &Url,
    amount: Msat,
    comment: Option<&str>,
) -> Result<String, String> {
    let offer: PayRequest = get(outbound, address).await?;
    let Some(callback) = offer.callback.filter(|_| offer.tag.as_deref() == Some("payRequest"))
    else {
        return Err(refusal("the address takes no payments", offer.reason));
    };
    let (least, most) = (offer.min_sendable.unwrap_or(0), offer.max_sendable.unwrap_or(0));
    if !(least..=most).contains(&amount.get()) {
        return Err(format!("the address takes {least} to {most} msat, and not {amount}"));
    }
    let mut url = Url::parse(&callback).map_err(|_| "the callback is no address".to_owned())?;
    url.query_pairs_mut().append_pair("amount", &amount.get().to_string());
    let length = usize::try_from(offer.comment_allowed).unwrap_or(usize::MAX);
    let comment: String = comment.unwrap_or_default().chars().take(length).collect();
    if !comment.is_empty() {
        url.query_pairs_mut().append_pair("comment", &comment);
    }
    let made: Invoice = get(outbound, &url).await?;
    made.pr.ok_or_else(|| refusal("the address gave no invoice", made.reason))
}

async fn get<T: DeserializeOwned>(outbound: &Outbound, url: &Url) -> Result<T, String> {
    outbound.check(url).map_err(|refusal| refusal.to_string())?;
    let sent = outbound.client.get(url.clone()).send().await;
    let mut answer = sent.map_err(|error| root_cause(error.without_url()))?;
    if !answer.status().is_success() {
        return Err(format!("the address answered {}", answer.status().as_u16()));
    }
    let mut body = Vec::new();
    loop {
        let chunk = answer.chunk().await.map_err(|error| root_cause(error.without_url()))?;
        let Some(chunk) = chunk else { break };
        if body.len().saturating_add(chunk.len()) > REPLY_BYTES_MAX {
            return Err("the address's answer is too long".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|_| "the address's answer cannot be read".to_owned())
}

fn refusal(what: &str, reason: Option<String>) -> String {
    let words = reason.unwrap_or_default();
    let words: String =
        words.chars().filter(|letter| !letter.is_control()).take(WORDS_CHARS_MAX).collect();
    format!("{what}: {words:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lightning_address_names_one_place() {
        let url = |text| address_url(text).map(String::from);
        let known = "https://example.com/.well-known/lnurlp/ann.b-c+x".to_owned();
        assert_eq!(url("Ann.b-c+x@example.com"), Some(known));
        for text in [
            "ann",
            "@example.com",
            "ann@",
            "ann@localhost",
            "a/b@example.com",
            "a@b@example.com",
            "ann@example.com/x",
            "ann@example.com:80",
            "ann@exa mple.com",
            "ann?@example.com",
        ] {
            assert_eq!(url(text), None, "{text}");
        }
    }
}
