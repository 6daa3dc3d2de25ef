//! What is said of an answer, and of none.

use std::io::{self, Write};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use serde::Serialize;
use tollway_client::inspect::sats;
use tollway_client::wallet::WalletError;
use tollway_client::{Answer, ClientError, Fault, Limit, Payment, Receipt};
use tollway_core::payment::PaymentHash;

use super::Exit;

#[derive(Serialize)]
pub(super) struct Success {
    pub(super) status: u16,
    pub(super) headers: serde_json::Map<String, serde_json::Value>,
    pub(super) body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body_hex: Option<String>,
    pub(super) paid_sats: u64,
    pub(super) fee_msat: u64,
    pub(super) payment_hash: Option<PaymentHash>,
    pub(super) balance_msat: Option<u64>,
    pub(super) cost_msat: Option<u64>,
    pub(super) receipt: Option<Receipt>,
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

/// Says why there is no answer, in the form that was asked for.
pub(super) fn failed(error: &ClientError, json: bool) -> Exit {
    if json {
        let failure = Failure {
            error: Problem { code: code(&error.fault), message: message(error) },
            paid_sats: paid_sats(error.paid),
            payment_hash: error.paid.map(|paid| paid.payment_hash),
        };
        // A closed standard output leaves only the exit code to tell.
        _ = write_json(&failure);
    } else {
        eprintln!("tollway: {}", message(error));
    }
    exit(&error.fault)
}

/// Headers by name; the values of a repeated one are joined as RFC 9110 joins them.
pub(super) fn joined(headers: &HeaderMap) -> serde_json::Map<String, serde_json::Value> {
    let values = |name| {
        let values = headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>()
    };
    headers.keys().map(|name| (name.to_string(), values(name).join(", ").into())).collect()
}

pub(super) fn write_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

pub(super) fn paid_sats(paid: Option<Payment>) -> u64 {
    paid.map_or(0, |paid| paid.amount.to_sats_rounded_up())
}

/// One line: what the server said, if it was not simply the answer; what was paid; what is left.
pub(super) fn summary(answer: &Answer) -> String {
    let response = &answer.response;
    let mut parts = Vec::new();
    let status = response.status();
    if let (StatusCode::PAYMENT_REQUIRED, Some(price)) = (status, answer.price()) {
        parts.push(format!("such a request costs {}", sats(price.get())));
    } else if status == StatusCode::PAYMENT_REQUIRED {
        parts.push("the server asks for payment again; call again to pay again".to_owned());
    } else if !status.is_success() {
        parts.push(format!("the server answered {status}"));
    }
    if status.is_redirection()
        && let Some(target) = response.headers().get(LOCATION)
    {
        let target = String::from_utf8_lossy(target.as_bytes());
        parts.push(format!("it redirects to {target}, which is not followed without --location"));
    }
    parts.push(match answer.paid {
        Some(paid) => format!("paid {}", with_fee(paid)),
        None => "paid nothing".to_owned(),
    });
    if let Some(cost) = answer.cost() {
        parts.push(format!("this cost {}", sats(cost.get())));
    }
    if let Some(balance) = answer.balance() {
        parts.push(format!("balance {}", sats(balance.get())));
    }
    parts.join("; ")
}

pub(super) fn with_fee(paid: Payment) -> String {
    let amount = sats(paid.amount.get());
    match paid.fee.get() {
        0 => amount,
        fee => format!("{amount} and a fee of {}", sats(fee)),
    }
}

fn message(error: &ClientError) -> String {
    let hint = match &error.fault {
        Fault::OverBudget(over) => match over.limit {
            Limit::Request => "; allow more with --max-sats",
            Limit::Host => "; allow more with --max-sats-per-host",
            Limit::Day => "; allow more with --max-sats-per-day",
        },
        Fault::Wallet(WalletError::Unreachable(_)) => {
            "; name a running one with --wallet or --wallet-url"
        }
        Fault::Store(_) => "; or do without them by --no-store",
        Fault::Challenge(_)
        | Fault::NotRepeatable
        | Fault::NotSold(_)
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
        Fault::NotSold(_) => "not_sold",
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
        Fault::NotSold(_) | Fault::Redirect(_) | Fault::Server(_) => Exit::Server,
        Fault::Wallet(_) => Exit::PaymentFailed,
    }
}
