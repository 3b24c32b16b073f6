//! A private place for one test: a repository, sources, and a restic that counts its starts.
#![expect(
    clippy::disallowed_methods,
    reason = "a test prepares its repositories with restic itself"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use backupctl_adapter_restic::{Restic, ResticSettings};
use backupctl_application::context::{Cancel, Observer, StageContext};
use backupctl_application::ports::StoreRequest;
use backupctl_domain::destination::{ResticTarget, SnapshotMode};
use backupctl_domain::sync::SyncPart;
use backupctl_domain::tag::Tag;
use backupctl_domain::{ProjectName, Redactor, Secret, Stage};
use backupctl_testkit::builders::store_request;
use backupctl_testkit::services::Repository;
use tempfile::TempDir;

/// Every restic of these tests opens its repository with this, so it had better be quick.
pub(crate) const PASSWORD: &str = Repository::QUICK_PASSWORD;

pub(crate) struct World {
    pub(crate) dir: TempDir,
}

impl World {
    /// A place with an empty repository that no memory knows of.
    pub(crate) fn new() -> Self {
        let world = Self::without_repository();
        Repository::fresh_at(&world.repo(), PASSWORD);
        world
    }

    pub(crate) fn without_repository() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("assets/sub")).unwrap();
        fs::write(dir.path().join("assets/a"), "first").unwrap();
        fs::write(dir.path().join("assets/sub/b [1]*,é"), "second").unwrap();
        let world = Self { dir };
        // Counts how often restic is started, and for what.
        let log = world.path("calls");
        world.script(&format!("echo \"$1\" >> '{}'\nexec restic \"$@\"\n", log.display()));
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    pub(crate) fn assets(&self) -> PathBuf {
        self.path("assets")
    }

    /// Writes what stands in restic's place.
    pub(crate) fn script(&self, body: &str) {
        let file = self.path("restic-wrapper");
        fs::write(&file, format!("#!/bin/sh\n{body}")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn target(&self) -> ResticTarget {
        ResticTarget {
            repository: self.repo().to_str().unwrap().to_owned(),
            ssh: None,
            password: Secret::value(PASSWORD),
            snapshot_mode: SnapshotMode::Combined,
            auto_init: false,
            allow_incomplete: false,
            cache_dir: Some(self.path("cache")),
            options: BTreeMap::new(),
            env: BTreeMap::new(),
            limit_upload_kib: None,
            binary: Some(self.path("restic-wrapper")),
        }
    }

    pub(crate) fn restic(&self) -> Arc<Restic> {
        self.restic_with(|_| {})
    }

    pub(crate) fn restic_with(&self, change: impl FnOnce(&mut ResticTarget)) -> Arc<Restic> {
        self.restic_for(&ProjectName::new("demo").unwrap(), change)
    }

    /// The view of another project than `demo`.
    pub(crate) fn restic_for(
        &self,
        project: &ProjectName,
        change: impl FnOnce(&mut ResticTarget),
    ) -> Arc<Restic> {
        let mut target = self.target();
        change(&mut target);
        Restic::new(ResticSettings {
            target,
            project: project.clone(),
            host: "app1".to_owned(),
            state_dir: self.path("state"),
            journal: None,
            base_cache_dir: None,
        })
        .unwrap()
    }

    /// The commands that restic was started with since the last look.
    pub(crate) fn calls(&self) -> Vec<String> {
        let log = self.path("calls");
        let calls = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        calls.lines().map(str::to_owned).collect()
    }

    /// A dump file of that name with that text.
    pub(crate) fn dump(&self, name: &str, text: &str) -> (PathBuf, u64) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        (path, text.len() as u64)
    }

    pub(crate) fn part(&self, dump: Option<(PathBuf, u64)>) -> SyncPart {
        let project = Tag::Project(ProjectName::new("demo").unwrap());
        SyncPart { tags: vec![Tag::Combined, project], dump, assets: vec![self.assets()] }
    }

    /// restic itself on this repository, started and left alone.
    pub(crate) fn raw(&self, args: &[&str]) -> Command {
        let mut command = Command::new("restic");
        command
            .args(args)
            .env("RESTIC_REPOSITORY", self.repo())
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RESTIC_CACHE_DIR", self.path("cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }

    /// Every file and folder, without the list of calls.
    pub(crate) fn tree(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut open = vec![self.dir.path().to_owned()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                }
                found.insert(entry.path());
            }
        }
        found.remove(&self.path("calls"));
        found
    }

    pub(crate) fn locks(&self) -> usize {
        fs::read_dir(self.repo().join("locks")).unwrap().count()
    }
}

pub(crate) fn request(part: SyncPart) -> StoreRequest {
    store_request(part)
}

pub(crate) fn ctx() -> StageContext {
    let redactor = Redactor::new([PASSWORD.to_owned()]);
    StageContext::new(Stage::Sync, Cancel::new(), Arc::new(redactor))
}

pub(crate) fn watched(observer: Arc<dyn Observer>, cancel: Cancel) -> StageContext {
    StageContext { observer, cancel, ..ctx() }
}

/// The packs of the repository, sorted.
pub(crate) fn packs(world: &World) -> Vec<PathBuf> {
    let mut packs = walk(&world.repo().join("data"));
    packs.sort();
    packs
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { walk(&p) } else { vec![p] }).collect()
}
