//! How fast a MariaDB database becomes a file, against `mariadb-dump | zstd`.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::Size;
use super::report::{Goal, Report, shown};
use super::words::Writer;
use super::world::{World, cost, median};
use crate::shell;

const DATABASE: &str = "shop";

pub(super) fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    println!("dump of MariaDB ({} MiB, {} rounds)", size.medium, size.few);
    let server = Server::start()?;
    server.create(size.medium)?;
    let config = world.project_of(
        "mariadb",
        &json!({ "type": "mariadb", "host": server.socket(), "name": DATABASE, "user": "root" }),
        &json!({}),
    )?;
    let folder = world.folder("mariadb-script")?;
    let script = format!(
        "mariadb-dump --no-defaults -S {} -u root --single-transaction --quick --routines \
         --events --triggers {DATABASE} | zstd -q -f -T0 -o {}",
        server.socket().display(),
        folder.join("dump.sql.zst").display(),
    );
    let (mut ours, mut bare, mut cpu) = (vec![], vec![], vec![]);
    for round in 0..size.few {
        println!("  round {}", round + 1);
        ours.push(world.run(&config, "mariadb")?.stage("Dump")?);
        let by_hand = cost(&mut world.script(&folder.join("none"), &script))?;
        bare.push(by_hand.wall);
        cpu.push(by_hand.cpu);
    }
    let ratio: Vec<f64> = bare.iter().zip(&ours).map(|(a, b)| a / b).collect();
    report.figure(
        "mariadb_speed",
        "Dump of MariaDB: speed against `mariadb-dump | zstd -T0`",
        &ratio,
        "×",
        Goal::AtLeast(1.0),
    );
    let row = |name: &str, wall: &[f64], cpu: Option<&[f64]>| {
        let cpu = cpu.map_or(String::new(), |cpu| shown(median(cpu)));
        vec![name.to_owned(), shown(median(wall)), cpu]
    };
    report.table(
        "mariadb",
        format!("{} MiB of text from MariaDB to a file:", size.medium),
        &["", "wall s", "cpu s"],
        vec![
            row("backupctl: Dump", &ours, None),
            row("`mariadb-dump`, `zstd -T0`", &bare, Some(&cpu)),
        ],
    );
    Ok(())
}

/// A private server that listens on a unix socket only; ended and removed when dropped.
struct Server {
    child: Child,
    dir: TempDir,
}

impl Server {
    fn start() -> Result<Self> {
        // A unix socket's path must be short, and the server's user must be able to reach it.
        let dir = tempfile::Builder::new().prefix("bctl-my-").tempdir_in("/tmp")?;
        if shell::is_root() {
            shell::read(shell::command("chown").arg("mysql").arg(dir.path()))?;
        }
        let data = dir.path().join("data");
        let mut install = program("mariadb-install-db", dir.path())?;
        install.args(["--no-defaults", "--skip-test-db"]);
        install.arg("--auth-root-authentication-method=normal");
        shell::read(install.arg(format!("--datadir={}", data.display())))?;
        let mut server = program("mariadbd", dir.path())?;
        server
            .args(["--no-defaults", "--skip-networking", "--skip-log-bin"])
            .args(["--innodb-buffer-pool-size=256M", "--innodb-flush-log-at-trx-commit=0"])
            .args(["--innodb-flush-method=nosync", "--innodb-doublewrite=OFF"])
            .args(["--character-set-server=utf8mb4", "--local-infile=ON"])
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", dir.path().join("mysqld.sock").display()))
            .arg(format!("--pid-file={}", dir.path().join("pid").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = server.spawn().context("mariadbd does not start")?;
        let server = Self { child, dir };
        let mut wait = shell::hermetic("mariadb-admin");
        wait.args(["--no-defaults", "-u", "root", "--wait=60", "-S"]).arg(server.socket());
        shell::read(wait.arg("ping").stderr(Stdio::null())).context("mariadbd does not answer")?;
        Ok(server)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("mysqld.sock")
    }

    fn client(&self, database: &str) -> Command {
        let mut client = shell::hermetic("mariadb");
        client.args(["--no-defaults", "--local-infile=1", "-u", "root", "-S"]).arg(self.socket());
        client.args(["--default-character-set=utf8mb4", "-D", database]);
        client
    }

    fn sql(&self, database: &str, sql: &str) -> Result<String> {
        shell::read(self.client(database).args(["-e", sql]).stderr(Stdio::null()))
    }

    /// Makes the database with some MiB of articles in English-like words.
    fn create(&self, mib: u64) -> Result<()> {
        self.sql("", &format!("create database {DATABASE}"))?;
        self.sql(
            DATABASE,
            "create table articles(
                id bigint primary key, day date not null, author varchar(64) not null,
                title text not null, body text not null)",
        )?;
        let load = "load data local infile '/dev/stdin' into table articles";
        let mut client = self.client(DATABASE);
        let mut client = client.args(["-e", load]).stdin(Stdio::piped()).spawn()?;
        let pipe = client.stdin.take().context("the client has a stdin")?;
        let mut pipe = BufWriter::with_capacity(1 << 18, pipe);
        let mut writer = Writer::new(1);
        let (mut written, mut id) = (0, 1);
        while written < mib << 20 {
            let row = writer.row(id);
            pipe.write_all(row.as_bytes())?;
            written += row.len() as u64;
            id += 1;
        }
        drop(pipe.into_inner()?);
        let status = client.wait()?;
        ensure!(status.success(), "loading text into MariaDB failed: {status}");
        Ok(())
    }
}

/// A server program, as a user that it accepts: it refuses root.
fn program(name: &str, dir: &Path) -> Result<Command> {
    let path = shell::find_program(name)
        .with_context(|| format!("{name} is missing; run `cargo xtask setup`"))?;
    let mut command = if shell::is_root() {
        let mut command = shell::hermetic("setpriv");
        command.args(["--reuid=mysql", "--regid=mysql", "--clear-groups", "--"]).arg(path);
        command
    } else {
        shell::hermetic(path)
    };
    command.current_dir(dir);
    Ok(command)
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data goes with it, so how it ends does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
