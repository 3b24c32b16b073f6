//! A private PostgreSQL server with text in it.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::words::Writer;
use crate::shell;

/// A server that listens on a unix socket only; stopped and removed when dropped.
pub(crate) struct Cluster {
    dir: TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Result<Self> {
        // A unix socket's path must be short, and the server's user must be able to reach it.
        let dir = tempfile::Builder::new().prefix("bctl-pg-").tempdir_in("/tmp")?;
        let cluster = Self { dir };
        if shell::is_root() {
            shell::read(shell::command("chown").arg("postgres").arg(cluster.dir.path()))?;
        }
        shell::read(
            cluster
                .server("initdb")?
                .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"])
                .args(["--locale=C", "-D"])
                .arg(cluster.data()),
        )?;
        let settings = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c fsync=off \
             -c full_page_writes=off -c max_wal_size=4GB -c autovacuum=off -c wal_level=minimal \
             -c max_wal_senders=0 -c shared_buffers=256MB",
            cluster.socket().display()
        );
        let log = cluster.dir.path().join("log");
        let mut start = cluster.server("pg_ctl")?;
        start.args(["start", "-w", "-s", "-t", "60", "-o", &settings, "-l"]).arg(log);
        // The server keeps what it inherits: a pipe of ours would never end.
        start.stdout(Stdio::null()).stderr(Stdio::null());
        shell::run(start.arg("-D").arg(cluster.data()))?;
        Ok(cluster)
    }

    /// The folder of its socket.
    pub(crate) fn socket(&self) -> &Path {
        self.dir.path()
    }

    /// The number in the socket's name.
    #[expect(clippy::unused_self, reason = "a fact of this server")]
    pub(crate) fn port(&self) -> u16 {
        5432
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A server program, as a user that the server accepts: it refuses root.
    fn server(&self, program: &str) -> Result<Command> {
        let path = shell::find_program(program)
            .with_context(|| format!("{program} is missing; run `cargo xtask setup`"))?;
        let mut command = if shell::is_root() {
            let mut command = shell::hermetic("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            shell::hermetic(path)
        };
        command.current_dir(self.dir.path());
        Ok(command)
    }

    /// The arguments with which a client reaches a database.
    pub(crate) fn client_args(&self, database: &str) -> String {
        format!("-h {} -U postgres {database}", self.socket().display())
    }

    /// Runs SQL.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = shell::hermetic("psql");
        psql.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]);
        shell::read(psql.arg(self.socket()).args(["-d", database, "-c", sql]))
    }

    /// Makes a database with some MiB of articles in English-like words.
    pub(crate) fn create(&self, database: &str, mib: u64) -> Result<()> {
        self.sql("postgres", &format!("create database {database}"))?;
        self.sql(
            database,
            "create table articles(
                id bigint not null, day date not null, author text not null,
                title text not null, body text not null)",
        )?;
        self.fill(database, 1, mib << 20, 1)?;
        self.sql(database, "alter table articles add primary key (id)")?;
        Ok(())
    }

    /// Adds articles from `first_id` on until there are `bytes` more; another seed makes others.
    pub(crate) fn fill(&self, database: &str, first_id: u64, bytes: u64, seed: u64) -> Result<u64> {
        let mut psql = shell::hermetic("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"]);
        psql.arg(self.socket()).args(["-d", database, "-c", "copy articles from stdin"]);
        let mut psql = psql.stdin(Stdio::piped()).spawn().context("cannot start psql")?;
        let pipe = psql.stdin.take().context("psql has a stdin")?;
        let mut pipe = BufWriter::with_capacity(1 << 18, pipe);
        let mut writer = Writer::new(seed);
        let (mut written, mut id) = (0, first_id);
        while written < bytes {
            let row = writer.row(id);
            pipe.write_all(row.as_bytes())?;
            written += row.len() as u64;
            id += 1;
        }
        drop(pipe.into_inner()?);
        let status = psql.wait()?;
        ensure!(status.success(), "copying text into {database} failed: {status}");
        Ok(id)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(mut stop) = self.server("pg_ctl") {
            stop.args(["stop", "-w", "-s", "-m", "immediate", "-D"]).arg(self.data());
            // Nothing can be done about a server that does not stop, and nothing depends on it.
            let _ = shell::output(&mut stop);
        }
    }
}
