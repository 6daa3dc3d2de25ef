//! `tollway get`, `post`, `put`, `delete` and `head`.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Args;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Body, Method, StatusCode};
use serde::Serialize;
use tollway_client::inspect::{date, sats};
use tollway_client::{Answer, ClientError, Fault, PayingClient, Payment, Quote};
use tollway_core::payment::PaymentHash;
use url::Url;

use super::Exit;
use super::options::{PayArgs, parse_url};
use super::progress::Progress;
use super::report::{Success, failed, joined, paid_sats, summary, write_json};

/// Enough for whoever follows redirects, and an end for circles.
const REDIRECTS_MAX: u32 = 10;
/// The most that is read of standard input or a file, for it may be sent twice.
const DATA_BYTES_MAX: u64 = 256 * 1024 * 1024;

#[derive(Args, Debug)]
pub(crate) struct FetchArgs {
    /// What to fetch.
    #[arg(value_parser = parse_url)]
    url: Url,
    #[command(flatten)]
    pay: PayArgs,
    /// A request header; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The request's body: text, @FILE, or @- for standard input. Say its type with -H.
    #[arg(short, long, value_name = "DATA")]
    data: Option<String>,
    /// Write the answer's body to this file, once there is an answer.
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
    /// Follow up to 10 redirects. What was bought for one origin is never shown to another one.
    #[arg(short = 'L', long)]
    location: bool,
    /// Show the price and pay nothing.
    ///
    /// The request is sent without a credential, so that it spends no credit; if it turns out to
    /// be free, it has been served. Exits with 3 where the budget would not allow it.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object instead of the body.
    ///
    /// Its fields are status, headers, body (null beside body_hex where it is not UTF-8),
    /// paid_sats, fee_msat, payment_hash, balance_msat, cost_msat and receipt (in the scheme
    /// Payment); or error {code, message}, paid_sats and payment_hash. With --dry-run: free,
    /// status, price_msat, scheme, payment_hash, expires_at and within_budget.
    #[arg(long)]
    json: bool,
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let expected = || "expected \"Name: value\"".to_owned();
    let (name, value) = text.split_once(':').ok_or_else(expected)?;
    Ok((
        name.trim().parse().map_err(|_| expected())?,
        value.trim().parse().map_err(|_| expected())?,
    ))
}

pub(crate) async fn run(method: Method, args: FetchArgs) -> Exit {
    let body = match args.data.as_deref().map(read_data).transpose() {
        Ok(body) => body,
        Err(error) => {
            eprintln!("tollway: the data cannot be read: {error}");
            return Exit::Usage;
        }
    };
    let wallet = match args.pay.wallet.open() {
        Ok(wallet) => wallet,
        Err(error) => {
            eprintln!("tollway: {error}");
            return Exit::Usage;
        }
    };
    let hops = if args.location { REDIRECTS_MAX } else { 0 };
    let client = args.pay.client(wallet, args.json).map_err(ClientError::from);
    let client = client.and_then(|builder| builder.follow_redirects(hops).build());
    let result = match client {
        Ok(client) if args.dry_run => quote(&client, method, &args, body).await,
        Ok(client) => fetch(&client, method, &args, body).await,
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| failed(&error, args.json))
}

fn read_data(text: &str) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    match text.strip_prefix('@') {
        None => data.extend_from_slice(text.as_bytes()),
        Some("-") => _ = io::stdin().lock().take(DATA_BYTES_MAX).read_to_end(&mut data)?,
        Some(path) => _ = File::open(path)?.take(DATA_BYTES_MAX).read_to_end(&mut data)?,
    }
    if data.len() as u64 == DATA_BYTES_MAX {
        return Err(io::Error::other("it is larger than 256 MiB"));
    }
    Ok(data)
}

fn request<'a>(
    client: &'a PayingClient,
    method: Method,
    args: &FetchArgs,
    body: Option<Vec<u8>>,
) -> tollway_client::RequestBuilder<'a> {
    let mut request = client.request(method, args.url.clone());
    for (name, value) in &args.headers {
        request = request.header(name, value);
    }
    match body {
        Some(body) => request.body(Body::from(body)),
        None => request,
    }
}

async fn fetch(
    client: &PayingClient,
    method: Method,
    args: &FetchArgs,
    body: Option<Vec<u8>>,
) -> Result<Exit, ClientError> {
    let is_head = method == Method::HEAD;
    let answer = request(client, method, args, body).send().await?;
    if args.json {
        return print_json(answer).await;
    }
    eprintln!("tollway: {}", summary(&answer));
    match &args.output {
        Some(path) => {
            let file = match File::create(path) {
                Ok(file) => file,
                Err(error) => {
                    eprintln!("tollway: {} cannot be written: {error}", path.display());
                    return Ok(Exit::Internal);
                }
            };
            write_body(answer, file, true).await
        }
        None if is_head => print_headers(&answer),
        None => {
            let is_terminal = io::stdout().is_terminal();
            write_body(answer, io::stdout().lock(), !is_terminal).await
        }
    }
}

