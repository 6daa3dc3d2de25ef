//! A real gRPC server behind the filter, called by a real gRPC client: tonic on both sides.

use std::net::SocketAddr;

use serde_json::json;
use tokio::task::JoinHandle;
use tollway_testkit::stack::{StackOptions, free_port};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::harness::{Gateway, config, eventually};

const SERVICE: &str = "tollway.test";

/// A gateway before a gRPC server; it ends when this is dropped.
struct Shop {
    gateway: Gateway,
    reporter: HealthReporter,
    channel: Channel,
    server: JoinHandle<()>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shop {
    async fn open() -> Self {
        let port = free_port().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status(SERVICE, ServingStatus::Serving).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .unwrap();
        let services = Server::builder().add_service(health).add_service(reflection);
        let server = tokio::spawn(async move { services.serve(address).await.unwrap() });
        let mut filter = config();
        filter["routes"] = json!([
            {"name": "check", "service": "demo", "price_sats": 2,
             "match": {"path": "/grpc.health.v1.Health/Check"}},
            {"name": "watch", "service": "demo", "price_sats": 3,
             "match": {"path": "/grpc.health.v1.Health/Watch"}},
            {"name": "reflection", "service": "demo", "price_sats": 5,
             "match": {"path_prefix": "/grpc.reflection.v1.ServerReflection"}},
        ]);
        let options = StackOptions { filter: Some(filter), ..StackOptions::default() };
        let method = "/grpc.health.v1.Health/Check";
        let gateway = Gateway::with(options.before_grpc(port, method)).await;
        let endpoint = Endpoint::from_shared(gateway.stack.gateway_url()).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self { gateway, reporter, channel, server }
    }

    /// Calls without paying, and pays what the refusal asks for.
    async fn buy(&self) -> String {
        let refused = self.check(None).await.unwrap_err();
        assert_eq!(refused.code(), Code::Internal, "{refused:?}");
        assert_eq!(refused.message(), "payment required");
        let header = refused.metadata().get("www-authenticate").unwrap().to_str().unwrap();
        let parameter = |name: &str| {
            let (_, rest) = header.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let preimage = self.gateway.http.preimage(&parameter("invoice")).await;
        format!("L402 {}:{preimage}", parameter("macaroon"))
    }

    async fn check(&self, credential: Option<&str>) -> Result<(), Status> {
        let request = HealthCheckRequest { service: SERVICE.to_owned() };
        let mut client = HealthClient::new(self.channel.clone());
        client.check(paid(request, credential)).await.map(drop)
    }

    /// What was charged, in satoshis, once no hold is open.
    async fn charged(&self) -> u64 {
        let stats = self.gateway.ledger_at_rest().await;
        stats["charged_msat"].as_u64().unwrap() / 1000
    }
}

fn paid<T>(message: T, credential: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(credential) = credential {
        let value = MetadataValue::try_from(credential).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

#[tokio::test]
async fn a_unary_call_is_refused_paid_and_charged() {
    let shop = Shop::open().await;
    let credential = shop.buy().await;
    for charged in [2, 4] {
        shop.check(Some(&credential)).await.unwrap();
        assert_eq!(shop.charged().await, charged);
    }
    let forged = format!("{credential}0");
    assert_eq!(shop.check(Some(&forged)).await.unwrap_err().code(), Code::Internal);
    assert_eq!(shop.charged().await, 4);
    shop.gateway.audit();
}

#[tokio::test]
async fn a_stream_of_the_server_passes_message_by_message() {
    let shop = Shop::open().await;
    let credential = shop.buy().await;
    let mut client = HealthClient::new(shop.channel.clone());
    let watch = HealthCheckRequest { service: SERVICE.to_owned() };
    assert!(client.watch(watch.clone()).await.is_err(), "nobody watches unpaid");
    let mut stream = client.watch(paid(watch, Some(&credential))).await.unwrap().into_inner();
    // Each status is sent only after the one before it was seen: nothing waits in a buffer.
    for status in [ServingStatus::Serving, ServingStatus::NotServing, ServingStatus::Serving] {
        shop.reporter.set_service_status(SERVICE, status).await;
        let seen = async {
            while stream.message().await.unwrap().unwrap().status != i32::from(wire(status)) {}
        };
        seen.await;
    }
    drop(stream);
    let charged = async || (shop.charged().await == 3).then_some(());
    eventually("the stream is charged once", charged).await;
    shop.gateway.audit();
}

#[tokio::test]
async fn streams_of_both_sides_pass_message_by_message() {
    let shop = Shop::open().await;
    let credential = shop.buy().await;
    let mut client = ServerReflectionClient::new(shop.channel.clone());
    let (questions, asked) = tokio::sync::mpsc::unbounded_channel();
    let asked = futures_util::stream::unfold(asked, async |mut asked| {
        asked.recv().await.map(|question| (question, asked))
    });
    // The request's body is still open when the answer begins, and until the last question.
    let mut answers = None;
    let mut stream = Some(asked);
    for _ in 0..3 {
        let question = MessageRequest::ListServices(String::new());
        let question =
            ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        questions.send(question).unwrap();
        if let Some(stream) = stream.take() {
            let call = client.server_reflection_info(paid(Box::pin(stream), Some(&credential)));
            answers = Some(call.await.unwrap().into_inner());
        }
        let answer = answers.as_mut().unwrap().message().await.unwrap().unwrap();
        assert!(answer.message_response.is_some());
    }
    drop(questions);
    assert!(answers.unwrap().message().await.unwrap().is_none());
    assert_eq!(shop.charged().await, 5);
    shop.gateway.audit();
}

fn wire(status: ServingStatus) -> tonic_health::pb::health_check_response::ServingStatus {
    use tonic_health::pb::health_check_response::ServingStatus as Wire;
    match status {
        ServingStatus::Serving => Wire::Serving,
        ServingStatus::NotServing => Wire::NotServing,
        ServingStatus::Unknown => Wire::Unknown,
    }
}
