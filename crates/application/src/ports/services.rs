//! What starts backupctl by itself on this machine: units that are installed, written, and asked about.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_domain::project::{Channel, Monitor};
use backupctl_domain::schedule::Schedule;
use backupctl_domain::{Failure, ProjectName};

/// A unit that was installed for backupctl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUnit {
    /// Its name, e.g. `backupctl.service`.
    pub name: String,
    /// The program that it starts and that is not there or cannot be started; `None` where it can, or
    /// the unit starts none itself.
    pub missing_program: Option<String>,
    /// Whether it is started at boot or by a unit that is; `None` where it does not ask to be.
    pub enabled: Option<bool>,
}

/// Looks at the units that are installed. Changes nothing and starts nothing.
#[async_trait]
pub trait ServiceUnits: Send + Sync {
    /// Every unit of backupctl, by name; empty where none is installed.
    async fn installed(&self) -> Result<Vec<ServiceUnit>, Failure>;
}

/// What keeps the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitMode {
    /// The daemon: one service for all projects.
    Serve,
    /// A timer for each project.
    Timers,
}

impl UnitMode {
    /// `serve` or `timers`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Timers => "timers",
        }
    }
}

/// How units are to be installed, as far as somebody chooses it. The units remember it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitOptions {
    /// What keeps the schedule.
    pub mode: UnitMode,
    /// The user that backups run as.
    pub user: String,
    /// The PATH of the units.
    pub path: String,
    /// Folders that hooks write to, beside those that the configuration tells of.
    pub read_write: Vec<PathBuf>,
    /// Where disks were mounted, of those that backups write to, when the units were written.
    pub mounts: Vec<PathBuf>,
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitUser {
    /// The name.
    pub name: String,
    /// The number; 0 is root.
    pub uid: u32,
    /// The first group.
    pub gid: u32,
    /// Every group.
    pub groups: Vec<u32>,
    /// The home folder.
    pub home: PathBuf,
}

/// A folder that backups write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writes {
    /// Where.
    pub path: PathBuf,
    /// What is there, e.g. `base_dir`.
    pub what: &'static str,
    /// What becomes of a run without it.
    pub need: Need,
    /// Whether it must be on a disk that is mounted: one that may be taken out, and plugged in again.
    pub on_a_disk: bool,
}

/// What becomes of runs where a folder that they write to is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// They go on: no run depends on this destination.
    Optional,
    /// They fail when the other destinations have their copy.
    OneOfSeveral,
    /// Runs that need it fail by themselves, with their own words.
    Required,
    /// Nothing works.
    Vital,
}

/// What a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadKind {
    /// A private ssh key.
    SshKey,
    /// ssh's known hosts.
    KnownHosts,
    /// A secret of the configuration, which systemd hands over as a credential.
    Secret,
    /// Recipients to encrypt to, or keys to import.
    Keys,
    /// A certificate to trust.
    Certificate,
    /// Something to back up.
    Asset,
}

/// A file or folder that backups read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    /// Where.
    pub path: PathBuf,
    /// What for.
    pub kind: ReadKind,
}

/// Programs of which one is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedsTool {
    /// Names or paths; the first that is there is taken.
    pub any_of: Vec<String>,
}

/// What backups need from the machine that they run on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Folders to write to.
    pub writes: Vec<Writes>,
    /// Files and folders to read.
    pub reads: Vec<Reads>,
    /// Programs.
    pub tools: Vec<NeedsTool>,
    /// Whether Docker's client is used.
    pub docker: bool,
    /// Whether hooks are configured, of which nobody knows what they need.
    pub hooks: bool,
}

/// A project that something is to start.
#[derive(Debug, Clone)]
pub struct PlannedProject {
    /// Its name.
    pub name: ProjectName,
    /// Its schedule.
    pub schedule: Option<Schedule>,
    /// What it needs.
    pub needs: Needs,
}

