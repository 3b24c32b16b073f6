//! `cargo xtask ci`: everything that must be green, in an order that fails early.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::setup::{self, Purpose};
use crate::{demo, shell, test, tidy};

struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n── {name}");
        let start = Instant::now();
        let result = work().with_context(|| format!("ci step `{name}`"))?;
        let took = start.elapsed();
        println!("── {name}: ok in {:.1} s", took.as_secs_f64());
        self.done.push((name, took));
        Ok(result)
    }
}

/// The task.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    let mut steps = Steps { done: Vec::new() };
    steps.step("setup", || setup::ensure(Purpose::Test))?;
    steps.step("format", || shell::run(shell::cargo().args(["fmt", "--all", "--check"])))?;
    steps.step("clippy", || {
        let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        shell::run(shell::cargo().args(lint))
    })?;
    // One build for all that follows: choosing packages one by one would choose other features of
    // the dependencies and build them again.
    let built = steps.step("build", || shell::build(&["--workspace", "--all-targets"]))?;
    let backupctl: PathBuf = built.backupctl()?;
    steps.step("tidy", || tidy::run(Some(&backupctl)))?;
    steps.step("test", || test::cargo_test(&[]))?;
    if let Some(embed) = built.find("example", "embed") {
        steps.step("example", || shell::run(&mut shell::hermetic(embed)))?;
    }
    steps.step("demo", || demo::play(&backupctl, true))?;

    println!("\n── ci: all green in {:.1} s", start.elapsed().as_secs_f64());
    for (name, took) in &steps.done {
        println!("   {name:<10} {:>7.1} s", took.as_secs_f64());
    }
    Ok(())
}
