//! Prices of an MCP server's tools (Streamable HTTP): JSON-RPC messages, one per request.
//!
//! What a message asks for stands in its body: `method`, and for `tools/call` the tool in
//! `params.name`. Finding out what there is costs nothing, and notifications cannot be charged.
//! Batches are refused: one price cannot be taken for several calls of which some may fail.

use alloc::string::String;
use alloc::vec::Vec;

use super::field::{Field, Value};
use super::price::{Price, PricedRequest, Quote};
use super::{PriceFault, PriceProblem};
use crate::money::Msat;

const CALL: &str = "tools/call";
/// What is free beside `*/list` and notifications.
const FREE_METHODS: [&str; 3] = ["initialize", "ping", "server/discover"];

/// The prices of tools and methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpPrice {
    method: Field,
    tool: Field,
    tools: Vec<(String, Price)>,
    methods: Vec<(String, Price)>,
    default: Price,
    terms: McpTerms,
}

/// How a priced message is answered and charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct McpTerms {
    /// The challenge is a JSON-RPC error in place of HTTP 402.
    pub challenge_in_json_rpc: bool,
    /// A result with `isError`, and an error in place of a result, cost nothing.
    pub refund_errors: bool,
}

impl McpPrice {
    /// Tools and methods that have no price of their own cost the default.
    #[must_use]
    pub fn new(default: Price, terms: McpTerms) -> Self {
        let json = |names: &[&str]| Field::Json(names.iter().copied().map(String::from).collect());
        let (method, tool) = (json(&["method"]), json(&["params", "name"]));
        Self { method, tool, tools: Vec::new(), methods: Vec::new(), default, terms }
    }

    /// Adds a tool.
    #[must_use]
    pub fn with_tool(mut self, name: &str, price: Price) -> Self {
        self.tools.push((name.into(), price));
        self
    }

    /// Adds a method; `tools/call` is priced by its tools.
    #[must_use]
    pub fn with_method(mut self, name: &str, price: Price) -> Self {
        self.methods.push((name.into(), price));
        self
    }

    /// Every price in it.
    pub(super) fn prices(&self) -> impl Iterator<Item = &Price> {
        self.tools.iter().chain(&self.methods).map(|(_, price)| price).chain([&self.default])
    }

    pub(super) fn quote(&self, request: &PricedRequest<'_>) -> Result<Quote, PriceFault<'_>> {
        // A POST is a message. What opens a stream or ends a connection has no body.
        let http_method = request.headers.find(":method");
        if http_method.is_some_and(|method| method != b"POST") && request.body.is_empty() {
            return Ok(Quote::fixed(Msat::ZERO));
        }
        if request.body.trim_ascii_start().starts_with(b"[") {
            return Err(PriceProblem::Batch.into());
        }
        let quote = match self.method.read(request)? {
            Value::Text(method) if method == CALL => match self.tool.read(request)? {
                Value::Text(tool) => self.priced(&self.tools, &tool).quote(request),
                Value::Absent => Err(PriceProblem::Missing.of(&self.tool)),
                Value::Other => Err(PriceProblem::Malformed.of(&self.tool)),
            },
            Value::Text(method) => {
                let is_free = FREE_METHODS.contains(&&*method)
                    || method.starts_with("notifications/")
                    || method.ends_with("/list");
                match self.methods.iter().find(|(name, _)| *name == method) {
                    None if is_free => Ok(Quote::fixed(Msat::ZERO)),
                    _ => self.priced(&self.methods, &method).quote(request),
                }
            }
            // The answer to a question of the server.
            Value::Absent => Ok(Quote::fixed(Msat::ZERO)),
            Value::Other => Err(PriceProblem::Malformed.of(&self.method)),
        }?;
        Ok(Quote { mcp: Some(self.terms), ..quote })
    }

    fn priced<'p>(&'p self, list: &'p [(String, Price)], name: &str) -> &'p Price {
        list.iter().find(|(known, _)| known == name).map_or(&self.default, |(_, price)| price)
    }
}

#[cfg(test)]
mod tests {
    use super::super::price::tests::{fixed, request};
    use super::*;
    use crate::header_block::HeaderBlock;

