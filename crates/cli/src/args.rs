//! The command line as clap reads it. Nothing here does anything.
//!
//! Docstrings of arguments are the help that people read, so they are not marked up.

#![expect(clippy::doc_markdown, reason = "help texts are shown as they stand")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Proven backups of databases and files.
///
/// Dumps a database, proves the dump, encrypts it, stores it with your files in a restic repository,
/// proves the snapshot, thins out old ones — and tells you loudly, with a code and a remedy, when any
/// of that did not happen.
#[derive(Debug, Parser)]
#[command(
    name = "backupctl",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit status: 0 success, 1 failure, 2 backup already in progress, 3 configuration \
                  or usage, 4 something is unreachable, 5 partial success (run --all), 130/143 \
                  interrupted.\n\nFirst steps:\n  backupctl init                 write a starter \
                  configuration\n  backupctl run NAME --dry-run   check everything, touch \
                  nothing\n  backupctl run NAME             back up"
)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The configuration file [default: $BACKUPCTL_CONFIG, ./backupctl.yml, ./config/projects.yml,
    /// $XDG_CONFIG_HOME/backupctl/backupctl.yml, /etc/backupctl/backupctl.yml]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Log more to stderr: -v info, -vv debug
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Only results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// No colours (also by NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a starter configuration, or create what a configuration needs
    #[command(
        long_about = "Without a configuration: writes a commented starter configuration and a \
                      `.env` (0600) with a fresh repository password, and overwrites nothing.\n\
                      With one: creates the restic repositories that are missing and the audit \
                      database.",
        after_help = "Examples:\n  backupctl init\n  backupctl init --project shop\n  backupctl \
                      --config /etc/backupctl/backupctl.yml init"
    )]
    Init {
        /// The starter project's name; with a configuration, the only project to create for
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
    },
    /// Back up a project, or all enabled ones
    #[command(
        after_help = "Examples:\n  backupctl run shop\n  backupctl run shop --dry-run\n  backupctl \
                      run --all\n  backupctl run shop --json | jq .status"
    )]
    Run(RunArgs),
    /// Show each project's last run, its age, and what is due
    #[command(
        long_about = "Shows how each project stands: its last run, its age, when it runs next, and \
                      one word for it. Only `fresh` is green: the last success is as new as the \
                      schedule promises. With --check it is a check for monitoring systems: one line \
                      for all, one more for each project that needs somebody, and an exit status.",
        after_help = "Examples:\n  backupctl status\n  backupctl status shop --last 20\n  backupctl \
                      status --json\n  backupctl status --check\n  backupctl status shop --max-age \
                      26h\n\nExit status with --check: 0 all is well, 1 a project is overdue, \
                      failing, killed, stuck, broken or has never run, 4 the audit database cannot be \
                      reached. A paused project is named and is no failure, unless --max-age finds its \
                      last success too old."
    )]
    Status(StatusArgs),
    /// Look once at whether backups come as promised, and tell people where they do not
    #[command(
        long_about = "Looks once at whether each project's last success is as new as its schedule \
                      promises, as the daemon does all the time, and tells people over the project's \
                      channels: once when a success is late, again every day, and once when it is \
                      well again. For machines without the daemon (a second timer), for another \
                      machine, or for a monitoring agent. Nothing is run.",
        after_help = "Examples:\n  backupctl watch\n  backupctl watch --no-notify --json\n  backupctl \
                      watch --from-repository\n  backupctl watch --textfile \
                      /var/lib/node_exporter/backupctl.prom\n\nExit status: 0 all is well (paused, \
                      disabled and unscheduled projects are named), 1 a project is late, stuck or \
                      broken, 4 the audit database or a repository cannot be asked and nothing worse \
                      is known."
    )]
    Watch(WatchArgs),
    /// Keep all schedules: the daemon
    #[command(
        long_about = "Runs until it is stopped: makes each project's backup at its time, makes up for \
                      missed ones as the schedule says, watches that successes come, and sends the daily \
                      summary. Each run is a process of its own. Started by a service manager or in a \
                      container; there is one daemon for a `base_dir`.",
        after_help = "Examples:\n  backupctl serve\n  backupctl --config \
                      /etc/backupctl/backupctl.yml serve\n  backupctl config reload\n\nStop it with \
                      SIGTERM or Ctrl-C: runs that go on are interrupted, recorded and told. Exit \
                      status: 143 or 130 when it was stopped, 2 where a daemon is running already, 3 \
                      where the configuration cannot be used."
    )]
    Serve,
    /// Show run records, or one run with its stages
    #[command(
        after_help = "Examples:\n  backupctl logs shop\n  backupctl logs shop --failed --last 3\n  \
                      backupctl logs --run a1b2c3d4"
    )]
    Logs {
        /// The project
        #[arg(required_unless_present = "run")]
        project: Option<String>,
        /// At most so many runs
        #[arg(long, value_name = "N", default_value_t = 10)]
        last: u32,
        /// Only failed runs
        #[arg(long)]
        failed: bool,
        /// One run by its id or its beginning
        #[arg(long, value_name = "ID", conflicts_with_all = ["project", "failed"])]
        run: Option<String>,
    },
    /// List a project's snapshots, newest first
    #[command(
        after_help = "Examples:\n  backupctl snapshots shop\n  backupctl snapshots shop --last 3 \
                      --json"
    )]
    Snapshots {
        /// The project
        project: String,
        /// At most so many; of each destination, where the project has several
        #[arg(long, value_name = "N")]
        last: Option<usize>,
        /// Only at this destination of the project
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
    },
    /// Bring files of a snapshot back
    #[command(
        after_help = "Examples:\n  backupctl restore shop latest /tmp/back\n  backupctl restore \
                      shop latest /tmp/back --only db --decompress\n  backupctl restore shop \
                      1a2b3c4d /tmp/back --only assets\n  backupctl restore shop latest /tmp/back \
                      --path /srv/shop/uploads/logo.png\n  backupctl restore shop latest /tmp/back \
                      --guide\n  backupctl restore shop latest --into \
                      postgres://shop@localhost/shop_copy --create"
    )]
    Restore(RestoreArgs),
    /// Apply the retention now, at every destination and to local dumps
    #[command(
        long_about = "Removes what the project's retention does not keep any more, as a run does at \
                      its end: snapshots from the repository, whose space is freed, then old local \
                      dumps. The newest of both always stays. A run that comes meanwhile waits.",
        after_help = "Examples:\n  backupctl prune shop\n  backupctl prune --all\n\nWith --all the \
                      exit status is 0 where all went well, 5 where some did, 1 where none did."
    )]
    Prune {
        /// The project
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        project: Option<String>,
        /// Every enabled project, in the order of the configuration
        #[arg(long)]
        all: bool,
        /// Only at this destination of the project; local dumps stay
        #[arg(long, value_name = "NAME", conflicts_with = "all")]
        destination: Option<String>,
    },
    /// Read stored snapshots back whole, and prove that they can be restored
    #[command(
        long_about = "Reads snapshots back whole and compares them with what was written, without \
                      restoring them anywhere. An archive is read from its disk: by its checksum, and \
                      where `encryption.identity_file` is at hand, or it is not encrypted, every file \
                      in it against the manifest. A snapshot of restic is read through restic, which \
                      checks every piece against its hash. Without a snapshot: the newest at each \
                      destination.",
        after_help = "Examples:\n  backupctl verify shop\n  backupctl verify shop 1a2b3c4d\n  \
                      backupctl verify shop --all --destination stick\n\nExit status: 0 where all \
                      that was read is whole; that of the first failure otherwise."
    )]
    Verify(VerifyArgs),
    /// Delete one snapshot for good
    #[command(after_help = "Examples:\n  backupctl snapshots shop\n  backupctl forget shop \
                            1a2b3c4d\n  backupctl forget shop 1a2b3c4d --yes")]
    Forget(ForgetArgs),
    /// Show what restic keeps of a repository on this machine, or remove it
    #[command(after_help = "Examples:\n  backupctl cache shop\n  backupctl cache shop --clear\n  \
                            backupctl cache --clear-all\n\nThe next run fetches again what it \
                            needs. Not while a run of the project goes on.")]
    Cache(CacheArgs),
    /// Run restic itself with a project's repository and secrets
    #[command(
        override_usage = "backupctl restic [OPTIONS] <PROJECT> [RESTIC ARGUMENTS]...",
        long_about = "Runs restic with the repository, password, options and environment of a \
                      project. Everything behind the project is restic's, also what begins with a \
                      dash; options of backupctl come before the project. Terminal, signals and exit \
                      status are restic's own. The password is in no argument.",
        after_help = "Examples:\n  backupctl restic shop snapshots --json\n  backupctl restic shop \
                      check --read-data-subset=1/12\n  backupctl restic shop mount /mnt/backups\n  \
                      backupctl restic shop -- stats latest"
    )]
    Restic {
        /// The destination, where the project has several repositories; else its first
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
        /// The project, and restic's arguments
        #[arg(
            required = true,
            num_args = 1..,
            value_name = "PROJECT",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        words: Vec<OsString>,
    },
    /// Check everything that backups stand on, and tell all that is wrong at once
    #[command(
        long_about = "Looks at everything that backups stand on: the audit database, the disk, \
                      programs and their versions, ssh and its key, each repository, each database, \
                      encryption keys, notices, heartbeat monitors, what waits to be delivered, locks \
                      left behind, systemd units, and whether each project's last success is as new \
                      as its schedule promises. Sends nothing, stores nothing, and makes nothing \
                      that is missing.",
        after_help = "Examples:\n  backupctl health\n  backupctl health shop\n  backupctl health \
                      --json | jq '.checks[] | select(.outcome == \"fail\")'\n\nExit status: 0 \
                      nothing failed (warnings may be there), 4 all that failed is something that \
                      cannot be reached or opened, 1 otherwise."
    )]
    Health {
        /// Only this project, and what all projects share
        project: Option<String>,
    },
    /// Show schedules and when they come true; pause and resume them
    #[command(
        long_about = "Shows schedules in words, with the next and the last run of each, and pauses and \
                      resumes them. A pause holds for the daemon, for timers and for cron (`run \
                      --scheduled`), and is shown by `status` and `health` as long as it lasts. It \
                      needs no daemon.",
        after_help = "Examples:\n  backupctl schedule list\n  backupctl schedule next shop --count \
                      10\n  backupctl schedule pause shop --until 3d\n  backupctl schedule resume \
                      shop"
    )]
    Schedule {
        /// What to do.
        #[command(subcommand)]
        command: ScheduleCommand,
    },
    /// Act on a recorded run: make a failed one again, delete its record, end one that hangs
    #[command(after_help = "Examples:\n  backupctl logs shop --failed\n  backupctl runs retry \
                      a1b2c3d4\n  backupctl runs abort a1b2c3d4\n  backupctl runs delete a1b2c3d4")]
    Runs {
        /// What to do with it.
        #[command(subcommand)]
        command: RunsCommand,
    },
    /// Put right what a killed run has left, and deliver what could not be delivered
    #[command(after_help = "Examples:\n  backupctl recover\n  backupctl recover shop")]
    Recover {
        /// Only this project's runs; undelivered things are always tried
        project: Option<String>,
    },
    /// Have backups started by systemd, and prove that they are
    #[command(
        long_about = "Writes units that start backups by themselves, made from the configuration: \
                      confined to the folders that it names, with a unit that tells of failures \
                      even when backupctl itself cannot start. `verify` proves that what is \
                      installed can run, and has run.",
        after_help = "Examples:\n  backupctl systemd install\n  backupctl systemd install \
                      --timers\n  backupctl systemd verify\n  backupctl systemd uninstall"
    )]
    Systemd {
        /// What to do.
        #[command(subcommand)]
        command: SystemdCommand,
    },
    /// Check, show and document the configuration
    #[command(
        after_help = "Examples:\n  backupctl config validate\n  backupctl config show shop\n  \
                      backupctl config schema > backupctl.schema.json"
    )]
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Explain an error code: meaning, causes, remedy
    #[command(
        after_help = "Examples:\n  backupctl explain REPO_LOCKED\n  backupctl explain   (lists \
                      all)"
    )]
    Explain {
        /// The code, e.g. REPO_LOCKED; all codes without one
        code: Option<String>,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  backupctl completions bash > \
                      /usr/share/bash-completion/completions/backupctl")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  backupctl man | man -l -")]
    Man,
    /// Write the reference pages
    #[command(hide = true)]
    Docs {
        /// The folder to write to.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

/// `run`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct RunArgs {
    /// The project
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub project: Option<String>,
    /// Every enabled project, in the order of the configuration
    #[arg(long)]
    pub all: bool,
    /// Check everything that a run needs, and touch nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait for a run that is going on instead of giving up (exit status 2)
    #[arg(long)]
    pub wait: bool,
    /// As a timer or cron starts it: a paused project is left alone, slots that passed without a run
    /// are recorded, what the run needs is looked at first, and it waits for a run that is going on
    #[arg(long, conflicts_with_all = ["all", "dry_run"])]
    pub scheduled: bool,
    /// What makes the run start, where the daemon knows better than the schedule
    #[arg(long, hide = true, value_enum, requires = "scheduled")]
    pub trigger: Option<TriggerArg>,
    /// The slot of the schedule that the run is for (RFC 3339), where the daemon knows it
    #[arg(long, hide = true, value_name = "TIME", requires = "trigger")]
    pub due_at: Option<jiff::Timestamp>,
    /// Print one JSON event a line while the run goes on, the record last
    #[arg(long, conflicts_with = "json")]
    pub json_stream: bool,
}

