//! JSON bodies and path segments, parsed once at the edge.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody, PathRejection};
use axum::extract::{FromRequest, Path, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::error::ApiError;

/// Words of a parser that are repeated to the caller at most.
const PROBLEM_CHARS_MAX: usize = 200;

/// A JSON body of type `T`.
pub(super) struct JsonBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType);
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            let too_large = matches!(
                rejection,
                BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))
            );
            if too_large { ApiError::BodyTooLarge } else { ApiError::BodyUnreadable }
        })?;
        // The path of a faulty field costs time, so it is looked for only where there is one.
        serde_json::from_slice(&body).map(Self).map_err(|_| fault::<T>(&body))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Parses again, to name the field.
pub(super) fn fault<T: DeserializeOwned>(body: &[u8]) -> ApiError {
    let mut json = serde_json::Deserializer::from_slice(body);
    let (field, error) = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(error) => (error.path().to_string(), error.into_inner()),
        Ok(_) => match json.end() {
            Err(error) => (String::new(), error),
            // The first reading failed, so one of the two above did.
            Ok(()) => return ApiError::BodyUnreadable,
        },
    };
    match error.classify() {
        Category::Io => ApiError::BodyUnreadable,
        Category::Syntax | Category::Eof => {
            ApiError::MalformedJson { line: error.line(), column: error.column() }
        }
        Category::Data => ApiError::InvalidField {
            field: if field == "." { "the body".to_owned() } else { field },
            problem: problem(&error.to_string()),
        },
    }
}

/// The parser's words without the value it met: that may be a secret in the wrong place.
fn problem(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(words, _)| words);
    let repeats_value = ["invalid type", "invalid value", "invalid length"]
        .iter()
        .any(|words| message.starts_with(words));
    let words = match message.rsplit_once(", expected ") {
        Some((_, expected)) if repeats_value => format!("expected {expected}"),
        _ => message.to_owned(),
    };
    words.chars().take(PROBLEM_CHARS_MAX).collect()
}

/// Reads one segment of the path; `what` says what was expected.
pub(super) fn segment<T, E>(
    path: Result<Path<String>, PathRejection>,
    parse: impl FnOnce(&str) -> Result<T, E>,
    what: &'static str,
) -> Result<T, ApiError> {
    let fault = ApiError::InvalidPath { expected: what };
    let Ok(Path(text)) = path else { return Err(fault) };
    parse(&text).map_err(|_| fault)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tollway_core::wire::{HoldRequest, PostingBatch};

    use super::*;

    #[test]
    fn a_problem_says_what_was_expected_and_not_what_was_found() {
        for (message, said) in [
            ("invalid type: string \"canary\", expected u64 at line 1 column 9", "expected u64"),
            ("invalid value: integer `77`, expected u8 at line 3 column 1", "expected u8"),
            ("missing field `route` at line 1 column 2", "missing field `route`"),
            ("expected 64 hexadecimal digits", "expected 64 hexadecimal digits"),
            (
                "invalid type: string \"a, expected b at line 7\", expected u64 at line 1 column 9",
                "expected u64",
            ),
        ] {
            assert_eq!(problem(message), said);
        }
        assert_eq!(problem(&"x".repeat(500)).len(), PROBLEM_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if serde_json::from_slice::<HoldRequest>(&bytes).is_err() {
                let _ = fault::<HoldRequest>(&bytes);
            }
        }

        #[test]
        fn no_damaged_json_panics_the_reader(at in 0..120_usize, byte: u8) {
            let mut json = br#"{"postings":[{"hold":"01890a5d-ac96-774b-bcce-b302099a8057","seq":0,
                "amount_msat":5,"route":"joke","release":true}]}"#.to_vec();
            json[at] = byte;
            if serde_json::from_slice::<PostingBatch>(&json).is_err() {
                let _ = fault::<PostingBatch>(&json);
            }
        }
    }
}