    fn price() -> McpPrice {
        let terms = McpTerms { challenge_in_json_rpc: true, refund_errors: false };
        McpPrice::new(Price::Denied, terms)
            .with_tool("search", fixed(500))
            .with_tool("help", Price::Free)
            .with_method("resources/read", fixed(70))
            .with_method("prompts/list", fixed(3))
    }

    fn quote(http_method: &str, body: &str) -> Result<u64, PriceProblem> {
        let headers = HeaderBlock::from([(":method", http_method)]);
        let request = PricedRequest { headers: &headers, body: body.as_bytes(), ..request() };
        let price = price();
        let quote = price.quote(&request).map(|quote| quote.cost.get());
        quote.map_err(|fault| fault.problem)
    }

    #[test]
    fn calls_are_priced_by_tool_and_finding_out_is_free() {
        use PriceProblem::{Batch, Malformed, Missing, NotSold, Repeated};
        for (body, expected) in [
            (r#"{"method":"tools/call","params":{"name":"search"},"id":1}"#, Ok(500)),
            (r#"{"method":"tools/call","params":{"name":"help"}}"#, Ok(0)),
            (r#"{"method":"tools/call","params":{"name":"other"}}"#, Err(NotSold)),
            (r#"{"method":"tools/call","params":{"name":"Search"}}"#, Err(NotSold)),
            (r#"{"method":"tools/call","params":{"name":{}}}"#, Err(Malformed)),
            (r#"{"method":"tools/call","params":{}}"#, Err(Missing)),
            (r#"{"method":"tools/call","name":"help"}"#, Err(Missing)),
            // A call without an id is a call all the same.
            (r#"{"method":"tools/call","params":{"name":"search"}}"#, Ok(500)),
            (r#"{"method":"tools/\u0063all","params":{"name":"search"}}"#, Ok(500)),
            (
                r#"{"method":"ping","method":"tools/call","params":{"name":"search"}}"#,
                Err(Repeated),
            ),
            (
                r#"{"method":"tools/call","params":{"name":"help"},"params":{"name":"search"}}"#,
                Err(Repeated),
            ),
            (r#"{"method":"tools/call","params":{"name":"help","Name":"search"}}"#, Err(Repeated)),
            (r#"{"method":"initialize","id":0}"#, Ok(0)),
            (r#"{"method":"ping"}"#, Ok(0)),
            (r#"{"method":"server/discover"}"#, Ok(0)),
            (r#"{"method":"tools/list"}"#, Ok(0)),
            (r#"{"method":"resources/templates/list"}"#, Ok(0)),
            (r#"{"method":"notifications/cancelled"}"#, Ok(0)),
            (r#"{"method":"resources/read"}"#, Ok(70)),
            // What is free of itself can be given a price.
            (r#"{"method":"prompts/list"}"#, Ok(3)),
            (r#"{"method":"completion/complete"}"#, Err(NotSold)),
            // The answer to a question of the server.
            (r#"{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call"}}"#, Ok(0)),
            (r#" [{"method":"ping"}]"#, Err(Batch)),
            ("[]", Err(Batch)),
            (r#"{"method":[]}"#, Err(Malformed)),
            ("", Err(Malformed)),
            ("{", Err(Malformed)),
        ] {
            assert_eq!(quote("POST", body), expected, "{body}");
        }
        // What opens a stream, or ends one.
        assert_eq!((quote("GET", ""), quote("DELETE", "")), (Ok(0), Ok(0)));
        let call = r#"{"method":"tools/call","params":{"name":"search"}}"#;
        assert_eq!(quote("GET", call), Ok(500));
    }
}
