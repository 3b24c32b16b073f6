//! The command line: reads arguments, wires ports, calls a use case, renders its outcome. Nothing is
//! decided here.

mod args;
mod commands;
mod exit;
mod logging;
mod render;
mod usage;
mod wire;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command};
use backupctl_adapters::domain::{ErrorCode, Failure};
use exit::{CommandError, CommandResult, status};
use render::Out;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage_error(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            render::Out::new(false, false, false).warn(format!("no runtime: {error}"));
            return ExitCode::from(status::FAILURE);
        }
    };
    let out = Out::new(cli.global.json, cli.global.quiet, cli.global.no_color);
    let result = runtime.block_on(dispatch(cli, out.clone()));
    let code = match result {
        Ok(code) => code,
        Err(error) => {
            error.tell(&out);
            error.exit
        }
    };
    usage::log();
    // A blocking call that did not heed its end must not keep a finished command alive.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn dispatch(cli: Cli, out: Out) -> CommandResult {
    let global = cli.global;
    match cli.command {
        Command::Init { project } => commands::init::run(&global, out, project.as_deref()).await,
        Command::Run(args) => Box::pin(commands::run::run(&global, out, args)).await,
        Command::Status(args) => Box::pin(commands::status::run(&global, out, args)).await,
        Command::Watch(args) => Box::pin(commands::watch::run(&global, out, args)).await,
        Command::Serve => Box::pin(commands::serve::run(&global, out)).await,
        Command::Logs { project, last, failed, run } => {
            let query = commands::logs::Query { project, last, failed, run };
            commands::logs::run(&global, out, query).await
        }
        Command::Snapshots { project, last, destination } => {
            commands::snapshots::run(&global, out, &project, destination.as_deref(), last).await
        }
        Command::Verify(args) => Box::pin(commands::verify::run(&global, out, args)).await,
        Command::Restore(args) => Box::pin(commands::restore::run(&global, out, args)).await,
        Command::Runs { command } => Box::pin(commands::runs::run(&global, out, command)).await,
        Command::Schedule { command } => {
            Box::pin(commands::schedule::run(&global, out, command)).await
        }
        Command::Systemd { command } => {
            Box::pin(commands::systemd::run(&global, out, command)).await
        }
        Command::Prune { project, all: _, destination } => {
            let at = destination.as_deref();
            Box::pin(commands::prune::run(&global, out, project.as_deref(), at)).await
        }
        Command::Forget(args) => Box::pin(commands::forget::run(&global, out, args)).await,
        Command::Cache(args) => Box::pin(commands::cache::run(&global, out, args)).await,
        Command::Restic { destination, words } => {
            commands::restic::run(&global, &out, destination.as_deref(), words).await
        }
        Command::Health { project } => {
            Box::pin(commands::health::run(&global, out, project.as_deref())).await
        }
        Command::Recover { project } => {
            commands::recover::run(&global, out, project.as_deref()).await
        }
        Command::Config { command } => commands::config::run(&global, out, command).await,
        Command::Explain { code } => commands::explain::run(&out, code.as_deref()),
        Command::Completions { shell } => Ok(commands::generate::completions(&out, shell)),
        Command::Man => commands::generate::man(&out),
        Command::Docs { dir } => commands::generate::docs(&out, &dir),
    }
}

/// clap's own message; help and version are no errors, everything else is bad usage (3).
fn usage_error(error: &clap::Error) -> ExitCode {
    let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let json = |arg: &std::ffi::OsString| arg == "--json" || arg == "--json-stream";
    if !help && std::env::args_os().any(|arg| json(&arg)) {
        let remedy = match instead_of_a_project(error) {
            Some(hint) => format!("{hint}; see `--help` of the command"),
            None => "see `backupctl --help`, or `--help` of the command".to_owned(),
        };
        let failure =
            Failure::new(ErrorCode::InvalidConfig, usage_message(error)).with_remedy(remedy);
        CommandError::from(failure).tell(&Out::new(true, true, true));
    } else {
        // Printing to a closed pipe is no error of ours.
        let _ = error.print();
        if let Some(hint) = instead_of_a_project(error) {
            Out::new(false, false, false).note(format!("\n  tip: {hint}"));
        }
    }
    ExitCode::from(if help { status::SUCCESS } else { status::USAGE })
}

/// What a command without a project takes instead of one.
fn instead_of_a_project(error: &clap::Error) -> Option<&'static str> {
    if error.kind() != ErrorKind::MissingRequiredArgument {
        return None;
    }
    let text = error.to_string();
    let of = |command: &str| text.contains(&format!("Usage: backupctl {command} "));
    if of("run") || of("prune") {
        Some("name a project, or take every enabled one with `--all`")
    } else if of("cache") {
        Some("name a project, or remove the caches of all projects with `--clear-all`")
    } else {
        None
    }
}

/// What clap says of bad usage, in one line: its message with what is listed under it and its tips,
/// without the usage, which is a matter of `--help`.
fn usage_message(error: &clap::Error) -> String {
    let text = error.to_string();
    // The list of all commands is a matter of `--help` too.
    let text = text.split("[subcommands:").next().unwrap_or_default();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}