fn print_headers(answer: &Answer) -> Result<Exit, ClientError> {
    let mut text = format!("{}\n", answer.status());
    for (name, value) in answer.response.headers() {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(exit_for(answer.status())),
        Err(_) => Ok(Exit::Internal),
    }
}

/// The body as it comes.
async fn write_body(
    mut answer: Answer,
    mut out: impl Write,
    shows_progress: bool,
) -> Result<Exit, ClientError> {
    let mut progress = Progress::new(answer.response.content_length(), shows_progress);
    let mut last = b'\n';
    let broken_off = |error: reqwest::Error| broken_off(&error, answer.paid);
    while let Some(chunk) = answer.response.chunk().await.map_err(broken_off)? {
        // What streams is read as it comes.
        if out.write_all(&chunk).and_then(|()| out.flush()).is_err() {
            return Ok(Exit::Internal);
        }
        progress.add(chunk.len());
        last = chunk.last().copied().unwrap_or(last);
    }
    let newline: &[u8] = if last != b'\n' && !shows_progress { b"\n" } else { b"" };
    if out.write_all(newline).and_then(|()| out.flush()).is_err() {
        return Ok(Exit::Internal);
    }
    Ok(exit_for(answer.status()))
}

fn broken_off(error: &reqwest::Error, paid: Option<Payment>) -> ClientError {
    let reason = if error.is_timeout() { "it was silent for too long" } else { "it broke off" };
    ClientError { fault: Fault::Server(format!("{reason} within its answer")), paid }
}

async fn print_json(answer: Answer) -> Result<Exit, ClientError> {
    let (cost, balance, receipt) = (answer.cost(), answer.balance(), answer.receipt());
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
        fee_msat: paid.map_or(0, |paid| paid.fee.get()),
        payment_hash,
        balance_msat: balance.map(|balance| balance.get()),
        cost_msat: cost.map(|cost| cost.get()),
        receipt,
    };
    Ok(if write_json(&success).is_ok() { exit_for(status) } else { Exit::Internal })
}

#[derive(Default, Serialize)]
struct Price {
    free: bool,
    status: Option<u16>,
    price_msat: Option<u64>,
    scheme: Option<&'static str>,
    payment_hash: Option<PaymentHash>,
    expires_at: Option<u64>,
    within_budget: Option<bool>,
}

async fn quote(
    client: &PayingClient,
    method: Method,
    args: &FetchArgs,
    body: Option<Vec<u8>>,
) -> Result<Exit, ClientError> {
    let quote = request(client, method, args, body).quote().await?;
    let host = args.url.host_str().unwrap_or_default();
    let (price, words) = match &quote {
        Quote::Free(status) => {
            let price = Price { free: true, status: Some(status.as_u16()), ..Price::default() };
            (price, format!("it is free; the server answered {status}"))
        }
        Quote::Price(msat) => {
            let price = Price { price_msat: Some(msat.get()), ..Price::default() };
            (price, format!("it costs {}", sats(msat.get())))
        }
        Quote::Challenge(challenge) => {
            let invoice = challenge.invoice();
            let within = client.check_budget(host, invoice.amount());
            let price = Price {
                price_msat: Some(invoice.amount().get()),
                scheme: Some(challenge.scheme().name()),
                payment_hash: Some(invoice.payment_hash()),
                expires_at: Some(invoice.expires_at_s()),
                within_budget: Some(within.is_ok()),
                ..Price::default()
            };
            let verdict = match within {
                Ok(()) => "within the budget".to_owned(),
                Err(error) => error.to_string(),
            };
            let amount = sats(invoice.amount().get());
            let until = date(invoice.expires_at_s());
            (price, format!("the server asks for {amount}, payable until {until}; {verdict}"))
        }
    };
    let told = if args.json {
        write_json(&price)
    } else {
        writeln!(io::stdout(), "{words}; nothing was paid")
    };
    Ok(match (told, price.within_budget) {
        (Err(_), _) => Exit::Internal,
        (Ok(()), Some(false)) => Exit::TooDear,
        (Ok(()), _) => Exit::Done,
    })
}

fn exit_for(status: StatusCode) -> Exit {
    if status.is_success() { Exit::Done } else { Exit::Server }
}
