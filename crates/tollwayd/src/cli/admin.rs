//! `tollwayd admin`: what an operator does, by way of the running server's admin listener.

mod export;
mod stats;

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tollway_core::id::HoldId;
use tollway_core::wire::Problem;

use super::{CliError, ConfigArg, environment, print};
use crate::clock::{Clock, SystemClock};
use crate::config::RawConfig;
use crate::entropy;

/// The server says something for so long, or something is wrong.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Where the server's admin listener is, unless the configuration's address is right
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Show an account: balance, holds, newest entries
    Account {
        /// Any payment hash that pays into it
        payment_hash: String,
    },
    /// Show an invoice
    Invoice {
        /// Its payment hash, or the invoice itself; "-" reads it from standard input
        invoice: String,
    },
    /// List an account's newest entries
    Entries {
        /// Any payment hash that pays into it
        payment_hash: String,
        /// For a spreadsheet; no cell is a formula
        #[arg(long)]
        csv: bool,
    },
    /// Give charges back, at most what was charged
    Refund(Giving),
    /// Give credit away
    Grant(Giving),
    /// Credit an invoice that was paid and that the node does not report
    Settle {
        /// Its payment hash, or the invoice itself; "-" reads it from standard input
        invoice: String,
        /// What was paid, where that is more than was asked
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        msat: u64,
        #[command(flatten)]
        why: Why,
    },
    /// Stop all spending of an account, or end one of its tokens
    Revoke(Revoking),
    /// Let a revoked account or token spend again
    Unrevoke(Revoking),
    /// Say what kind of customer an account is: its tier, by which routes may be priced
    Tier {
        /// Any payment hash that pays into the account
        payment_hash: String,
        /// Up to 24 of a-z, 0-9, _ and -; "" for no tier
        tier: String,
        #[command(flatten)]
        why: Why,
    },
    /// Change the keys of the gate
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Show counts and sums over the whole ledger
    Stats {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Write a whole table to standard output, whatever its size
    Export(export::ExportArgs),
    /// Show what operators did: the newest lines of the audit log
    Actions,
    /// Show how much of coupons and supplies is taken
    Stocks,
    /// Show webhooks and payouts that were given up, with their ids
    Deliveries,
    /// Try one of them again
    Retry {
        /// Its id
        delivery: String,
        #[command(flatten)]
        why: Why,
    },
    /// Have the server recompute its books and show each difference
    Audit,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Add a key that mints from now on; older ones keep verifying
    Rotate,
    /// Let a key verify no more: every credential under it ends
    Retire {
        /// The key's number
        key: u32,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Debug, Args)]
struct Giving {
    /// Any payment hash that pays into the account
    payment_hash: String,
    /// How much
    #[arg(long)]
    msat: u64,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Args)]
struct Revoking {
    /// Any payment hash that pays into the account
    payment_hash: String,
    /// Only the token of this very payment: the account and its other tokens go on
    #[arg(long)]
    token: bool,
    #[command(flatten)]
    why: Why,
}

/// What the audit log keeps of an act.
#[derive(Debug, Args)]
struct Why {
    /// Why you do it
    #[arg(long)]
    reason: String,
    /// Who you are
    #[arg(long, env = "USER", default_value = "operator")]
    actor: String,
    /// The act's id, to repeat one whose answer was lost; a new one without it
    #[arg(long, value_name = "UUID")]
    id: Option<String>,
}

/// One call to the listener.
struct Request {
    method: Method,
    path: String,
    body: Option<Value>,
}

pub(super) fn run(args: &AdminArgs) -> Result<ExitCode, CliError> {
    let config = RawConfig::load(&args.config.config)?.resolve(&environment)?;
    let listener = format!("http://{}", config.admin.listen);
    let url = args.url.as_deref().unwrap_or(&listener).trim_end_matches('/').to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(error.to_string()))?;
    let token = config.admin.token.reveal();
    match &args.command {
        AdminCommand::Export(wanted) => runtime.block_on(export::run(wanted, &url, token)),
        command => {
            let text = runtime.block_on(send(&url, token, request(command)?))?;
            match command {
                AdminCommand::Stats { json: false } => print(&stats::table(&text)?),
                _ => print(&text),
            }
        }
    }
}