/// What makes a run start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum TriggerArg {
    /// A person, by way of the daemon.
    Manual,
    /// The schedule.
    Scheduled,
    /// The schedule, late.
    CatchUp,
    /// A person, again.
    Retry,
}

/// `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Show this project's history instead; with --check, look at this project only
    pub project: Option<String>,
    /// At most so many runs of the history
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with_all = ["check", "max_age"])]
    pub last: u32,
    /// Tell in one line whether all is well, and what is not, and end with 1 where something is not
    #[arg(long)]
    pub check: bool,
    /// With --check, which it implies: a last success older than this, such as 26h or 8d, is a
    /// failure, whatever the schedule says
    #[arg(long, value_name = "SPAN", value_parser = read_span)]
    pub max_age: Option<Duration>,
}

/// `watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Judge by the snapshots in the repository alone: needs its password, and neither the audit
    /// database nor the machine that makes the backups
    #[arg(long)]
    pub from_repository: bool,
    /// Tell nobody
    #[arg(long)]
    pub no_notify: bool,
    /// Send the daily summary too, where one is due by `daily_summary_cron` and no daemon runs to do it
    #[arg(long, conflicts_with_all = ["from_repository", "no_notify"])]
    pub summary: bool,
    /// Write metrics for node_exporter's textfile collector to this file
    #[arg(long, value_name = "PATH", conflicts_with = "from_repository")]
    pub textfile: Option<PathBuf>,
}

