//! Caveats that new tokens are minted with, and tiers that clients may choose.

use tollway_core::compat::Format;
use tollway_core::minted::{MINTED_MAX, MintedCaveat};
use tollway_core::pricing::Price;
use tollway_core::tier::Tier;

use super::reader::{ConfigError, Object};

/// The most tiers of one route.
const TIERS_MAX: usize = 64;

/// Reads `mint_caveats`; `None` where it is not there.
pub(super) fn mint_caveats(
    fields: &Object<'_>,
    profile: Format,
) -> Result<Option<Vec<MintedCaveat>>, ConfigError> {
    const EXPECTED: &str = "a caveat such as {\"plan\": \"pro\"}";
    let Some(node) = fields.optional("mint_caveats") else { return Ok(None) };
    let entries = node.entries(MINTED_MAX)?;
    if profile != Format::L402 && !entries.is_empty() {
        return Err(node.problem(
            "expected none beside the profile of another paywall, but found one; its tokens have \
             caveats of their own"
                .to_owned(),
        ));
    }
    let read = |(name, node): (&str, super::Node<'_>)| {
        let value = node.text(EXPECTED)?;
        let is_tier = |value| Tier::parse(value).is_some_and(|tier| !tier.is_none());
        MintedCaveat::new(name, value).filter(|_| name != "tier" || is_tier(value)).ok_or_else(
            || {
                node.fault(
                EXPECTED,
                "a name has a-z, 0-9 and \"-\" and is none that tokens have already, a value 1 to \
                 128 visible ASCII characters, a tier a-z, 0-9, \"_\" and \"-\"",
            )
            },
        )
    };
    entries.into_iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// Reads `tier_wish`.
pub(super) fn tier_wish(fields: &Object<'_>, price: &Price) -> Result<Vec<Tier>, ConfigError> {
    const EXPECTED: &str = "a tier such as \"fast\"";
    let Some(node) = fields.optional("tier_wish") else { return Ok(Vec::new()) };
    if price.tiers().is_empty() {
        return Err(node.problem(
            "expected none where the price does not depend on the tier, but found one; write the \
             price as {\"by\": \"tier\", ..}"
                .to_owned(),
        ));
    }
    let read = |item: &super::Node<'_>| {
        let tier = Tier::parse(item.text(EXPECTED)?).filter(|tier| !tier.is_none());
        tier.ok_or_else(|| item.fault(EXPECTED, "use a-z, 0-9, \"_\" and \"-\""))
    };
    node.items(TIERS_MAX)?.iter().map(read).collect()
}
