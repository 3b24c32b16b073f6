//! What every measurement stands on: a private server, keys, a repository to copy, and a stopwatch.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::postgres::Cluster;
use crate::shell;

/// The bench's own corner of the machine; gone when it is dropped.
pub(crate) struct World {
    pub(crate) backupctl: PathBuf,
    pub(crate) cluster: Cluster,
    /// The age recipient that files are encrypted to.
    pub(crate) recipient: String,
    password: PathBuf,
    cache: PathBuf,
    seed: PathBuf,
    dir: TempDir,
}

/// What one process tree has cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds of CPU, children included, in hundredths.
    pub(crate) cpu: f64,
}

/// One measured `backupctl run`.
pub(crate) struct Measured {
    pub(crate) cost: Cost,
    /// The run record.
    pub(crate) record: Value,
    /// Its child processes: program, milliseconds.
    pub(crate) children: Vec<(String, f64)>,
    /// CPU milliseconds of backupctl itself.
    pub(crate) own_cpu_ms: f64,
    /// Peak memory of backupctl itself, in MiB.
    pub(crate) peak_mib: f64,
    /// Milliseconds from the first byte of an archive to its name on the disk.
    pub(crate) archive_ms: f64,
}

impl World {
    pub(crate) fn new(backupctl: PathBuf) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("backupctl-bench-").tempdir()?;
        let cluster = Cluster::start()?;
        let key = shell::read(shell::command("age-keygen").stderr(std::process::Stdio::null()))?;
        let recipient = key.lines().find_map(|l| l.strip_prefix("# public key: "));
        let recipient = recipient.context("age-keygen tells the public key")?.to_owned();
        private_file(&dir.path().join("identity"), &key)?;
        let password = dir.path().join("password");
        fs::write(&password, "bench\n")?;
        let seed = dir.path().join("seed-repository");
        let world = Self {
            backupctl,
            cluster,
            recipient,
            password,
            cache: dir.path().join("cache"),
            seed,
            dir,
        };
        fs::DirBuilder::new().mode(0o700).create(world.gpg_home())?;
        // restic calibrates the cost of opening a repository when it makes one: all contestants
        // get a copy of this one.
        shell::read(world.restic(&world.seed).arg("init"))?;
        Ok(world)
    }

    /// A fresh folder of that name.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A fresh repository of that name.
    pub(crate) fn repository(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder(name)?.join("repository");
        shell::read(shell::command("cp").arg("-a").arg(&self.seed).arg(&path))?;
        Ok(path)
    }

    /// restic on that repository.
    pub(crate) fn restic(&self, repository: &Path) -> Command {
        let mut restic = shell::hermetic("restic");
        restic
            .env("RESTIC_REPOSITORY", repository)
            .env("RESTIC_PASSWORD_FILE", &self.password)
            .env("RESTIC_CACHE_DIR", &self.cache);
        restic
    }

    /// The age identity that opens what is encrypted to the recipient.
    pub(crate) fn identity(&self) -> PathBuf {
        self.dir.path().join("identity")
    }

    /// A GnuPG home, empty at first.
    pub(crate) fn gpg_home(&self) -> PathBuf {
        self.dir.path().join("gnupg")
    }

    /// gpg in that home; nobody is asked for anything.
    pub(crate) fn gpg(&self) -> Command {
        let mut gpg = shell::hermetic("gpg");
        gpg.arg("--homedir").arg(self.gpg_home());
        gpg.args(["--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback"]);
        gpg
    }

    /// A shell script of the bare tools, all statuses counting, on that repository.
    pub(crate) fn script(&self, repository: &Path, text: &str) -> Command {
        let restic = self.restic(repository);
        let mut bash = shell::hermetic("bash");
        bash.args(["-c", &format!("set -euo pipefail\n{text}")]);
        for (name, value) in restic.get_envs() {
            if let Some(value) = value {
                bash.env(name, value);
            }
        }
        bash
    }

    /// Writes a configuration with one PostgreSQL project of that name and makes its repository
    /// known; `more` is merged over the project.
    pub(crate) fn project(&self, name: &str, database: &str, more: &Value) -> Result<PathBuf> {
        let database = json!({
            "type": "postgres",
            "host": self.cluster.socket(),
            "port": self.cluster.port(),
            "name": database,
            "user": "postgres",
        });
        self.project_of(name, &database, more)
    }

    /// The same with a database of any kind.
    pub(crate) fn project_of(&self, name: &str, database: &Value, more: &Value) -> Result<PathBuf> {
        let repository = self.repository(name)?;
        let mut project = json!({
            "name": name,
            "database": database,
            "restic": {
                "repository": repository,
                "password_file": self.password,
                "cache_dir": self.cache,
            },
            // One local dump is enough, and the disk is not the bench's alone. The repository keeps
            // every run: all are of one day, and growth is measured against the one before.
            "retention": { "local_days": 0, "keep_last": 1000 },
        });
        merge(&mut project, more);
        self.configure(name, &project)
    }

    /// Writes a configuration with this project alone and makes its repository known.
    pub(crate) fn configure(&self, name: &str, project: &Value) -> Result<PathBuf> {
        let folder = self.dir.path().join(name);
        let config = folder.join("backupctl.yml");
        let whole = json!({
            "base_dir": folder.join("state"),
            "min_free_gb": 0.1,
            "retry": { "count": 0 },
            "projects": [project],
        });
        // JSON is YAML too.
        fs::write(&config, serde_json::to_string_pretty(&whole)?)?;
        shell::read(self.call(&config).arg("init"))?;
        Ok(config)
    }

    /// backupctl with that configuration.
    pub(crate) fn call(&self, config: &Path) -> Command {
        let mut command = shell::hermetic(&self.backupctl);
        command.arg("--config").arg(config).arg("--no-color");
        command.env("GNUPGHOME", self.gpg_home());
        command
    }

    /// `backupctl run`, measured from outside and by what it logs of itself.
    pub(crate) fn run(&self, config: &Path, project: &str) -> Result<Measured> {
        let mut command = self.call(config);
        command.args(["run", project, "--json", "-vv"]);
        let (cost, out) = timed(|| shell::output(&mut command))?;
        let (stdout, log) =
            (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        ensure!(out.status.success(), "run failed: {}\n{stdout}\n{log}", out.status);
        let record: Value = serde_json::from_str(&stdout).context("the run's --json output")?;
        let record = record.get("run").cloned().unwrap_or(record);
        let mut measured = Measured {
            cost,
            record,
            children: Vec::new(),
            own_cpu_ms: f64::NAN,
            peak_mib: f64::NAN,
            archive_ms: f64::NAN,
        };
        for line in log.lines() {
            if line.contains("backupctl::child")
                && let Some(wall) = number(line, "child.wall_ms")
            {
                let program = field(line, "child.program").unwrap_or("?");
                let program = program.rsplit('/').next().unwrap_or(program);
                measured.children.push((program.to_owned(), wall));
            }
            if line.contains("backupctl::archive") {
                measured.archive_ms = number(line, " wall_ms").unwrap_or(f64::NAN);
            }
            if line.contains("backupctl::usage") {
                measured.own_cpu_ms = number(line, "self_cpu_ms").unwrap_or(f64::NAN);
                measured.peak_mib = number(line, "max_rss_kib").unwrap_or(f64::NAN) / 1024.0;
            }
        }
        let silent = measured.children.is_empty() && measured.archive_ms.is_nan();
        if silent || measured.own_cpu_ms.is_nan() {
            bail!("`run -vv` does not log backupctl::child and backupctl::usage:\n{log}");
        }
        Ok(measured)
    }
}

