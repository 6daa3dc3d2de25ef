//! `tollwayd` in the stack: started, stopped, killed, or replaced by something worse.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::error::StackError;
use super::process::{Process, Program};
use super::{Stack, stop, wait};

impl Stack {
    /// Starts `tollwayd` on the stack's ports and ledger, unless it runs, and waits until it is
    /// ready. A stub in its place goes.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_tollwayd(&mut self) -> Result<(), StackError> {
        if let Some(stub) = self.stub.take() {
            stub.stop().await;
        }
        if self.tollwayd.is_some() {
            return Ok(());
        }
        let ready_url = format!("{}/readyz", self.gate_url());
        let mut process = Process::start(self.tollwayd_program(), &self.guardian)?;
        wait::until("wait until ready:", &mut process, async || {
            self.expect_ok(&ready_url).await.map(drop)
        })
        .await?;
        self.tollwayd = Some(process);
        Ok(())
    }

    /// Ends `tollwayd` as `kill -9` does.
    pub fn kill_tollwayd(&mut self) {
        if let Some(process) = self.tollwayd.take() {
            process.kill();
        }
    }

    /// Whether `tollwayd` was started and has ended by itself.
    pub fn tollwayd_has_ended(&mut self) -> bool {
        self.tollwayd.as_mut().is_some_and(|process| process.ended().is_some())
    }

    /// Sets the environment of the next `tollwayd` in place of what the options said.
    pub fn set_tollwayd_env(&mut self, env: Vec<(String, String)>) {
        self.options.tollwayd_env = env;
    }

    /// Asks `tollwayd` to end, as an operator does, and waits for it.
    ///
    /// # Errors
    /// It does not end, or not with success.
    pub async fn stop_tollwayd(&mut self) -> Result<(), StackError> {
        let Some(process) = self.tollwayd.take() else {
            return Ok(());
        };
        stop(process).await
    }

    /// Puts `stub` in the place of `tollwayd`, which is killed: a companion that is slow, or
    /// answers what it should not.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn replace_tollwayd(&mut self, stub: Router) -> Result<(), StackError> {
        let listener = self.take_gate_port().await?;
        let server = tokio::spawn(async move {
            // axum::serve retries what accept reports and never returns an error.
            let _ = axum::serve(listener, stub).await;
        });
        self.stub = Some(Stub(server));
        Ok(())
    }

    /// Kills `tollwayd` and hands out its gate port, for a peer that does not even speak HTTP.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn take_gate_port(&mut self) -> Result<TcpListener, StackError> {
        self.kill_tollwayd();
        if let Some(stub) = self.stub.take() {
            stub.stop().await;
        }
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.setup.ports.gate));
        TcpListener::bind(addr)
            .await
            .map_err(|error| StackError::new(format!("take the port of tollwayd, {addr}"), error))
    }

    fn tollwayd_program(&self) -> Program<'_> {
        let parts = &self.setup.parts;
        let config = self.options.tollwayd_config.clone();
        let config = config.unwrap_or_else(|| parts.root.join("envoy/tollwayd.toml"));
        let ports = self.setup.ports;
        let mut env: Vec<(String, OsString)> = vec![
            ("TOLLWAYD_LISTEN".to_owned(), format!("127.0.0.1:{}", ports.gate).into()),
            ("TOLLWAYD_ADMIN_LISTEN".to_owned(), format!("127.0.0.1:{}", ports.admin).into()),
            match &self.options.postgres {
                Some(url) => ("TOLLWAY_POSTGRES_URL".to_owned(), url.into()),
                None => ("TOLLWAYD_STORE".to_owned(), self.store().into()),
            },
            ("TOLLWAY_GATE_TOKEN".to_owned(), self.setup.gate_token.clone().into()),
            ("TOLLWAY_ADMIN_TOKEN".to_owned(), self.admin_token.clone().into()),
        ];
        let more = self.options.tollwayd_env.iter();
        env.extend(more.map(|(name, value)| (name.clone(), OsString::from(value))));
        Program {
            name: "tollwayd",
            path: &parts.tollwayd,
            args: vec!["serve".into(), "--config".into(), config.into()],
            env,
            log_dir: &self.setup.dir,
        }
    }
}

/// An HTTP server in the place of `tollwayd`.
#[derive(Debug)]
pub(super) struct Stub(JoinHandle<()>);

impl Stub {
    async fn stop(mut self) {
        self.0.abort();
        // Only when the task is gone is its port free.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.0.abort();
    }
}
