//! The configuration as its users meet it: files on a disk, variables, and what comes of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop a test as tests do")]

mod contract;
mod destinations;
mod everybody;
mod migrating;
mod mistakes;
mod precedence;
mod projects;
mod secrets;
mod to_read;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backupctl_adapter_config::{Environment, FileConfig};
use backupctl_application::ports::{ConfigIssue, ConfigLoader, LoadedConfig};
use backupctl_domain::destination::ResticTarget;
use backupctl_domain::{Failure, Project};

/// A folder with a configuration, and the variables around it.
struct Site {
    folder: tempfile::TempDir,
    environment: Environment,
}

impl Site {
    fn new(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self {
            environment: Environment {
                variables: [("TIMEZONE".to_owned(), "UTC".to_owned())].into(),
                cwd: folder.path().to_owned(),
                home: Some(folder.path().join("home")),
                euid: 1000,
            },
            folder,
        };
        site.file("backupctl.yml", yaml);
        site
    }

    /// One project with this below `restic` and more.
    fn project(more: &str) -> Self {
        Self::new(&format!(
            "projects:\n  - name: p\n    restic: {{repository: /r, password: x}}\n{more}"
        ))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn dotenv(self, text: &str) -> Self {
        self.file(".env", text);
        self
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.environment.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn loader(&self) -> FileConfig {
        FileConfig::new(None, self.environment.clone())
    }

    async fn try_load(&self) -> Result<LoadedConfig, Failure> {
        self.loader().load().await
    }

    async fn load(&self) -> LoadedConfig {
        self.try_load().await.unwrap()
    }

    /// The only project, which must be good.
    async fn only(&self) -> Project {
        let config = self.load().await;
        assert!(config.issues().is_empty(), "{}", self.told(config.issues()));
        config.projects[0].project.clone().unwrap()
    }

    /// Issues as lines of text, without the folder's name.
    fn told<'a>(&self, issues: impl IntoIterator<Item = &'a ConfigIssue>) -> String {
        let mut text = String::new();
        for i in issues {
            let number = |n: Option<u64>| n.map_or("-".to_owned(), |n| n.to_string());
            let file = i.file.strip_prefix(self.path()).unwrap_or(&i.file).display();
            let (line, column) = (number(i.line), number(i.column));
            let project = i.project.as_deref().unwrap_or("-");
            writeln!(text, "{file}:{line}:{column} [{project}] {}: {}", i.key, i.message).unwrap();
        }
        text.replace(&format!("{}/", self.path().display()), "")
    }

    async fn issues(&self) -> String {
        self.told(self.load().await.issues())
    }

    async fn warnings(&self) -> String {
        self.told(&self.load().await.warnings)
    }
}

/// The repository of a project that has one destination.
fn restic(project: &Project) -> &ResticTarget {
    let [destination] = &project.destinations[..] else { panic!("not one destination") };
    destination.restic().unwrap()
}