/// A time span as the configuration writes it.
fn read_span(text: &str) -> Result<Duration, String> {
    backupctl_adapters::config::read_span(text)
        .filter(|span| !span.is_zero())
        .ok_or_else(|| "no time span such as `90m`, `26h` or `8d`".to_owned())
}

/// `restore`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct RestoreArgs {
    /// The project
    pub project: String,
    /// A snapshot's id or its beginning, the name of an archive file, or `latest`
    pub snapshot: String,
    /// The folder to restore into; with --into, the folder in which the dump is to stay
    #[arg(required_unless_present = "into")]
    pub target: Option<PathBuf>,
    /// Restore from this destination; else from the one that has the snapshot
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// Only the database's dump, or only the asset paths
    #[arg(long, value_enum)]
    pub only: Option<OnlyArg>,
    /// Only this file or folder, by its whole path as in the snapshot; may be given several times
    #[arg(
        long = "path",
        alias = "include",
        value_name = "PATH",
        conflicts_with_all = ["only", "into", "decompress"]
    )]
    pub paths: Vec<PathBuf>,
    /// Decrypt and decompress the dump
    #[arg(long)]
    pub decompress: bool,
    /// Print how to import what is restored, for this project; restores nothing
    #[arg(long, conflicts_with_all = ["into", "paths"])]
    pub guide: bool,
    /// Write into a target folder, or load into a database, that is not empty
    #[arg(long)]
    pub force: bool,
    /// Load the database's dump into this database: postgres://USER@HOST/NAME, mysql://…,
    /// mariadb://…, sqlite:///FILE; parts percent-encoded; ?host=/run/postgresql for a unix socket,
    /// ?sslmode=… and ?sslrootcert=… for TLS
    #[arg(long, value_name = "DB-URL")]
    pub into: Option<String>,
    /// Create the database of --into where it is missing
    #[arg(long, requires = "into")]
    pub create: bool,
    /// The file with the password for --into; else $BACKUPCTL_INTO_PASSWORD, else, on the project's
    /// own server and user, the project's own
    #[arg(long, value_name = "FILE", requires = "into")]
    pub into_password_file: Option<PathBuf>,
}

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The project
    pub project: String,
    /// A snapshot's id or its beginning, the name of an archive file, or `latest`
    #[arg(default_value = "latest", conflicts_with = "all")]
    pub snapshot: String,
    /// Every snapshot that there is
    #[arg(long)]
    pub all: bool,
    /// Only at this destination of the project
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
}

