//! Envoy in the stack: started, killed, reconfigured, and asked for its counters.

use std::collections::BTreeMap;

use serde_json::Value;

use super::envoy::{Listeners, parse_stats};
use super::error::StackError;
use super::{Stack, client, wait};

/// How many priced requests in a row, per worker, must find the filter ready. Connections spread
/// over the workers by chance, and each worker has its own virtual machine.
const READY_IN_A_ROW: u32 = 6;

impl Stack {
    /// Starts Envoy, unless it runs, and waits until the filter is ready on every worker.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_envoy(&mut self) -> Result<(), StackError> {
        if self.envoy.is_some() {
            return Ok(());
        }
        let ready_url = format!("{}/ready", self.envoy_admin_url());
        let mut process = self.setup.start(&self.guardian)?;
        wait::until("wait until ready:", &mut process, async || {
            self.expect_ok(&ready_url).await.map(drop)
        })
        .await?;
        if let Some(path) = &self.options.ready_path {
            let url = format!("{}{path}", self.gateway_url());
            let step = format!("wait until the filter answers {path}:");
            let enough = READY_IN_A_ROW * self.options.concurrency.max(1);
            let mut in_a_row = 0;
            wait::until(&step, &mut process, async || {
                while in_a_row < enough {
                    if let Err(complaint) = probe(&url).await {
                        in_a_row = 0;
                        return Err(complaint);
                    }
                    in_a_row += 1;
                }
                Ok(())
            })
            .await?;
        }
        self.envoy = Some(process);
        Ok(())
    }

    /// Ends Envoy as `kill -9` does.
    pub fn kill_envoy(&mut self) {
        if let Some(process) = self.envoy.take() {
            process.kill();
        }
    }

    /// Gives the running Envoy another filter configuration, by the file it watches
    /// ([`Listeners::Watched`]), and waits until it has taken it.
    ///
    /// # Errors
    /// Envoy refused it (the error shows why), or does not watch.
    pub async fn reload_filter(&mut self, filter: Value) -> Result<(), StackError> {
        let step = "reload the filter's configuration";
        if self.setup.listeners != Listeners::Watched {
            return Err(StackError::new(
                step,
                "this stack was not started with Listeners::Watched",
            ));
        }
        let before = self.envoy_stats().await?;
        let count = |stats: &BTreeMap<String, u64>, name: &str| {
            stats.get(&format!("listener_manager.lds.{name}")).copied().unwrap_or(0)
        };
        let taken = count(&before, "update_success");
        let refused = count(&before, "update_rejected");
        self.setup.filter = Some(filter);
        self.setup.write_listeners()?;
        let Some(mut process) = self.envoy.take() else {
            return Err(StackError::new(step, "Envoy does not run"));
        };
        let outcome = wait::until(step, &mut process, async || {
            let stats = self.envoy_stats().await.map_err(|error| error.to_string())?;
            if count(&stats, "update_rejected") > refused {
                return Ok(false);
            }
            if count(&stats, "update_success") > taken {
                return Ok(true);
            }
            Err("Envoy has not read the file yet".to_owned())
        })
        .await;
        let log = process.log().to_owned();
        self.envoy = Some(process);
        if outcome? {
            return Ok(());
        }
        Err(StackError::new(step, "Envoy refused it and keeps what it had").with_log(&log))
    }

    /// Envoy's counters and gauges by name; the filter's begin with `wasmcustom.`.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub async fn envoy_stats(&self) -> Result<BTreeMap<String, u64>, StackError> {
        let url = format!("{}/stats", self.envoy_admin_url());
        let text = self.expect_ok(&url).await;
        text.map(|text| parse_stats(&text)).map_err(|found| StackError::new("read stats", found))
    }

    /// One of Envoy's counters; zero while it has not been counted.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub async fn envoy_stat(&self, name: &str) -> Result<u64, StackError> {
        Ok(self.envoy_stats().await?.get(name).copied().unwrap_or(0))
    }
}

/// A priced request on a connection of its own; 503 means that a worker has no keys yet.
async fn probe(url: &str) -> Result<(), String> {
    let client = client().map_err(|error| error.to_string())?;
    match client.get(url).send().await {
        Err(error) => Err(error.to_string()),
        Ok(response) if response.status().is_server_error() => {
            Err(format!("{url} answers {}", response.status()))
        }
        Ok(_) => Ok(()),
    }
}
