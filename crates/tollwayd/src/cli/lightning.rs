//! `tollwayd check-lightning`: whether the configured nodes do what tollwayd needs, and with no
//! more rights than that.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::{CliError, EXIT_DIFFERENCES, environment, print, runtime};
use crate::clock::{Clock, SystemClock};
use crate::config::{LightningConfig, LogConfig, LogFormat, LogLevel, RawConfig};
use crate::entropy;
use crate::lightning::{
    Answer, CheckedInvoice, ConnectFault, InvoiceOrder, Lightning, MakeError, NodeFault,
    PayingWallet, Rights,
};
use crate::telemetry;

/// The smallest invoice that every node makes.
const ONE_SAT: Msat = match Msat::new(1_000) {
    Some(amount) => amount,
    None => Msat::ZERO,
};
/// A stream that is refused ends at once; one that is not is silent.
const STREAM_PATIENCE: Duration = Duration::from_secs(2);

/// What was looked at, and how it is.
struct Finding {
    what: &'static str,
    is_fine: bool,
    words: String,
}

/// Checks the nodes of a configuration and says what it found.
pub(super) fn run(path: &Path) -> Result<ExitCode, CliError> {
    let (config, payouts) = RawConfig::load(path)?.resolve_lightning(&environment)?;
    // What the node said itself goes to the log.
    telemetry::init(LogConfig { format: LogFormat::Text, level: LogLevel::Warn });
    let runtime = runtime()?;
    let mut all_fine = true;
    for node in &config.nodes {
        print(&format!("node         {node}\n"))?;
        let connected = Lightning::connect(&node.node, config.network).map_err(failed)?;
        let pays = payouts.as_ref().is_some_and(|payouts| payouts.wallet == node.node);
        match connected {
            Some(lightning) => {
                all_fine &= report(runtime.block_on(examine(&lightning, &config, pays)))?;
            }
            None => {
                print("it is simulated: there is nothing to check, and nothing to earn\n")?;
            }
        }
    }
    if let Some(payouts) = payouts {
        print(&format!("payouts      {}\n", payouts.wallet))?;
        let wallet = PayingWallet::connect(&payouts.wallet, payouts.network).map_err(failed)?;
        all_fine &= report(vec![runtime.block_on(pays(&wallet))])?;
    }
    Ok(ExitCode::from(if all_fine { 0 } else { EXIT_DIFFERENCES }))
}

fn failed(error: ConnectFault) -> CliError {
    CliError::Failed(error.to_string())
}

/// Prints what was found; whether all of it is fine.
fn report(findings: Vec<Finding>) -> Result<bool, CliError> {
    let mut all_fine = true;
    for Finding { what, is_fine, words } in findings {
        all_fine &= is_fine;
        print(&format!("{what:<12} {} {words}\n", if is_fine { "ok:" } else { "FAULT:" }))?;
    }
    Ok(all_fine)
}

/// `pays` says whether the node pays the shares too.
async fn examine(lightning: &Lightning, config: &LightningConfig, pays: bool) -> Vec<Finding> {
    let order = InvoiceOrder {
        amount: ONE_SAT,
        memo: "tollwayd check-lightning".to_owned(),
        note: String::new(),
        expiry_s: config.invoice_expiry_s,
    };
    let made = lightning.make_invoice(&order, SystemClock.now_s()).await;
    let mut findings = vec![invoice(&made)];
    if let Ok(made) = &made {
        findings.push(look_up(lightning, made).await);
    }
    findings.push(unknown(lightning).await);
    findings.push(stream(lightning).await);
    if !pays {
        findings.push(rights(lightning).await);
    }
    findings.extend(permissions(lightning).await);
    findings
}

fn invoice(made: &Result<CheckedInvoice, MakeError>) -> Finding {
    let (is_fine, words) = match made {
        Ok(_) => (true, "it makes one of 1 sat, as ordered".to_owned()),
        Err(error) => (false, format!("{error}{}", remedy_of(error))),
    };
    Finding { what: "invoice", is_fine, words }
}

fn remedy_of(error: &MakeError) -> &'static str {
    match error {
        MakeError::Node(fault) => remedy(*fault),
        MakeError::Invoice(_) => "; docs/lightning.md has the remedies",
    }
}

