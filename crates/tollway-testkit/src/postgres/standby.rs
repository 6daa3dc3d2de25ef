//! A second server that has every commit of the first before the first says so.

use super::{Postgres, Private, run_as, succeed, until};

/// What the standby calls itself at its primary.
const NAME: &str = "tollway_standby";

impl Postgres {
    /// A running synchronous standby of this server. From now on this server commits nothing
    /// that the standby has not on its disk.
    ///
    /// # Errors
    /// This server is not ours, or the standby does not come up.
    pub fn synchronous_standby(&self) -> Result<Self, String> {
        let source = format!("{}?application_name={NAME}", self.url);
        let standby = Self::made(|programs, owner, data| {
            let mut command = run_as(owner, &programs.join("pg_basebackup"));
            command.args(["--checkpoint=fast", "--write-recovery-conf", "--no-sync"]);
            command.arg(format!("--dbname={source}")).arg("--pgdata").arg(data);
            command
        })?;
        self.ask(&format!("ALTER SYSTEM SET synchronous_standby_names = '{NAME}'"))?;
        self.ask("SELECT pg_reload_conf()")?;
        until("the standby is synchronous", || {
            let state = self.ask("SELECT sync_state FROM pg_stat_replication");
            state.is_ok_and(|state| state == "sync")
        })?;
        Ok(standby)
    }

    /// Makes a standby a server that writes.
    ///
    /// # Errors
    /// It is not ours, or is no standby.
    pub fn promote(&self) -> Result<(), String> {
        let promoted = self.ask("SELECT pg_promote()")?;
        if promoted == "t" { Ok(()) } else { Err("the standby is not promoted".to_owned()) }
    }

    /// How to reach whichever of the two writes.
    ///
    /// # Errors
    /// One of them is not ours.
    pub fn url_with(&self, other: &Self) -> Result<String, String> {
        let (one, two) = (self.own()?.host(), other.own()?.host());
        let whoever = "target_session_attrs=read-write";
        Ok(format!("postgresql://postgres@{one},{two}/postgres?{whoever}"))
    }

    /// What the server says to one statement.
    pub(super) fn ask(&self, statement: &str) -> Result<String, String> {
        let own = self.own()?;
        let mut command = run_as(own.owner, &own.programs.join("psql"));
        command.args(["--no-psqlrc", "--tuples-only", "--no-align", "--dbname"]);
        command.arg(&self.url).args(["--command", statement]);
        succeed(command)
    }

    pub(super) fn own(&self) -> Result<&Private, String> {
        self.private.as_ref().ok_or_else(|| "the server is not our own".to_owned())
    }
}
