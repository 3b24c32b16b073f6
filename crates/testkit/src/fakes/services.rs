//! systemd and its machine, as the test says that they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::{
    FileState, InstalledUnit, PathAccess, ServiceHost, ServiceManager, UnitFile, UnitFiles,
    UnitMode, UnitOptions, UnitPlan, UnitState, UnitUser,
};
use backupctl_domain::{ErrorCode, Failure};

use super::faults::injectable;
use super::{Core, Journal, locked};

/// A [`ServiceManager`]. Operations: `show`, `reload`, `enable`, `restart`, `disable`.
///
/// Every unit is loaded, enabled and active until the test says otherwise.
pub struct FakeServiceManager {
    core: Core,
    absence: Mutex<Option<String>>,
    states: Mutex<BTreeMap<String, UnitState>>,
}

injectable!(FakeServiceManager);

impl FakeServiceManager {
    /// systemd runs, and all is well.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self {
            core: Core::new(journal, &["show", "reload", "enable", "restart", "disable"]),
            absence: Mutex::default(),
            states: Mutex::default(),
        }
    }

    /// There is no systemd, for this reason.
    pub fn set_absent(&self, why: &str) {
        *locked(&self.absence) = Some(why.to_owned());
    }

    /// Changes what is said of a unit.
    pub fn change(&self, unit: &str, change: impl FnOnce(&mut UnitState)) {
        let mut states = locked(&self.states);
        change(states.entry(unit.to_owned()).or_insert_with(|| well(unit)));
    }

    async fn act(&self, operation: &'static str, units: &[String]) -> Result<(), Failure> {
        self.core.call(operation, format!("systemd {operation} {}", units.join(" ")), None).await
    }
}

fn well(unit: &str) -> UnitState {
    UnitState {
        name: unit.to_owned(),
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        file: "enabled".to_owned(),
        result: "success".to_owned(),
        next: Some("tomorrow".to_owned()),
        ..UnitState::default()
    }
}

#[async_trait]
impl ServiceManager for FakeServiceManager {
    async fn absence(&self) -> Option<String> {
        locked(&self.absence).clone()
    }

    async fn show(&self, units: &[String]) -> Result<Vec<UnitState>, Failure> {
        self.act("show", units).await?;
        let states = locked(&self.states);
        Ok(units.iter().map(|u| states.get(u).cloned().unwrap_or_else(|| well(u))).collect())
    }

    async fn reload(&self) -> Result<(), Failure> {
        self.act("reload", &[]).await
    }

    async fn enable(&self, units: &[String]) -> Result<(), Failure> {
        self.act("enable", units).await
    }

    async fn restart(&self, units: &[String]) -> Result<(), Failure> {
        self.act("restart", units).await
    }

    async fn disable(&self, units: &[String]) -> Result<(), Failure> {
        self.act("disable", units).await
    }
}

/// A [`UnitFiles`] in memory. Operations: `write`, `remove`.
///
/// Its units are a line each: the program, the configuration, what may be written.
pub struct FakeUnitFiles {
    core: Core,
    files: Mutex<BTreeMap<PathBuf, UnitFile>>,
    installed: Mutex<Option<UnitPlan>>,
    edited: Mutex<BTreeSet<PathBuf>>,
    links: Mutex<BTreeSet<PathBuf>>,
}

injectable!(FakeUnitFiles);

impl FakeUnitFiles {
    /// None is there.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self {
            core: Core::new(journal, &["write", "remove"]),
            files: Mutex::default(),
            installed: Mutex::default(),
            edited: Mutex::default(),
            links: Mutex::default(),
        }
    }

    /// The plan whose units these are.
    pub fn set_installed(&self, plan: &UnitPlan) {
        *locked(&self.installed) = Some(plan.clone());
        let mut files = locked(&self.files);
        *files = rendered(plan).into_iter().map(|file| (file.path.clone(), file)).collect();
    }

    /// Somebody edits a file.
    pub fn edit(&self, path: impl Into<PathBuf>) {
        locked(&self.edited).insert(path.into());
    }

    /// What is there, by name.
    pub fn names(&self) -> Vec<String> {
        locked(&self.files).values().map(UnitFile::name).collect()
    }
}

fn rendered(plan: &UnitPlan) -> Vec<UnitFile> {
    let file = |name: String, text: String, enabled| UnitFile {
        path: Path::new("/etc/systemd/system").join(name),
        text,
        mode: 0o644,
        enabled,
    };
    let needs = plan.all_needs();
    let text = format!("{} {} {:?}", plan.program.display(), plan.config.display(), needs.writes);
    let mut files = Vec::new();
    if plan.options.mode == UnitMode::Serve {
        files.push(file("backupctl.service".to_owned(), text, true));
        return files;
    }
    for project in plan.projects.iter().filter(|p| p.schedule.is_some()) {
        files.push(file(format!("backupctl-{}.service", project.name), text.clone(), false));
        let cron = project.schedule.as_ref().map(|s| s.cron.clone()).unwrap_or_default();
        files.push(file(format!("backupctl-{}.timer", project.name), cron, true));
    }
    files
}

