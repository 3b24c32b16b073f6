//! `cargo xtask bench`: backupctl against the bare tools, in one run on one machine.
//!
//! Times are those of whole processes, contestants take turns, and what is told is the median.
//! Absolute times say little about another machine; the ratios carry over. How to read the result
//! is in docs/performance.md.

mod archive;
mod gpg;
mod growth;
mod idle;
mod mariadb;
mod overhead;
mod passthrough;
mod postgres;
mod report;
mod startup;
mod throughput;
mod validate;
mod words;
mod world;

use std::fs;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::setup::{self, Purpose};
use crate::shell;
use report::Report;
use world::World;

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Small data and few rounds: shows that the bench works, and says little about speed.
    #[arg(long)]
    quick: bool,
    /// Writes the result into docs/performance.md.
    #[arg(long)]
    write_docs: bool,
    /// Only these parts, separated by commas: overhead, startup, validate, restic, throughput,
    /// mariadb, gpg, archive, idle, growth.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// How much of everything.
pub(crate) struct Size {
    /// MiB of text in the database of a tiny run.
    tiny: u64,
    /// MiB of the smaller database of the memory comparison.
    small: u64,
    /// MiB of the larger one, which the speed is measured on too.
    large: u64,
    /// MiB of the databases of the other engines and of other encryption.
    medium: u64,
    /// MiB of the database that changes from one day to the next.
    growth: u64,
    /// Run records that `status` has to look through.
    records: u32,
    /// Minutes for which the daemon waits.
    idle_minutes: u32,
    /// Rounds of short measurements.
    many: usize,
    /// Rounds of long ones.
    few: usize,
}

const FULL: Size = Size {
    tiny: 20,
    small: 100,
    large: 1024,
    medium: 512,
    growth: 256,
    records: 10_000,
    idle_minutes: 10,
    many: 11,
    few: 3,
};
const QUICK: Size = Size {
    tiny: 2,
    small: 10,
    large: 40,
    medium: 20,
    growth: 12,
    records: 1_000,
    idle_minutes: 1,
    many: 3,
    few: 3,
};

/// The task.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    setup::ensure(Purpose::Test)?;
    println!("building backupctl (release profile)");
    let built = shell::build(&["--release", "--package", "cli", "--bin", "backupctl"])?;
    let start = Instant::now();
    let size = if args.quick { QUICK } else { FULL };
    let world = World::new(built.backupctl()?)?;
    let mut report = Report::new(args.quick)?;
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|o| o == name);
    if wanted("overhead") {
        overhead::measure(&world, &size, &mut report)?;
    }
    if wanted("startup") {
        startup::measure(&world, &size, &mut report)?;
    }
    if wanted("validate") {
        validate::measure(&world, &size, &mut report)?;
    }
    if wanted("restic") {
        passthrough::measure(&world, &size, &mut report)?;
    }
    if wanted("throughput") {
        throughput::measure(&world, &size, &mut report)?;
    }
    if wanted("mariadb") {
        mariadb::measure(&world, &size, &mut report)?;
    }
    if wanted("gpg") {
        gpg::measure(&world, &size, &mut report)?;
    }
    if wanted("archive") {
        archive::measure(&world, &size, &mut report)?;
    }
    if wanted("idle") {
        idle::measure(&world, &size, &mut report)?;
    }
    if wanted("growth") {
        growth::measure(&world, &size, &mut report)?;
    }
    report.seconds = start.elapsed().as_secs_f64();

    println!("\n{}", report.to_markdown());
    let dir = shell::root().join("target/bench");
    fs::create_dir_all(&dir)?;
    let file = dir.join("bench.json");
    fs::write(&file, serde_json::to_string_pretty(&report)? + "\n")?;
    println!("written: {}", file.display());
    if args.write_docs {
        report.write_docs(&shell::root().join("docs/performance.md"))?;
        println!("written: docs/performance.md");
    }
    Ok(())
}
