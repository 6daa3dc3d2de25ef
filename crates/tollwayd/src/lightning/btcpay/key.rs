//! What BTCPay says of an API key (`swagger.template.api-keys.json`): `GET
//! /api/v1/api-keys/current`, for which a key needs no right. A right is a name, with `:` and a
//! store's id behind it if it is for that store alone. Some include others.

use serde::Deserialize;

use super::super::Rights;

pub(super) const PATH: &str = "/api/v1/api-keys/current";

/// A right, and those that include it, by BTCPay's own definitions.
type Right = (&'static str, &'static [&'static str]);

const MAKE_OF_NODE: Right = (
    "btcpay.store.cancreatelightninginvoice",
    &["btcpay.store.canuselightningnode", MODIFY_INVOICES, MODIFY_STORE, ALL],
);
const SEE_OF_NODE: Right = (
    "btcpay.store.canviewlightninginvoice",
    &[
        "btcpay.store.cancreatelightninginvoice",
        "btcpay.store.canuselightningnode",
        MODIFY_INVOICES,
        MODIFY_STORE,
        ALL,
    ],
);
const MAKE_OF_STORE: Right =
    ("btcpay.store.cancreateinvoice", &[MODIFY_INVOICES, MODIFY_STORE, ALL]);
const SEE_OF_STORE: Right = (
    "btcpay.store.canviewinvoices",
    &["btcpay.store.canviewstoresettings", MODIFY_INVOICES, MODIFY_STORE, ALL],
);
const MODIFY_INVOICES: &str = "btcpay.store.canmodifyinvoices";
const MODIFY_STORE: &str = "btcpay.store.canmodifystoresettings";
const ALL: &str = "unrestricted";

/// The key itself is in the answer too, and is not read.
#[derive(Deserialize)]
pub(super) struct Key {
    permissions: Vec<String>,
}

impl Key {
    /// What it may do for this store, with invoices of the store or of its node.
    pub(super) fn rights(&self, store: &str, store_invoices: bool) -> Rights {
        let needed: &[Right] = if store_invoices {
            &[MAKE_OF_STORE, SEE_OF_STORE, SEE_OF_NODE]
        } else {
            &[MAKE_OF_NODE, SEE_OF_NODE]
        };
        let mut rights = Rights::default();
        for (name, including) in needed {
            let gives = |right: &str| right == *name || including.contains(&right);
            let granted = self
                .granted()
                .any(|(right, scope)| gives(&right) && scope.is_none_or(|scope| scope == store));
            let list = if granted { &mut rights.present } else { &mut rights.missing };
            list.push(name);
        }
        for (right, scope) in self.granted() {
            let is_needed = needed.iter().any(|(name, _)| *name == right);
            match scope {
                Some(scope) if is_needed && scope == store => {}
                Some(scope) => rights.too_broad.push(format!("{right} for store {scope}")),
                None if is_needed => rights.too_broad.push(format!("{right} for every store")),
                None => rights.too_broad.push(right),
            }
        }
        rights
    }

    /// The rights and the stores they are for, as BTCPay reads them.
    fn granted(&self) -> impl Iterator<Item = (String, Option<&str>)> {
        self.permissions.iter().map(|permission| match permission.trim().split_once(':') {
            Some((right, scope)) => (right.to_ascii_lowercase(), Some(scope)),
            None => (permission.trim().to_ascii_lowercase(), None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(store_invoices: bool, permissions: &[&str]) -> Rights {
        let key = Key { permissions: permissions.iter().map(|&it| it.to_owned()).collect() };
        key.rights("S", store_invoices)
    }

    #[test]
    fn what_a_key_lacks_and_what_it_has_too_much_is_told_apart_for_either_kind_of_invoices() {
        let (make, see) = (MAKE_OF_NODE.0, SEE_OF_NODE.0);
        let exact = rights(false, &["btcpay.store.cancreatelightninginvoice:S"]);
        assert_eq!((exact.present, exact.missing), (vec![make, see], vec![]));
        assert_eq!(exact.too_broad, [""; 0]);
        let narrow = rights(false, &["btcpay.store.canviewlightninginvoice:S"]);
        assert_eq!((narrow.present, narrow.missing), (vec![see], vec![make]));
        let of_store =
            ["btcpay.store.cancreateinvoice:S", "btcpay.store.canviewlightninginvoice:S"];
        let narrow = rights(true, &of_store);
        assert_eq!(narrow.present, [MAKE_OF_STORE.0, SEE_OF_NODE.0]);
        assert_eq!((narrow.missing, narrow.too_broad), (vec![SEE_OF_STORE.0], vec![]));
    }

    #[test]
    fn a_right_for_another_store_is_none_and_one_for_every_store_is_too_broad() {
        let elsewhere = rights(false, &["btcpay.store.cancreatelightninginvoice:T"]);
        assert_eq!(elsewhere.missing.len(), 2);
        assert_eq!(elsewhere.too_broad, ["btcpay.store.cancreatelightninginvoice for store T"]);
        let every = rights(false, &["BTCPay.Store.CanCreateLightningInvoice"]);
        assert_eq!(every.missing, [""; 0]);
        assert_eq!(every.too_broad, ["btcpay.store.cancreatelightninginvoice for every store"]);
    }

    #[test]
    fn rights_that_include_the_needed_ones_do_and_are_too_broad() {
        for broad in ["unrestricted", "btcpay.store.canmodifystoresettings"] {
            for store_invoices in [false, true] {
                let all = rights(store_invoices, &[broad]);
                assert_eq!((all.missing, all.too_broad), (vec![], vec![broad.to_owned()]));
            }
        }
        let server = rights(false, &["btcpay.server.canmodifyserversettings"]);
        assert_eq!(server.missing.len(), 2);
        assert_eq!(server.too_broad, ["btcpay.server.canmodifyserversettings"]);
    }
}
