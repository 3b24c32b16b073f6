//! `database` and `compression`.

use backupctl_domain::project::{Algorithm, Compression, Database, DatabaseOptions, Engine};

use crate::reader::Reader;

/// The database. `None` if it cannot be read; `Some(None)` if there is none.
#[expect(clippy::option_option, reason = "wrong and absent are different, and issues tell which")]
pub(super) fn read(r: &mut Reader<'_, '_>) -> Option<Option<Database>> {
    let engine = r.text("database.type");
    let engine = Engine::ALL.into_iter().find(|e| Some(e.as_str()) == engine.as_deref());
    let options = DatabaseOptions {
        extra_args: r.list("database.options.extra_args"),
        exclude_tables: r.list("database.options.exclude_tables"),
        exclude_table_data: r.list("database.options.exclude_table_data"),
        globals: r.flag("database.options.globals").unwrap_or(false),
        sslmode: r.text("database.options.sslmode"),
        sslrootcert: r.path("database.options.sslrootcert"),
    };
    let host = r.text("database.host").unwrap_or_default();
    let port = r.port("database.port");
    let name = r.text("database.name");
    let user = r.text("database.user");
    let password = r.secret("database.password");
    let path = r.path("database.path");
    let container = container(r);
    let dump_timeout = r.minutes("database.dump_timeout_minutes");
    if !r.section_chosen("database") {
        return Some(None);
    }
    let Some(engine) = engine else {
        if !r.misread("database.type") {
            let all = Engine::ALL.map(Engine::as_str).join("`, `");
            r.missing("database.type", format!("`database.type` is missing: one of `{all}`"));
        }
        return None;
    };
    let file = engine == Engine::Sqlite;
    if file && path.is_none() && !r.misread("database.path") {
        r.missing("database.path", "`database.path` is missing: the SQLite database's file");
    }
    if file
        && container.is_some()
        && let Some(leaf) = r.leaf("database.via")
    {
        r.wrong(
            "database.via",
            leaf,
            "a SQLite database is a file that is read from here: remove `database.via`, and name in \
             `database.path` where the container's volume is on this machine",
        );
    }
    let named = !matches!(engine, Engine::Sqlite | Engine::Redis);
    if named && name.is_none() && !r.misread("database.name") {
        r.missing(
            "database.name",
            "`database.name` is missing: the database's name, or `all` for every database",
        );
    }
    Some(Some(Database {
        engine,
        host: if file { String::new() } else { host },
        port: port.unwrap_or(engine.default_port()),
        name: if named { name.unwrap_or_default() } else { String::new() },
        user,
        password,
        path: if file { path } else { None },
        container,
        dump_timeout,
        options,
    }))
}

/// The container of `via: docker:NAME`.
fn container(r: &mut Reader<'_, '_>) -> Option<String> {
    let via = r.text("database.via")?;
    let name = via.strip_prefix("docker:").filter(|name| {
        let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(good)
    });
    if name.is_none()
        && let Some(leaf) = r.leaf("database.via")
    {
        r.wrong(
            "database.via",
            leaf,
            format!("`{via}` is not `docker:` and the name or id of a container"),
        );
    }
    name.map(str::to_owned)
}

/// How the dump is compressed.
pub(super) fn compression(r: &mut Reader<'_, '_>) -> Option<Compression> {
    let enabled = r.flag("compression.enabled").unwrap_or(true);
    let (algorithm, usual, most) = match r.text("compression.algorithm").as_deref() {
        Some("gzip") => (Algorithm::Gzip, 6, 9),
        _ => (Algorithm::Zstd, 3, 19),
    };
    let level = r.count("compression.level");
    if let (Some(level), Some(leaf)) = (level, r.leaf("compression.level"))
        && level > most
    {
        r.wrong(
            "compression.level",
            leaf,
            format!("`{level}` is not between 1 and {most} for gzip"),
        );
    }
    let level = level.and_then(|level| i32::try_from(level).ok()).unwrap_or(usual);
    enabled.then_some(Compression { algorithm, level })
}
