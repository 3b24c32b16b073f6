//! How fast a large database becomes an encrypted, proven file, and how much memory that takes.

use anyhow::Result;
use serde_json::json;

use super::Size;
use super::report::{Goal, Report, shown};
use super::world::{World, cost, median};

pub(super) fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    println!("speed and memory ({} and {} MiB, {} rounds)", size.small, size.large, size.few);
    world.cluster.create("small", size.small)?;
    world.cluster.create("large", size.large)?;
    let encrypted = json!({
        "encryption": { "enabled": true, "type": "age", "recipients": [world.recipient] },
    });
    let small = world.project("small", "small", &encrypted)?;
    let large = world.project("large", "large", &encrypted)?;

    let folder = world.folder("throughput")?;
    let (client, recipient) = (world.cluster.client_args("large"), &world.recipient);
    let pipe = |stages: &str| {
        let out = folder.join("out.age");
        format!("pg_dump {client} {stages} | age -r {recipient} -o {}", out.display())
    };
    let repository = folder.join("none");
    let by_zstd = pipe("-Fc -Z0 | zstd -q -T0 -3 --rsyncable");
    let by_gzip = pipe("-Fc");

    let (mut dump, mut verify, mut both) = (vec![], vec![], vec![]);
    let (mut zstd, mut gzip) = (vec![], vec![]);
    let (mut zstd_cpu, mut gzip_cpu) = (vec![], vec![]);
    let (mut peak_small, mut peak_large) = (vec![], vec![]);
    for round in 0..size.few {
        println!("  round {}", round + 1);
        let run = world.run(&large, "large")?;
        dump.push(run.stage("Dump")?);
        verify.push(run.stage("Verify")?);
        both.push(run.stage("Dump")? + run.stage("Encrypt")?);
        peak_large.push(run.peak_mib);
        let bare = cost(&mut world.script(&repository, &by_zstd))?;
        zstd.push(bare.wall);
        zstd_cpu.push(bare.cpu);
        peak_small.push(world.run(&small, "small")?.peak_mib);
        let bare = cost(&mut world.script(&repository, &by_gzip))?;
        gzip.push(bare.wall);
        gzip_cpu.push(bare.cpu);
    }
    let ratio = |of: &[f64]| of.iter().zip(&both).map(|(a, b)| a / b).collect::<Vec<_>>();
    report.figure(
        "speed_against_zstd_pipe",
        "Dump and encrypt: speed against `pg_dump -Fc -Z0 | zstd -T0 -3 --rsyncable | age`",
        &ratio(&zstd),
        "×",
        Goal::AtLeast(1.0),
    );
    report.figure(
        "speed_against_gzip_pipe",
        "Dump and encrypt: speed against `pg_dump -Fc | age`",
        &ratio(&gzip),
        "×",
        Goal::None,
    );
    let share: Vec<f64> = verify.iter().zip(&dump).map(|(v, d)| v / d).collect();
    report.figure(
        "verify_share",
        "Whole check of the dump, as a share of the dump's time",
        &share,
        "",
        Goal::AtMost(0.35),
    );
    report.figure(
        "peak_memory_mib",
        format!("Peak memory of backupctl, {} MiB of text", size.large),
        &peak_large,
        "MiB",
        Goal::AtMost(48.0),
    );
    report.figure(
        "peak_memory_small_mib",
        format!("Peak memory of backupctl, {} MiB of text", size.small),
        &peak_small,
        "MiB",
        Goal::AtMost(48.0),
    );
    report.figure(
        "peak_memory_growth",
        "Peak memory: large against small",
        &[median(&peak_large) / median(&peak_small)],
        "×",
        Goal::AtMost(1.1),
    );
    let row = |name: &str, wall: &[f64], cpu: Option<&[f64]>| {
        let cpu = cpu.map_or(String::new(), |cpu| shown(median(cpu)));
        vec![name.to_owned(), shown(median(wall)), cpu]
    };
    report.table(
        "throughput",
        format!("{} MiB of text to an encrypted file:", size.large),
        &["", "wall s", "cpu s"],
        vec![
            row("backupctl: Dump", &dump, None),
            row("backupctl: Verify", &verify, None),
            row("backupctl: Dump and Encrypt", &both, None),
            row("`pg_dump -Fc -Z0`, `zstd -T0 -3 --rsyncable`, `age`", &zstd, Some(&zstd_cpu)),
            row("`pg_dump -Fc`, `age`", &gzip, Some(&gzip_cpu)),
        ],
    );
    Ok(())
}
