//! `tollway get`.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use serde::Serialize;
use tollway_client::inspect::sats;
use tollway_client::wallet::{Simulated, WalletError};
use tollway_client::{
    Answer, Budget, ClientError, CredentialStore, Fault, Limit, PayingClient, Payment,
};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use url::Url;

use super::Exit;

const COST_HEADER: &str = "x-toll-cost-msat";
const BALANCE_HEADER: &str = "x-toll-balance-msat";

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// What to fetch.
    #[arg(value_parser = parse_url)]
    url: Url,
    /// The most to pay for this request.
    #[arg(long, value_name = "N", default_value = "100", value_parser = parse_sats)]
    max_sats: Msat,
    /// The simulated node that pays: tollwayd's admin listener.
    #[arg(
        long,
        value_name = "URL",
        env = "TOLLWAY_WALLET_URL",
        default_value = "http://127.0.0.1:8404",
        value_parser = parse_wallet
    )]
    wallet_url: Simulated,
    /// Neither use nor keep credentials.
    ///
    /// Without this they are kept in tollway/credentials.json below $XDG_STATE_HOME or
    /// ~/.local/state.
    #[arg(long)]
    no_store: bool,
    /// A request header; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Print one JSON object instead of the body.
    ///
    /// Its fields are status, headers, body (null beside body_hex where it is not UTF-8),
    /// paid_sats, payment_hash, balance_msat and cost_msat; or error {code, message}, paid_sats
    /// and payment_hash.
    #[arg(long)]
    json: bool,
}

fn parse_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "expected a URL that begins with http:// or https://".to_owned())
}

fn parse_sats(text: &str) -> Result<Msat, String> {
    text.parse()
        .ok()
        .and_then(Msat::from_sats)
        .ok_or_else(|| "expected a whole number of satoshi".to_owned())
}

fn parse_wallet(text: &str) -> Result<Simulated, WalletError> {
    Simulated::new(text)
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let expected = || "expected \"Name: value\"".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(expected)?;
    Ok((
        name.trim().parse().map_err(|_| expected())?,
        value.trim().parse().map_err(|_| expected())?,
    ))
}

pub(crate) async fn run(args: GetArgs) -> Exit {
    let json = args.json;
    let result = match fetch(args).await {
        Ok(answer) if json => print_json(answer).await,
        Ok(answer) => print_body(answer).await,
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| {
        if json {
            let failure = Failure {
                error: Problem { code: code(&error.fault), message: message(&error) },
                paid_sats: paid_sats(error.paid),
                payment_hash: error.paid.map(|paid| paid.payment_hash),
            };
            // A closed standard output leaves only the exit code to tell.
            _ = write_json(&failure);
        } else {
            eprintln!("tollway: {}", message(&error));
        }
        exit(&error.fault)
    })
}

async fn fetch(args: GetArgs) -> Result<Answer, ClientError> {
    let store = if args.no_store {
        CredentialStore::in_memory()
    } else {
        CredentialStore::in_state_folder(|name| std::env::var_os(name).map(Into::into))
            .map_err(Fault::Store)?
    };
    let mut headers = HeaderMap::new();
    for (name, value) in args.headers {
        headers.append(name, value);
    }
    let budget = Budget::per_request(args.max_sats);
    let client = PayingClient::builder(args.wallet_url).store(store).budget(budget).build()?;
    client.get(args.url).headers(headers).send().await
}

/// The body to standard output as it comes, after the line about the money.
async fn print_body(mut answer: Answer) -> Result<Exit, ClientError> {
    eprintln!("tollway: {}", summary(&answer));
    let mut out = io::stdout().lock();
    let mut last = b'\n';
    let broken_off = |error: reqwest::Error| broken_off(&error, answer.paid);
    while let Some(chunk) = answer.response.chunk().await.map_err(broken_off)? {
        if out.write_all(&chunk).is_err() {
            return Ok(Exit::Internal);
        }
        last = chunk.last().copied().unwrap_or(last);
    }
    let newline: &[u8] = if last != b'\n' && out.is_terminal() { b"\n" } else { b"" };
    if out.write_all(newline).and_then(|()| out.flush()).is_err() {
        return Ok(Exit::Internal);
    }
    Ok(exit_for(answer.response.status()))
}

fn broken_off(error: &reqwest::Error, paid: Option<Payment>) -> ClientError {
    let reason = if error.is_timeout() { "it was silent for too long" } else { "it broke off" };
    ClientError { fault: Fault::Server(format!("{reason} within its answer")), paid }
}

#[derive(Serialize)]
struct Success {
    status: u16,
    headers: serde_json::Map<String, serde_json::Value>,
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_hex: Option<String>,
    paid_sats: u64,
    payment_hash: Option<PaymentHash>,
    balance_msat: Option<u64>,
    cost_msat: Option<u64>,
}

