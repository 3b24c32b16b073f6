//! Developer tasks: `cargo xtask <task>`, one file a task.
//!
//! This program depends on none of the crates that it builds and checks, so that it works while
//! they do not compile.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what a task is for")]

mod bench;
mod ci;
mod demo;
mod docs;
mod setup;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer tasks of backupctl.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs the programs that the build, the demo and the tests need and that are missing.
    Setup(setup::SetupArgs),
    /// Makes a sample project, backs it up, restores it and compares.
    Demo(demo::DemoArgs),
    /// Runs every test of the workspace.
    Test(test::TestArgs),
    /// Runs all that must be green: format, lints, tidy, tests, example, demo.
    Ci,
    /// Checks the rules that no compiler checks: layers, manifests, sources, links, generated docs.
    Tidy,
    /// Measures backupctl against the bare tools.
    Bench(bench::BenchArgs),
    /// Writes the generated reference in docs/reference anew.
    Docs,
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Setup(args) => setup::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Ci => ci::run(),
        Task::Tidy => tidy::run(None),
        Task::Bench(args) => bench::run(&args),
        Task::Docs => docs::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
