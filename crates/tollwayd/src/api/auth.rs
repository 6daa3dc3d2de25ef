//! Bearer tokens, compared in constant time.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tollway_core::secret::SecretText;

use super::error::ApiError;

/// The token of one listener, kept as its digest: comparing digests takes the same time for
/// every guess, whatever its length.
#[derive(Clone)]
pub(crate) struct BearerToken {
    digest: [u8; 32],
}

impl BearerToken {
    /// The token with this text.
    pub(crate) fn new(token: &SecretText) -> Self {
        Self { digest: Sha256::digest(token.reveal()).into() }
    }

    /// Whether the request carries exactly this token, once.
    fn is_shown_by(&self, request: &Request) -> bool {
        let mut values = request.headers().get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some((scheme, token)) = value.as_bytes().split_at_checked(b"Bearer ".len()) else {
            return false;
        };
        let digest: [u8; 32] = Sha256::digest(token).into();
        let same: bool = digest.ct_eq(&self.digest).into();
        same && scheme.eq_ignore_ascii_case(b"Bearer ")
    }
}

/// Lets a request pass only with the token.
pub(super) async fn require(
    State(token): State<BearerToken>,
    request: Request,
    next: Next,
) -> Response {
    if token.is_shown_by(&request) {
        next.run(request).await
    } else {
        ApiError::Unauthorized.into_response()
    }
}
