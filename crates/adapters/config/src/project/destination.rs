//! `restic` and `archive`: one place that backups go to.

use backupctl_domain::destination::{ArchiveTarget, ResticTarget, SnapshotMode, SshTarget};

use crate::global::Shared;
use crate::reader::Reader;
use crate::ssh::parse_sftp;

pub(super) const REPOSITORY: &str = "restic.repository";
pub(super) const REPOSITORY_PATH: &str = "restic.repository_path";

/// The folder of archives; `None`, with an issue, if there is none that can be used.
pub(super) fn archive(r: &mut Reader<'_, '_>) -> Option<ArchiveTarget> {
    let path = r.path("archive.path");
    if path.is_none() && !["archive", "archive.path"].into_iter().any(|path| r.told(path)) {
        r.missing("archive.path", "`archive.path` is missing: the folder that gets the archives");
    }
    let require_mount = r.flag("archive.require_mount").unwrap_or(true);
    let split_size = r.size("archive.split_size");
    let allow_incomplete = r.flag("archive.allow_incomplete").unwrap_or(false);
    Some(ArchiveTarget { path: path?, require_mount, split_size, allow_incomplete })
}

/// The repository; `None`, with an issue, if there is none that can be used.
pub(super) fn restic(r: &mut Reader<'_, '_>, shared: &Shared) -> Option<ResticTarget> {
    let location = location(r, shared);
    let password = r.secret("restic.password");
    if password.is_none() && !r.told("restic.password") && location.is_some() {
        r.missing(
            "restic.password",
            "the repository has no password: set `restic.password`, `restic.password_file`, \
             `restic.password_command` or RESTIC_PASSWORD",
        );
    }
    let snapshot_mode = match r.text("restic.snapshot_mode").as_deref() {
        Some("separate") => SnapshotMode::Separate,
        _ => SnapshotMode::Combined,
    };
    let auto_init = r.flag("restic.auto_init").unwrap_or(false);
    let allow_incomplete = r.flag("restic.allow_incomplete").unwrap_or(false);
    let cache_dir = r.path("restic.cache_dir");
    let options = r.map("restic.options");
    let env = r.secrets("restic.env");
    let limit_upload_kib = r.count("restic.limit_upload_kib");
    // A bare name is looked for in PATH; anything else is a path like others.
    let binary = match r.text("restic.binary") {
        Some(name) if !name.contains('/') => Some(name.into()),
        Some(_) => r.path("restic.binary"),
        None => None,
    };
    let (repository, ssh) = location?;
    Some(ResticTarget {
        repository,
        ssh,
        password: password?,
        snapshot_mode,
        auto_init,
        allow_incomplete,
        cache_dir,
        options,
        env,
        limit_upload_kib,
        binary,
    })
}

/// The repository as restic takes it, and how ssh reaches it.
fn location(r: &mut Reader<'_, '_>, shared: &Shared) -> Option<(String, Option<SshTarget>)> {
    let repository = r.text(REPOSITORY);
    let path = r.text(REPOSITORY_PATH);
    match (repository, path) {
        (Some(_), Some(_)) => {
            let leaf = r.leaf(REPOSITORY_PATH)?;
            let message =
                "`restic.repository` and `restic.repository_path` are both given; keep one";
            r.wrong(REPOSITORY_PATH, leaf, message);
            None
        }
        (Some(repository), None) => repository_location(r, shared, repository),
        (None, Some(path)) => {
            let found = shared.ssh.repository_at(&path);
            if found.is_none() {
                let leaf = r.leaf(REPOSITORY_PATH)?;
                r.wrong(
                    REPOSITORY_PATH,
                    leaf,
                    "SSH_NOT_CONFIGURED: `restic.repository_path` is a path on the ssh host and \
                     there is none; set `ssh.host` at the top of the file or SSH_HOST, or give \
                     `restic.repository`",
                );
            }
            found.map(|(repository, target)| (repository, Some(target)))
        }
        (None, None) => {
            if !["restic", "archive", REPOSITORY, REPOSITORY_PATH]
                .into_iter()
                .any(|path| r.told(path))
            {
                let message = if r.part.is_some() {
                    "the repository is nowhere: set `repository`, or `repository_path` on the ssh \
                     host"
                } else {
                    "the project has no destination: set `restic.repository`, \
                     `restic.repository_path` on the ssh host, `archive.path`, or list several under \
                     `destinations`"
                };
                r.missing("restic", message);
            }
            None
        }
    }
}

fn repository_location(
    r: &mut Reader<'_, '_>,
    shared: &Shared,
    repository: String,
) -> Option<(String, Option<SshTarget>)> {
    let leaf = r.leaf(REPOSITORY)?;
    match parse_sftp(&repository) {
        Some(Ok(address)) => Some((repository, Some(shared.ssh.target_of(address)))),
        Some(Err(why)) => {
            r.wrong(REPOSITORY, leaf, why);
            None
        }
        None if has_scheme(&repository) => Some((repository, None)),
        None => {
            let folder = r.as_path(REPOSITORY, leaf, &repository)?;
            Some((folder.to_string_lossy().into_owned(), None))
        }
    }
}

/// Whether this is a location such as `s3:…` or `rest:https://…`, and not a folder.
fn has_scheme(repository: &str) -> bool {
    repository.split_once(':').is_some_and(|(scheme, _)| {
        scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}
