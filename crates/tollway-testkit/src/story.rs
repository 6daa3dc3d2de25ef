//! The main job, played step by step against a running stack, for people to read.
//!
//! Unpaid, 402, pay, 200, the balance falls, 402 again, top up the same account, 200. Every step
//! checks what it shows; the first one that finds something else ends the story.

mod exchange;

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};

use exchange::{Answer, Challenge, Credential};

const CHEAP: &str = "/api/joke";
const DEAR: &str = "/api/fortune";
const SMALL: &str = "/api/time";
/// How long a stack may take until its gateway answers priced requests.
const PATIENCE: Duration = Duration::from_secs(60);
/// More paid calls than any purchase of the demo covers: a balance that does not fall ends here.
const CALLS_MAX: u32 = 200;

/// Where the story takes place.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Envoy's URL, without a path.
    pub gateway: String,
    /// The URL of the admin listener of `tollwayd`, whose simulated node pays.
    pub wallet: String,
}

/// A step that found something else than it expected.
#[derive(Debug)]
pub struct StoryError {
    step: String,
    expected: String,
    found: String,
}

impl StoryError {
    fn new(expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        let step = String::new();
        Self { step, expected: expected.to_string(), found: found.to_string() }
    }
}

impl From<io::Error> for StoryError {
    fn from(error: io::Error) -> Self {
        Self::new("a terminal to write to", error)
    }
}

impl fmt::Display for StoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, expected, found } = self;
        write!(f, "{step}\n   expected: {expected}\n   found:    {found}")
    }
}

impl std::error::Error for StoryError {}

/// Plays the story and writes it to `out`.
///
/// # Errors
/// A step finds something else than it expects.
pub async fn play(stage: &Stage, out: &mut (impl Write + Send)) -> Result<(), StoryError> {
    let mut story = Story::new(stage, out)?;
    let played = story.play().await;
    played.map_err(|error| StoryError {
        step: format!("Step {} failed: {}", story.step, story.title),
        ..error
    })
}

struct Story<'a, W> {
    stage: &'a Stage,
    out: &'a mut W,
    http: Client,
    step: u32,
    title: &'static str,
    rows: Vec<Row>,
}

/// A line of the summary.
struct Row {
    what: String,
    answer: String,
    cost_msat: Option<u64>,
    balance_msat: Option<u64>,
}

impl<'a, W: Write> Story<'a, W> {
    fn new(stage: &'a Stage, out: &'a mut W) -> Result<Self, StoryError> {
        let http = exchange::client()?;
        Ok(Self { stage, out, http, step: 0, title: "wait for the gateway", rows: Vec::new() })
    }

    async fn play(&mut self) -> Result<(), StoryError> {
        self.wait_for_gateway().await?;

        self.step("The front page is free.")?;
        let answer = self.get("/", None).await?;
        answer.expect_status(StatusCode::OK)?;

        self.step("A joke has its price, and we have not paid.")?;
        let answer = self.get(CHEAP, None).await?;
        let challenge = self.challenge(&answer)?;

        self.step("A wallet pays the invoice and gets the preimage: the proof of payment.")?;
        let first = self.pay(&challenge).await?;

        self.step("The same request with macaroon and preimage reaches the API.")?;
        self.say("authorization: L402 <macaroon>:<preimage>")?;
        let answer = self.get(CHEAP, Some(&first)).await?;
        let (cost, mut balance) = answer.expect_paid()?;
        self.say(&format!("{}", answer.body))?;
        equal("the purchase less one joke", challenge.amount_msat.saturating_sub(cost), balance)?;

        self.step("The rest is prepaid: no new payment until the balance is below the price.")?;
        let dear = self.drain(&first, &mut balance).await?;

        self.step("What is left does not cover the next request: 402 again.")?;
        let answer = self.get(DEAR, Some(&first)).await?;
        let top_up = self.challenge(&answer)?;
        let code = answer.body.get("code").and_then(|code| code.as_str()).unwrap_or("none");
        self.say(&format!("code: {code}"))?;
        equal("the code insufficient_credit", "insufficient_credit", code)?;

        self.step("The wallet pays this invoice too; it tops up the same account.")?;
        let second = self.pay(&top_up).await?;

        self.step("The request passes again, and what was left before still counts.")?;
        let answer = self.get(DEAR, Some(&second)).await?;
        let (_, topped_up) = answer.expect_paid()?;
        let left = sats(balance);
        self.say(&format!("{left} left + {} bought", sats(top_up.amount_msat)))?;
        let expected = (balance + top_up.amount_msat).saturating_sub(dear);
        equal("what was left + the purchase - the price", expected, topped_up)?;

        self.step("The first credential spends from the same account.")?;
        let answer = self.get(SMALL, Some(&first)).await?;
        let (cost, balance) = answer.expect_paid()?;
        equal("the balance before - the price", topped_up.saturating_sub(cost), balance)?;

        self.summary()
    }