#[async_trait]
impl UnitFiles for FakeUnitFiles {
    fn render(&self, plan: &UnitPlan) -> Result<Vec<UnitFile>, Failure> {
        Ok(rendered(plan))
    }

    async fn compare(&self, files: &[UnitFile]) -> Result<Vec<FileState>, Failure> {
        let (there, edited) = (locked(&self.files), locked(&self.edited));
        let state = |file: &UnitFile| match there.get(&file.path) {
            None => FileState::Missing,
            Some(_) if edited.contains(&file.path) => FileState::Edited(vec!["it".to_owned()]),
            Some(known) if known == file => FileState::Same,
            Some(_) => FileState::Stale(vec!["it".to_owned()]),
        };
        Ok(files.iter().map(state).collect())
    }

    async fn options(&self) -> Result<Option<UnitOptions>, Failure> {
        Ok(locked(&self.installed).as_ref().map(|plan| plan.options.clone()))
    }

    async fn services(&self) -> Result<Vec<InstalledUnit>, Failure> {
        let installed = locked(&self.installed);
        let Some(plan) = installed.as_ref() else { return Ok(Vec::new()) };
        let unit = |file: UnitFile| InstalledUnit {
            name: file.name(),
            program: Some(plan.program.clone()),
            config: Some(plan.config.clone()),
            path: Some(plan.options.path.clone()),
            read_write: Some(plan.all_needs().writes.into_iter().map(|w| w.path).collect()),
            hidden: Vec::new(),
        };
        let services = rendered(plan).into_iter().filter(|file| !file.is_timer());
        Ok(services.map(unit).collect())
    }

    async fn ours(&self) -> Result<Vec<PathBuf>, Failure> {
        Ok(locked(&self.files).keys().cloned().collect())
    }

    async fn write(&self, files: &[UnitFile]) -> Result<(), Failure> {
        let names: Vec<String> = files.iter().map(UnitFile::name).collect();
        self.core.call("write", format!("units write {}", names.join(" ")), None).await?;
        for file in files {
            locked(&self.edited).remove(&file.path);
            locked(&self.files).insert(file.path.clone(), file.clone());
        }
        Ok(())
    }

    async fn link(&self, files: &[UnitFile]) -> Result<(), Failure> {
        locked(&self.links).extend(files.iter().map(|file| file.path.clone()));
        Ok(())
    }

    async fn is_linked(&self, file: &UnitFile) -> Result<bool, Failure> {
        Ok(locked(&self.links).contains(&file.path))
    }

    async fn remove(&self, files: &[PathBuf]) -> Result<(), Failure> {
        self.core.call("remove", format!("units remove {}", files.len()), None).await?;
        for path in files {
            locked(&self.files).remove(path);
            locked(&self.links).remove(path);
        }
        Ok(())
    }
}

/// A [`ServiceHost`] on which everything may be read and written and every program is there, until the
/// test says otherwise. Operation: `make_dir`.
pub struct FakeServiceHost {
    core: Core,
    access: Mutex<BTreeMap<PathBuf, Option<PathAccess>>>,
    missing: Mutex<BTreeSet<String>>,
    version: Mutex<String>,
}

injectable!(FakeServiceHost);

impl FakeServiceHost {
    /// All is well; every program is of version 0.1.0.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self {
            core: Core::new(journal, &["make_dir"]),
            access: Mutex::default(),
            missing: Mutex::default(),
            version: Mutex::new("backupctl 0.1.0".to_owned()),
        }
    }

    /// What anybody may do with a path; `None` for nothing there.
    pub fn set_access(&self, path: impl Into<PathBuf>, access: Option<PathAccess>) {
        locked(&self.access).insert(path.into(), access);
    }

    /// There is no such program.
    pub fn set_missing(&self, program: &str) {
        locked(&self.missing).insert(program.to_owned());
    }

    /// What programs say of themselves.
    pub fn set_version(&self, version: &str) {
        version.clone_into(&mut locked(&self.version));
    }
}

#[async_trait]
impl ServiceHost for FakeServiceHost {
    async fn user(&self, name: &str) -> Result<UnitUser, Failure> {
        if name == "nobody-here" {
            return Err(Failure::new(ErrorCode::InvalidConfig, "there is no such user"));
        }
        Ok(UnitUser {
            name: name.to_owned(),
            uid: 0,
            gid: 0,
            groups: vec![0],
            home: PathBuf::from("/root"),
        })
    }

    async fn access(&self, _: &UnitUser, path: &Path) -> Option<PathAccess> {
        let all = PathAccess { is_dir: false, mode: 0o600, read: true, write: true, execute: true };
        locked(&self.access).get(path).copied().unwrap_or(Some(all))
    }

    async fn find(&self, name: &str, _: &str) -> Option<PathBuf> {
        (!locked(&self.missing).contains(name)).then(|| Path::new("/usr/bin").join(name))
    }

    async fn version(&self, _: &Path) -> Result<String, Failure> {
        Ok(locked(&self.version).clone())
    }

    async fn make_dir(&self, path: &Path, _: &UnitUser) -> Result<(), Failure> {
        self.core.call("make_dir", format!("make {}", path.display()), None).await
    }
}
