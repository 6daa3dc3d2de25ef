//! Which ports the stack listens on.

use std::env;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::net::TcpListener;

use super::error::StackError;
use super::wait::{INTERVAL, PATIENCE};
use crate::upstream;

/// Free ports are looked for here: below the range that outgoing connections take theirs from,
/// so that a program can be restarted on its port.
const FIRST: u32 = 11_000;
const COUNT: u32 = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The five ports of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Envoy, for clients.
    pub gateway: u16,
    /// `tollwayd`, for the filter.
    pub gate: u16,
    /// `tollwayd`, for the operator and the simulated wallet.
    pub admin: u16,
    /// Envoy, for the operator.
    pub envoy_admin: u16,
    /// The joke API.
    pub joke: u16,
}

impl Ports {
    /// Ports that nobody listens on.
    ///
    /// # Errors
    /// None is left.
    pub fn free() -> Result<Self, StackError> {
        Ok(Self {
            gateway: free_port()?,
            gate: free_port()?,
            admin: free_port()?,
            envoy_admin: free_port()?,
            joke: free_port()?,
        })
    }

    /// The demo's ports, 8402 to 8406, or what the environment says instead.
    ///
    /// # Errors
    /// A variable is not a port, or somebody listens on a port already.
    pub fn of_demo() -> Result<Self, StackError> {
        Ok(Self {
            gateway: demo_port("TOLLWAY_GATEWAY_PORT", 8402)?,
            gate: demo_port("TOLLWAY_GATE_PORT", 8403)?,
            admin: demo_port("TOLLWAY_ADMIN_PORT", 8404)?,
            envoy_admin: demo_port("TOLLWAY_ENVOY_ADMIN_PORT", 8405)?,
            joke: demo_port("TOLLWAY_JOKE_PORT", upstream::DEFAULT_PORT)?,
        })
    }
}

fn demo_port(variable: &str, default: u16) -> Result<u16, StackError> {
    let step = "choose the ports";
    let port = match env::var(variable) {
        Err(_) => default,
        Ok(text) => match text.parse() {
            Ok(port) => port,
            Err(_) => {
                let found = format!("expected a port in {variable}, but found {text:?}");
                return Err(StackError::new(step, found));
            }
        },
    };
    if is_free(port) {
        return Ok(port);
    }
    Err(StackError::new(step, format!("somebody listens on port {port} already")).with_remedy(
        format!("Stop it (`make down` stops a stack of ours), or set {variable} to another port."),
    ))
}

/// A port that nobody listens on.
///
/// # Errors
/// None is left.
pub fn free_port() -> Result<u16, StackError> {
    // Processes start at different places; within one, no port is handed out twice.
    let start = process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let turn = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        if let Ok(port) = u16::try_from(FIRST + turn % COUNT)
            && is_free(port)
        {
            return Ok(port);
        }
    }
    Err(StackError::new("choose the ports", "no free port is left"))
}

/// Knocks instead of binding: a program that another thread starts just then would inherit the
/// bound socket for a moment, and the port would be taken for whoever it was handed to.
fn is_free(port: u16) -> bool {
    let knock = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    knock.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Listens on a port that was handed out, or that somebody is just leaving.
///
/// # Errors
/// It is still taken after [`PATIENCE`], or cannot be bound.
pub(super) async fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(addr).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(INTERVAL).await;
            }
            outcome => return outcome,
        }
    }
}
