//! JSON-RPC as MCP's Streamable HTTP carries it: whether a call failed, and whose answer it is.

use alloc::borrow::ToOwned;
use alloc::string::String;

use crate::documents::{Documents, Piece};
use crate::json::{self, Found as Field};
use crate::json_ser::to_json;
use crate::scan::{Found, Path};

/// The error of a request that must be paid for.
pub const PAYMENT_REQUIRED: i32 = -32042;

const DOCUMENT: usize = 0;
const IS_ERROR: usize = 1;
const PATHS: &[Path] = &[&[], &["result", "isError"], &["error"]];

/// Reads the answer to a call while it passes, JSON or a stream of events.
#[derive(Clone, Debug)]
pub struct CallOutcome {
    documents: Documents,
    /// What this document says, if it becomes whole.
    fails: bool,
    failed: bool,
}

impl Default for CallOutcome {
    fn default() -> Self {
        Self { documents: Documents::new(PATHS), fails: false, failed: false }
    }
}

impl CallOutcome {
    /// Takes the next piece of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Self { documents, fails, failed } = self;
        documents.feed(bytes, &mut |piece| {
            let Piece::Hit(hit) = piece else { return };
            match (hit.path, hit.found) {
                (DOCUMENT, Found::Open) => *fails = false,
                (DOCUMENT, Found::Close) => *failed |= *fails,
                (DOCUMENT, _) => {}
                (IS_ERROR, found) => *fails |= found == Found::Flag(true),
                (_, found) => *fails |= found == Found::Open,
            }
        });
    }

    /// Whether the answer is an error, or a result that says it is one.
    #[must_use]
    pub const fn failed(&self) -> bool {
        self.failed
    }
}

/// The id of a request as JSON text; `null` where it has none that could be answered.
#[must_use]
pub fn request_id(body: &[u8]) -> String {
    let id = json::find(body, &["id".to_owned()]);
    match id {
        Ok(Some(Field::Number(number))) => number.to_owned(),
        Ok(Some(Field::Text(text))) => to_json(&text).unwrap_or_default(),
        _ => "null".to_owned(),
    }
}

/// The answer to a request that must be paid for. `challenge` is the value of the header that a
/// client would get with HTTP 402, `problem` the JSON body of that answer.
#[must_use]
pub fn payment_required(id: &str, challenge: &str, problem: &str) -> String {
    // A text always serialises.
    let challenge = to_json(challenge).unwrap_or_default();
    alloc::format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{PAYMENT_REQUIRED},\
         \"message\":\"Payment Required\",\"data\":{{\"httpStatus\":402,\
         \"challenges\":[{{\"scheme\":\"L402\",\"wwwAuthenticate\":{challenge}}}],\
         \"problem\":{problem}}}}}}}"
    )
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_call_failed_when_its_answer_says_so_wherever_it_is_cut() {
        let progress = "event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"isError\":true,\"error\":{}}}\r\n\r\n";
        for (body, failed) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}"#.to_owned(), true),
            (r#"{"result":{"isError":false,"content":[{"isError":true}]}}"#.to_owned(), false),
            (r#"{"result":{"content":[{"text":"\"isError\":true"}]}}"#.to_owned(), false),
            (r#"{"id":1,"error":{"code":-32602,"message":"no such tool"}}"#.to_owned(), true),
            (r#"{"id":1,"error":null,"result":{}}"#.to_owned(), false),
            (alloc::format!("{progress}data: {{\"result\":{{\"isError\":true}}}}\n\n"), true),
            (alloc::format!("{progress}data: {{\"result\":{{}}}}\n\n"), false),
            (r#"{"result":{"isError":true}"#.to_owned(), false),
        ] {
            for cut in 0..=body.len() {
                let (before, after) = body.as_bytes().split_at(cut);
                let mut outcome = CallOutcome::default();
                outcome.feed(before);
                outcome.feed(after);
                assert_eq!(outcome.failed(), failed, "{body} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_answer_is_for_the_request_that_asked() {
        for (body, id) in [
            (r#"{"id":7,"x":{"id":8}}"#, "7"),
            (r#"{"id":"a\"b"}"#, r#""a\"b""#),
            (r#"{"id":null}"#, "null"),
            (r#"{"id":[1]}"#, "null"),
            (r#"{"id":1,"id":2}"#, "null"),
            ("{}", "null"),
        ] {
            let found = request_id(body.as_bytes());
            assert_eq!(found, id, "{body}");
            let text = payment_required(&found, "L402 macaroon=\"a\", invoice=\"b\"", "{\"x\":1}");
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["id"].to_string(), id);
            assert_eq!(value["error"]["code"], -32042);
            let data = &value["error"]["data"];
            assert_eq!(
                data["challenges"][0]["wwwAuthenticate"],
                "L402 macaroon=\"a\", invoice=\"b\""
            );
            assert_eq!(data["problem"]["x"], 1);
        }
    }
}
