//! `cargo xtask demo`: a backup of a sample project, restored and compared with its source.
//!
//! Everything stays under target/demo, to be looked at and played with.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::setup::{self, Purpose};
use crate::shell;

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Forgets the demo made before and starts from nothing.
    #[arg(long)]
    fresh: bool,
}

/// Where the parts of the demo are.
struct Places {
    base: PathBuf,
    database: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    password: PathBuf,
    state: PathBuf,
    repository: PathBuf,
    restored: PathBuf,
    restored_db: PathBuf,
}

impl Places {
    fn new() -> Self {
        let base = shell::root().join("target/demo");
        Self {
            database: base.join("shop.db"),
            folder: base.join("uploads"),
            config: base.join("backupctl.yml"),
            password: base.join("restic-password"),
            state: base.join("state"),
            repository: base.join("repository"),
            restored: base.join("restored"),
            restored_db: base.join("restored-db"),
            base,
        }
    }
}

/// The task.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    setup::ensure(Purpose::Demo)?;
    println!("building backupctl (dev profile: quick to build; the first time takes minutes)");
    let backupctl = shell::build_backupctl()?;
    play(&backupctl, args.fresh)
}

/// Plays the demo with a program that is built.
pub(crate) fn play(backupctl: &Path, fresh: bool) -> Result<()> {
    let start = Instant::now();
    let at = Places::new();
    if fresh && at.base.exists() {
        fs::remove_dir_all(&at.base)?;
    }
    fs::create_dir_all(&at.base)?;

    step(1, "a sample project: an SQLite database and a folder of files");
    sample_database(&at.database)?;
    sample_folder(&at.folder)?;
    let orders = sqlite(&at.database, "select count(*) from orders")?;
    tell(&format!("{} with {} orders", short(&at.database), orders.trim()));
    tell(&format!("{} with {} files", short(&at.folder), shell::files_under(&at.folder)?.len()));

    step(2, "its configuration");
    write_password(&at.password)?;
    fs::write(&at.config, config(&at))?;
    tell(&short(&at.config));

    let call = |args: &[&str]| {
        let mut command = shell::hermetic(backupctl);
        command.arg("--config").arg(&at.config).args(args);
        println!("$ backupctl --config {} {}", short(&at.config), args.join(" "));
        shell::run(&mut command)
    };
    step(3, "the restic repository and the record of runs");
    call(&["init"])?;
    step(4, "a backup: dump, verify, store, prove, thin out");
    call(&["run", "demo"])?;
    step(5, "what is in the repository");
    call(&["snapshots", "demo"])?;

    step(6, "the whole snapshot restored");
    clear(&at.restored)?;
    call(&["restore", "demo", "latest", &at.restored.to_string_lossy()])?;
    step(7, "the database alone, decompressed");
    clear(&at.restored_db)?;
    let target = at.restored_db.to_string_lossy();
    call(&["restore", "demo", "latest", &target, "--only", "db", "--decompress"])?;

    step(8, "is it the same?");
    compare_folder(&at)?;
    compare_dump(&at)?;
    compare_database(&at)?;

    step(9, "how the project stands");
    call(&["status"])?;

    let program = backupctl.strip_prefix(shell::root()).unwrap_or(backupctl);
    println!(
        "\nThe demo is through in {:.1} s: what was restored is what was backed up.\n\n\
         All of it is in {}. To play on:\n\n    \
         alias demo='{} --config {}'\n    \
         demo run demo --dry-run          # what would be checked\n    \
         demo logs demo                   # the runs so far\n    \
         demo restore demo latest /tmp/x --guide\n    \
         demo explain REPO_WRONG_PASSWORD\n    \
         demo --help",
        start.elapsed().as_secs_f64(),
        short(&at.base),
        program.display(),
        short(&at.config),
    );
    Ok(())
}

fn step(number: u8, title: &str) {
    println!("\n[{number}/9] {title}");
}

fn tell(line: &str) {
    println!("      {line}");
}

fn short(path: &Path) -> String {
    path.strip_prefix(shell::root()).unwrap_or(path).display().to_string()
}

fn clear(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot clear {}", dir.display()))?;
    }
    Ok(())
}

fn sqlite(database: &Path, sql: &str) -> Result<String> {
    let mut command: Command = shell::command("sqlite3");
    shell::read(command.args(["-batch", "-bail"]).arg(database).arg(sql))
}

/// A shop of 500 customers and 5,000 orders; each further demo finds one order more.
fn sample_database(path: &Path) -> Result<()> {
    if path.exists() {
        sqlite(path, "insert into orders(customer, item, cents) values (1, 'one more mug', 900)")?;
        return Ok(());
    }
    let sql = "
        create table customers(id integer primary key, name text not null, city text not null);
        create table orders(
            id integer primary key,
            customer integer not null references customers(id),
            item text not null,
            cents integer not null
        );
        create index orders_by_customer on orders(customer);
        begin;
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)
        insert into customers select i, 'customer ' || i,
            case i % 4 when 0 then 'Oslo' when 1 then 'Lagos' when 2 then 'Lima' else 'Kyoto' end
        from n;
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
        insert into orders select i, i * 7919 % 500 + 1, 'item ' || (i * 31 % 97),
            i * 104729 % 20000 from n;
        commit;";
    sqlite(path, sql)?;
    Ok(())
}