/// Somebody to be told when backupctl itself cannot start; secrets resolved.
#[derive(Debug, Clone)]
pub enum AlertTarget {
    /// A channel of notices.
    Channel(Channel),
    /// A heartbeat monitor, to be told of a failure.
    Monitor(Monitor),
}

/// An alert and whose failure it is for.
#[derive(Debug, Clone)]
pub struct Alert {
    /// Only this project's; everybody's if `None`.
    pub project: Option<ProjectName>,
    /// Whom to tell.
    pub target: AlertTarget,
}

/// Everything that the text of units depends on.
#[derive(Debug, Clone)]
pub struct UnitPlan {
    /// The choices.
    pub options: UnitOptions,
    /// The program, by its whole path.
    pub program: PathBuf,
    /// The configuration, by its whole path.
    pub config: PathBuf,
    /// `base_dir`.
    pub base_dir: PathBuf,
    /// Who runs it.
    pub user: UnitUser,
    /// What all projects need.
    pub shared: Needs,
    /// The enabled projects.
    pub projects: Vec<PlannedProject>,
    /// Who is told by the failure unit.
    pub alerts: Vec<Alert>,
}

impl UnitPlan {
    /// What all of it needs, each thing once.
    pub fn all_needs(&self) -> Needs {
        let mut all = self.shared.clone();
        for project in &self.projects {
            all.extend(&project.needs);
        }
        all
    }
}

impl Needs {
    /// Adds what is not there yet.
    pub fn extend(&mut self, other: &Self) {
        for writes in &other.writes {
            self.write(writes.clone());
        }
        add_new(&mut self.reads, &other.reads);
        add_new(&mut self.tools, &other.tools);
        self.docker |= other.docker;
        self.hooks |= other.hooks;
    }

    /// Adds a folder to write to; one that is there already is needed by whoever needs it most.
    pub fn write(&mut self, writes: Writes) {
        match self.writes.iter_mut().find(|known| known.path == writes.path) {
            Some(known) => {
                known.need = known.need.max(writes.need);
                known.on_a_disk |= writes.on_a_disk;
            }
            None => self.writes.push(writes),
        }
    }
}

fn add_new<T: PartialEq + Clone>(all: &mut Vec<T>, more: &[T]) {
    for item in more {
        if !all.contains(item) {
            all.push(item.clone());
        }
    }
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    /// Its whole path, without the root.
    pub path: PathBuf,
    /// What is in it. May hold secrets where `mode` keeps others out.
    pub text: String,
    /// Its mode.
    pub mode: u32,
    /// Whether systemd is to start it by itself: at boot, or by the clock.
    pub enabled: bool,
}

impl UnitFile {
    /// The file's name.
    pub fn name(&self) -> String {
        self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whether systemd reads it.
    pub fn is_unit(&self) -> bool {
        self.is_timer() || self.path.extension().is_some_and(|e| e == "service")
    }

    /// Whether it is a timer.
    pub fn is_timer(&self) -> bool {
        self.path.extension().is_some_and(|e| e == "timer")
    }
}

/// How a file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// As it would be written now.
    Same,
    /// Not there.
    Missing,
    /// As it was written, and something has changed since: what differs, e.g. `ExecStart`.
    Stale(Vec<String>),
    /// Somebody has edited it: what differs from what would be written now.
    Edited(Vec<String>),
    /// Somebody else's: it has not the mark of ours.
    Foreign,
}

/// An installed unit, as far as it tells of its process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstalledUnit {
    /// Its name.
    pub name: String,
    /// The program that it starts.
    pub program: Option<PathBuf>,
    /// The configuration that it names.
    pub config: Option<PathBuf>,
    /// The PATH that it sets.
    pub path: Option<String>,
    /// What it may write to; `None` where it may write everywhere.
    pub read_write: Option<Vec<PathBuf>>,
    /// Folders whose content it does not see.
    pub hidden: Vec<PathBuf>,
}

