//! What the configuration says that backups need from the machine: folders, files, programs.

use std::path::{Path, PathBuf};

use backupctl_domain::destination::{HostKeyCheck, ResticTarget, Target};
use backupctl_domain::project::{Channel, Database, EncryptionType, Engine};
use backupctl_domain::{Project, Secret};

use crate::ports::{GlobalSettings, Need, Needs, NeedsTool, ReadKind, Reads, UnitUser, Writes};

/// The kinds of repositories that are on another machine.
const REMOTE: [&str; 9] =
    ["sftp:", "s3:", "gs:", "azure:", "swift:", "rest:", "b2:", "rclone:", "opendal:"];

/// What a repository on this machine is called among the folders that are written to.
pub(super) const REPOSITORY: &str = "the repository";

/// What a folder of archives is called among them.
pub(super) const ARCHIVES: &str = "the archives";

/// What backups are stored in.
pub(super) const STORES: [&str; 2] = [REPOSITORY, ARCHIVES];

/// What every run needs, whatever its project.
pub fn shared_needs(
    global: &GlobalSettings,
    audit_url: &Secret,
    projects: &[&Project],
    user: &UnitUser,
) -> Needs {
    let mut needs = Needs::default();
    write(&mut needs, &global.base_dir, "base_dir", Need::Vital);
    if let Some(dir) = &global.log.dir {
        write(&mut needs, dir, "log.dir", Need::Vital);
    }
    if let Some(file) = global.audit_url.expose().ok().and_then(|url| url.strip_prefix("sqlite:")) {
        let file = Path::new(file.strip_prefix("//").unwrap_or(file));
        if let Some(dir) = file.parent().filter(|dir| dir.is_absolute()) {
            write(&mut needs, dir, "audit.url", Need::Vital);
        }
    }
    if let Some(dir) = &global.gpg_keys_dir {
        read(&mut needs, dir, ReadKind::Keys);
        write(&mut needs, &user.home.join(".gnupg"), "the keyring of gpg", Need::Required);
    }
    secrets(&mut needs, global.http_token.iter().chain([audit_url]));
    for channel in &global.notifications {
        secrets(&mut needs, channel.secrets());
    }
    if projects.is_empty() {
        needs.tools.push(one_of(&["restic"]));
    }
    needs
}

/// What one project's runs need.
pub fn needs_of(project: &Project, user: &UnitUser) -> Needs {
    let mut needs = Needs::default();
    for destination in &project.destinations {
        let need = match destination.required {
            false => Need::Optional,
            true if project.has_several_destinations() => Need::OneOfSeveral,
            true => Need::Required,
        };
        match &destination.target {
            Target::Restic(target) => repository(&mut needs, target, need, user),
            Target::Archive(target) => {
                needs.write(Writes {
                    path: target.path.clone(),
                    what: ARCHIVES,
                    need,
                    on_a_disk: target.require_mount,
                });
            }
        }
    }
    if let Some(database) = &project.database {
        of_database(&mut needs, database);
    }
    for path in &project.assets.paths {
        read(&mut needs, path, ReadKind::Asset);
    }
    if let Some(encryption) = &project.encryption {
        if let Some(file) = &encryption.recipients_file {
            read(&mut needs, file, ReadKind::Keys);
        }
        if encryption.kind == EncryptionType::Gpg {
            needs.tools.push(one_of(&["gpg"]));
            write(&mut needs, &user.home.join(".gnupg"), "the keyring of gpg", Need::Required);
        }
    }
    let hooks = &project.hooks;
    needs.hooks =
        [&hooks.pre_backup, &hooks.post_backup, &hooks.finally].into_iter().any(Option::is_some);
    secrets(&mut needs, project.secrets());
    secrets(&mut needs, project.notifications.iter().flat_map(Channel::secrets));
    needs
}