fn request(command: &AdminCommand) -> Result<Request, CliError> {
    let account = |hash: &str, act: &str| format!("accounts/{hash}{act}");
    let giving = |args: &Giving, act: &str| {
        let body = act_body(&args.why, args.msat)?;
        Ok(post(account(&args.payment_hash, act), Some(body)))
    };
    let revoking = |args: &Revoking, act: &str| {
        let whose = if args.token { "tokens" } else { "accounts" };
        let path = format!("{whose}/{}/{act}", args.payment_hash);
        Ok(post(path, Some(act_body(&args.why, 0)?)))
    };
    match command {
        AdminCommand::Account { payment_hash } => Ok(get(account(payment_hash, ""))),
        AdminCommand::Invoice { invoice } => Ok(get(format!("invoices/{}", text(invoice)?))),
        AdminCommand::Entries { payment_hash, csv } => {
            Ok(get(account(payment_hash, if *csv { "/entries.csv" } else { "/entries" })))
        }
        AdminCommand::Refund(args) => giving(args, "/refund"),
        AdminCommand::Grant(args) => giving(args, "/grant"),
        AdminCommand::Settle { invoice, msat, why } => {
            Ok(post(format!("invoices/{}/settle", text(invoice)?), Some(act_body(why, *msat)?)))
        }
        AdminCommand::Revoke(args) => revoking(args, "revoke"),
        AdminCommand::Unrevoke(args) => revoking(args, "unrevoke"),
        AdminCommand::Tier { payment_hash, tier, why } => {
            let mut body = act_body(why, 0)?;
            if let Some(fields) = body.as_object_mut() {
                fields.insert("tier".to_owned(), json!(tier));
            }
            Ok(post(account(payment_hash, "/tier"), Some(body)))
        }
        AdminCommand::Keys(KeysCommand::Rotate) => Ok(post("keys/rotate".to_owned(), None)),
        AdminCommand::Keys(KeysCommand::Retire { key, why }) => {
            Ok(post(format!("keys/{key}/retire"), Some(act_body(why, 0)?)))
        }
        AdminCommand::Stats { .. } => Ok(get("stats".to_owned())),
        AdminCommand::Export(wanted) => Ok(get(wanted.path())),
        AdminCommand::Actions => Ok(get("actions".to_owned())),
        AdminCommand::Stocks => Ok(get("stocks".to_owned())),
        AdminCommand::Deliveries => Ok(get("deliveries".to_owned())),
        AdminCommand::Retry { delivery, why } => {
            Ok(post(format!("deliveries/{delivery}/retry"), Some(act_body(why, 0)?)))
        }
        AdminCommand::Audit => Ok(get("audit".to_owned())),
    }
}

fn get(path: String) -> Request {
    Request { method: Method::GET, path, body: None }
}

fn post(path: String, body: Option<Value>) -> Request {
    Request { method: Method::POST, path, body }
}

/// The argument, or what standard input has.
fn text(argument: &str) -> Result<String, CliError> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| CliError::Failed(format!("cannot read standard input: {error}")))?;
    Ok(text.trim().to_owned())
}

fn act_body(why: &Why, amount_msat: u64) -> Result<Value, CliError> {
    let id = match &why.id {
        Some(id) => id.clone(),
        None => {
            let random =
                entropy::random_bytes().map_err(|error| CliError::Failed(error.to_string()))?;
            HoldId::mint(SystemClock.now_ms(), random).to_string()
        }
    };
    Ok(json!({"id": id, "actor": why.actor, "reason": why.reason,
        "amount_msat": amount_msat}))
}

/// The body of a good answer; a bad one becomes the error's words.
async fn send(url: &str, token: &str, request: Request) -> Result<String, CliError> {
    let body = answer(url, token, request).await?.text().await;
    Ok(body.map_err(|error| silent(url, &error))?.trim_end().to_owned() + "\n")
}

fn silent(url: &str, error: &reqwest::Error) -> CliError {
    CliError::Failed(format!("the server at {url} does not answer: {error}"))
}

/// A good answer whose body is still to come.
async fn answer(url: &str, token: &str, request: Request) -> Result<Response, CliError> {
    let failed = |error: reqwest::Error| silent(url, &error);
    let client = Client::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT);
    let client = client.no_proxy().tls_certs_only([]).build().map_err(failed)?;
    let mut call = client
        .request(request.method, format!("{url}/admin/v1/{}", request.path))
        .bearer_auth(token);
    if let Some(body) = &request.body {
        call = call.json(body);
    }
    let response = call.send().await.map_err(failed)?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let body = response.text().await.map_err(failed)?;
    let detail = serde_json::from_str(&body).map(|problem: Problem| problem.detail);
    let detail = detail.unwrap_or_else(|_| "the answer is not from tollwayd".to_owned());
    Err(CliError::Failed(format!("{status}: {detail}")))
}
