//! How long a look at the records takes when there are many.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Size;
use super::report::{Goal, Report};
use super::world::{World, cost};
use crate::shell;

pub(super) fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    println!("start-up of status ({} records)", size.records);
    world.cluster.create("status", 1)?;
    let config = world.project("status", "status", &json!({}))?;
    let run = world.run(&config, "status")?;
    let id = run.record["run_id"].as_str().context("a record has a run_id")?;
    let audit = config.with_file_name("state").join("audit.db");
    multiply(&audit, id, size.records)?;

    let last = size.records.to_string();
    let logs: Value = serde_json::from_str(&shell::read(
        world.call(&config).args(["logs", "status", "--json", "--last", &last]),
    )?)?;
    let found = logs["runs"].as_array().map_or(0, Vec::len);
    ensure!(
        u32::try_from(found) == Ok(size.records),
        "backupctl shows {found} of {last} records: the audit database has another form than \
         xtask/src/bench/startup.rs expects"
    );

    let (mut status, mut version) = (vec![], vec![]);
    for round in 0..=size.many {
        let one = cost(world.call(&config).arg("status"))?.wall * 1000.0;
        let other = cost(shell::hermetic(&world.backupctl).arg("--version"))?.wall * 1000.0;
        // The first of each reads the program from the disk.
        if round > 0 {
            status.push(one);
            version.push(other);
        }
    }
    let title = format!("`backupctl status` with {} records", size.records);
    report.figure("status_ms", title, &status, "ms", Goal::AtMost(30.0));
    report.figure("version_ms", "`backupctl --version`", &version, "ms", Goal::None);
    Ok(())
}

/// Copies the one record of an audit database until there are `total`, an hour apart, each with an
/// id of its own.
fn multiply(audit: &Path, id: &str, total: u32) -> Result<()> {
    let sql = format!(
        "pragma busy_timeout = 5000;
        with recursive
            counted(n) as (select 1 union all select n + 1 from counted where n < {copies}),
            random(n, hex) as materialized
                (select n, lower(hex(randomblob(16))) from counted),
            made(n, id) as materialized
                (select n, substr(hex, 1, 8) || '-' || substr(hex, 9, 4) || '-4' ||
                    substr(hex, 14, 3) || '-a' || substr(hex, 18, 3) || '-' || substr(hex, 21)
                 from random),
            one as (select *, finished_at - started_at as took from backup_runs
                    where run_id = '{id}'),
            moved as (select *, started_at - n * 3600000 as start from one, made)
        insert into backup_runs(run_id, project, trigger, status, stage, started_at, finished_at,
            error_code, version, record)
        select id, project, trigger, status, stage, start, start + took, error_code, version,
            json_set(record, '$.run_id', id,
                '$.started_at', strftime('%Y-%m-%dT%H:%M:%fZ', start / 1000.0, 'unixepoch'),
                '$.finished_at',
                strftime('%Y-%m-%dT%H:%M:%fZ', (start + took) / 1000.0, 'unixepoch'))
        from moved;",
        copies = total - 1
    );
    sqlite(audit, &sql)?;
    Ok(())
}

fn sqlite(database: &Path, sql: &str) -> Result<String> {
    shell::read(shell::command("sqlite3").args(["-batch", "-bail"]).arg(database).arg(sql))
}
