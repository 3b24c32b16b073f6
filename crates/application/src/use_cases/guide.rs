//! What to do with a restored dump, for this very project: the text of `restore --guide`.

use std::path::Path;

use backupctl_domain::archive_name::Packed;
use backupctl_domain::destination::ArchiveTarget;
use backupctl_domain::project::{Database, EncryptionType, Engine};
use backupctl_domain::{Destination, Project};

/// The import steps for a project, as lines for people. `target` is the folder restored into.
/// `snapshot` is the one to restore, an id or `latest`.
pub fn import_guide(project: &Project, snapshot: &str, target: &Path) -> String {
    let mut steps: Vec<String> = Vec::new();
    let name = &project.name;
    let (db_dir, files_dir) = (target.join("db"), target.join("files"));
    let (db_dir, files_dir) = (quoted(&db_dir), quoted(&files_dir));
    if let Some(db) = &project.database {
        let ext = db.extension();
        steps.push(format!(
            "Restore the dump, decrypted and decompressed:\n\
             backupctl restore {name} {snapshot} {db_dir} --only db --decompress"
        ));
        if project.encryption.as_ref().is_some_and(|e| e.kind == EncryptionType::Age) {
            steps.push(
                "Without backupctl, `age -d -i IDENTITY FILE.age` decrypts it and \
                 `zstd -d FILE.zst` (or `gunzip FILE.gz`) decompresses it."
                    .to_owned(),
            );
        }
        steps.push(import(db, &format!("{db_dir}/{name}_backup_*.{ext}")));
    }
    if !project.assets.paths.is_empty() {
        let paths: Vec<String> =
            project.assets.paths.iter().map(|p| format!("  {files_dir}{}", quoted(p))).collect();
        steps.push(format!(
            "Restore the files; each keeps its whole path below the target:\n\
             backupctl restore {name} {snapshot} {files_dir} --only assets\n{}\n\
             Compare, then copy back with `cp -a` or `rsync -a`, as a user who may set owners.",
            paths.join("\n")
        ));
    }
    let archives = project.destinations.iter().filter_map(Destination::archive);
    steps.extend(archives.map(|archive| by_hand(project, archive, target)));
    let numbered: Vec<String> =
        steps.iter().enumerate().map(|(i, s)| format!("{}. {s}", i + 1)).collect();
    format!("How to bring {name} back\n\n{}\n", numbered.join("\n\n"))
}