impl Measured {
    /// Milliseconds of the run in which none of its child processes was running.
    pub(crate) fn beyond_children_ms(&self) -> f64 {
        let children: f64 = self.children.iter().map(|(_, wall)| wall).sum();
        self.cost.wall * 1000.0 - children
    }

    /// Seconds that a stage took, from the record.
    pub(crate) fn stage(&self, name: &str) -> Result<f64> {
        let stages = self.record["stages"].as_array().context("a record has stages")?;
        let stage = stages.iter().find(|s| s["stage"] == name);
        let stage = stage.with_context(|| format!("the record has no stage {name}"))?;
        let at = |key: &str| stage[key].as_str().and_then(second_of_day);
        let (from, to) = at("started_at")
            .zip(at("finished_at"))
            .with_context(|| format!("stage {name} has no times: was it skipped? {stage}"))?;
        Ok(if to < from { to + 86_400.0 - from } else { to - from })
    }
}

/// The seconds since midnight of `2026-03-18T00:00:05.000Z`.
fn second_of_day(stamp: &str) -> Option<f64> {
    let clock = stamp.split('T').nth(1)?.trim_end_matches('Z');
    let mut parts = clock.split(':').map(str::parse::<f64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

/// What stands behind `name=` in a log line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.split_once(&format!("{name}="))?.1;
    rest.split_whitespace().next().map(|value| value.trim_matches('"'))
}

/// The number behind `name=` in a log line.
pub(crate) fn number(line: &str, name: &str) -> Option<f64> {
    field(line, name)?.parse().ok()
}

/// A file that its owner alone may read.
fn private_file(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    Ok(std::io::Write::write_all(&mut file, text.as_bytes())?)
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// Runs something that waits for its processes, and tells what they cost.
pub(crate) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(Cost, T)> {
    let before = children_cpu()?;
    let start = Instant::now();
    let result = work()?;
    let wall = start.elapsed().as_secs_f64();
    Ok((Cost { wall, cpu: children_cpu()? - before }, result))
}

/// Runs a command that must succeed, and tells what it cost.
pub(crate) fn cost(command: &mut Command) -> Result<Cost> {
    timed(|| shell::read(command)).map(|(cost, _)| cost)
}

/// CPU seconds of all children that were waited for (proc(5): cutime and cstime, at 100 Hz).
fn children_cpu() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok());
    let (user, system) = ticks(13).zip(ticks(14)).context("/proc/self/stat is too short")?;
    Ok((user + system) / 100.0)
}

/// The size of all files below a folder, in MiB.
pub(crate) fn folder_mib(dir: &Path) -> Result<f64> {
    let mut bytes = 0.0;
    for file in shell::files_under(dir)? {
        bytes += mib(fs::symlink_metadata(dir.join(file))?.len());
    }
    Ok(bytes)
}

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss, reason = "sizes of a bench fit 53 bits")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_fields_are_read_with_and_without_quotes() {
        let line =
            "DEBUG backupctl::child: program ended child.program=\"restic\" child.wall_ms=1.5";
        assert_eq!(field(line, "child.program"), Some("restic"));
        assert_eq!(number(line, "child.wall_ms"), Some(1.5));
        assert_eq!(number(line, "child.code"), None);
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_middle_two() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_stage_may_last_over_midnight() {
        let stamp = |t| second_of_day(t).unwrap_or_default();
        assert!((stamp("2026-03-18T01:02:03.500Z") - 3723.5).abs() < 1e-9);
    }
}
