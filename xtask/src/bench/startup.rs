//! How long a look at the records takes when there are many.

use std::fmt::Write as _;
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
/// id of its own. Works on any table that holds the id, so that it need not know the columns.
fn multiply(audit: &Path, id: &str, total: u32) -> Result<()> {
    let simple = id.replace('-', "");
    let mut sql = format!(
        "pragma busy_timeout = 5000; begin;
        create temp table made(n integer primary key, hex text);
        with recursive c(n) as (select 1 union all select n + 1 from c where n < {})
        insert into made select n, lower(hex(randomblob(16))) from c;\n",
        total - 1
    );
    let dashed = "substr(hex,1,8)||'-'||substr(hex,9,4)||'-'||substr(hex,13,4)||'-'||\
                  substr(hex,17,4)||'-'||substr(hex,21)";
    let tables = sqlite(audit, "select name from sqlite_master where type = 'table'")?;
    let mut copied = 0;
    for table in tables.lines().filter(|t| !t.starts_with("sqlite_")) {
        let columns = sqlite(audit, &format!("select name from pragma_table_info('{table}')"))?;
        let holds = |column: &str| {
            format!(
                "(lower(hex({column})) = '{simple}' or instr({column}, '{id}') > 0 \
                 or instr({column}, '{simple}') > 0)"
            )
        };
        let any = columns.lines().map(holds).collect::<Vec<_>>().join(" or ");
        if sqlite(audit, &format!("select count(*) from \"{table}\" where {any}"))?.trim() == "0" {
            continue;
        }
        let mut values = Vec::new();
        for column in columns.lines() {
            values.push(format!(
                "case
                when typeof({column}) = 'blob' and lower(hex({column})) = '{simple}' then unhex_(hex)
                when typeof({column}) = 'text' then
                    replace(replace({column}, '{id}', {dashed}), '{simple}', hex)
                when '{column}' like '%_at%' and typeof({column}) = 'integer' then
                    {column} - n * 3600000
                else {column} end"
            ));
        }
        // Only newer SQLite has `unhex`; random bytes are as good an id.
        let values = values.join(",\n").replace("unhex_(hex)", "randomblob(16)");
        writeln!(
            sql,
            "insert into \"{table}\" select {values} from \"{table}\", made where {any};"
        )?;
        copied += 1;
    }
    ensure!(copied > 0, "no table of {} holds run {id}", audit.display());
    sql.push_str("commit;");
    sqlite(audit, &sql)?;
    Ok(())
}

fn sqlite(database: &Path, sql: &str) -> Result<String> {
    shell::read(shell::command("sqlite3").args(["-batch", "-bail"]).arg(database).arg(sql))
}
