//! What a tiny run costs beyond the programs that it needs anyway.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::Size;
use super::report::{Goal, Report, shown};
use super::world::{World, cost, median};

pub(super) fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    println!("overhead of a tiny run ({} MiB, {} rounds)", size.tiny, size.many);
    world.cluster.create("tiny", size.tiny)?;
    let config = world.project("tiny", "tiny", &json!({}))?;
    let repository = world.repository("tiny-script")?;
    let folder = world.folder("tiny-script-dumps")?;
    // The same work by hand: dump, whole check, store, proof, retention.
    let script = format!(
        "f={folder}/dump.zst
        pg_dump -Fc -Z0 {client} | zstd -q -f -T0 -3 --rsyncable -o $f
        zstd -q -d -c $f | pg_restore -f /dev/null
        restic backup -q --host bench --tag backupctl:combined --tag project:tiny $f
        restic ls latest -q > /dev/null
        restic forget -q --group-by host,tags --keep-daily 7 --prune",
        folder = folder.display(),
        client = world.cluster.client_args("tiny"),
    );
    // The first run of each makes caches and folders.
    world.run(&config, "tiny")?;
    cost(&mut world.script(&repository, &script))?;

    let bare_config = without_database(world)?;
    world.run(&bare_config, "files")?;

    let (mut beyond, mut own_cpu, mut whole, mut bare) = (vec![], vec![], vec![], vec![]);
    let (mut whole_cpu, mut bare_cpu) = (vec![], vec![]);
    let (mut files_beyond, mut files_cpu) = (vec![], vec![]);
    let (mut processes, mut restics) = (vec![], vec![]);
    let mut last = Vec::new();
    for _ in 0..size.many {
        let run = world.run(&config, "tiny")?;
        beyond.push(run.beyond_children_ms());
        own_cpu.push(run.own_cpu_ms);
        whole.push(run.cost.wall * 1000.0);
        whole_cpu.push(run.cost.cpu * 1000.0);
        processes.push(count(run.children.iter()));
        restics.push(count(run.children.iter().filter(|(program, _)| program == "restic")));
        last = run.children;
        let by_hand = cost(&mut world.script(&repository, &script))?;
        bare.push(by_hand.wall * 1000.0);
        bare_cpu.push(by_hand.cpu * 1000.0);
        let run = world.run(&bare_config, "files")?;
        files_beyond.push(run.beyond_children_ms());
        files_cpu.push(run.own_cpu_ms);
    }
    report.figure(
        "overhead_wall_ms",
        "Tiny run: wall time beyond its child processes",
        &beyond,
        "ms",
        Goal::AtMost(30.0),
    );
    report.figure(
        "overhead_cpu_ms",
        "Tiny run: CPU time of backupctl itself",
        &own_cpu,
        "ms",
        Goal::AtMost(30.0),
    );
    report.figure(
        "files_overhead_wall_ms",
        "The same for a project without a database: wall time beyond its child processes",
        &files_beyond,
        "ms",
        Goal::AtMost(30.0),
    );
    report.figure(
        "files_overhead_cpu_ms",
        "The same for a project without a database: CPU time of backupctl itself",
        &files_cpu,
        "ms",
        Goal::AtMost(30.0),
    );
    report.figure("tiny_run_wall_ms", "Tiny run: wall time", &whole, "ms", Goal::None);
    report.figure("tiny_script_wall_ms", "The same by a script", &bare, "ms", Goal::None);
    report.figure(
        "tiny_run_cpu_ms",
        "Tiny run: CPU time of all its processes",
        &whole_cpu,
        "ms",
        Goal::None,
    );
    report.figure("tiny_script_cpu_ms", "The same by a script", &bare_cpu, "ms", Goal::None);
    report.figure("processes", "Tiny run: child processes", &processes, "", Goal::None);
    report.figure(
        "restic_processes",
        "Tiny run: restic processes (one more where its `forget` cannot be believed)",
        &restics,
        "",
        Goal::AtMost(4.0),
    );
    let rows = last.into_iter().map(|(program, wall)| vec![program, shown(wall)]).collect();
    report.table("children", "The child processes of a tiny run:", &["Program", "ms"], rows);
    println!("  {:.1} ms beyond its children", median(&beyond));
    Ok(())
}

/// A project that only has files: nothing to compress, to hash or to unpack. What is left of the
/// overhead is that of the run itself.
fn without_database(world: &World) -> Result<PathBuf> {
    let folder = world.folder("files-assets")?;
    fs::write(folder.join("file"), "content")?;
    let more = json!({ "database": null, "assets": { "paths": [folder] } });
    world.project("files", "", &more)
}

#[expect(clippy::cast_precision_loss, reason = "a handful of processes")]
fn count<T>(of: impl Iterator<Item = T>) -> f64 {
    of.count() as f64
}