/// `forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// The project
    pub project: String,
    /// The snapshot's id or its beginning, or the name of an archive file
    pub snapshot: String,
    /// Only at this destination of the project
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Also the only one that the project has, or the only one with its database
    #[arg(long)]
    pub force: bool,
}

/// `cache`.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// The project
    #[arg(required_unless_present = "clear_all", conflicts_with = "clear_all")]
    pub project: Option<String>,
    /// Only of this destination of the project
    #[arg(long, value_name = "NAME", conflicts_with = "clear_all")]
    pub destination: Option<String>,
    /// Remove it
    #[arg(long)]
    pub clear: bool,
    /// Remove the caches of all projects
    #[arg(long, conflicts_with = "clear")]
    pub clear_all: bool,
}

/// `runs`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Make a failed run again, with the trigger `retry`
    #[command(after_help = "Examples:\n  backupctl runs retry a1b2c3d4\n  backupctl runs retry \
                      a1b2c3d4 --json | jq .status\n\nEnds with the same statuses as `run`.")]
    Retry {
        /// The run's id or its beginning
        run: String,
        /// Wait for a run that is going on instead of giving up (exit status 2)
        #[arg(long)]
        wait: bool,
        /// Print one JSON event a line while the run goes on, the record last
        #[arg(long, conflicts_with = "json")]
        json_stream: bool,
    },
    /// Delete the record of a failed run, and nothing but the record
    #[command(after_help = "Example:\n  backupctl runs delete a1b2c3d4")]
    Delete {
        /// The run's id or its beginning
        run: String,
    },
    /// End a run that hangs: its process and all that it has started, its partials, its lock
    #[command(
        long_about = "Ends a run that hangs. Its process is asked to end, which it does with all \
                      that it has started, and tells as the failure INTERRUPTED. One that has not \
                      ended in time is killed, and what it has left is put right: its programs, its \
                      partial files, its lock, its record, the notice and the heartbeat.",
        after_help = "Examples:\n  backupctl runs abort a1b2c3d4\n  backupctl runs abort a1b2c3d4 \
                      --patience 10"
    )]
    Abort {
        /// The run's id or its beginning
        run: String,
        /// How long it may take to end by itself before it is killed
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        patience: u64,
    },
}