fn sample_folder(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir.join("invoices"))?;
    for number in 1..=20 {
        let mut text = format!("Invoice {number:04}\n\n");
        for line in 1..=30 {
            writeln!(text, "{line:>3}  item {:>3}  {:>6}", number * line % 97, number * line * 37)?;
        }
        fs::write(dir.join(format!("invoices/{number:04}.txt")), text)?;
    }
    let picture = dir.join("picture.bin");
    if !picture.exists() {
        let mut bytes = vec![0_u8; 1 << 20];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        fs::write(picture, bytes)?;
    }
    fs::write(dir.join("a name with spaces, and a comma.txt"), "names are kept as they are\n")?;
    Ok(())
}

/// A password of its own for the demo's repository, made once.
fn write_password(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(())
}

fn config(at: &Places) -> String {
    format!(
        "# Written anew by each `cargo xtask demo`; copy it to change it.\n\
         base_dir: {state}\n\
         min_free_gb: 0.1\n\
         \n\
         projects:\n  \
           - name: demo\n    \
             database:\n      \
               type: sqlite\n      \
               path: {database}\n    \
             assets:\n      \
               paths:\n        \
                 - {folder}\n    \
             restic:\n      \
               repository: {repository}\n      \
               password_file: {password}\n      \
               cache_dir: {cache}\n    \
             retention:\n      \
               local_days: 7\n      \
               keep_last: 10\n",
        state = quoted(&at.state),
        database = quoted(&at.database),
        folder = quoted(&at.folder),
        repository = quoted(&at.repository),
        password = quoted(&at.password),
        cache = quoted(&at.base.join("cache")),
    )
}

/// A path as a YAML string, whatever is in it.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

/// Every file of the folder, byte by byte.
fn compare_folder(at: &Places) -> Result<()> {
    let restored = below(&at.restored, &at.folder);
    let (source, copy) = (shell::files_under(&at.folder)?, shell::files_under(&restored)?);
    ensure!(source == copy, "the restored folder lists other files: {source:?} became {copy:?}");
    let mut bytes = 0;
    for file in &source {
        let (a, b) = (fs::read(at.folder.join(file))?, fs::read(restored.join(file))?);
        ensure!(a == b, "{} differs from its source", file.display());
        bytes += a.len();
    }
    tell(&format!("folder: {} files, {bytes} bytes, each byte the same", source.len()));
    Ok(())
}

/// The dump file in the snapshot against the one that is kept locally.
fn compare_dump(at: &Places) -> Result<()> {
    let is_dump = |p: &&PathBuf| p.to_string_lossy().contains("_backup_");
    let files = shell::files_under(&at.restored)?;
    let dump = files.iter().find(is_dump).context("the restored snapshot holds no dump file")?;
    let name = dump.file_name().context("a dump has a name")?;
    let local = at.state.join("demo").join(name);
    let same = fs::read(at.restored.join(dump))?
        == fs::read(&local).with_context(|| format!("no local dump {}", local.display()))?;
    ensure!(same, "the dump in the snapshot differs from {}", local.display());
    tell(&format!("dump:   {} the same in the snapshot and here", name.to_string_lossy()));
    Ok(())
}

/// Every row of every table.
fn compare_database(at: &Places) -> Result<()> {
    let files = shell::files_under(&at.restored_db)?;
    let dumps: Vec<_> =
        files.iter().filter(|f| f.extension().is_some_and(|e| e == "sqlite")).collect();
    let [copy] = dumps[..] else {
        bail!("expected one decompressed .sqlite file in {}: {files:?}", at.restored_db.display());
    };
    let copy = at.restored_db.join(copy);
    let health = sqlite(&copy, "pragma integrity_check")?;
    ensure!(health.trim() == "ok", "the restored database is damaged: {health}");
    for table in ["customers", "orders"] {
        let count = format!("select count(*) from {table}");
        let (a, b) = (sqlite(&at.database, &count)?, sqlite(&copy, &count)?);
        ensure!(a == b, "table {table} has {} rows, its copy {}", a.trim(), b.trim());
        tell(&format!("table:  {table}, {} rows in both", a.trim()));
    }
    let (a, b) = (sqlite(&at.database, ".dump")?, sqlite(&copy, ".dump")?);
    ensure!(a == b, "the restored database has other rows than its source");
    tell(&format!("rows:   all the same ({} bytes as SQL text)", a.len()));
    Ok(())
}

/// Where a restore puts a path: whole, below the target.
fn below(target: &Path, path: &Path) -> PathBuf {
    target.join(path.strip_prefix("/").unwrap_or(path))
}
