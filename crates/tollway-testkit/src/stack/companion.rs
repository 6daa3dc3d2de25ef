//! `tollwayd` in the stack: started, stopped, killed, or replaced by something worse.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::error::StackError;
use super::process::{Process, Program};
use super::{Ports, Stack, local_url, ports, stop, wait};

/// One of the two that may serve from one PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replica {
    /// The one that every stack has.
    First,
    /// The one of [`super::StackOptions::second`].
    Second,
}

impl Stack {
    /// The gate listener of a replica.
    #[must_use]
    pub fn gate_url_of(&self, replica: Replica) -> String {
        local_url(self.doors(replica).0)
    }

    /// The admin listener of a replica.
    #[must_use]
    pub fn admin_url_of(&self, replica: Replica) -> String {
        local_url(self.doors(replica).1)
    }

    /// Starts a replica, unless it runs, and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_replica(&mut self, replica: Replica) -> Result<(), StackError> {
        if self.place(replica).is_some() {
            return Ok(());
        }
        let ready_url = format!("{}/readyz", self.gate_url_of(replica));
        let mut process = Process::start(self.tollwayd_program(replica)?, &self.guardian)?;
        wait::until("wait until ready:", &mut process, async || {
            self.expect_ok(&ready_url).await.map(drop)
        })
        .await?;
        *self.place(replica) = Some(process);
        Ok(())
    }

    /// Ends a replica as `kill -9` does.
    pub fn kill_replica(&mut self, replica: Replica) {
        if let Some(process) = self.place(replica).take() {
            process.kill();
        }
    }

    fn place(&mut self, replica: Replica) -> &mut Option<Process> {
        match replica {
            Replica::First => &mut self.tollwayd,
            Replica::Second => &mut self.second,
        }
    }

    /// The ports for the filter and for the operator.
    fn doors(&self, replica: Replica) -> (u16, u16) {
        let Ports { gate, admin, .. } = self.setup.ports;
        match replica {
            Replica::First => (gate, admin),
            Replica::Second => (self.setup.second_gate.unwrap_or(gate), self.second_admin),
        }
    }

    /// Starts `tollwayd` on the stack's ports and ledger, unless it runs, and waits until it is
    /// ready. A stub in its place goes.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_tollwayd(&mut self) -> Result<(), StackError> {
        if let Some(stub) = self.stub.take() {
            stub.stop().await;
        }
        self.start_replica(Replica::First).await
    }

    /// Ends `tollwayd` as `kill -9` does.
    pub fn kill_tollwayd(&mut self) {
        self.kill_replica(Replica::First);
    }

    /// Stops `tollwayd` where it stands, as a machine under load may; what is sent to it waits.
    pub fn pause_tollwayd(&self) {
        self.tollwayd.iter().for_each(Process::pause);
    }

    /// Lets `tollwayd` go on.
    pub fn resume_tollwayd(&self) {
        self.tollwayd.iter().for_each(Process::resume);
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
        ports::listen(addr)
            .await
            .map_err(|error| StackError::new(format!("take the port of tollwayd, {addr}"), error))
    }

    fn tollwayd_program(&self, replica: Replica) -> Result<Program<'_>, StackError> {
        let (gate, admin) = self.doors(replica);
        let mut env: Vec<(String, OsString)> = vec![
            ("TOLLWAYD_LISTEN".to_owned(), format!("127.0.0.1:{gate}").into()),
            ("TOLLWAYD_ADMIN_LISTEN".to_owned(), format!("127.0.0.1:{admin}").into()),
            ("TOLLWAY_GATE_TOKEN".to_owned(), self.setup.gate_token.clone().into()),
            ("TOLLWAY_ADMIN_TOKEN".to_owned(), self.admin_token.clone().into()),
        ];
        env.push(("TOLLWAYD_DISCOVERY".to_owned(), self.setup.filter_file().into()));
        env.extend(self.store_env());
        if self.options.postgres.is_some() {
            // Beside a ledger's file the node finds its own; replicas share this one.
            let node = self.setup.dir.join("simulated-node.jsonl");
            env.push(("TOLLWAYD_SIMULATED_FILE".to_owned(), node.into()));
        }
        let more = self.options.tollwayd_env.iter();
        env.extend(more.map(|(name, value)| (name.clone(), OsString::from(value))));
        Ok(Program {
            name: match replica {
                Replica::First => "tollwayd",
                Replica::Second => "tollwayd-2",
            },
            path: &self.setup.parts.tollwayd,
            args: vec!["serve".into(), "--config".into(), self.tollwayd_config()?.into()],
            env,
            log_dir: &self.setup.dir,
        })
    }

    /// The environment that leads every `tollwayd`, also one that audits, to the ledger.
    #[must_use]
    pub fn store_env(&self) -> Vec<(String, OsString)> {
        vec![match &self.options.postgres {
            Some(url) => ("TOLLWAY_POSTGRES_URL".to_owned(), url.into()),
            None => ("TOLLWAYD_STORE".to_owned(), self.store().into()),
        }]
    }

    /// The configuration of `tollwayd`: the shipped one, where PostgreSQL stands in for the file
    /// if the options say so.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn tollwayd_config(&self) -> Result<PathBuf, StackError> {
        if let Some(given) = &self.options.tollwayd_config {
            return Ok(given.clone());
        }
        let shipped = self.setup.parts.root.join("envoy/tollwayd.toml");
        if self.options.postgres.is_none() {
            return Ok(shipped);
        }
        let failed = |error| StackError::new("write the configuration of tollwayd", error);
        let text = fs::read_to_string(shipped).map_err(failed)?;
        let text = text
            .replace("\nsqlite = ", "\n# sqlite = ")
            .replace("\n# postgres = ", "\npostgres = ");
        let path = self.setup.dir.join("tollwayd.toml");
        fs::write(&path, text).map_err(failed)?;
        Ok(path)
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
