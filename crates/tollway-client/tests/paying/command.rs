//! The built `tollway` command: exit codes, output, and what it leaves behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tollway_core::macaroon::Macaroon;
use tollway_core::secret::RootKey;

use crate::shop::{Shop, Trick};

struct Desk {
    shop: Shop,
    folder: TempDir,
}

impl Desk {
    async fn open() -> Self {
        Self { shop: Shop::open().await, folder: tempfile::tempdir().unwrap() }
    }

    async fn run(&self, args: &[&str]) -> Output {
        run(self.folder.path(), &self.shop.url, args).await
    }

    async fn get(&self, path: &str, args: &[&str]) -> Output {
        let url = format!("{}{path}", self.shop.url);
        self.run(&[&["get", &url], args].concat()).await
    }

    fn credentials(&self) -> PathBuf {
        self.folder.path().join("tollway/credentials.json")
    }
}

async fn run(state: &Path, wallet: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollway"));
    command
        .args(args)
        .env_clear()
        .env("XDG_STATE_HOME", state)
        .env("XDG_CONFIG_HOME", state)
        .env("TOLLWAY_WALLET_URL", wallet)
        .stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_goes_to_stdout_and_the_money_to_stderr() {
    let desk = Desk::open().await;
    let first = desk.get("/jokes", &[]).await;
    assert_eq!(first.status.code(), Some(0));
    assert_eq!(stdout(&first), "one of jokes");
    assert_eq!(stderr(&first), "tollway: paid 10 sats; this cost 5 sats; balance 5 sats\n");
    let second = desk.get("/jokes", &[]).await;
    assert_eq!(stderr(&second), "tollway: paid nothing; this cost 5 sats; balance 0 sats\n");
    let free = desk.get("/free", &[]).await;
    assert_eq!((stdout(&free), stderr(&free)), ("free", "tollway: paid nothing\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_tells_the_whole_story() {
    let desk = Desk::open().await;
    let first = json(&desk.get("/jokes", &["--json"]).await);
    assert_eq!(first["status"], 200);
    assert_eq!(first["body"], "one of jokes");
    assert_eq!(first["paid_sats"], 10);
    assert_eq!(first["cost_msat"], 5_000);
    assert_eq!(first["balance_msat"], 5_000);
    assert_eq!(first["headers"]["x-toll-cost-msat"], "5000");
    let hash = first["payment_hash"].as_str().unwrap();
    assert_eq!(hash.len(), 64);
    let second = json(&desk.get("/jokes", &["--json"]).await);
    assert_eq!((&second["paid_sats"], &second["payment_hash"]), (&0.into(), &hash.into()));
    let free = json(&desk.get("/free", &["--json", "--no-store"]).await);
    assert_eq!((&free["payment_hash"], &free["cost_msat"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn single_requests_are_paid_where_they_are_preferred() {
    let desk = Desk::open().await;
    desk.shop.plays(Trick::OffersBoth);
    for _ in 0..2 {
        let told = json(&desk.get("/jokes", &["--json", "--scheme", "payment"]).await);
        assert_eq!((&told["status"], &told["paid_sats"]), (&200.into(), &10.into()));
        assert_eq!(told["receipt"]["reference"], told["payment_hash"]);
    }
    let quote = json(&desk.get("/jokes", &["--json", "--dry-run", "--scheme", "payment"]).await);
    assert_eq!(quote["scheme"], "Payment");
    let told = json(&desk.get("/jokes", &["--json"]).await);
    assert_eq!((&told["receipt"], desk.shop.payments()), (&Value::Null, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_has_its_exit_code_its_json_and_its_words() {
    let desk = Desk::open().await;
    for (trick, exit, code, message) in [
        (
            Trick::Dear,
            3,
            "too_dear",
            "the server asks for 1000000 sats, but the budget is 100 sats; allow more with \
             --max-sats",
        ),
        (
            Trick::WalletRefuses,
            4,
            "payment_failed",
            "the wallet refused the invoice (400): not ours",
        ),
        (
            Trick::OtherHash,
            6,
            "challenge_untrusted",
            "the server's challenge cannot be paid: the invoice's payment would not open the \
             macaroon: their payment hashes differ",
        ),
        (
            Trick::Without,
            6,
            "challenge_untrusted",
            "the server's challenge cannot be paid: expected an L402 challenge in \
             WWW-Authenticate, but found none",
        ),
    ] {
        desk.shop.plays(trick);
        let plain = desk.get("/jokes", &[]).await;
        assert_eq!(plain.status.code(), Some(exit), "{trick:?}");
        assert_eq!((stdout(&plain), stderr(&plain)), ("", &*format!("tollway: {message}\n")));
        let output = desk.get("/jokes", &["--json"]).await;
        assert_eq!(output.status.code(), Some(exit), "{trick:?}");
        let error = json(&output);
        assert_eq!(error["error"]["code"], code, "{trick:?}");
        assert_eq!(error["error"]["message"], message, "{trick:?}");
        assert_eq!(error["paid_sats"], 0, "{trick:?}");
        assert_eq!(stderr(&output), "", "{trick:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_statuses_exit_5_and_still_print_the_body() {
    let desk = Desk::open().await;
    for (trick, status, line) in [
        (
            Trick::FailsAfterPayment,
            500,
            "tollway: the server answered 500 Internal Server Error; paid 10 sats\n",
        ),
        (
            Trick::Redirects,
            302,
            "tollway: the server answered 302 Found; it redirects to \
             http://elsewhere.invalid/, which is not followed without --location; paid nothing\n",
        ),
        (
            Trick::AsksForEver,
            402,
            "tollway: the server asks for payment again; call again to pay again; paid 10 \
             sats\n",
        ),
    ] {
        desk.shop.plays(trick);
        let output = desk.get("/jokes", &[]).await;
        assert_eq!((output.status.code(), stderr(&output)), (Some(5), line), "{trick:?}");
        let output = desk.get("/jokes", &["--json"]).await;
        assert_eq!(output.status.code(), Some(5), "{trick:?}");
        assert_eq!(json(&output)["status"], status, "{trick:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_apart() {
    let desk = Desk::open().await;
    let output = desk.run(&["get", "http://127.0.0.1:1/"]).await;
    assert_eq!(output.status.code(), Some(5));
    let server = stderr(&output);
    assert!(server.starts_with("tollway: the server does not answer: "), "{server}");
    let output = desk.get("/jokes", &["--wallet-url", "http://127.0.0.1:1"]).await;
    assert_eq!(output.status.code(), Some(4));
    let wallet = stderr(&output);
    assert!(wallet.starts_with("tollway: the wallet does not answer: "), "{wallet}");
    assert!(wallet.ends_with("; name a running one with --wallet or --wallet-url\n"), "{wallet}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_exits_2() {
    let desk = Desk::open().await;
    for args in [
        &[][..],
        &["get"],
        &["get", "localhost:8402/joke"],
        &["get", "ftp://localhost/"],
        &["get", "http://localhost/", "--max-sats", "-1"],
        &["get", "http://localhost/", "--max-sats", "9007199254741"],
        &["get", "http://localhost/", "-H", "no colon"],
        &["get", "http://localhost/", "-H", "a b: c"],
        &["get", "http://localhost/", "--wallet-url", "x"],
        &["got"],
    ] {
        let output = desk.run(args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?} {}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_sent() {
    let desk = Desk::open().await;
    desk.get("/jokes", &["-H", "X-A: 1", "-H", "X-A:2", "--no-store"]).await;
    for headers in desk.shop.seen() {
        let values: Vec<_> = headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_store_keeps_and_uses_nothing() {
    let desk = Desk::open().await;
    desk.get("/jokes", &["--no-store"]).await;
    desk.get("/jokes", &["--no-store"]).await;
    assert_eq!(desk.shop.payments(), 2);
    assert!(!desk.credentials().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_cannot_be_read_stop_before_a_payment() {
    let desk = Desk::open().await;
    std::fs::create_dir_all(desk.credentials().parent().unwrap()).unwrap();
    std::fs::write(desk.credentials(), "{").unwrap();
    let output = desk.get("/jokes", &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).ends_with("move the file away; or do without them by --no-store\n"));
    assert_eq!(desk.shop.payments(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_shows_a_preimage() {
    let desk = Desk::open().await;
    let preimage = "01".repeat(32);
    let got = desk.get("/jokes", &["--json"]).await;
    let kept = std::fs::read_to_string(desk.credentials()).unwrap();
    assert!(kept.contains(&preimage), "the credential is kept with its proof");
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let macaroon = kept["origins"][&desk.shop.url][0]["token"].as_str().unwrap();
    let credential = format!("L402 {macaroon}:{preimage}");
    let plain = desk.run(&["inspect", &credential]).await;
    let as_json = desk.run(&["inspect", "--json", "L402", &format!("{macaroon}:{preimage}")]).await;
    assert!(stdout(&plain).contains("present, and it proves the payment"), "{plain:?}");
    assert_eq!(json(&as_json)["preimage"], "proves");
    assert_eq!(json(&as_json)["key_id"], 1);
    for output in [&got, &plain, &as_json] {
        assert_eq!(output.status.code(), Some(0));
        assert!(!stdout(output).contains(&preimage) && !stderr(output).contains(&preimage));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_token_exits_6() {
    let desk = Desk::open().await;
    for text in ["hello", "-", "L402 canary:42"] {
        let output = desk.run(&["inspect", text]).await;
        assert_eq!(output.status.code(), Some(6), "{text}");
        assert!(!stderr(&output).contains("canary"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrower_token_is_made_offline_and_explained() {
    let desk = Desk::open().await;
    desk.get("/joke", &["--max-sats", "100"]).await;
    let kept = std::fs::read_to_string(desk.credentials()).unwrap();
    let preimage = "42".repeat(32);
    let token = Macaroon::mint(&RootKey::from_bytes([7; 32]), "tollway", b"id");
    let text = format!("L402 {}:{preimage}", token.to_base64());
    let args = ["attenuate", &text, "--budget", "100/day", "--max-cost", "500msat"];
    let more = ["--expires", "1h", "--endpoint", "/joke"];
    let narrower = |name: &'static [&'static str]| {
        let args: Vec<&str> = args.iter().chain(&more).chain(name).copied().collect();
        let (state, url) = (desk.folder.path(), desk.shop.url.clone());
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        async move {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            run(state, &url, &args).await
        }
    };
    let first = narrower(&[]).await;
    assert_eq!((first.status.code(), stderr(&first)), (Some(0), ""));
    assert!(stdout(&first).trim_end().ends_with(&preimage));
    // Each has a budget of its own, unless both have one name.
    assert_ne!(stdout(&narrower(&[]).await), stdout(&first));
    let explained = desk.run(&["inspect", "--json", stdout(&first).trim_end()]).await;
    let caveats = json(&explained)["caveats"].to_string();
    for part in ["max_cost_msat=500", "budget=100000/day/", "100 sats in one day", "endpoint=/joke"]
    {
        assert!(caveats.contains(part), "{part} in {caveats}");
    }
    for (args, code, problem) in [
        (&["--budget", "100"][..], 2, "expected AMOUNT/WINDOW"),
        (&["--budget", "100/week"], 2, "expected `hour`, `day`"),
        (&["--budget", "+1/day"], 2, "expected a number of sats"),
        (&["--max-cost", "1.5"], 2, "expected a number of sats"),
        (&["--expires", "0s"], 2, "expected a time like"),
        (&["--name", "a"], 2, "--budget"),
        (&["--endpoint", "joke"], 6, "expected a limit that a gate can read"),
        (&[], 6, "expected a limit, but found none"),
    ] {
        let output = desk.run(&[&["attenuate", &text][..], args].concat()).await;
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(stderr(&output).contains(problem), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
        assert!(!stderr(&output).contains(&preimage));
    }
    let untouched = std::fs::read_to_string(desk.credentials()).unwrap();
    assert_eq!(untouched, kept, "nothing was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_send_data_and_write_files() {
    let desk = Desk::open().await;
    let url = format!("{}/jokes", desk.shop.url);
    let input = desk.folder.path().join("input");
    let output = desk.folder.path().join("output");
    std::fs::write(&input, "from a file").unwrap();
    let data = format!("@{}", input.display());
    let posted = desk.run(&["post", &url, "-d", "text", "-o", output.to_str().unwrap()]).await;
    assert_eq!((posted.status.code(), stdout(&posted)), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "one of jokes");
    assert_eq!(desk.run(&["put", &url, "-d", &data]).await.status.code(), Some(0));
    assert_eq!(desk.run(&["delete", &url]).await.status.code(), Some(0));
    assert_eq!(desk.shop.bodies(), ["text", "text", "from a file", "", ""]);
    let missing = desk.run(&["post", &url, "-d", "@/nowhere"]).await;
    assert_eq!(missing.status.code(), Some(2));
    let head = desk.run(&["head", &url]).await;
    assert_eq!(head.status.code(), Some(0));
    assert!(
        stdout(&head).starts_with("200 OK\n") && stdout(&head).contains("x-toll-cost-msat: 5000\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_price_and_pays_nothing() {
    let desk = Desk::open().await;
    let shown = desk.get("/jokes", &["--dry-run"]).await;
    assert_eq!(shown.status.code(), Some(0));
    assert!(stdout(&shown).starts_with("the server asks for 10 sats, payable until "), "{shown:?}");
    assert!(stdout(&shown).ends_with("; within the budget; nothing was paid\n"), "{shown:?}");
    let price = json(&desk.get("/jokes", &["--dry-run", "--json"]).await);
    assert_eq!((&price["price_msat"], &price["scheme"]), (&10_000.into(), &"L402".into()));
    let dear = desk.get("/jokes", &["--dry-run", "--max-sats", "9", "--json"]).await;
    assert_eq!((dear.status.code(), &json(&dear)["within_budget"]), (Some(3), &false.into()));
    let free = desk.get("/free", &["--dry-run"]).await;
    assert_eq!(stdout(&free), "it is free; the server answered 200 OK; nothing was paid\n");
    assert_eq!(desk.shop.payments(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_for_the_day_outlives_the_process() {
    let desk = Desk::open().await;
    assert_eq!(desk.get("/jokes", &["--max-sats-per-day", "15"]).await.status.code(), Some(0));
    let refused = desk.get("/time", &["--max-sats-per-day", "15"]).await;
    assert_eq!(refused.status.code(), Some(3));
    assert_eq!(
        stderr(&refused),
        "tollway: the server asks for 10 sats, but 10 of 15 sats for this day are spent; allow \
         more with --max-sats-per-day\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn history_and_balance_tell_what_was_paid_and_what_is_left() {
    let desk = Desk::open().await;
    assert_eq!(stdout(&desk.run(&["history"]).await), "");
    desk.get("/jokes?key=canary", &[]).await;
    desk.get("/time", &[]).await;
    let history = desk.run(&["history"]).await;
    let lines: Vec<&str> = stdout(&history).lines().collect();
    assert!(lines[0].ends_with("10 sats  127.0.0.1/jokes"), "{lines:?}");
    assert_eq!((lines.len(), history.status.code()), (2, Some(0)));
    let last = json(&desk.run(&["history", "-n", "1", "--json"]).await);
    assert_eq!(last.as_array().unwrap().len(), 1);
    assert_eq!((&last[0]["path"], &last[0]["state"]), (&"/time".into(), &"paid".into()));
    let balance = desk.run(&["balance"]).await;
    let expected = format!(
        "wallet (simulated), simulated: unknown\ncredit at {0}, services=time:0: 5 sats\ncredit at \
         {0}, services=jokes:0: 5 sats\n",
        desk.shop.url
    );
    assert_eq!((stdout(&balance), balance.status.code()), (&*expected, Some(0)));
    let balance = json(&desk.run(&["balance", "--json"]).await);
    assert_eq!(balance["credit"][0]["balance_msat"], 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn topup_buys_while_there_is_credit() {
    let desk = Desk::open().await;
    let url = format!("{}/jokes", desk.shop.url);
    for payments in 1..=2 {
        let bought = desk.run(&["topup", &url, "--sats", "10"]).await;
        assert_eq!((bought.status.code(), stderr(&bought)), (Some(0), "tollway: paid 10 sats\n"));
        assert_eq!(desk.shop.payments(), payments);
    }
    let sent = desk.shop.seen();
    assert!(sent[1].contains_key("authorization"), "the second one is for the same account");
    assert_eq!(sent[1]["x-toll-purchase-sats"], "10");
    let free = desk.run(&["topup", &format!("{}/free", desk.shop.url), "--sats", "1"]).await;
    assert_eq!(free.status.code(), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_are_kept_privately_and_used_by_name() {
    let desk = Desk::open().await;
    let secret = desk.folder.path().join("key");
    std::fs::write(&secret, "canary-key\n").unwrap();
    let key = secret.to_str().unwrap();
    let added = desk
        .run(&[
            "wallet",
            "add",
            "bits",
            "lnbits",
            "--url",
            "http://u:canary@127.0.0.1:1",
            "--key-file",
            key,
        ])
        .await;
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    let shop = desk.shop.url.clone();
    let added = desk.run(&["wallet", "add", "--default", "sim", "simulated", "--url", &shop]).await;
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    let listed = desk.run(&["wallet", "list"]).await;
    let expected =
        format!("bits  lnbits  http://127.0.0.1:1/\nsim (default)  simulated  {shop}/\n");
    assert_eq!(stdout(&listed), expected);
    let kept = desk.folder.path().join("tollway/wallets.json");
    assert!(std::fs::read_to_string(&kept).unwrap().contains("canary-key"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    }

    // TOLLWAY_WALLET_URL would say otherwise, so these run without it.
    let plain = async |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollway"));
        command.args(args).env_clear().env("XDG_STATE_HOME", desk.folder.path());
        command.env("XDG_CONFIG_HOME", desk.folder.path()).stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    };
    let url = format!("{shop}/jokes");
    assert_eq!(plain(&["get", &url]).await.status.code(), Some(0));
    let checked = plain(&["wallet", "check"]).await;
    assert_eq!(stdout(&checked), "sim, simulated: it does not say what it can spend\n");
    let down = plain(&["wallet", "check", "--wallet", "bits"]).await;
    assert_eq!(down.status.code(), Some(4));
    let unpaid = plain(&["get", &format!("{shop}/time"), "--wallet", "bits"]).await;
    assert_eq!(unpaid.status.code(), Some(4));
    for output in [&added, &listed, &checked, &down, &unpaid] {
        assert!(!format!("{output:?}").contains("canary"), "{output:?}");
    }
    assert_eq!(plain(&["wallet", "remove", "sim"]).await.status.code(), Some(0));
    assert_eq!(plain(&["get", &url, "--wallet", "sim"]).await.status.code(), Some(2));
    let bad = plain(&["wallet", "add", "x", "simulated", "--url", "ftp://x"]).await;
    assert_eq!(bad.status.code(), Some(2));
    for (args, said) in [
        (&["x", "simulated"][..], "--url: missing"),
        (&["x", "lnbits", "--url", "http://127.0.0.1:1"], "--key-file: missing"),
        (&["x", "simulated", "--url", &shop, "--key-file", key], "--key-file: a wallet of this"),
    ] {
        let refused = plain(&[&["wallet", "add"], args].concat()).await;
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(stderr.contains(said), "{stderr}");
    }
    // A wallet may be called as a kind is.
    for name in ["simulated", "lnd"] {
        let added = plain(&["wallet", "add", name, "simulated", "--url", &shop]).await;
        assert_eq!(added.status.code(), Some(0), "{added:?}");
        let checked = plain(&["wallet", "check", "--wallet", name]).await;
        assert!(stdout(&checked).starts_with(&format!("{name}, simulated: ")), "{checked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_the_manual_name_every_command() {
    let desk = Desk::open().await;
    let scripts = ["bash", "zsh", "fish"].map(|shell| vec!["completions", shell]);
    for args in scripts.iter().chain([&vec!["man"]]) {
        let output = desk.run(args).await;
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        let text = stdout(&output).to_lowercase();
        for command in ["get", "topup", "history", "wallet", "inspect", "completions"] {
            assert!(text.contains(command), "{args:?} {command}");
        }
    }
}
