//! Services: what a credential is good for, and how credit for it is sold.

use std::rc::Rc;

use tollway_core::caveat::{SERVICE_NAME_BYTES_MAX, is_service_name};
use tollway_core::minted::MintedCaveat;
use tollway_core::money::Msat;

use super::form::{FORM, Form};
use super::free_tier::FreeTier;
use super::lease::LeaseTerms;
use super::mint::mint_caveats;
use super::purchase::Purchase;
use super::reader::{ConfigError, Node, Object};
use super::terms::PRICE_SATS_MAX;

/// The most services: one per backend API, with room to spare.
const SERVICES_MAX: usize = 256;
/// The longest life of a credential or of credit: a hundred years.
pub(super) const LIFE_S_MAX: u64 = 3_153_600_000;

/// What a credential is good for: one credential opens every route of its service that is paid
/// in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name in the macaroon's `services` caveat.
    pub name: String,
    /// How much credit an invoice sells.
    pub purchase: Purchase,
    /// How long a credential is valid.
    pub credential_ttl_s: u64,
    /// The credit that a new account gets beside its first payment.
    pub seed: Msat,
    /// How long bought credit lasts; without it, as long as the account.
    pub credit_ttl_s: Option<u64>,
    /// Below this balance clients are told that it is low, if five requests more do not lie
    /// above it.
    pub low_balance: Msat,
    /// What a client has free on each of its routes together, unless a route says otherwise.
    pub free_tier: Option<FreeTier>,
    /// How its routes are paid, unless they say otherwise.
    pub lease: LeaseTerms,
    /// What its tokens say beside the caveats that they need, unless a route says otherwise.
    pub mint_caveats: Vec<MintedCaveat>,
    /// How its tokens and challenges are written.
    pub form: Form,
}

/// Reads `services`.
pub(super) fn services(root: &Object<'_>) -> Result<Vec<Rc<Service>>, ConfigError> {
    let form = Form::read(root, Form::default())?;
    let list = root.required("services", "write at least one, such as [{\"name\": \"api\"}]")?;
    let mut services: Vec<Rc<Service>> = Vec::new();
    for node in list.items(SERVICES_MAX)? {
        let service = service(&node, form)?;
        if services.iter().any(|known| known.name == service.name) {
            let name = node.object(&FIELDS)?.required("name", "")?;
            return Err(name.fault("a name that no service before has", "rename one of the two"));
        }
        services.push(Rc::new(service));
    }
    if services.is_empty() {
        let problem = "expected at least one service, but found none; write [{\"name\": \"api\"}]";
        return Err(list.problem(problem.to_owned()));
    }
    Ok(services)
}

const FIELDS: [&str; 20] = [
    "name",
    "purchase",
    "credential_ttl_s",
    "seed_sats",
    "credit_ttl_s",
    "low_balance_sats",
    "free_tier",
    "spend",
    "lease_max_sats",
    "exact_above_sats",
    "mint_caveats",
    FORM[0],
    FORM[1],
    FORM[2],
    FORM[3],
    FORM[4],
    FORM[5],
    FORM[6],
    FORM[7],
    FORM[8],
];

fn service(node: &Node<'_>, form: Form) -> Result<Service, ConfigError> {
    let fields = node.object(&FIELDS)?;
    let name = service_name(&fields.required("name", "give the service a name")?)?;
    let form = Form::read(&fields, form)?;
    Ok(Service {
        purchase: match fields.optional("purchase") {
            Some(purchase) => Purchase::read(&purchase)?,
            None => Purchase::default(),
        },
        credential_ttl_s: fields.integer("credential_ttl_s", 31_536_000, 1..=LIFE_S_MAX)?,
        seed: fields.sats("seed_sats", PRICE_SATS_MAX)?,
        credit_ttl_s: match fields.optional("credit_ttl_s") {
            Some(node) => Some(node.integer(1, LIFE_S_MAX)?),
            None => None,
        },
        low_balance: fields.sats("low_balance_sats", PRICE_SATS_MAX)?,
        free_tier: match fields.optional("free_tier") {
            Some(node) => Some(FreeTier::read(&node, name.clone())?),
            None => None,
        },
        lease: LeaseTerms::read(&fields, LeaseTerms::default())?,
        mint_caveats: mint_caveats(&fields, form.profile)?.unwrap_or_default(),
        form,
        name,
    })
}

fn service_name(node: &Node<'_>) -> Result<String, ConfigError> {
    let expected = format!("a name of 1 to {SERVICE_NAME_BYTES_MAX} characters");
    let name = node.text(&expected)?;
    if is_service_name(name) {
        Ok(name.to_owned())
    } else {
        Err(node.fault(&expected, "use a-z, 0-9, \"_\" and \"-\""))
    }
}
