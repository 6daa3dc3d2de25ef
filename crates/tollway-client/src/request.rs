//! A request that can be sent more than once.

use std::fmt;
use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Method, Request};
use serde::Serialize;
use tollway_core::digest::Digest;
use tollway_core::payment::PaymentHash;
use url::Url;

use crate::answer::{Answer, Quote};
use crate::client::PayingClient;
use crate::clock::now_s;
use crate::error::{ClientError, Fault, explained};
use crate::store::Purchase;

/// A function that makes the same body again.
type BodyMaker = Arc<dyn Fn() -> Body + Send + Sync>;

/// A request, and how to make its body again where it is a stream.
pub(crate) struct Outgoing {
    pub(crate) request: Request,
    maker: Option<BodyMaker>,
}

impl Outgoing {
    pub(crate) const fn new(request: Request) -> Self {
        Self { request, maker: None }
    }

    /// A copy to be sent.
    pub(crate) fn copy(&self) -> Result<Request, Fault> {
        let mut copy = self.request.try_clone().ok_or(Fault::NotRepeatable)?;
        if let Some(maker) = &self.maker {
            *copy.body_mut() = Some(maker());
        }
        Ok(copy)
    }

    pub(crate) fn origin(&self) -> String {
        self.request.url().origin().ascii_serialization()
    }

    /// What is bought when this request must be paid for.
    pub(crate) fn purchase(&self) -> Purchase {
        let url = self.request.url();
        Purchase {
            origin: self.origin(),
            host: url.host_str().unwrap_or_default().to_owned(),
            path: url.path().to_owned(),
            now_s: now_s(),
        }
    }

    /// A key by which the server knows a repeat of this request with the same payment; `None` where
    /// the body is a stream, which cannot be compared.
    pub(crate) fn idempotency_key(&self, payment: &PaymentHash) -> Option<HeaderValue> {
        let body = match (self.request.body(), &self.maker) {
            (None, None) => &[][..],
            (Some(body), None) => body.as_bytes()?,
            (_, Some(_)) => return None,
        };
        let (method, url) = (self.request.method().as_str(), self.request.url().as_str());
        let digest = Digest::of(&[payment.as_bytes(), method.as_bytes(), url.as_bytes(), body]);
        HeaderValue::from_str(&hex::encode(digest.as_bytes())).ok()
    }

    /// The same request without its body.
    pub(crate) fn drop_body(&mut self) {
        self.maker = None;
        *self.request.body_mut() = None;
    }
}

/// A request under construction; the same in the hand as reqwest's.
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder<'a> {
    client: &'a PayingClient,
    inner: reqwest::RequestBuilder,
    maker: Option<BodyMaker>,
}

impl fmt::Debug for RequestBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<'a> RequestBuilder<'a> {
    pub(crate) fn new(client: &'a PayingClient, inner: reqwest::RequestBuilder) -> Self {
        Self { client, inner, maker: None }
    }

    /// Adds a header.
    pub fn header<K, V>(self, name: K, value: V) -> Self
    where
        HeaderName: TryFrom<K>,
        <HeaderName as TryFrom<K>>::Error: Into<http::Error>,
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        Self { inner: self.inner.header(name, value), ..self }
    }

    /// Sets headers; one that is there already is replaced.
    pub fn headers(self, headers: HeaderMap) -> Self {
        Self { inner: self.inner.headers(headers), ..self }
    }

    /// Sets the body. A stream cannot be sent twice: give it with [`Self::body_with`].
    pub fn body(self, body: impl Into<Body>) -> Self {
        Self { inner: self.inner.body(body), maker: None, ..self }
    }

    /// Sets a body that is made anew each time the request is sent, such as a file's stream.
    pub fn body_with(self, maker: impl Fn() -> Body + Send + Sync + 'static) -> Self {
        Self { maker: Some(Arc::new(maker)), ..self }
    }

    /// Sets a body of JSON.
    pub fn json(self, json: &(impl Serialize + ?Sized)) -> Self {
        Self { inner: self.inner.json(json), maker: None, ..self }
    }

    /// Sends the request, and pays for it if it must.
    ///
    /// # Errors
    /// As [`PayingClient::execute`].
    pub async fn send(self) -> Result<Answer, ClientError> {
        let client = self.client;
        client.run(self.build()?).await
    }

    /// Asks what the request costs, and pays nothing. See [`PayingClient::quote`].
    ///
    /// # Errors
    /// As [`PayingClient::quote`].
    pub async fn quote(self) -> Result<Quote, ClientError> {
        let client = self.client;
        client.ask(&self.build()?).await
    }

    pub(crate) fn build(self) -> Result<Outgoing, Fault> {
        let request = self.inner.build().map_err(|error| Fault::Request(explained(&error)))?;
        Ok(Outgoing { request, maker: self.maker })
    }
}

/// The target of a redirect, or why it is none.
pub(crate) fn target(from: &Url, location: &HeaderValue) -> Result<Url, Fault> {
    let text = location.to_str().ok();
    let url = text.and_then(|text| from.join(text).ok());
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or(Fault::Redirect("expected a URL with http or https as its target"))?;
    if from.scheme() == "https" && url.scheme() == "http" {
        return Err(Fault::Redirect("it leads from https to http"));
    }
    Ok(url)
}

/// What a redirect with this status makes of the method; `None` keeps method and body.
pub(crate) fn method_after(status: u16, method: &Method) -> Option<Method> {
    match status {
        303 if *method != Method::HEAD => Some(Method::GET),
        301 | 302 if *method == Method::POST => Some(Method::GET),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_http_and_never_down_from_https() {
        let from = |text: &str| Url::parse(text).unwrap();
        let to = |from: &Url, text| target(from, &HeaderValue::from_static(text)).ok();
        let http = from("http://a/b/c?d");
        assert_eq!(to(&http, "../e").unwrap().as_str(), "http://a/e");
        assert_eq!(to(&http, "//other/e").unwrap().as_str(), "http://other/e");
        assert_eq!(to(&http, "https://a/").unwrap().as_str(), "https://a/");
        for bad in ["file:///etc/passwd", "http://", "data:,x"] {
            assert_eq!(to(&http, bad), None, "{bad}");
        }
        assert_eq!(to(&from("https://a/"), "http://a/"), None);
    }

    #[test]
    fn methods_after_a_redirect_follow_the_fetch_standard() {
        for (status, method, expected) in [
            (301, Method::POST, Some(Method::GET)),
            (302, Method::PUT, None),
            (303, Method::DELETE, Some(Method::GET)),
            (303, Method::HEAD, None),
            (307, Method::POST, None),
            (308, Method::POST, None),
        ] {
            assert_eq!(method_after(status, &method), expected, "{status} {method}");
        }
    }
}
