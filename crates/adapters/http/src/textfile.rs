//! Metrics as a file, for where no daemon runs: `node_exporter`'s textfile collector serves it.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use backupctl_adapter_process::{AtomicFile, Existing, write_failure};
use backupctl_application::use_cases::Metrics;
use backupctl_domain::{ErrorCode, Failure};

use crate::render;

/// The collector runs as a user of its own.
const MODE: u32 = 0o644;

/// Writes the metrics into a file, which the collector sees whole or not at all, readable by everybody.
///
/// # Errors
///
/// `INVALID_CONFIG` for a name that does not end in `.prom`, which the collector passes over in
/// silence; `PATH_NOT_WRITABLE`, `DISK_FULL`.
pub fn write_textfile(path: &Path, metrics: &Metrics) -> Result<(), Failure> {
    if path.extension().is_none_or(|ext| ext != "prom") {
        let message = format!("{} does not end in `.prom`", path.display());
        return Err(Failure::new(ErrorCode::InvalidConfig, message).with_remedy(
            "name a file such as backupctl.prom in the folder of node_exporter's \
             `--collector.textfile.directory`: it reads no others",
        ));
    }
    let file = AtomicFile::create(path, Existing::Replace)?;
    let failed = |error| write_failure(&error, path);
    let mut handle = file.handle();
    handle.write_all(render(metrics).as_bytes()).map_err(failed)?;
    handle.set_permissions(std::fs::Permissions::from_mode(MODE)).map_err(failed)?;
    file.commit().map(drop)
}