#[derive(Serialize)]
struct Failure {
    error: Problem,
    paid_sats: u64,
    payment_hash: Option<PaymentHash>,
}

#[derive(Serialize)]
struct Problem {
    code: &'static str,
    message: String,
}

async fn print_json(answer: Answer) -> Result<Exit, ClientError> {
    let Answer { response, paid, payment_hash } = answer;
    let status = response.status();
    let headers = response.headers().clone();
    let body = response.bytes().await.map_err(|error| broken_off(&error, paid))?;
    let (body, body_hex) = match String::from_utf8(body.into()) {
        Ok(text) => (Some(text), None),
        Err(other) => (None, Some(hex::encode(other.as_bytes()))),
    };
    let success = Success {
        status: status.as_u16(),
        headers: joined(&headers),
        body,
        body_hex,
        paid_sats: paid_sats(paid),
        payment_hash,
        balance_msat: number(&headers, BALANCE_HEADER),
        cost_msat: number(&headers, COST_HEADER),
    };
    Ok(if write_json(&success).is_ok() { exit_for(status) } else { Exit::Internal })
}

/// Headers by name; the values of a repeated one are joined as RFC 9110 joins them.
fn joined(headers: &HeaderMap) -> serde_json::Map<String, serde_json::Value> {
    let values = |name| {
        let values = headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>()
    };
    headers.keys().map(|name| (name.to_string(), values(name).join(", ").into())).collect()
}

fn write_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn paid_sats(paid: Option<Payment>) -> u64 {
    paid.map_or(0, |paid| paid.amount.to_sats_rounded_up())
}

/// One line: what the server said, if it was not simply the answer; what was paid; what is left.
fn summary(answer: &Answer) -> String {
    let response = &answer.response;
    let mut parts = Vec::new();
    let status = response.status();
    if status == StatusCode::PAYMENT_REQUIRED {
        parts.push("the server asks for payment again; call again to pay again".to_owned());
    } else if !status.is_success() {
        parts.push(format!("the server answered {status}"));
    }
    if status.is_redirection()
        && let Some(target) = response.headers().get(LOCATION)
    {
        let target = String::from_utf8_lossy(target.as_bytes());
        parts.push(format!("it redirects to {target}, which is not followed"));
    }
    parts.push(match answer.paid {
        Some(paid) => format!("paid {}", sats(paid.amount.get())),
        None => "paid nothing".to_owned(),
    });
    if let Some(cost) = number(response.headers(), COST_HEADER) {
        parts.push(format!("this cost {}", sats(cost)));
    }
    if let Some(balance) = number(response.headers(), BALANCE_HEADER) {
        parts.push(format!("balance {}", sats(balance)));
    }
    parts.join("; ")
}

fn message(error: &ClientError) -> String {
    let hint = match &error.fault {
        Fault::OverBudget(over) if over.limit == Limit::Request => "; allow more with --max-sats",
        Fault::Wallet(WalletError::Unreachable(_)) => "; name a running one with --wallet-url",
        Fault::Store(_) => "; or do without them by --no-store",
        Fault::Challenge(_)
        | Fault::NotRepeatable
        | Fault::OverBudget(_)
        | Fault::Redirect(_)
        | Fault::Request(_)
        | Fault::Server(_)
        | Fault::Wallet(_) => "",
    };
    let paid = match error.paid {
        Some(paid) => format!(
            "; paid {} before that (payment hash {}), and the next call makes use of it",
            sats(paid.amount.get()),
            paid.payment_hash
        ),
        None => String::new(),
    };
    format!("{error}{hint}{paid}")
}

const fn code(fault: &Fault) -> &'static str {
    match fault {
        Fault::Challenge(_) => "challenge_untrusted",
        Fault::NotRepeatable => "request_not_repeatable",
        Fault::OverBudget(_) => "too_dear",
        Fault::Redirect(_) => "redirect_untrusted",
        Fault::Request(_) => "request_malformed",
        Fault::Server(_) => "server_unreachable",
        Fault::Store(_) => "store_unusable",
        Fault::Wallet(_) => "payment_failed",
    }
}

const fn exit(fault: &Fault) -> Exit {
    match fault {
        Fault::Challenge(_) => Exit::Untrusted,
        Fault::NotRepeatable | Fault::Request(_) | Fault::Store(_) => Exit::Internal,
        Fault::OverBudget(_) => Exit::TooDear,
        Fault::Redirect(_) | Fault::Server(_) => Exit::Server,
        Fault::Wallet(_) => Exit::PaymentFailed,
    }
}

fn exit_for(status: StatusCode) -> Exit {
    if status.is_success() { Exit::Done } else { Exit::Server }
}
