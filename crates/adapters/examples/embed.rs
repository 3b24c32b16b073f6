//! Embeds backupctl in a program of one's own: one folder, backed up into a restic repository, with
//! the run's record as the result. Needs `restic`; run it with
//! `cargo run -p backupctl-adapters --example embed`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use backupctl_adapters::application::context::{Cancel, Silent, StageContext};
use backupctl_adapters::application::ports::ConfigLoader;
use backupctl_adapters::application::use_cases::{RunBackup, RunOutcome, RunRequest};
use backupctl_adapters::config::{Environment, FileConfig};
use backupctl_adapters::defaults;
use backupctl_adapters::domain::{RunStatus, Stage, Trigger};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A place to play in: a folder with a file, and a configuration beside it.
    let place = tempfile::tempdir()?;
    let dir = place.path();
    std::fs::create_dir(dir.join("files"))?;
    std::fs::write(dir.join("files/hello.txt"), "hello\n")?;
    let file = dir.join("backupctl.yml");
    std::fs::write(
        &file,
        format!(
            "base_dir: {0}/state\nmin_free_gb: 0\nprojects:\n  - name: embedded\n    assets:\n      \
             paths: [{0}/files]\n    restic:\n      repository: {0}/repository\n      password: \
             example\n      auto_init: true\n",
            dir.display()
        ),
    )?;

    // From here on: the twenty lines that it takes.
    let config = FileConfig::new(Some(file), Environment::from_process());
    let loaded = config.load().await?;
    let global = loaded.global.map_err(|issues| issues[0].message.clone())?;
    let entry = loaded.projects.into_iter().next().ok_or("no project")?;
    let project = entry.project.map_err(|issues| issues[0].message.clone())?;
    let project = config.resolve_secrets(project).await?;
    let world = Arc::new(defaults::world(&global, defaults::identity())?);
    world.disk.ensure_dir(&global.base_dir, false).await?;
    let request = RunRequest {
        project: project.clone(),
        trigger: Trigger::Manual,
        due_at: None,
        wait: false,
        cancel: Cancel::new(),
        observer: Arc::new(Silent),
    };
    let RunOutcome::Finished(run) = RunBackup::new(Arc::clone(&world)).execute(request).await?
    else {
        return Err("another run holds the lock".into());
    };
    println!("{} ended as {}", run.run_id, run.status.as_str());

    // The snapshot is there, by the same ports.
    let storage = world.registries.storage(&project, &project.destinations[0])?;
    let ctx = StageContext::new(Stage::Sync, Cancel::new(), Arc::new(project.redactor()));
    let snapshots = storage.remote.snapshots(&ctx).await?;
    println!("{} snapshot(s) in the repository", snapshots.len());
    if run.status != RunStatus::Success || snapshots.len() != 1 {
        return Err(format!("{:?}", run.error).into());
    }
    Ok(())
}
