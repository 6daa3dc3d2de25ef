//! `tollway balance`, `topup` and `history`.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;
use tollway_client::inspect::{date, sats};
use tollway_client::{ClientError, Fault, PaymentRecord, PaymentState};
use url::Url;

use super::Exit;
use super::options::{PayArgs, WalletArgs, parse_sats, parse_url, state};
use super::report::{failed, with_fee, write_json};

#[derive(Args, Debug)]
pub(crate) struct BalanceArgs {
    #[command(flatten)]
    wallet: WalletArgs,
    /// Print one JSON object: wallet {name, kind, balance_msat} and credit, a list of {origin,
    /// scope, balance_msat, paid}.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TopupArgs {
    /// A URL of the service that the credit is for.
    #[arg(value_parser = parse_url)]
    url: Url,
    /// How much to buy.
    #[arg(long, value_name = "N", value_parser = parse_sats)]
    sats: u64,
    #[command(flatten)]
    pay: PayArgs,
    /// Print one JSON object: paid_msat, fee_msat and payment_hash, or error.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    /// Only the last N payments.
    #[arg(short = 'n', long, value_name = "N", default_value = "20")]
    last: usize,
    /// Print one JSON array of {at, host, path, amount_msat, fee_msat, payment_hash, state}.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Balances {
    wallet: WalletBalance,
    credit: Vec<Credit>,
}

#[derive(Serialize)]
struct WalletBalance {
    name: String,
    kind: &'static str,
    balance_msat: Option<u64>,
}

#[derive(Serialize)]
struct Credit {
    origin: String,
    scope: String,
    balance_msat: Option<u64>,
    paid: bool,
}

pub(crate) async fn balance(args: BalanceArgs) -> Exit {
    let (name, settings) = match args.wallet.settings() {
        Ok(found) => found,
        Err(error) => {
            eprintln!("tollway: {error}");
            return Exit::Usage;
        }
    };
    let kind = settings.kind();
    let asked = async {
        let balance = settings.open()?.balance().await?;
        let wallet = WalletBalance { name, kind, balance_msat: balance.map(|found| found.get()) };
        let kept = state()?.credentials()?.into_iter();
        let credit = kept.map(|kept| Credit {
            origin: kept.origin,
            scope: kept.scope,
            balance_msat: kept.balance.map(|left| left.get()),
            paid: kept.is_paid,
        });
        Ok::<_, ClientError>(Balances { wallet, credit: credit.collect() })
    };
    let balances = match asked.await {
        Ok(balances) => balances,
        Err(error) => return failed(&error, args.json),
    };
    let told = if args.json { write_json(&balances) } else { print_balances(&balances) };
    if told.is_ok() { Exit::Done } else { Exit::Internal }
}

fn print_balances(balances: &Balances) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let known = |msat: Option<u64>| msat.map_or_else(|| "unknown".to_owned(), sats);
    let WalletBalance { name, kind, balance_msat } = &balances.wallet;
    writeln!(out, "wallet {name}, {kind}: {}", known(*balance_msat))?;
    for credit in &balances.credit {
        let left = match credit.paid {
            true => known(credit.balance_msat),
            false => "its payment was interrupted; the next call takes it up".to_owned(),
        };
        let scope = if credit.scope.is_empty() { "everything" } else { &credit.scope };
        writeln!(out, "credit at {}, {scope}: {left}", credit.origin)?;
    }
    out.flush()
}

#[derive(Serialize)]
struct ToppedUp {
    paid_msat: u64,
    fee_msat: u64,
    payment_hash: String,
}

pub(crate) async fn topup(args: TopupArgs) -> Exit {
    let wallet = match args.pay.wallet.open() {
        Ok(wallet) => wallet,
        Err(error) => {
            eprintln!("tollway: {error}");
            return Exit::Usage;
        }
    };
    let bought = async {
        let client = args.pay.client(wallet, args.json).map_err(Fault::from)?.build()?;
        client.top_up(args.url.clone(), args.sats).await
    };
    let paid = match bought.await {
        Ok(paid) => paid,
        Err(error) => return failed(&error, args.json),
    };
    if args.json {
        let paid = ToppedUp {
            paid_msat: paid.amount.get(),
            fee_msat: paid.fee.get(),
            payment_hash: paid.payment_hash.to_hex(),
        };
        return if write_json(&paid).is_ok() { Exit::Done } else { Exit::Internal };
    }
    eprintln!("tollway: paid {}", with_fee(paid));
    Exit::Done
}

#[derive(Serialize)]
struct Line<'a> {
    at: u64,
    host: &'a str,
    path: &'a str,
    amount_msat: u64,
    fee_msat: u64,
    payment_hash: String,
    state: PaymentState,
}

pub(crate) fn history(args: &HistoryArgs) -> Exit {
    let payments = match state().and_then(|store| store.payments()) {
        Ok(payments) => payments,
        Err(error) => return failed(&error.into(), args.json),
    };
    let skipped = payments.len().saturating_sub(args.last);
    let shown = payments.get(skipped..).unwrap_or_default();
    let told = if args.json {
        let line = |payment: &'_ PaymentRecord| -> serde_json::Value {
            let line = Line {
                at: payment.at_s,
                host: &payment.host,
                path: &payment.path,
                amount_msat: payment.amount.get(),
                fee_msat: payment.fee.get(),
                payment_hash: payment.payment_hash.to_hex(),
                state: payment.state,
            };
            serde_json::to_value(line).unwrap_or_default()
        };
        write_json(&shown.iter().map(line).collect::<Vec<_>>())
    } else {
        print_history(shown)
    };
    if told.is_ok() { Exit::Done } else { Exit::Internal }
}

fn print_history(payments: &[PaymentRecord]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for payment in payments {
        let open = match payment.state {
            PaymentState::Pending => " (not seen to arrive yet)",
            PaymentState::Paid => "",
        };
        let spent = payment.amount.checked_add(payment.fee).unwrap_or(payment.amount);
        writeln!(
            out,
            "{}  {:>10}  {}{}{open}",
            date(payment.at_s),
            sats(spent.get()),
            payment.host,
            payment.path
        )?;
    }
    out.flush()
}
