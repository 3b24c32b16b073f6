//! `cargo xtask setup`: the programs that build, demo and tests need, and how to get them.

use std::path::Path;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::shell;

/// What the machine is to be made ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Building and the demo.
    Demo,
    /// Building, the demo, the tests and the bench.
    Test,
}

#[derive(Args)]
pub(crate) struct SetupArgs {
    /// Only report what is missing; exit status 1 if something is.
    #[arg(long)]
    check: bool,
    /// What to make the machine ready for.
    #[arg(long = "for", value_enum, default_value = "test")]
    purpose: Purpose,
}

/// One thing that must be there.
struct Need {
    /// A program by name, or a file by its whole path.
    what: &'static str,
    /// The Debian package that brings it.
    package: &'static str,
    /// What it is needed for.
    why: &'static str,
    /// The smallest purpose that needs it.
    purpose: Purpose,
}

const fn need(
    what: &'static str,
    package: &'static str,
    purpose: Purpose,
    why: &'static str,
) -> Need {
    Need { what, package, why, purpose }
}

/// The one table of what is needed from the system.
const NEEDS: [Need; 32] = [
    need("cc", "gcc", Purpose::Demo, "links the programs; compiles SQLite, zstd and ring"),
    need("/usr/include/stdio.h", "libc6-dev", Purpose::Demo, "C headers for the same"),
    need("/usr/include/gpgme.h", "libgpgme-dev", Purpose::Demo, "GnuPG's library, for gpg keys"),
    need("pkg-config", "pkg-config", Purpose::Demo, "finds that library"),
    need("restic", "restic", Purpose::Demo, "stores the snapshots"),
    need("sqlite3", "sqlite3", Purpose::Demo, "makes and compares sample databases"),
    need("zstd", "zstd", Purpose::Test, "reads our files with the standard tool; bench"),
    need("gpg", "gnupg", Purpose::Test, "encrypts with gpg; makes keys for tests"),
    need("age", "age", Purpose::Test, "reads our files with the standard tool; bench"),
    need("age-keygen", "age", Purpose::Test, "makes keys for tests"),
    need("tar", "tar", Purpose::Test, "reads our archives with the standard tool; bench"),
    need("bsdtar", "libarchive-tools", Purpose::Test, "reads our archives with another tool"),
    need("setfattr", "attr", Purpose::Test, "gives the files of a test attributes"),
    need("setfacl", "acl", Purpose::Test, "gives the files of a test access lists"),
    need("setcap", "libcap2-bin", Purpose::Test, "gives a file of a test capabilities"),
    need("b3sum", "b3sum", Purpose::Test, "reads our checksums with the standard tool"),
    need("faketime", "faketime", Purpose::Test, "lets the days of a test pass"),
    need("ssh", "openssh-client", Purpose::Test, "reaches sftp repositories"),
    need("ssh-keygen", "openssh-client", Purpose::Test, "makes keys for tests"),
    need("sshd", "openssh-server", Purpose::Test, "private sftp server of the tests"),
    need("pg_dump", "postgresql-client", Purpose::Test, "dumps PostgreSQL databases"),
    need("initdb", "postgresql", Purpose::Test, "private PostgreSQL server of the tests"),
    need("pg_ctl", "postgresql", Purpose::Test, "private PostgreSQL server of the tests"),
    need("mariadb-dump", "mariadb-client", Purpose::Test, "dumps MySQL and MariaDB databases"),
    need("mariadb", "mariadb-client", Purpose::Test, "loads dumps into MariaDB"),
    need("mariadbd", "mariadb-server", Purpose::Test, "private MariaDB server of the tests"),
    need(
        "mariadb-install-db",
        "mariadb-server",
        Purpose::Test,
        "private MariaDB server of the tests",
    ),
    need("systemd-analyze", "systemd", Purpose::Test, "judges our units and their times"),
    need("curl", "curl", Purpose::Test, "posts that a unit has failed"),
    need("redis-cli", "redis-tools", Purpose::Test, "dumps Redis"),
    need("redis-check-rdb", "redis-tools", Purpose::Test, "proves dumps of Redis"),
    need("redis-server", "redis-server", Purpose::Test, "private Redis server of the tests"),
];

/// Packages that start a service of the system as soon as they are installed.
const SERVERS: &[&str] = &["openssh-server", "postgresql", "mariadb-server", "redis-server"];

fn is_there(need: &Need) -> bool {
    if need.what.starts_with('/') {
        Path::new(need.what).exists() || shell::find_program("apt-get").is_none()
    } else {
        shell::find_program(need.what).is_some()
    }
}

fn missing(purpose: Purpose) -> Vec<&'static Need> {
    NEEDS
        .iter()
        .filter(|n| purpose == Purpose::Test || n.purpose == Purpose::Demo)
        .filter(|n| !is_there(n))
        .collect()
}

fn packages(needs: &[&Need]) -> Vec<&'static str> {
    let mut names: Vec<_> = needs.iter().map(|n| n.package).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Makes sure that everything for `purpose` is there; silent when it is.
pub(crate) fn ensure(purpose: Purpose) -> Result<()> {
    let needs = missing(purpose);
    if needs.is_empty() {
        return Ok(());
    }
    report(&needs);
    install(&packages(&needs))?;
    let left = missing(purpose);
    if !left.is_empty() {
        report(&left);
        bail!("still missing after the installation; put the programs into PATH");
    }
    Ok(())
}

fn report(needs: &[&Need]) {
    for need in needs {
        println!("missing: {:<22} package {:<18} {}", need.what, need.package, need.why);
    }
}

fn install(packages: &[&str]) -> Result<()> {
    let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if shell::find_program("apt-get").is_none() {
        bail!(
            "this is no Debian-like system: install what is missing by its own package manager \
             (the package names above are Debian's), then run the task again"
        );
    }
    let prefix: &[&str] = if shell::is_root() {
        &["env"]
    } else if shell::output(shell::command("sudo").args(["-n", "true"]))
        .is_ok_and(|o| o.status.success())
    {
        &["sudo", "-n", "env"]
    } else {
        bail!("no permission to install packages; run:\n\n    sudo {line}\n\nthen the task again");
    };
    let apt = |args: &[&str]| {
        let mut command = shell::command(prefix[0]);
        command.args(&prefix[1..]).args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(args);
        println!("$ {}", shell::shown(&command));
        shell::run(&mut command)
    };
    let mut args = vec!["install", "-y", "-q", "--no-install-recommends"];
    args.extend(packages);
    // Package lists are often fresh enough; they are asked for only when they are not.
    if apt(&args).is_err() {
        apt(&["update", "-q"])?;
        apt(&args)?;
    }
    let servers: Vec<_> = packages.iter().filter(|p| SERVERS.contains(p)).collect();
    if !servers.is_empty() && Path::new("/run/systemd/system").exists() {
        println!(
            "note: these packages also start a system service; the tests use private servers of \
             their own, so `systemctl disable --now ssh postgresql mariadb` is fine where you want \
             none"
        );
    }
    Ok(())
}

/// The task.
pub(crate) fn run(args: &SetupArgs) -> Result<()> {
    let needs = missing(args.purpose);
    if needs.is_empty() {
        println!("setup: everything is there");
        return Ok(());
    }
    if args.check {
        report(&needs);
        bail!("missing packages: {}; run `cargo xtask setup`", packages(&needs).join(" "));
    }
    ensure(args.purpose)?;
    println!("setup: done");
    Ok(())
}
