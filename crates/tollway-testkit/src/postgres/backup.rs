//! Copies of a database, with PostgreSQL's own tools.

use std::fs;

use super::{Postgres, run_as, succeed};

impl Postgres {
    /// One moment of the database, as `pg_dump` writes it.
    ///
    /// # Errors
    /// This server is not ours, or `pg_dump` fails.
    pub fn dump(&self) -> Result<String, String> {
        let own = self.own()?;
        let mut command = run_as(own.owner, &own.programs.join("pg_dump"));
        command.args(["--clean", "--if-exists", "--dbname"]).arg(&self.url);
        succeed(command)
    }

    /// Puts the database back to the moment of a dump.
    ///
    /// # Errors
    /// This server is not ours, or it refuses the dump; then nothing was changed.
    pub fn restore(&self, dump: &str) -> Result<(), String> {
        let own = self.own()?;
        let file = own.directory.join("dump.sql");
        fs::write(&file, dump).map_err(|error| error.to_string())?;
        let mut command = run_as(own.owner, &own.programs.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--single-transaction"]);
        command.args(["--set", "ON_ERROR_STOP=1", "--dbname"]).arg(&self.url);
        command.arg("--file").arg(file);
        succeed(command).map(drop)
    }
}
