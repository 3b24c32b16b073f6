//! Dumps and verifies one PostgreSQL database, and tells how fast and with how much memory:
//! `cargo run --release -p backupctl-adapter-dump --example dump -- HOST PORT USER NAME DIR [zstd|gzip|none] [LEVEL]`.
//! The password comes from where libpq looks for it.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use backupctl_adapter_dump::PostgresDumper;
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{DatabaseDumper, DumpRequest, VerifyRequest};
use backupctl_domain::project::{Algorithm, Compression, Database, DatabaseOptions, Engine};
use backupctl_domain::{DumpName, ProjectName, Stage};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, user, name, dir, rest @ ..] = args.as_slice() else {
        return Err("HOST PORT USER NAME DIR [zstd|gzip|none] [LEVEL]".into());
    };
    let level = rest.get(1).map_or(Ok(3), |l| l.parse())?;
    let compression = match rest.first().map(String::as_str) {
        None | Some("zstd") => Some(Compression { algorithm: Algorithm::Zstd, level }),
        Some("gzip") => Some(Compression { algorithm: Algorithm::Gzip, level }),
        Some(_) => None,
    };
    let database = Database {
        engine: Engine::Postgres,
        host: host.clone(),
        port: port.parse()?,
        name: name.clone(),
        user: Some(user.clone()),
        password: None,
        path: None,
        container: None,
        dump_timeout: None,
        options: DatabaseOptions::default(),
    };
    let dumper = PostgresDumper::new(&database, dir.into(), None);
    let ctx = StageContext::new(Stage::Dump, Cancel::new(), Arc::default());
    let name = "example_backup_20260101_000000_00000000.x";
    let name = DumpName::parse(&ProjectName::new("example")?, name).ok_or("a name")?;
    let request = DumpRequest {
        dir: dir.into(),
        name: name.with_ext(""),
        compression,
        timeout: None,
        max_bytes: None,
    };

    let start = Instant::now();
    let dumped = dumper.dump(&request, &ctx).await?;
    let dump = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds()?;
    let start = Instant::now();
    let request = VerifyRequest {
        path: dumped.path.clone(),
        info: dumped.info.clone(),
        timeout: None,
        max_bytes: None,
    };
    let verified = dumper.verify(&request, &ctx).await;
    let verify = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    println!(
        "dump {dump:.3} s (cpu {cpu:.2} s), verify {verify:.3} s ({:.2}), {} of {} bytes, {peak}",
        verify / dump,
        dumped.info.bytes,
        dumped.info.raw_bytes,
    );
    std::fs::remove_file(&dumped.path)?;
    Ok(verified?)
}

/// The processor time of this process and of the programs that have ended, in seconds.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(") ").ok_or("no stat")?;
    let mut ticks = 0.0;
    for field in rest.split(' ').skip(11).take(4) {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks / 100.0)
}
