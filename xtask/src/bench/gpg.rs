//! How fast a dump is encrypted with GnuPG, against `gpg` on the same file.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use super::Size;
use super::report::{Goal, Report, shown};
use super::world::{World, cost, median};
use crate::shell;

const RECIPIENT: &str = "bench@example.org";

pub(super) fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    println!("encryption with GnuPG ({} MiB, {} rounds)", size.medium, size.few);
    let agent = Agent::start(world)?;
    world.cluster.create("secret", size.medium)?;
    // The file as the run has it before it encrypts.
    let plain = world.project("plain", "secret", &json!({}))?;
    let record = world.run(&plain, "plain")?.record;
    let dump = record["dump"]["file"].as_str().context("a record has a dump")?.to_owned();
    let kept = world.folder("gpg")?.join("dump.zst");
    fs::copy(&dump, &kept)?;

    let encrypted = json!({
        "encryption": { "enabled": true, "type": "gpg", "recipient": RECIPIENT },
    });
    let config = world.project("secret", "secret", &encrypted)?;
    let (mut ours, mut gpg, mut stored) = (vec![], vec![], vec![]);
    for round in 0..size.few {
        println!("  round {}", round + 1);
        ours.push(world.run(&config, "secret")?.stage("Encrypt")?);
        let encrypt = |more: &[&str]| {
            let out = kept.with_extension("gpg");
            let mut gpg = world.gpg();
            gpg.args(["--trust-model", "always", "--yes", "--encrypt", "-r", RECIPIENT]);
            gpg.args(more).arg("-o").arg(out).arg(&kept);
            cost(&mut gpg)
        };
        gpg.push(encrypt(&[])?.wall);
        stored.push(encrypt(&["-z", "0"])?.wall);
    }
    drop(agent);
    let ratio = |of: &[f64]| of.iter().zip(&ours).map(|(a, b)| a / b).collect::<Vec<_>>();
    report.figure(
        "gpg_speed",
        "Encrypt with GnuPG: speed against `gpg --encrypt` of the same file",
        &ratio(&gpg),
        "×",
        Goal::AtLeast(0.9),
    );
    report.figure(
        "gpg_speed_stored",
        "Encrypt with GnuPG: speed against `gpg --encrypt -z 0`",
        &ratio(&stored),
        "×",
        Goal::None,
    );
    let row = |name: &str, wall: &[f64]| vec![name.to_owned(), shown(median(wall))];
    report.table(
        "gpg",
        format!("The dump of {} MiB of text, encrypted with GnuPG:", size.medium),
        &["", "wall s"],
        vec![
            row("backupctl: Encrypt", &ours),
            row("`gpg --encrypt`", &gpg),
            row("`gpg --encrypt -z 0`", &stored),
        ],
    );
    Ok(())
}

/// A key, and the agent that gpg has started for it.
struct Agent<'w>(&'w World);

impl<'w> Agent<'w> {
    fn start(world: &'w World) -> Result<Self> {
        let agent = Self(world);
        let mut key = world.gpg();
        key.args(["--passphrase", "", "--quick-gen-key", RECIPIENT, "future-default"]);
        shell::read(key.args(["default", "never"]))?;
        Ok(agent)
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let mut end = shell::hermetic("gpgconf");
        end.arg("--homedir").arg(self.0.gpg_home()).args(["--kill", "all"]);
        // It ends with its folder too, a little later.
        let _ = shell::read(&mut end);
    }
}
