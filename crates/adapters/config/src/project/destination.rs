//! `restic` and `archive`: where backups go.

use backupctl_domain::destination::{
    Destination, DestinationName, ResticTarget, SnapshotMode, SshTarget, Target,
};
use backupctl_domain::retention::KeepPolicy;

use crate::global::Shared;
use crate::reader::Reader;
use crate::ssh::parse_sftp;

/// The destination; `None`, with an issue, if there is none that can be used.
pub(super) fn read(r: &mut Reader<'_, '_>, shared: &Shared) -> Option<Destination> {
    let target = Target::Restic(Box::new(target(r, shared)?));
    let name = DestinationName::new(target.kind()).ok()?;
    Some(Destination { name, required: true, keep: KeepPolicy::default(), target })
}

/// The repository; `None`, with an issue, if there is none that can be used.
fn target(r: &mut Reader<'_, '_>, shared: &Shared) -> Option<ResticTarget> {
    let repository = r.given("restic.repository") || r.given("restic.repository_path");
    if r.given("archive.path") || (r.section_chosen("archive") && !repository) {
        return archive(r);
    }
    let location = location(r, shared);
    let password = r.secret("restic.password");
    if password.is_none() && !r.misread("restic.password") && location.is_some() {
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

/// Looks an archive's keys over. Nothing writes one yet, and that is said rather than ignored.
fn archive(r: &mut Reader<'_, '_>) -> Option<ResticTarget> {
    r.flag("archive.require_mount");
    r.path("archive.path");
    for path in ["restic.repository", "restic.repository_path"] {
        if r.chosen(path) {
            r.missing(
                "archive",
                format!("`archive` and `{path}` are both given; a project has one destination"),
            );
        }
    }
    if !r.given("archive.path") {
        r.missing("archive.path", "`archive.path` is missing: the folder that gets the archives");
    }
    r.missing("archive", "archive destinations are not available in this version");
    None
}

/// The repository as restic takes it, and how ssh reaches it.
fn location(r: &mut Reader<'_, '_>, shared: &Shared) -> Option<(String, Option<SshTarget>)> {
    let (whole, on_host) = ("restic.repository", "restic.repository_path");
    let repository = r.text(whole);
    let path = r.text(on_host);
    match (repository, path) {
        (Some(_), Some(_)) => {
            let leaf = r.leaf(on_host)?;
            let message =
                "`restic.repository` and `restic.repository_path` are both given; keep one";
            r.wrong(on_host, leaf, message);
            None
        }
        (Some(repository), None) => repository_location(r, shared, repository),
        (None, Some(path)) => {
            let found = shared.ssh.repository_at(&path);
            if found.is_none() {
                let leaf = r.leaf(on_host)?;
                r.wrong(
                    on_host,
                    leaf,
                    "SSH_NOT_CONFIGURED: `restic.repository_path` is a path on the ssh host and \
                     there is none; set `ssh.host` at the top of the file or SSH_HOST, or give \
                     `restic.repository`",
                );
            }
            found.map(|(repository, target)| (repository, Some(target)))
        }
        (None, None) => {
            let misread = r.issues.iter().any(|i| i.key == whole || i.key == on_host);
            if !misread {
                r.missing(
                    "restic",
                    "the project has no destination: set `restic.repository`, or \
                     `restic.repository_path` on the ssh host",
                );
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
    let leaf = r.leaf("restic.repository")?;
    match parse_sftp(&repository) {
        Some(Ok(address)) => Some((repository, Some(shared.ssh.target_of(address)))),
        Some(Err(why)) => {
            r.wrong("restic.repository", leaf, why);
            None
        }
        None if has_scheme(&repository) => Some((repository, None)),
        None => {
            let folder = r.as_path("restic.repository", leaf, &repository)?;
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
