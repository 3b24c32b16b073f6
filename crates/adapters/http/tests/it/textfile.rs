//! The file for `node_exporter`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use backupctl_adapter_http::{render, write_textfile};
use backupctl_application::use_cases::Metrics;
use backupctl_domain::ErrorCode;

#[test]
fn it_is_whole_readable_by_everybody_and_replaced_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backupctl.prom");
    for version in ["0.1.0", "0.2.0"] {
        let metrics = Metrics { version: version.to_owned(), ..Metrics::default() };
        write_textfile(&path, &metrics).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), render(&metrics));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["backupctl.prom"]);
}

#[test]
fn a_file_that_nobody_would_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["backupctl", "backupctl.txt", "backupctl.prom.tmp", ".prom"] {
        let failure = write_textfile(&dir.path().join(name), &Metrics::default()).unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidConfig, "{name}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing/backupctl.prom");
    let failure = write_textfile(&path, &Metrics::default()).unwrap_err();
    assert_eq!(failure.code, ErrorCode::PathNotWritable);
    assert!(failure.message.contains("missing/backupctl.prom"), "{failure}");
}