fn remedy(fault: NodeFault) -> &'static str {
    match fault {
        NodeFault::Denied => "; make one with the rights that docs/lightning.md names",
        NodeFault::Down => "; is lightning.url right, does it run, is lightning.cert its own?",
        NodeFault::Refused | NodeFault::Unreadable => "; is it the right kind of node?",
    }
}

async fn look_up(lightning: &Lightning, made: &CheckedInvoice) -> Finding {
    let (is_fine, words) = match lightning.node.look_up(&made.payment_hash).await {
        Ok(Answer::Open) => (true, "it waits for its payment".to_owned()),
        Ok(answer) => (false, format!("expected an open invoice, but found {answer:?}")),
        Err(fault) => (false, format!("{fault}{}", remedy(fault))),
    };
    Finding { what: "look-up", is_fine, words }
}

async fn unknown(lightning: &Lightning) -> Finding {
    let hash = PaymentHash::from_bytes(entropy::random_bytes().unwrap_or_default());
    let (is_fine, words) = match lightning.node.look_up(&hash).await {
        Ok(Answer::Unknown) => (true, "it knows none that it did not make".to_owned()),
        Ok(answer) => (false, format!("expected no invoice, but found {answer:?}")),
        Err(fault) => (false, format!("{fault}{}", remedy(fault))),
    };
    Finding { what: "unknown", is_fine, words }
}

async fn stream(lightning: &Lightning) -> Finding {
    use futures_util::StreamExt;
    let what = "settlements";
    let Some(mut events) = lightning.node.settled_after(0) else {
        let words = "it tells of none; open invoices are looked up".to_owned();
        return Finding { what, is_fine: true, words };
    };
    let first = tokio::time::timeout(STREAM_PATIENCE, events.next()).await;
    let (is_fine, words) = match first {
        Ok(Some(Err(fault))) => (false, format!("{fault}{}", remedy(fault))),
        Ok(None) => (false, "the stream ended".to_owned()),
        Ok(Some(Ok(_))) | Err(_) => (true, "it tells of them".to_owned()),
    };
    Finding { what, is_fine, words }
}

async fn rights(lightning: &Lightning) -> Finding {
    let (is_fine, words) = match lightning.node.may_pay().await {
        Ok(Some(false)) => (true, "the credential cannot spend"),
        Ok(None) => (true, "the node does not say whether the credential can spend"),
        Ok(Some(true)) => (
            false,
            "the credential can spend, which tollwayd never does: make one that cannot, as \
             docs/lightning.md says",
        ),
        Err(_) => (false, "it is not known whether the credential can spend"),
    };
    Finding { what: "rights", is_fine, words: words.to_owned() }
}

/// Of nodes that list them.
async fn permissions(lightning: &Lightning) -> Option<Finding> {
    let (is_fine, words) = match lightning.node.rights().await.transpose()? {
        Ok(Rights { present, missing, too_broad }) => {
            let parts = [
                ("it has", present.join(", ")),
                ("missing", missing.join(", ")),
                ("too broad", too_broad.join(", ")),
            ];
            let said = parts.iter().filter(|(_, names)| !names.is_empty());
            let said: Vec<String> = said.map(|(word, names)| format!("{word}: {names}")).collect();
            let is_fine = missing.is_empty() && too_broad.is_empty();
            let remedy = if is_fine { "" } else { "; make a key as docs/lightning.md says" };
            (is_fine, said.join("; ") + remedy)
        }
        Err(fault) => (false, format!("{fault}{}", remedy(fault))),
    };
    Some(Finding { what: "permissions", is_fine, words })
}

/// Whether the wallet of `[[splits]]` may pay.
async fn pays(wallet: &PayingWallet) -> Finding {
    let (is_fine, words) = match wallet.may_pay().await {
        Ok(true) => (true, "the credential may pay, as [[splits]] needs".to_owned()),
        Ok(false) => (
            false,
            "the credential may not pay, which [[splits]] needs: docs/payouts.md names the right"
                .to_owned(),
        ),
        Err(fault) => (false, format!("{fault}{}", remedy(fault))),
    };
    Finding { what: "rights", is_fine, words }
}
