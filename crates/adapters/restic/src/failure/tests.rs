//! Every recorded failure has its code, and the texts help.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ErrorCode as C;

use super::*;

fn op_of(command: &str) -> Op {
    [("init", Op::Init), (" backup ", Op::Backup), ("forget", Op::Forget), ("restore", Op::Restore)]
        .into_iter()
        .find(|(word, _)| command.contains(word))
        .map_or(Op::Snapshots, |(_, op)| op)
}

fn ended(op: Op, code: i32, stderr: &str) -> Ended<'_> {
    Ended {
        op,
        version: Version::OLDEST,
        code: Some(code),
        signal: None,
        stderr,
        location: "/r",
        sftp: false,
    }
}

/// Every recorded failure of restic 0.14, by name. `None`: it is no failure (status 3).
const EXPECTED: &[(&str, Option<ErrorCode>)] = &[
    ("init-exists", Some(C::RepoUnreachable)),
    ("restore-unknown-snapshot", Some(C::SnapshotNotFound)),
    ("dump-missing-file", Some(C::SnapshotNotFound)),
    ("retry-lock-flag", Some(C::InvalidConfig)),
    ("unknown-command", Some(C::InvalidConfig)),
    ("wrong-password", Some(C::RepoWrongPassword)),
    ("wrong-password-backup-json", Some(C::RepoWrongPassword)),
    ("no-password", Some(C::InvalidConfig)),
    ("empty-password", Some(C::InvalidConfig)),
    ("password-file-missing", Some(C::InvalidConfig)),
    ("password-command-fails", Some(C::InvalidConfig)),
    ("missing-repo", Some(C::RepoNotInitialized)),
    ("missing-repo-backup-json", Some(C::RepoNotInitialized)),
    ("no-repo-given", Some(C::InvalidConfig)),
    ("all-paths-missing-json", Some(C::NothingToBackUp)),
    ("unreadable-file-json", None),
    ("unreadable-file-text", None),
    ("unreadable-only-json", None),
    ("repo-not-writable-json", Some(C::PathNotWritable)),
    ("disk-full-json", Some(C::DiskFull)),
    ("killed-9-mid-backup", Some(C::SnapshotUnproven)),
    ("stale-lock-forget-prune-json", Some(C::RepoLocked)),
    ("stale-lock-check", Some(C::RepoLocked)),
    ("live-exclusive-lock-backup-json", Some(C::RepoLocked)),
    ("live-exclusive-lock-snapshots-json", Some(C::RepoLocked)),
    ("live-exclusive-lock-after-unlock-backup-json", Some(C::RepoLocked)),
    ("live-shared-lock-forget-prune-json", Some(C::RepoLocked)),
    ("live-shared-lock-forget-noprune-json", Some(C::RepoLocked)),
    ("sigINT-mid-backup", Some(C::Interrupted)),
    ("sigTERM-mid-backup", Some(C::Interrupted)),
    ("check-bitflip-in-pack-read-data", Some(C::RepoCorrupt)),
    ("check-missing-pack", Some(C::RepoCorrupt)),
    ("restore-missing-pack", Some(C::RepoCorrupt)),
    ("check-missing-index", Some(C::RepoCorrupt)),
    ("missing-config", Some(C::RepoNotInitialized)),
    ("sftp-option-args", Some(C::InvalidConfig)),
    ("sftp-url-with-port", Some(C::SshConnectionRefused)),
    ("sftp-missing-repo", Some(C::RepoNotInitialized)),
    ("sftp-wrong-key", Some(C::SshPermissionDenied)),
    // ssh's own line is lost here: what is left is asked of ssh by the caller.
    ("sftp-wrong-key-backup-json", Some(C::RepoUnreachable)),
    ("sftp-refused", Some(C::SshConnectionRefused)),
    ("sftp-unknown-host-key", Some(C::SshHostKeyUnknown)),
    ("sftp-name-not-resolved", Some(C::SshConnectionRefused)),
    ("sftp-no-write-permission", Some(C::PathNotWritable)),
    ("sftp-killed-mid-backup-json", Some(C::SshDisconnected)),
    ("sftp-after-kill-forget-prune", Some(C::RepoLocked)),
];

#[test]
fn every_recorded_failure_has_its_code() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/restic-0.14");
    let index = std::fs::read_to_string(dir.join("INDEX.tsv")).unwrap();
    let expected: BTreeMap<_, _> = EXPECTED.iter().copied().collect();
    let mut seen = 0;
    for row in index.lines().skip(1) {
        let [name, code, _, command] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let code: i32 = code.parse().unwrap();
        if code == 0 {
            continue;
        }
        let expected = expected.get(name).unwrap_or_else(|| panic!("{name} is not expected"));
        seen += 1;
        let Some(expected) = expected else { continue };
        let stderr =
            std::fs::read_to_string(dir.join(format!("{name}.stderr"))).unwrap_or_default();
        let sftp = name.starts_with("sftp");
        let call = Ended { sftp, ..ended(op_of(command), code, &stderr) };
        let failure = classify(&call);
        assert_eq!(failure.code, *expected, "{name}: {failure:?}");
        assert!(failure.message.contains(&format!("exit status {code}")), "{failure:?}");
        assert!(!failure.message.contains("Fatal:") && !failure.message.contains('\n'));
        assert!(!failure.remedy.is_empty());
    }
    assert_eq!(seen, EXPECTED.len());
}

