//! How long a look at a large configuration takes.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Result, ensure};

use super::Size;
use super::report::{Goal, Report};
use super::world::{World, cost};
use crate::shell;

/// As many projects as anybody is likely to have.
const PROJECTS: usize = 1000;

pub(super) fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    println!("check of {PROJECTS} projects");
    let config = world.folder("validate")?.join("backupctl.yml");
    let mut text = String::from("defaults:\n  restic: {password: '${PASSWORD}'}\nprojects:\n");
    for n in 0..PROJECTS {
        // Every kind of key that a project of the guides has.
        write!(
            text,
            "  - name: p{n}
    enabled: true
    cron: '{} {} * * *'
    timeout_minutes: 30
    database:
      type: postgres
      host: db{n}
      port: 5432
      name: p{n}
      user: backup
      password: ${{PASSWORD}}
    compression:
      enabled: true
    assets:
      paths:
        - /data/p{n}/uploads
        - /data/p{n}/assets
    restic:
      repository: /backups/p{n}
      snapshot_mode: combined
    retention:
      local_days: 7
      keep_daily: 7
      keep_weekly: 4
    hooks:
      pre_backup: 'curl -s http://app{n}/maintenance/on'
      post_backup: 'curl -s http://app{n}/maintenance/off'
    verification:
      enabled: true
    notification:
      type: webhook
      config:
        url: https://example.com/{n}
",
            n % 60,
            n % 24,
        )?;
    }
    fs::write(&config, text)?;
    fs::write(config.with_file_name(".env"), "PASSWORD=bench\n")?;
    let said = shell::read(world.call(&config).args(["config", "validate"]))?;
    ensure!(said.contains(&format!("{PROJECTS} projects, no errors")), "{said}");

    let mut walls = Vec::new();
    for round in 0..=size.many {
        let wall = cost(world.call(&config).args(["config", "validate"]))?.wall * 1000.0;
        // The first reads the program from the disk.
        if round > 0 {
            walls.push(wall);
        }
    }
    let title = format!("`backupctl config validate` of {PROJECTS} projects");
    report.figure("validate_ms", title, &walls, "ms", Goal::AtMost(200.0));
    Ok(())
}
