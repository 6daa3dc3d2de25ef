//! `tollway price`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tollway_client::inspect::sats;
use tollway_core::money::MSAT_PER_SAT;
use tollway_lint::{Asked, Meets, Rehearsal, read, rehearse};

use super::Exit;

#[derive(Args, Debug)]
pub(crate) struct PriceArgs {
    /// What to ask the price of. The path is taken as it stands here.
    #[arg(value_parser = parse_target)]
    url: Target,
    /// The method; without it GET, or POST where there is a body.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<Method>,
    /// A request header; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// The body, where the price hangs on it: a text, `@FILE`, or `@-` for standard input.
    #[arg(short, long, value_name = "BODY", requires = "config")]
    data: Option<String>,
    /// Decide by this configuration: the filter's own, or one of Envoy, Istio or Envoy Gateway
    /// that has it somewhere inside.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A URL whose path nobody has tidied up yet.
#[derive(Clone, Debug)]
struct Target {
    url: String,
    host: String,
    path: String,
}

fn parse_target(text: &str) -> Result<Target, String> {
    let fault = || "expected a URL that begins with http:// or https://".to_owned();
    let url = text.split('#').next().unwrap_or_default();
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or_else(fault)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let host = host.rsplit('@').next().unwrap_or_default();
    if host.is_empty() {
        return Err(fault());
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(Target { url: url.to_owned(), host: host.to_owned(), path: format!("{slash}{path}") })
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected \"Name: value\"")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

pub(crate) async fn run(args: &PriceArgs) -> Exit {
    let said = match &args.config {
        Some(file) => by_config(args, file),
        None => by_gateway(args).await,
    };
    match said {
        Ok(text) => {
            let mut out = io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            if written.is_ok() { Exit::Done } else { Exit::Internal }
        }
        Err((exit, problem)) => {
            eprintln!("tollway: {problem}");
            exit
        }
    }
}

fn by_config(args: &PriceArgs, file: &Path) -> Result<String, (Exit, String)> {
    let unusable = |problem: String| (Exit::Config, format!("{}: {problem}", file.display()));
    let text =
        fs::read_to_string(file).map_err(|error| unusable(format!("cannot be read: {error}")))?;
    let asked = args.asked()?;
    let mut said = format!("{} {}{}\n", asked.method, asked.host, asked.target);
    for found in read(&text).map_err(|error| unusable(error.to_string()))? {
        let rehearsal =
            rehearse(&found.filter, &asked).map_err(|error| unusable(error.to_string()))?;
        if !found.place.is_empty() {
            said += &line("in", &found.place);
        }
        said += &explained(&rehearsal);
    }
    Ok(said)
}

impl PriceArgs {
    fn method(&self) -> Method {
        let default = if self.data.is_some() { Method::POST } else { Method::GET };
        self.method.clone().unwrap_or(default)
    }

    /// The request, as a client would send it.
    fn asked(&self) -> Result<Asked, (Exit, String)> {
        let mut asked = Asked {
            method: self.method().to_string(),
            host: self.url.host.clone(),
            target: self.url.path.clone(),
            headers: self.headers.clone(),
            body: Vec::new(),
        };
        let Some(data) = &self.data else { return Ok(asked) };
        asked.body = match data.strip_prefix('@') {
            None => data.clone().into_bytes(),
            Some(name) => {
                let mut body = Vec::new();
                let read = match name {
                    "-" => io::stdin().read_to_end(&mut body),
                    file => fs::File::open(file).and_then(|mut file| file.read_to_end(&mut body)),
                };
                read.map_err(|error| (Exit::Config, format!("{name}: cannot be read: {error}")))?;
                body
            }
        };
        let framed = ["content-length", "transfer-encoding"];
        if !asked.headers.iter().any(|(name, _)| framed.contains(&name.as_str())) {
            asked.headers.push(("content-length".to_owned(), asked.body.len().to_string()));
        }
        Ok(asked)
    }
}

fn line(name: &str, text: &str) -> String {
    format!("  {name:<8} {text}\n")
}

fn explained(rehearsal: &Rehearsal) -> String {
    let mut said = String::new();
    if let Some(route) = &rehearsal.route {
        said += &line("route", &format!("{route}: {}", rehearsal.because.join(", ")));
    }
    if !rehearsal.passed_over.is_empty() {
        let others = rehearsal.passed_over.join(", ");
        said += &line("before", &format!("{others}, which match too and are not more specific"));
    }
    match &rehearsal.meets {
        Meets::Free => said += &line("price", "free"),
        Meets::Payment(body) => said += &payment(rehearsal, body),
        Meets::Answer { status, body } => {
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            let detail = body.get("detail").and_then(Value::as_str).unwrap_or_default();
            said += &line("answer", &format!("{status}: {detail}"));
        }
    }
    said
}

fn payment(rehearsal: &Rehearsal, body: &Value) -> String {
    let amount = |field| body.get(field).and_then(Value::as_u64);
    let mut said = String::new();
    if let Some(price) = amount("priceMsat") {
        said += &line("price", &sats(price));
    }
    if let Some(asks) = amount("amountSats") {
        let mut text = format!("asks {}", sats(asks.saturating_mul(MSAT_PER_SAT)));
        if let Some(buys) = rehearsal.buys.as_deref() {
            // Writing to a string does not fail.
            _ = match amount("creditMsat").filter(|_| buys == "credit") {
                Some(credit) => write!(text, ", buys {} of credit", sats(credit)),
                None => write!(text, ", buys {buys}"),
            };
        }
        if let Some(service) = &rehearsal.service {
            text += &format!(" for service {service}");
        }
        said += &line("invoice", &text);
    }
    if rehearsal.free_tier {
        said += &line("free", "at first: what the client has free is used up before it pays");
    }
    said
}

async fn by_gateway(args: &PriceArgs) -> Result<String, (Exit, String)> {
    if !matches!(args.method(), Method::GET | Method::HEAD) {
        let problem = "expected GET without --config, but found another method: a gateway is \
                       asked by HEAD, which has the price of GET; name its configuration";
        return Err((Exit::Config, problem.to_owned()));
    }
    let failed = |error: reqwest::Error| (Exit::Server, format!("{error}"));
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(failed)?;
    let mut request = client.head(&args.url.url);
    for (name, value) in &args.headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    let price = match price_of(answer.headers()) {
        Some(price) => sats(price),
        None if status == 402 => "to be paid, and not named to HEAD".to_owned(),
        None if status < 400 => "free".to_owned(),
        None => return Err((Exit::Server, format!("the gateway answers {status}"))),
    };
    Ok(format!("GET {}{}\n{}", args.url.host, args.url.path, line("price", &price)))
}

/// In msat: Tollway's header, exact; or that of other gateways, in whole sats.
fn price_of(headers: &HeaderMap) -> Option<u64> {
    let number = |name| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    number("x-toll-price-msat").or_else(|| number("x-l402-price-sats")?.checked_mul(MSAT_PER_SAT))
}
