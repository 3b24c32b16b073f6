//! How fast a folder becomes an encrypted archive and comes back, against `tar`, `zstd` and `age`.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::Size;
use super::report::{Goal, Report, shown};
use super::words;
use super::world::{World, cost, median, timed};
use crate::shell;

pub(super) fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    println!("archives ({} MiB of mixed files, {} rounds)", size.large, size.few);
    let folder = world.folder("archive")?;
    let source = folder.join("files");
    mixed_files(&source, size.large)?;
    let small = folder.join("few-files");
    mixed_files(&small, size.small)?;
    let stick = folder.join("stick");
    let identity = world.identity();
    let of = |source: &Path| {
        json!({
            "name": "stick",
            "assets": { "paths": [source] },
            "archive": { "path": stick, "require_mount": false },
            "encryption": {
                "enabled": true, "type": "age", "recipients": [world.recipient],
                "identity_file": identity,
            },
            "retention": { "keep_last": 1 },
        })
    };
    let (inside, parent) = (source.strip_prefix("/")?.display().to_string(), Path::new("/"));
    let (out, back) = (folder.join("bare.tar.zst.age"), folder.join("back"));
    let pack = format!(
        "tar -C {} -c {inside} | zstd -q -T0 -3 | age -r {} -o {}",
        parent.display(),
        world.recipient,
        out.display()
    );
    let unpack = format!(
        "age -d -i {} {} | zstd -q -d | tar -C {} -x",
        identity.display(),
        out.display(),
        back.display()
    );
    let mut samples = Samples::default();
    for round in 0..size.few {
        println!("  round {}", round + 1);
        let config = world.configure("archive", &of(&source))?;
        let run = world.run(&config, "stick")?;
        samples.written.push(run.archive_ms / 1000.0);
        samples.proven.push(run.stage("Sync")?);
        samples.peak.push(run.peak_mib);
        let tools = cost(&mut world.script(&out, &pack))?;
        samples.packed.push(tools.wall);
        samples.packed_cpu.push(tools.cpu);

        let (ours, peak) = restored(world, &config, &folder.join("ours"))?;
        samples.restored.push(ours);
        samples.restore_peak.push(peak);
        fs::create_dir_all(&back)?;
        samples.unpacked.push(cost(&mut world.script(&out, &unpack))?.wall);
        fs::remove_dir_all(&back)?;
        fs::remove_file(&out)?;

        let config = world.configure("archive", &of(&small))?;
        samples.small_peak.push(world.run(&config, "stick")?.peak_mib);
    }
    samples.tell(size, report);
    Ok(())
}

/// Seconds and MiB of each round.
#[derive(Default)]
struct Samples {
    written: Vec<f64>,
    proven: Vec<f64>,
    packed: Vec<f64>,
    packed_cpu: Vec<f64>,
    restored: Vec<f64>,
    unpacked: Vec<f64>,
    peak: Vec<f64>,
    small_peak: Vec<f64>,
    restore_peak: Vec<f64>,
}

impl Samples {
    fn tell(&self, size: &Size, report: &mut Report) {
        let ratio = |ours: &[f64], bare: &[f64]| {
            bare.iter().zip(ours).map(|(bare, ours)| bare / ours).collect::<Vec<_>>()
        };
        report.figure(
            "archive_speed",
            "Archive, written and on the disk: speed against `tar | zstd -T0 -3 | age`",
            &ratio(&self.written, &self.packed),
            "×",
            Goal::AtLeast(1.0),
        );
        report.figure(
            "archive_proven_speed",
            "Archive, also read back and compared: against the same pipe, which proves nothing",
            &ratio(&self.proven, &self.packed),
            "×",
            Goal::None,
        );
        report.figure(
            "archive_restore_speed",
            "Archive restored, compared with its manifest: speed against `age -d | zstd -d | tar x`",
            &ratio(&self.restored, &self.unpacked),
            "×",
            Goal::AtLeast(1.0),
        );
        report.figure(
            "archive_peak_mib",
            format!("Peak memory of a run with an archive, {} MiB", size.large),
            &self.peak,
            "MiB",
            Goal::AtMost(48.0),
        );
        report.figure(
            "archive_peak_growth",
            "The same: large against small",
            &[median(&self.peak) / median(&self.small_peak)],
            "×",
            Goal::None,
        );
        report.figure(
            "archive_restore_peak_mib",
            "Peak memory of its restore",
            &self.restore_peak,
            "MiB",
            Goal::AtMost(48.0),
        );
        let row = |name: &str, wall: &[f64], cpu: Option<&[f64]>| {
            let cpu = cpu.map_or(String::new(), |cpu| shown(median(cpu)));
            vec![name.to_owned(), shown(median(wall)), cpu]
        };
        report.table(
            "archive",
            format!("{} MiB of mixed files, half of which do not compress:", size.large),
            &["", "wall s", "cpu s"],
            vec![
                row("backupctl: archive written", &self.written, None),
                row("backupctl: Sync, with the proof", &self.proven, None),
                row("`tar`, `zstd -T0 -3`, `age`", &self.packed, Some(&self.packed_cpu)),
                row("backupctl: restore", &self.restored, None),
                row("`age -d`, `zstd -d`, `tar x`", &self.unpacked, None),
            ],
        );
    }
}

/// A restore of everything into a new folder: seconds, and the peak memory in MiB.
fn restored(world: &World, config: &Path, target: &Path) -> Result<(f64, f64)> {
    let mut restore = world.call(config);
    restore.args(["restore", "stick", "latest"]).arg(target).arg("-vv");
    let (cost, out) = timed(|| shell::output(&mut restore))?;
    let log = String::from_utf8_lossy(&out.stderr);
    anyhow::ensure!(out.status.success(), "the restore failed: {log}");
    let usage = log.lines().find(|line| line.contains("backupctl::usage"));
    let peak = usage.and_then(|line| super::world::number(line, "max_rss_kib"));
    fs::remove_dir_all(target)?;
    Ok((cost.wall, peak.context("`restore -vv` logs what it has used")? / 1024.0))
}

/// Files of all sizes, half of them text and half noise.
fn mixed_files(dir: &Path, mib: u64) -> Result<()> {
    const SIZES: [u64; 8] = [4, 16, 64, 256, 1024, 2048, 4096, 8192];
    let mut text = words::Writer::new(7);
    let mut noise = fs::File::open("/dev/urandom")?;
    let (mut left, mut number) = (mib << 10, 0_u64);
    while left > 0 {
        let kib = SIZES[usize::try_from(number / 2)? % SIZES.len()].min(left);
        let folder = dir.join(format!("folder-{:03}", number / 64));
        fs::create_dir_all(&folder)?;
        let mut file = std::io::BufWriter::new(fs::File::create(folder.join(format!("{number}")))?);
        if number.is_multiple_of(2) {
            std::io::copy(&mut std::io::Read::take(&mut noise, kib << 10), &mut file)?;
        } else {
            let mut written = 0;
            while written < kib << 10 {
                let row = text.row(number);
                file.write_all(row.as_bytes())?;
                written += row.len() as u64;
            }
        }
        file.flush()?;
        left -= kib;
        // Sizes come in pairs, so that text and noise are as much.
        number += 1;
    }
    Ok(())
}