fn repository(needs: &mut Needs, target: &ResticTarget, need: Need, user: &UnitUser) {
    let binary = target.binary.as_deref().and_then(Path::to_str).unwrap_or("restic");
    needs.tools.push(one_of(&[binary]));
    if let Some(dir) = &target.cache_dir {
        write(needs, dir, "restic.cache_dir", need);
    }
    if let Some(dir) = local_repository(&target.repository) {
        write(needs, &dir, REPOSITORY, need);
    }
    if target.repository.starts_with("rclone:") {
        needs.tools.push(one_of(&["rclone"]));
    }
    if !target.repository.starts_with("sftp:") || target.options.contains_key("sftp.command") {
        return;
    }
    needs.tools.push(one_of(&["ssh"]));
    let Some(ssh) = &target.ssh else { return };
    if let Some(key) = &ssh.key_path {
        read(needs, key, ReadKind::SshKey);
    } else {
        // ssh chooses among the user's own.
        read(needs, &user.home.join(".ssh"), ReadKind::Keys);
    }
    let known = ssh.known_hosts_path.clone();
    let known = known.unwrap_or_else(|| user.home.join(".ssh/known_hosts"));
    if ssh.host_key_check == HostKeyCheck::AcceptNew {
        // A new host is written down, for which the file's folder is needed where it is the first.
        if let Some(dir) = known.parent() {
            write(needs, dir, "ssh's known hosts", Need::Required);
        }
    } else {
        read(needs, &known, ReadKind::KnownHosts);
    }
}

/// The folder of a repository on this machine.
fn local_repository(repository: &str) -> Option<PathBuf> {
    if REMOTE.iter().any(|kind| repository.starts_with(kind)) {
        return None;
    }
    let path = PathBuf::from(repository.strip_prefix("local:").unwrap_or(repository));
    path.is_absolute().then_some(path)
}

fn of_database(needs: &mut Needs, database: &Database) {
    if let Some(file) = &database.options.sslrootcert
        && database.container.is_none()
    {
        read(needs, file, ReadKind::Certificate);
    }
    if database.container.is_some() {
        needs.docker = true;
        needs.tools.push(one_of(&["docker"]));
        return;
    }
    let tools: &[&[&str]] = match database.engine {
        Engine::Postgres if database.is_whole_server() || database.options.globals => {
            &[&["pg_dump"], &["pg_restore"], &["pg_dumpall"]]
        }
        Engine::Postgres => &[&["pg_dump"], &["pg_restore"]],
        Engine::Mysql => &[&["mysqldump", "mariadb-dump"], &["mysql", "mariadb"]],
        Engine::Mariadb => &[&["mariadb-dump", "mysqldump"], &["mariadb", "mysql"]],
        Engine::Mongodb => &[&["mongodump"]],
        Engine::Redis => &[&["redis-cli"], &["redis-check-rdb"]],
        Engine::Sqlite => &[],
    };
    needs.tools.extend(tools.iter().map(|names| one_of(names)));
    // Whoever reads a SQLite database takes a lock, which is a file beside it.
    if let Some(dir) = database.path.as_deref().and_then(Path::parent) {
        write(needs, dir, "the SQLite database", Need::Required);
    }
}

fn secrets<'a>(needs: &mut Needs, all: impl IntoIterator<Item = &'a Secret>) {
    for secret in all {
        if let Secret::File(path) = secret {
            read(needs, path, ReadKind::Secret);
        }
    }
}

fn one_of(names: &[&str]) -> NeedsTool {
    NeedsTool { any_of: names.iter().map(|name| (*name).to_owned()).collect() }
}

fn read(needs: &mut Needs, path: &Path, kind: ReadKind) {
    let reads = Reads { path: path.to_owned(), kind };
    if !needs.reads.contains(&reads) {
        needs.reads.push(reads);
    }
}

fn write(needs: &mut Needs, path: &Path, what: &'static str, need: Need) {
    needs.write(Writes { path: path.to_owned(), what, need, on_a_disk: false });
}
