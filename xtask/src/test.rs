//! `cargo xtask test`: every test, on a machine that may lack the programs for it.

use anyhow::Result;
use clap::Args;

use crate::setup::{self, Purpose};
use crate::shell;

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Passed on to `cargo test`, e.g. `-p backupctl-domain` or `-- --nocapture`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// The task.
pub(crate) fn run(args: &TestArgs) -> Result<()> {
    setup::ensure(Purpose::Test)?;
    cargo_test(&args.args)
}

/// `cargo test` over the workspace, or over what the arguments choose.
pub(crate) fn cargo_test(args: &[String]) -> Result<()> {
    let own_choice = args
        .iter()
        .take_while(|a| *a != "--")
        .any(|a| a == "-p" || a.starts_with("--package") || a == "--workspace");
    let mut cargo = shell::cargo();
    cargo.arg("test");
    if !own_choice {
        cargo.arg("--workspace");
    }
    shell::run(cargo.args(args))
}