/// An archive opened with standard tools alone.
fn by_hand(project: &Project, archive: &ArchiveTarget, target: &Path) -> String {
    let packed = project.compression.map(Packed::from);
    let encrypted = project.encryption.is_some();
    let ext = packed.map_or_else(String::new, |packed| format!(".{}", packed.extension()));
    let ext = if encrypted { format!("{ext}.age") } else { ext };
    let file = format!("{}_YYYYMMDD_HHMMSS.tar{ext}", project.name);
    let (file, parts) = match archive.split_size {
        None => (file, ""),
        Some(_) => (file, ".*"),
    };
    let file = format!("{}{parts}", quoted(&archive.path.join(file)));
    let mut pipe = vec![format!("cat {file}")];
    if encrypted {
        let identity = project.encryption.as_ref().and_then(|e| e.identity_file.as_deref());
        let identity = identity.map_or_else(|| "IDENTITY".to_owned(), quoted);
        pipe.push(format!("age --decrypt --identity {identity}"));
    }
    pipe.extend(packed.map(|packed| match packed {
        Packed::Zstd => "zstd -d".to_owned(),
        Packed::Gzip => "gunzip".to_owned(),
    }));
    pipe.push(format!("tar -x -p --xattrs --xattrs-include='*' -C {}", quoted(target)));
    format!(
        "Without backupctl, an archive opens with standard tools, as root where owners are to come \
         back. MANIFEST.json in it lists every file with its BLAKE3 checksum (`b3sum`); a dump in it \
         whose name ends with .age is decrypted once more with the same key:\n{}",
        pipe.join(" | ")
    )
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn import(db: &Database, file: &str) -> String {
    let (host, port, name) = (&db.host, db.port, &db.name);
    match db.engine {
        Engine::Postgres if db.is_whole_server() => format!(
            "Load it into a new server, as its superuser. That a role exists already is no failure; \
             any other error is one:\n\
             psql -X -h {host} -p {port} -U postgres --dbname postgres --file {file}"
        ),
        Engine::Postgres if db.options.globals => format!(
            "Load it into a new, empty database, as a superuser: it makes the roles too. That a role \
             exists already is no failure; any other error is one:\n\
             createdb -h {host} -p {port} -U postgres --template template0 {name}_restored\n\
             psql -X -h {host} -p {port} -U postgres --dbname {name}_restored --file {file}"
        ),
        Engine::Postgres => format!(
            "Load it into a new, empty database, and look at it before you put it in the old \
             one's place; owners and grants come back as they were:\n\
             createdb -h {host} -p {port} -U postgres --template template0 {name}_restored\n\
             pg_restore -h {host} -p {port} -U postgres --dbname {name}_restored --exit-on-error {file}\n\
             Where the server lacks their roles, make those first, or add `--no-owner --no-acl \
             --role ROLE` with the role that your application logs in as."
        ),
        Engine::Mysql | Engine::Mariadb => mysql(db, file),
        Engine::Mongodb if db.is_whole_server() => format!(
            "Load it into a new server: every database comes back under its own name:\n\
             mongorestore --host {host} --port {port} --archive={file}"
        ),
        Engine::Mongodb => format!(
            "Load it beside the old database:\n\
             mongorestore --host {host} --port {port} --archive={file} --nsFrom '{name}.*' \
             --nsTo '{name}_restored.*'"
        ),
        Engine::Sqlite => {
            let path = db.path.as_deref().map(|p| p.display().to_string()).unwrap_or_default();
            format!(
                "Stop what writes to the database, then put the file in its place (and remove a \
                 left-over -wal and -shm beside it):\n\
                 sqlite3 {file} 'PRAGMA integrity_check'\n\
                 cp {file} {path}"
            )
        }
        Engine::Redis => format!(
            "Look at the file, stop the server, and put the file in place of its dump.rdb (`CONFIG \
             GET dir` tells the folder); append-only files would be read instead of it:\n\
             redis-check-rdb {file}\n\
             systemctl stop redis-server\n\
             mv /var/lib/redis/appendonlydir /var/lib/redis/appendonlydir.old\n\
             install -o redis -g redis -m 660 {file} /var/lib/redis/dump.rdb\n\
             Start it with `appendonly no`. If it is to have append-only files, make them from what \
             it has loaded before you go back to your configuration, or the next start is empty:\n\
             redis-cli CONFIG SET appendonly yes\n\
             redis-cli INFO persistence   (wait for aof_rewrite_in_progress:0)"
        ),
    }
}

/// By an administrator: the user of the backup may read alone.
fn mysql(db: &Database, file: &str) -> String {
    let client = if db.engine == Engine::Mysql { "mysql" } else { "mariadb" };
    let (host, port, name) = (&db.host, db.port, &db.name);
    let to = match host.strip_suffix(".sock") {
        Some(_) => format!("--socket {host}"),
        None if host.starts_with('/') => format!("--socket {host}/mysqld.sock"),
        None => format!("-h {host} -P {port}"),
    };
    let sandbox = "If an older client stops at the first line (`enable the sandbox mode`), remove \
                   that line.";
    if db.is_whole_server() {
        return format!(
            "Load it into a new server, as its administrator:\n\
             {client} {to} -u root -p --binary-mode < {file}\n{sandbox}"
        );
    }
    format!(
        "Load it into a new, empty database, as an administrator:\n\
         {client} {to} -u root -p -e 'CREATE DATABASE `{name}_restored`'\n\
         {client} {to} -u root -p --binary-mode {name}_restored < {file}\n{sandbox}"
    )
}