    /// Pays for one dear request after the other until the balance is below the price, which is
    /// returned.
    async fn drain(&mut self, with: &Credential, balance: &mut u64) -> Result<u64, StoryError> {
        for _ in 0..CALLS_MAX {
            let answer = self.get(DEAR, Some(with)).await?;
            let (cost, rest) = answer.expect_paid()?;
            equal("the balance before - the price", balance.saturating_sub(cost), rest)?;
            *balance = rest;
            if rest < cost {
                return Ok(cost);
            }
        }
        Err(StoryError::new("a balance that runs dry", format!("{CALLS_MAX} calls and no end")))
    }

    /// Workers fetch their keys when they start; until then a priced request gets 503.
    async fn wait_for_gateway(&mut self) -> Result<(), StoryError> {
        let begun = Instant::now();
        loop {
            let found = match self.send(CHEAP, None).await {
                Ok(answer) if !answer.status.is_server_error() => return Ok(()),
                Ok(answer) => answer.status.to_string(),
                Err(error) => error.found,
            };
            if begun.elapsed() > PATIENCE {
                return Err(StoryError::new("an answer within 60 s", found));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn get(&mut self, path: &str, with: Option<&Credential>) -> Result<Answer, StoryError> {
        let answer = self.send(path, with).await?;
        let mut line = format!("GET {path}  ->  {}", answer.status);
        if let (Some(cost), Some(balance)) = (answer.cost_msat, answer.balance_msat) {
            line += &format!("   cost {}, balance {}", sats(cost), sats(balance));
        }
        self.say(&line)?;
        self.rows.push(Row {
            what: format!("GET {path}"),
            answer: answer.status.as_str().to_owned(),
            cost_msat: answer.cost_msat,
            balance_msat: answer.balance_msat,
        });
        Ok(answer)
    }

    async fn send(&self, path: &str, with: Option<&Credential>) -> Result<Answer, StoryError> {
        exchange::get(&self.http, &format!("{}{path}", self.stage.gateway), with).await
    }

    /// Expects a 402 and shows what it asks for.
    fn challenge(&mut self, answer: &Answer) -> Result<Challenge, StoryError> {
        answer.expect_status(StatusCode::PAYMENT_REQUIRED)?;
        let challenge = answer.challenge()?;
        self.say(&format!("www-authenticate: {}", exchange::shortened(&challenge.header)))?;
        let amount = sats(challenge.amount_msat);
        self.say(&format!("the invoice asks for {amount}: {:?}", challenge.description))?;
        Ok(challenge)
    }

    async fn pay(&mut self, challenge: &Challenge) -> Result<Credential, StoryError> {
        let credential = exchange::pay(&self.http, &self.stage.wallet, challenge).await?;
        let amount = sats(challenge.amount_msat);
        self.say(&format!("paid {amount}; sha256(preimage) is the invoice's payment hash"))?;
        self.rows.push(Row {
            what: "pay the invoice".to_owned(),
            answer: format!("+{amount}"),
            cost_msat: None,
            balance_msat: None,
        });
        Ok(credential)
    }

    fn step(&mut self, title: &'static str) -> Result<(), StoryError> {
        self.step += 1;
        self.title = title;
        writeln!(self.out, "\n{}. {title}", self.step)?;
        Ok(())
    }

    fn say(&mut self, line: &str) -> Result<(), StoryError> {
        writeln!(self.out, "   {line}")?;
        Ok(())
    }

    fn summary(&mut self) -> Result<(), StoryError> {
        let amount = |msat: Option<u64>| msat.map_or_else(String::new, sats);
        writeln!(
            self.out,
            "\n   {:<20} {:>9} {:>9} {:>9}",
            "request", "answer", "cost", "balance"
        )?;
        for row in &self.rows {
            let (cost, balance) = (amount(row.cost_msat), amount(row.balance_msat));
            let line = format!("   {:<20} {:>9} {cost:>9} {balance:>9}", row.what, row.answer);
            writeln!(self.out, "{}", line.trim_end())?;
        }
        writeln!(self.out, "\nAll {} steps passed.", self.step)?;
        Ok(())
    }
}

fn equal<T: PartialEq + fmt::Display>(what: &str, expected: T, found: T) -> Result<(), StoryError> {
    if expected == found {
        return Ok(());
    }
    Err(StoryError::new(format!("{what}: {expected}"), found))
}

/// An amount in msat, shown in sats.
fn sats(msat: u64) -> String {
    let (whole, rest) = (msat / 1000, msat % 1000);
    let unit = if whole == 1 && rest == 0 { "sat" } else { "sats" };
    if rest == 0 { format!("{whole} {unit}") } else { format!("{whole}.{rest:03} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_show_in_sats() {
        for (msat, shown) in
            [(0, "0 sats"), (1000, "1 sat"), (1001, "1.001 sats"), (20_000, "20 sats")]
        {
            assert_eq!(sats(msat), shown);
        }
    }
}
