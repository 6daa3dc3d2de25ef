//! The demo's paid API on its own, for `docker compose` and for looking at it by hand.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use tollway_testkit::upstream::{DEFAULT_PORT, Upstream};

/// The joke API of Tollway's demo. It serves everything for free: put a gateway before it.
#[derive(Debug, Parser)]
#[command(name = "joke-api")]
struct Args {
    /// The address to listen on.
    #[arg(long, env = "TOLLWAY_JOKE_HOST", default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port to listen on.
    #[arg(long, env = "TOLLWAY_JOKE_PORT", default_value_t = DEFAULT_PORT)]
    port: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let addr = SocketAddr::new(args.host, args.port);
    match Upstream::start(addr).await {
        Ok(upstream) => {
            println!("joke API on http://{}", upstream.addr());
            upstream.join().await;
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("joke-api: cannot listen on {addr}: {error}");
            eprintln!("Choose another port with TOLLWAY_JOKE_PORT.");
            ExitCode::FAILURE
        }
    }
}