/// `schedule`.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// List each project's schedule: in words, its next run, its last one, active or paused
    #[command(
        after_help = "Examples:\n  backupctl schedule list\n  backupctl schedule list --json \
                            | jq '.schedules[] | select(.state != \"active\")'"
    )]
    List,
    /// Show when a project runs next, and what a change of the clocks does to it
    #[command(after_help = "Examples:\n  backupctl schedule next shop\n  backupctl schedule next \
                            shop --count 20 --json")]
    Next {
        /// The project
        project: String,
        /// How many times
        #[arg(
            long,
            value_name = "N",
            default_value_t = 5,
            value_parser = clap::value_parser!(u16).range(1..=1000)
        )]
        count: u16,
    },
    /// Start no scheduled runs of a project until it is resumed, or until a time
    #[command(
        long_about = "Starts no scheduled runs of a project, by whatever keeps its schedule, until it \
                      is resumed or the pause ends. Pausing a paused project changes the end. What \
                      lies in the pause is not missed and is not made up for; `run` by hand still \
                      works.",
        after_help = "Examples:\n  backupctl schedule pause shop\n  backupctl schedule pause shop \
                      --until 12h\n  backupctl schedule pause shop --until '2026-04-01 06:00'"
    )]
    Pause {
        /// The project
        project: String,
        /// When it ends by itself: a span (90m, 12h, 3d, 2w), a date or a date and a time of day in
        /// the schedule's time zone (2026-04-01, '2026-04-01 06:00'), or a moment
        /// (2026-04-01T06:00:00Z)
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Let a paused project run again, from its next time on
    #[command(after_help = "Example:\n  backupctl schedule resume shop")]
    Resume {
        /// The project
        project: String,
    },
}

