//! Writes the units of a plan, and takes them away again. What somebody has edited, or what is somebody
//! else's, stays unless it is to be overwritten.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backupctl_domain::{ErrorCode, Failure};

use super::needs::STORES;
use crate::World;
use crate::ports::{
    FileState, Need, ServiceHost, ServiceManager, UnitFile, UnitFiles, UnitMode, UnitPlan,
};

/// What installing has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Files that were written.
    pub written: Vec<PathBuf>,
    /// Files that were as they should be.
    pub unchanged: Vec<PathBuf>,
    /// Files of an earlier installation that nothing needs any more.
    pub removed: Vec<PathBuf>,
    /// Folders that were made.
    pub made: Vec<PathBuf>,
    /// Units that were enabled.
    pub enabled: Vec<String>,
    /// What is not as it should be and keeps nothing from being installed.
    pub warnings: Vec<String>,
}

/// Installs units.
pub struct InstallUnits {
    /// The other ports.
    pub world: Arc<World>,
    /// The files.
    pub files: Arc<dyn UnitFiles>,
    /// systemd; `None` where only files are to be written.
    pub manager: Option<Arc<dyn ServiceManager>>,
    /// The machine.
    pub host: Arc<dyn ServiceHost>,
}

impl InstallUnits {
    /// Writes the files of the plan, makes the folders that its sandbox names, and has systemd start
    /// it all. Nothing is changed where a file stands in the way.
    ///
    /// `PATH_NOT_WRITABLE` for a file that somebody has edited or that is somebody else's, unless
    /// `force`; `INVALID_CONFIG` for what units cannot say.
    pub async fn execute(&self, plan: &UnitPlan, force: bool) -> Result<Installed, Failure> {
        let files = self.files.render(plan)?;
        let states = self.files.compare(&files).await?;
        if !force {
            refuse_edited(&files, &states)?;
        }
        let known: Vec<&Path> = files.iter().map(|file| file.path.as_path()).collect();
        let ours = self.files.ours().await?;
        let obsolete: Vec<PathBuf> =
            ours.into_iter().filter(|path| !known.contains(&path.as_path())).collect();

        let mut done = Installed { warnings: warnings(plan), ..Installed::default() };
        self.make_folders(plan, &mut done).await?;
        if !obsolete.is_empty() {
            if let Some(manager) = &self.manager {
                manager.disable(&unit_names(&obsolete)).await?;
            }
            self.files.remove(&obsolete).await?;
            done.removed = obsolete;
        }
        let (same, changed): (Vec<_>, Vec<_>) =
            files.iter().cloned().zip(states).partition(|(_, state)| *state == FileState::Same);
        let changed: Vec<UnitFile> = changed.into_iter().map(|(file, _)| file).collect();
        self.files.write(&changed).await?;
        done.unchanged = same.into_iter().map(|(file, _)| file.path).collect();
        done.written = changed.iter().map(|file| file.path.clone()).collect();

        let enabled: Vec<UnitFile> = files.iter().filter(|file| file.enabled).cloned().collect();
        let names: Vec<String> = enabled.iter().map(UnitFile::name).collect();
        match &self.manager {
            None => self.files.link(&enabled).await?,
            Some(manager) => {
                manager.reload().await?;
                manager.enable(&names).await?;
                // What runs already goes on as it was started.
                let changed_and_running: Vec<String> =
                    changed.iter().filter(|f| f.enabled).map(UnitFile::name).collect();
                if !changed_and_running.is_empty() {
                    manager.restart(&changed_and_running).await?;
                }
            }
        }
        done.enabled = names;
        Ok(done)
    }

    /// The folders of the sandbox: systemd starts nothing where a vital one is missing. A folder on a
    /// disk that seems not to be mounted is not made: it would take its disk's place.
    async fn make_folders(&self, plan: &UnitPlan, done: &mut Installed) -> Result<(), Failure> {
        for writes in plan.all_needs().writes {
            if self.world.disk.is_empty_dir(&writes.path).await.is_some() {
                continue;
            }
            let shown = writes.path.display();
            let system = self.world.disk.file_system(&writes.path).await?;
            let on_a_disk = is_removable(&writes.path) || writes.on_a_disk;
            if on_a_disk && system.mount_point == Path::new("/") {
                done.warnings.push(format!(
                    "{shown} ({}) is not there, and no disk is mounted at it: mount it, then \
                     install again",
                    writes.what
                ));
                continue;
            }
            if writes.need != Need::Vital && !STORES.contains(&writes.what) {
                done.warnings.push(format!("{shown} ({}) is not there", writes.what));
                continue;
            }
            self.host.make_dir(&writes.path, &plan.user).await?;
            done.made.push(writes.path);
        }
        Ok(())
    }
}

/// Whether disks that come and go are usually mounted there.
pub(super) fn is_removable(path: &Path) -> bool {
    ["/mnt", "/media", "/run/media"].iter().any(|dir| path.starts_with(dir))
}

fn refuse_edited(files: &[UnitFile], states: &[FileState]) -> Result<(), Failure> {
    let mut in_the_way = Vec::new();
    for (file, state) in files.iter().zip(states) {
        match state {
            FileState::Edited(what) => in_the_way.push(format!(
                "{} was edited by hand ({})",
                file.path.display(),
                what.join(", ")
            )),
            FileState::Foreign => {
                in_the_way.push(format!("{} was not written by backupctl", file.path.display()));
            }
            _ => {}
        }
    }
    if in_the_way.is_empty() {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::PathNotWritable, in_the_way.join("; ")).with_remedy(
        "put your changes into a drop-in (`systemctl edit UNIT`), which stays, then overwrite the \
         file with `backupctl systemd install --force`",
    ))
}

fn warnings(plan: &UnitPlan) -> Vec<String> {
    let mut all = Vec::new();
    let needs = plan.all_needs();
    if needs.hooks && plan.options.read_write.is_empty() {
        all.push(
            "hooks run inside the sandbox: what they write to beside /tmp must be named with \
             `--read-write PATH`"
                .to_owned(),
        );
    }
    if plan.options.mode == UnitMode::Timers || plan.projects.iter().any(|p| p.schedule.is_some()) {
        for project in plan.projects.iter().filter(|p| p.schedule.is_none()) {
            all.push(format!("{} has no `cron`: nothing starts it", project.name));
        }
    } else {
        all.push("no project has a `cron`: nothing is started by itself".to_owned());
    }
    if plan.alerts.is_empty() {
        all.push(
            "no channel is configured: a unit that fails is told in the journal and by wall alone"
                .to_owned(),
        );
    }
    all
}

/// Takes away everything that carries our mark; what was removed. Files that somebody has edited since
/// go too: they were ours.
///
/// # Errors
///
/// Those of the files and of systemd.
pub async fn uninstall(
    files: &dyn UnitFiles,
    manager: Option<&dyn ServiceManager>,
) -> Result<Vec<PathBuf>, Failure> {
    let ours = files.ours().await?;
    let units = unit_names(&ours);
    if let Some(manager) = manager
        && !units.is_empty()
    {
        manager.disable(&units).await?;
    }
    files.remove(&ours).await?;
    if let Some(manager) = manager
        && !units.is_empty()
    {
        manager.reload().await?;
    }
    Ok(ours)
}

/// The names of those that systemd can stop: no templates.
fn unit_names(paths: &[PathBuf]) -> Vec<String> {
    let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
    names
        .filter(|name| {
            let kind = Path::new(name).extension().and_then(|e| e.to_str());
            matches!(kind, Some("service" | "timer")) && !name.contains("@.")
        })
        .map(str::to_owned)
        .collect()
}
