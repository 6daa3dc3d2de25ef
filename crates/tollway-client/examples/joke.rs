//! Pays for a joke: `make up`, then `cargo run -p tollway-client --example joke`.

use tollway_client::PayingClient;
use tollway_client::wallet::Simulated;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = PayingClient::new(Simulated::new("http://127.0.0.1:8404")?)?;
    let answer = client.get("http://127.0.0.1:8402/api/joke").send().await?;
    println!("{}", answer.text().await?);
    Ok(())
}