/// `systemd`.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemdCommand {
    /// Write the units, and have systemd start them now and at boot
    #[command(
        long_about = "Writes to /etc/systemd/system: the daemon (`backupctl.service`), or with \
                      --timers a service and a timer for each enabled project with a `cron`; a timer \
                      for `backupctl watch`, so that a second side watches; and a unit that tells of \
                      each failed unit by a script of the shell, which needs no backupctl. What it \
                      posts to is written to files below /etc/backupctl/systemd that root alone may \
                      read, secrets included. Folders that the units write to are made. A file that \
                      was edited by hand is overwritten only with --force: put changes into a drop-in \
                      (`systemctl edit UNIT`). Run it again after a change of the configuration that \
                      concerns folders, schedules, channels or secret files; `verify` says so.",
        after_help = "Examples:\n  backupctl --config /etc/backupctl/backupctl.yml systemd \
                      install\n  backupctl systemd install --timers\n  backupctl systemd install \
                      --print\n  backupctl systemd install --user backup --read-write \
                      /srv/exports\n  backupctl systemd install --root /mnt/image"
    )]
    Install(InstallArgs),
    /// Prove that what is installed can run, and has run as promised
    #[command(
        long_about = "Looks at everything that makes a unit look installed and run nothing: whether \
                      the files are there and as they would be written now; whether what they start \
                      is there, of this version, and reads this configuration, without variables of \
                      your shell; whether each folder can be written under the sandbox, disks are \
                      mounted, and dumps have room; whether keys and secrets can be read and have the \
                      right modes; whether programs are in the units' PATH, not in yours; whether \
                      systemd has the units enabled and active, and how they ended last; and whether \
                      there is a run record that is as new as the schedule promises.",
        after_help = "Examples:\n  backupctl systemd verify\n  backupctl systemd verify --json | jq \
                      '.checks[] | select(.outcome == \"fail\")'\n\nExit status: 0 nothing failed \
                      (warnings may be there), 1 otherwise."
    )]
    Verify(UnitPlace),
    /// Stop and remove everything that `install` has written
    #[command(
        after_help = "Examples:\n  backupctl systemd uninstall\n  backupctl systemd uninstall \
                            --root /mnt/image"
    )]
    Uninstall(UnitPlace),
}

/// `systemd install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// One timer for each project instead of the daemon
    #[arg(long)]
    pub timers: bool,
    /// Whom backups run as
    #[arg(long, value_name = "USER", default_value = "root")]
    pub user: String,
    /// A folder that hooks write to; may be given several times
    #[arg(long, value_name = "PATH")]
    pub read_write: Vec<PathBuf>,
    /// The PATH of the units
    #[arg(
        long,
        value_name = "FOLDERS",
        default_value = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    )]
    pub path: String,
    /// Overwrite files that were edited by hand, or that somebody else has written
    #[arg(long)]
    pub force: bool,
    /// Print the files, and change nothing
    #[arg(long)]
    pub print: bool,
    /// Where.
    #[command(flatten)]
    pub place: UnitPlace,
}

/// Where units are, and who is asked about them.
#[derive(Debug, Args)]
pub(crate) struct UnitPlace {
    /// Only the files, below this folder, e.g. of an image that is being made
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// A program that answers as systemctl does
    #[arg(long, value_name = "PATH", hide = true)]
    pub systemctl: Option<PathBuf>,
}

/// A part of a backup.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OnlyArg {
    /// The database's dump.
    Db,
    /// The asset paths.
    Assets,
}

/// `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the whole configuration and tell every error at once
    #[command(after_help = "Example:\n  backupctl config validate")]
    Validate,
    /// Show a project as it is after merging, secrets masked
    #[command(after_help = "Example:\n  backupctl config show shop")]
    Show {
        /// The project
        project: String,
    },
    /// Import the public keys of a file into the GnuPG keyring of this user
    #[command(
        name = "import-gpg-key",
        after_help = "Example:\n  backupctl config import-gpg-key backup.asc"
    )]
    ImportGpgKey {
        /// The file, armored or binary
        file: PathBuf,
    },
    /// Tell the daemon to read the configuration again, once it is known to be good
    #[command(after_help = "Example:\n  backupctl config reload")]
    Reload,
    /// Print the JSON Schema of the configuration file
    #[command(after_help = "Example:\n  backupctl config schema > backupctl.schema.json")]
    Schema,
}
