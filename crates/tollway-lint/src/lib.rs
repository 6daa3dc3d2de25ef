//! Explains a filter configuration before it runs: what a request would meet and why
//! ([`rehearse`]), and what its operator will regret ([`lint`]).
//!
//! Both take the configuration as it lies in a file: by itself (JSON or YAML), or inside a whole
//! Envoy configuration, an Istio `WasmPlugin` or an `EnvoyExtensionPolicy` of Envoy Gateway.
//! Both run the filter's own code: its reader, its price table, and for a rehearsal its
//! request logic over a proxy that only pretends. What the file says about the proxy is looked at
//! as far as it decides about money.
//!
//! [`describe`] writes the same price table down for machines.
//!
//! What it does not do: it calls nobody, and it does not judge what Envoy itself would refuse.

#![forbid(unsafe_code)]

mod discovery;
mod envoy;
mod filter;
mod finding;
mod kubernetes;
mod proxy;
mod reach;
mod rehearsal;
mod source;

pub use discovery::{Form, describe};
pub use finding::{Finding, Severity};
pub use rehearsal::{Asked, Meets, Rehearsal, RehearsalError, rehearse};
pub use source::{Found, SourceError, read};

use source::documents;

/// What a file says about Tollway, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where configurations of the filter were found.
    pub places: Vec<String>,
    /// What is wrong with them or around them, in the order of the file.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether something keeps the filter from working or opens the gate.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Judges every configuration of the filter in this text, and the proxy around it.
///
/// # Errors
/// [`SourceError`] for a text that is neither JSON nor YAML or holds no such configuration.
pub fn lint(text: &str) -> Result<Report, SourceError> {
    let documents = documents(text)?;
    let found = source::find(&documents)?;
    let mut findings = Vec::new();
    for one in &found {
        findings.extend(filter::judge(one));
    }
    for document in &documents {
        findings.extend(envoy::judge(document));
    }
    findings.extend(kubernetes::judge(&documents));
    Ok(Report { places: found.into_iter().map(|one| one.place).collect(), findings })
}
