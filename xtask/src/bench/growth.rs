//! By how much a repository grows on the second day, for three ways in which data changes.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::Size;
use super::report::{Goal, Report, shown};
use super::world::{World, cost, folder_mib};
use crate::shell;

/// A way in which 1 % of new rows, and perhaps of changed ones, come over night.
struct Pattern {
    title: &'static str,
    /// Which rows change; `None` for none.
    changed: Option<&'static str>,
}

const PATTERNS: [Pattern; 3] = [
    Pattern { title: "1 % scattered + 1 % new", changed: Some("id % 100 = 7") },
    Pattern {
        title: "1 % of the newest + 1 % new",
        changed: Some("id > (select max(id) * 99 / 100 from articles)"),
    },
    Pattern { title: "1 % new only", changed: None },
];

/// Who stores the two days.
enum Contestant {
    /// backupctl with this over its project.
    Backupctl(Value),
    /// The bare tools: how the dump is made, into `$f`.
    Script(&'static str),
}

pub(super) fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    println!("repository growth ({} MiB)", size.growth);
    world.cluster.create("day1", size.growth)?;
    let age = json!({
        "encryption": { "enabled": true, "type": "age", "recipients": [world.recipient] },
    });
    let contestants = [
        ("`pg_dump -Fc -Z0`, not compressed", Contestant::Script("pg_dump -Fc -Z0 $c > $f")),
        ("`pg_dump -Fc`", Contestant::Script("pg_dump -Fc $c > $f")),
        (
            "`pg_dump -Fc -Z0`, `zstd -3`",
            Contestant::Script("pg_dump -Fc -Z0 $c | zstd -q -f -T0 -3 -o $f"),
        ),
        (
            "`pg_dump -Fc -Z0`, `zstd -3 --rsyncable`",
            Contestant::Script("pg_dump -Fc -Z0 $c | zstd -q -f -T0 -3 --rsyncable -o $f"),
        ),
        ("backupctl, default", Contestant::Backupctl(json!({}))),
        (
            "backupctl, `compression: {enabled: false}`",
            Contestant::Backupctl(json!({ "compression": { "enabled": false } })),
        ),
        ("backupctl, default and age", Contestant::Backupctl(age)),
    ];
    let (plain, default, off) = (0, 4, 5);

    let mut rows: Vec<Vec<String>> =
        contestants.iter().map(|(name, _)| vec![(*name).to_owned()]).collect();
    let mut newest = Vec::new();
    for pattern in &PATTERNS {
        println!("  {}", pattern.title);
        world.cluster.sql("postgres", "create database growing template day1")?;
        let mut stores = Vec::new();
        for (index, (_, contestant)) in contestants.iter().enumerate() {
            let store = Store::new(world, &format!("growth-{index}"), contestant)?;
            store.store(world)?;
            stores.push((folder_mib(&store.repository)?, store));
        }
        next_day(world, size, pattern)?;
        let mut grown = Vec::new();
        for (index, (before, store)) in stores.iter().enumerate() {
            store.store(world)?;
            let growth = folder_mib(&store.repository)? - before;
            rows[index].push(shown(growth));
            grown.push(growth);
        }
        if pattern.title.contains("newest") {
            newest = grown;
        }
        world.cluster.sql("postgres", "drop database growing")?;
    }
    report.figure(
        "growth_default",
        "Growth on day 2 (newest rows change): default, against the uncompressed dump",
        &[newest[default] / newest[plain]],
        "×",
        Goal::AtMost(2.5),
    );
    report.figure(
        "growth_uncompressed",
        "The same with `compression: {enabled: false}`",
        &[newest[off] / newest[plain]],
        "×",
        Goal::AtMost(1.1),
    );
    let mut columns = vec!["What is stored"];
    columns.extend(PATTERNS.iter().map(|p| p.title));
    report.table(
        "growth",
        format!("Growth of the repository on day 2, MiB ({} MiB of text):", size.growth),
        &columns,
        rows,
    );
    Ok(())
}

fn next_day(world: &World, size: &Size, pattern: &Pattern) -> Result<()> {
    let cluster = &world.cluster;
    if let Some(rows) = pattern.changed {
        let sql = format!(
            "update articles set title = 'changed ' || title,
                body = substr(body, 40) || md5(id::text) where {rows}"
        );
        cluster.sql("growing", &sql)?;
    }
    let last = cluster.sql("growing", "select max(id) from articles")?;
    let first = last.trim().parse::<u64>()? + 1;
    cluster.fill("growing", first, (size.growth << 20) / 100, 2)?;
    Ok(())
}

/// One contestant's repository and how it gets its snapshots.
struct Store {
    repository: PathBuf,
    how: How,
}

enum How {
    Run { config: PathBuf, project: String },
    Script(String),
}

impl Store {
    fn new(world: &World, name: &str, contestant: &Contestant) -> Result<Self> {
        match contestant {
            Contestant::Backupctl(more) => {
                let config = world.project(name, "growing", more)?;
                let folder = config.parent().unwrap_or(Path::new("/"));
                let repository = folder.join("repository");
                Ok(Self { repository, how: How::Run { config, project: name.to_owned() } })
            }
            Contestant::Script(dump) => {
                let repository = world.repository(name)?;
                let folder = world.folder(&format!("{name}-dumps"))?;
                let text = format!(
                    "c='{client}'; f={folder}/dump; {dump}; restic backup -q --host bench $f",
                    client = world.cluster.client_args("growing"),
                    folder = folder.display(),
                );
                Ok(Self { repository, how: How::Script(text) })
            }
        }
    }

    fn store(&self, world: &World) -> Result<()> {
        match &self.how {
            How::Run { config, project } => {
                shell::read(world.call(config).args(["run", project]))?;
            }
            How::Script(text) => {
                cost(&mut world.script(&self.repository, text))?;
            }
        }
        Ok(())
    }
}