#[test]
fn a_lock_says_who_holds_it_and_since_when() {
    let text =
        include_str!("../../tests/fixtures/restic-0.14/live-exclusive-lock-backup-json.stderr");
    let failure = classify(&ended(Op::Backup, 1, text));
    assert!(failure.is_transient());
    assert!(
        failure.message.starts_with(
            "repository /r is locked exclusively by PID 20313 on HOST by root (UID 0, GID 0) \
             since 2026-11-21 07:03:22 (707.823576ms ago)"
        ),
        "{}",
        failure.message
    );
}

#[test]
fn a_missing_repository_names_the_command_that_makes_it() {
    let text = include_str!("../../tests/fixtures/restic-0.14/missing-repo.stderr");
    let failure = classify(&ended(Op::Backup, 1, text));
    assert!(failure.remedy.contains("`backupctl init`"));
    assert!(failure.message.contains("unable to open config file"), "{}", failure.message);
}

#[test]
fn a_session_that_never_began_is_noticed() {
    let lost = include_str!("../../tests/fixtures/restic-0.14/sftp-wrong-key-backup-json.stderr");
    assert!(Ended { sftp: true, ..ended(Op::Backup, 1, lost) }.ssh_ended_at_once());
    let missing = include_str!("../../tests/fixtures/restic-0.14/sftp-missing-repo.stderr");
    assert!(!Ended { sftp: true, ..ended(Op::Backup, 1, missing) }.ssh_ended_at_once());
}

#[test]
fn newer_versions_say_it_by_status_and_json() {
    let code = |status, stderr: &str| classify(&ended(Op::Forget, status, stderr)).code;
    let json = r#"{"message_type":"exit_error","code":12,"message":"Fatal: wrong password or no key found"}"#;
    assert_eq!(code(12, json), C::RepoWrongPassword);
    assert_eq!(code(10, ""), C::RepoNotInitialized);
    assert_eq!(
        code(11, "{\"message_type\":\"exit_error\",\"code\":11,\"message\":\"x\"}"),
        C::RepoLocked
    );
    assert_eq!(code(3, "unable to remove <snapshot/ab>"), C::PathNotWritable);
    assert_eq!(code(1, json), C::RepoWrongPassword);
}

#[test]
fn other_backends_are_told_apart() {
    let of = |stderr: &str| classify(&ended(Op::Backup, 1, stderr));
    let down = of(
        "Fatal: unable to open config file: Head \"http://h/\": dial tcp 127.0.0.1:1: connect: connection refused\nIs there a repository at the following location?\nrest:http://h/",
    );
    assert_eq!((down.code, down.is_transient()), (C::RepoUnreachable, true));
    let refused = of("Fatal: unable to open config file: Stat: Access Denied.");
    assert_eq!((refused.code, refused.is_transient()), (C::RepoUnreachable, false));
    assert_eq!(
        of("Fatal: unable to open config file: stat /r/config: permission denied").code,
        C::PathNotWritable
    );
    assert_eq!(of("").code, C::SnapshotUnproven);
}

#[test]
fn a_slow_or_closed_ssh_server_is_told_apart() {
    let of = |stderr: &str| classify(&Ended { sftp: true, ..ended(Op::Backup, 1, stderr) }).code;
    assert_eq!(of("ssh: connect to host h port 22: Connection timed out"), C::SshTimeout);
    assert_eq!(of("subprocess ssh: Timeout, server h not responding."), C::SshTimeout);
    assert_eq!(of("subprocess ssh: subsystem request failed on channel 0"), C::RepoUnreachable);
    assert_eq!(
        of("WARNING: UNPROTECTED PRIVATE KEY FILE!\nu@h: Permission denied (publickey)."),
        C::SshKeyPermissions
    );
    assert_eq!(of("Fatal: sftp: \"Failure\" (SSH_FX_FAILURE)"), C::DiskFull);
}

#[test]
fn the_last_word_is_quoted_rather_than_the_tries_before_it() {
    let stderr = "unable to open cache: mkdir /root: permission denied\n\
        Save(<data/3f>) returned error, retrying after 13.8s: Write: sftp: \"Failure\" (SSH_FX_FAILURE)\n\
        Fatal: unable to save snapshot: Write: sftp: \"Failure\" (SSH_FX_FAILURE)";
    let failure = classify(&Ended { sftp: true, ..ended(Op::Backup, 1, stderr) });
    assert_eq!(failure.code, C::DiskFull);
    assert!(failure.message.contains("exit status 1: unable to save snapshot"), "{failure:?}");
    assert!(!failure.detail.contains("cache"));
}
