//! Copies a database that is in use by SQLite's online backup API, and checks the copy.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::PoisonError;

use backupctl_adapter_process::{AtomicFile, write_failure};
use backupctl_domain::manifest::Contents;
use backupctl_domain::{ErrorCode, Failure};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::source::{Source, contents, open};
use super::sqlite_failure;
use crate::blocking::Interrupts;
use crate::stream::{Watch, into_failure};

/// How much is copied before anybody may stop it.
const STEP_BYTES: u64 = 1 << 20;
/// How many problems of a damaged database are told.
const PROBLEMS: usize = 5;

/// Copies the whole database into `file`, as one file that needs no `-wal` beside it.
pub(crate) fn copy(source: &Source, file: &AtomicFile, watch: &mut Watch) -> Result<(), Failure> {
    let path = file.target().to_owned();
    let fail = |e: rusqlite::Error| sqlite_failure(&e, &path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(file.partial(), flags).map_err(fail)?;
    // A copy that is cut short is thrown away, so nothing needs to be able to roll back.
    target
        .execute_batch(
            "pragma journal_mode = off; pragma synchronous = off; pragma locking_mode = exclusive",
        )
        .map_err(fail)?;
    let page_size = u64::from(
        source
            .connection
            .query_row("pragma page_size", [], |row| row.get::<_, u32>(0))
            .map_err(fail)?,
    );
    let pages = i32::try_from(STEP_BYTES / page_size.max(1)).unwrap_or(1).max(1);
    let backup = Backup::new(&source.connection, &mut target).map_err(fail)?;
    let mut left = None;
    loop {
        let step = backup.step(pages).map_err(fail)?;
        let progress = backup.progress();
        let now = u64::try_from(progress.remaining).unwrap_or_default();
        let before = left.unwrap_or(u64::try_from(progress.pagecount).unwrap_or_default());
        let bytes = before.saturating_sub(now) * page_size;
        watch
            .advance(usize::try_from(bytes).unwrap_or_default())
            .map_err(|e| into_failure(e, &path))?;
        left = Some(now);
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // We hold a read transaction, so nobody can take the database from us.
            _ => return Err(Failure::new(ErrorCode::DbTimeout, "the database is locked")),
        }
    }
    drop(backup);
    target.close().map_err(|(_, e)| fail(e))?;
    leave_wal_mode(file)
}

/// Bytes 18 and 19 of the header say 2 for WAL (SQLite's file format, 1.3). The copy is whole
/// without a WAL, and a restored file shall not need a folder that can be written.
fn leave_wal_mode(file: &AtomicFile) -> Result<(), Failure> {
    let path = file.target().to_owned();
    let mut versions = [0; 2];
    let handle = file.handle();
    let done = handle.read_exact_at(&mut versions, 18).and_then(|()| {
        if versions.contains(&2) { handle.write_all_at(&[1, 1], 18) } else { Ok(()) }
    });
    done.map_err(|e| write_failure(&e, &path))
}

/// Checks the whole of a database file that nobody writes: its contents, and a remark where a part
/// could not be checked. `DUMP_CORRUPT` naming the first problems.
pub(crate) fn check(
    path: &Path,
    interrupts: &Interrupts,
    watch: &Watch,
) -> Result<(Contents, Option<String>), Failure> {
    let fail = |e: rusqlite::Error| sqlite_failure(&e, path);
    let connection = open(path, "mode=ro&immutable=1").map_err(fail)?;
    *interrupts.lock().unwrap_or_else(PoisonError::into_inner) =
        Some(connection.get_interrupt_handle());
    watch.check()?;
    let (problems, remark) = match problems(&connection, "integrity_check") {
        // The application brings functions or collations that we do not have: that is no damage.
        Err(e) if needs_the_application(&e) => {
            let remark = format!(
                "the indexes of the database could not be checked, they need the application's own code ({e})"
            );
            match problems(&connection, "quick_check") {
                Err(e) if needs_the_application(&e) => (Vec::new(), Some(remark)),
                other => (other.map_err(fail)?, Some(remark)),
            }
        }
        other => (other.map_err(fail)?, None),
    };
    watch.check()?;
    if !problems.is_empty() {
        return Err(Failure::new(
            ErrorCode::DumpCorrupt,
            format!("the database is damaged: {}", problems.join("; ")),
        )
        .permanent()
        .with_remedy("repair it with `sqlite3 FILE .recover`, or go back to an older snapshot"));
    }
    let found = contents(&connection).map_err(fail)?;
    Ok((found, remark))
}

fn problems(connection: &Connection, pragma: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("pragma {pragma}({PROBLEMS})"))?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut found = Vec::new();
    for row in rows {
        found.extend(row?.lines().filter(|l| *l != "ok").map(str::to_owned));
    }
    found.truncate(PROBLEMS);
    Ok(found)
}

fn needs_the_application(error: &rusqlite::Error) -> bool {
    let text = error.to_string();
    ["no such collation", "no such function", "no such module"].iter().any(|t| text.contains(t))
}
