//! What was chosen where the vectors leave a choice. `docs/compatibility.md` says the same in
//! words.

/// The label of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Accept,
    Reject,
    /// A free choice, made in [`CHOICES`] for the cases that are known.
    Either,
}

impl Label {
    /// Reads a label. The policies are choices too, but ours are rules without exception.
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "accept" => Self::Accept,
            "reject" => Self::Reject,
            "either" => Self::Either,
            // A caveat that nobody enforces would be a promise broken to whoever added it.
            "policy:unknown_caveat"
            // What a token is bound to is always checked; no configuration switches it off.
            | "policy:context_missing"
            | "policy:negative_credit"
            // Addresses are compared as text, as both packages do.
            | "policy:ip_canonicalisation"
            // The gate refuses such a path before it looks at credentials.
            | "policy:path_normalisation" => Self::Reject,
            _ => panic!("expected a known label, but found {text:?}"),
        }
    }
}

/// Whether we accept what the set labels `either`, by vector and number of the check.
const CHOICES: [(&str, usize, bool); 17] = [
    // Values are trimmed, paths are not.
    ("lt-p-013", 0, true),
    ("lt-p-013", 1, false),
    // A payment hash has 64 digits, in either case.
    ("lt-p-019", 0, false),
    ("lt-p-020", 0, true),
    // Padding, no; white space before the first member (029), no; other members and cases, yes.
    ("lt-p-028", 0, false),
    ("lt-p-029", 0, false),
    ("lt-p-030", 0, true),
    ("lt-p-031", 0, true),
    // Digits are ASCII, without plus sign or underscore.
    ("lt-p-072", 0, false),
    // As in the package: the payment hash is lower case.
    ("tb-p-014", 0, false),
    // `/*` covers an empty path; no request has one.
    ("tb-p-017", 2, true),
    ("tb-p-036", 0, false),
    // Without its caveats nobody can tell whose token it is.
    ("tb-p-038", 0, false),
    // One token has one encoding, but for the alphabet.
    ("tb-p-042", 0, false),
    ("tb-p-044", 0, false),
    ("tb-p-063", 0, false),
    ("tb-p-064", 0, true),
];

/// What was chosen for this check; `None` for a case that nobody has seen.
pub(crate) fn chosen(id: &str, check: usize) -> Option<bool> {
    let known = CHOICES.iter().find(|(known, number, _)| *known == id && *number == check);
    known.map(|(_, _, accepted)| *accepted)
}