/// The files of units below one root.
#[async_trait]
pub trait UnitFiles: Send + Sync {
    /// The files of a plan. `INVALID_CONFIG` for what units cannot say.
    fn render(&self, plan: &UnitPlan) -> Result<Vec<UnitFile>, Failure>;
    /// How each file stands.
    async fn compare(&self, files: &[UnitFile]) -> Result<Vec<FileState>, Failure>;
    /// The choices that the installed units were written with; `None` where there are none.
    async fn options(&self) -> Result<Option<UnitOptions>, Failure>;
    /// Every service that carries our mark.
    async fn services(&self) -> Result<Vec<InstalledUnit>, Failure>;
    /// Every file that carries our mark, by its whole path without the root.
    async fn ours(&self) -> Result<Vec<PathBuf>, Failure>;
    /// Writes these files, each at once and whole.
    async fn write(&self, files: &[UnitFile]) -> Result<(), Failure>;
    /// Makes the links by which units are started at boot, for a root whose systemd is not running.
    async fn link(&self, files: &[UnitFile]) -> Result<(), Failure>;
    /// Whether all those links are there.
    async fn is_linked(&self, file: &UnitFile) -> Result<bool, Failure>;
    /// Removes these files, and links to them.
    async fn remove(&self, files: &[PathBuf]) -> Result<(), Failure>;
}

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    /// Its name.
    pub name: String,
    /// `loaded`, `not-found`, `bad-setting`, `masked`.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`.
    pub active: String,
    /// `enabled`, `disabled`, `static`; empty where it is not known.
    pub file: String,
    /// `success`, or how its last run failed, e.g. `exit-code`.
    pub result: String,
    /// The exit status of its last run.
    pub exit_status: Option<i32>,
    /// When a timer has last gone off, in systemd's words.
    pub last_trigger: Option<String>,
    /// When a timer goes off next, in systemd's words.
    pub next: Option<String>,
    /// Whether its file has changed since systemd read it.
    pub needs_reload: bool,
}

/// systemd itself.
#[async_trait]
pub trait ServiceManager: Send + Sync {
    /// Why nothing can be started here, e.g. that systemd does not run; `None` where it can.
    async fn absence(&self) -> Option<String>;
    /// How units are, in their order.
    async fn show(&self, units: &[String]) -> Result<Vec<UnitState>, Failure>;
    /// Has the files of units read again.
    async fn reload(&self) -> Result<(), Failure>;
    /// Has units started at boot, and now.
    async fn enable(&self, units: &[String]) -> Result<(), Failure>;
    /// Starts a unit anew where it runs already, so that it is what its file says.
    async fn restart(&self, units: &[String]) -> Result<(), Failure>;
    /// Stops units, and has them started no more.
    async fn disable(&self, units: &[String]) -> Result<(), Failure>;
}

/// A file as a user has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a permission of its own")]
pub struct PathAccess {
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Its permissions, e.g. 0600.
    pub mode: u32,
    /// Whether the user may read it.
    pub read: bool,
    /// Whether the user may write it, or make files in it.
    pub write: bool,
    /// Whether the user may start it, or go into it.
    pub execute: bool,
}

/// What users may do on this machine, and which programs are there. Changes nothing but by
/// [`make_dir`](Self::make_dir).
#[async_trait]
pub trait ServiceHost: Send + Sync {
    /// A user by name; `INVALID_CONFIG` where there is none.
    async fn user(&self, name: &str) -> Result<UnitUser, Failure>;
    /// What the user may do with a path; `None` where nothing is there, or the user may not know.
    async fn access(&self, user: &UnitUser, path: &Path) -> Option<PathAccess>;
    /// The program of that name in these folders; a name with a slash is taken as it is.
    async fn find(&self, name: &str, path: &str) -> Option<PathBuf>;
    /// What the program prints for `--version`, in one line.
    async fn version(&self, program: &Path) -> Result<String, Failure>;
    /// Makes a folder and its missing parents, 0700 and the user's own.
    async fn make_dir(&self, path: &Path, user: &UnitUser) -> Result<(), Failure>;
}
