//! Codes against the contract, and texts that can be used as they are.

use std::collections::HashSet;

use super::*;

#[test]
fn codes_are_unique_and_round_trip() {
    let names: HashSet<_> = ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(names.len(), ErrorCode::ALL.len());
    for code in ErrorCode::ALL {
        assert_eq!(code.as_str().to_lowercase().parse(), Ok(*code));
        let json = serde_json::to_string(code).unwrap();
        assert_eq!(serde_json::from_str::<ErrorCode>(&json).unwrap(), *code);
    }
    assert_eq!("NO_SUCH".parse::<ErrorCode>(), Err("unknown error code \"NO_SUCH\"".to_owned()));
}

#[test]
fn class_and_exit_status_are_those_of_the_contract() {
    let transient: Vec<_> = ErrorCode::ALL
        .iter()
        .filter(|c| c.class() == Class::Transient)
        .map(|c| c.as_str())
        .collect();
    assert_eq!(
        transient,
        [
            "SSH_CONNECTION_REFUSED",
            "SSH_TIMEOUT",
            "SSH_DISCONNECTED",
            "DB_CONNECTION_REFUSED",
            "DB_TIMEOUT",
            "DB_DISCONNECTED",
            "DUMP_EMPTY",
            "DUMP_TRUNCATED",
            "DUMP_CORRUPT",
            "CHECKSUM_MISMATCH",
            "REPO_UNREACHABLE",
            "REPO_LOCKED",
            "NOTIFY_FAILED",
            "HEARTBEAT_FAILED",
        ]
    );
    let with_exit = |exit: u8| -> Vec<_> {
        ErrorCode::ALL.iter().filter(|c| c.exit_status() == exit).map(|c| c.as_str()).collect()
    };
    assert_eq!(with_exit(2), ["BACKUP_IN_PROGRESS"]);
    assert_eq!(with_exit(3), ["INVALID_CONFIG", "UNKNOWN_PROJECT"]);
    assert_eq!(
        with_exit(4),
        [
            "SSH_NOT_CONFIGURED",
            "SSH_PERMISSION_DENIED",
            "SSH_HOST_KEY_UNKNOWN",
            "SSH_KEY_PERMISSIONS",
            "SSH_CONNECTION_REFUSED",
            "SSH_TIMEOUT",
            "SSH_DISCONNECTED",
            "DB_CONNECTION_REFUSED",
            "DB_TIMEOUT",
            "DB_DISCONNECTED",
            "DB_AUTH_FAILED",
            "DB_NOT_FOUND",
            "REPO_NOT_INITIALIZED",
            "REPO_WRONG_PASSWORD",
            "REPO_UNREACHABLE",
            "AUDIT_UNAVAILABLE",
        ]
    );
    assert_eq!(with_exit(130), ["INTERRUPTED"]);
}

#[test]
fn every_code_is_explained_in_the_form_that_texts_need() {
    let mut remedies = HashSet::new();
    for code in ErrorCode::ALL {
        let e = code.explanation();
        assert!(e.meaning.len() > 40 && e.meaning.ends_with('.'), "{code}: {}", e.meaning);
        assert!((2..=6).contains(&e.causes.len()), "{code}: {} causes", e.causes.len());
        for cause in e.causes {
            assert!(cause.len() > 20 && !cause.ends_with('.'), "{code}: {cause}");
        }
        assert!(!e.remedy.ends_with('.'), "{code}: {}", e.remedy);
        assert!(e.remedy.starts_with(|c: char| c.is_ascii_lowercase()), "{code}: {}", e.remedy);
        assert!(remedies.insert(e.remedy), "{code} has the remedy of another code");
        let all = [&[e.meaning, e.remedy], e.causes].concat();
        for text in all {
            assert!(!text.contains('\n') && !text.contains("  "), "{code}: {text}");
            assert_eq!(text.matches('`').count() % 2, 0, "{code}: {text}");
        }
        assert!(!e.meaning.contains('|'), "{code}: a table cell cannot hold a bar");
    }
}

#[test]
fn a_remedy_names_a_command_a_key_or_a_path() {
    for code in ErrorCode::ALL {
        let remedy = code.explanation().remedy;
        assert!(remedy.contains('`'), "{code}: {remedy}");
    }
}

#[test]
fn commands_that_texts_name_exist() {
    const COMMANDS: [&str; 14] = [
        "init",
        "run",
        "runs",
        "status",
        "logs",
        "snapshots",
        "restore",
        "recover",
        "config",
        "explain",
        "schedule",
        "serve",
        "systemd",
        "watch",
    ];
    for code in ErrorCode::ALL {
        let e = code.explanation();
        for text in [&[e.meaning, e.remedy], e.causes].concat() {
            for (at, _) in text.match_indices("`backupctl ") {
                let command = text[at..].split([' ', '`']).nth(2).unwrap();
                assert!(
                    COMMANDS.contains(&command) || command.starts_with("--"),
                    "{code}: {command}"
                );
            }
        }
    }
}

#[test]
fn the_ways_out_that_people_look_for_are_named() {
    let named = |code: ErrorCode, words: &[&str]| {
        let e = code.explanation();
        let text = format!("{} {} {}", e.meaning, e.causes.join(" "), e.remedy);
        for word in words {
            assert!(text.contains(word), "{code} does not say {word:?}");
        }
    };
    named(
        ErrorCode::FsFileTooLarge,
        &["FAT32", "4 GiB - 1", "4294967295", "parted", "mkfs.ext4", "exFAT"],
    );
    named(ErrorCode::RepoNotInitialized, &["backupctl init", "restic.auto_init: true"]);
    named(ErrorCode::RepoLocked, &["backupctl recover", "restic unlock", "stale locks only"]);
    named(ErrorCode::BackupInProgress, &["--wait", "backupctl status"]);
    named(ErrorCode::NotMounted, &["archive.require_mount: false"]);
    named(
        ErrorCode::SourceIncomplete,
        &["restic.allow_incomplete: true", "archive.allow_incomplete: true", "assets.exclude"],
    );
    named(ErrorCode::SshHostKeyUnknown, &["ssh-keyscan", "ssh.known_hosts_path"]);
    named(ErrorCode::DumpTimeout, &["database.dump_timeout_minutes"]);
    named(ErrorCode::Internal, &["bug", "log.dir"]);
}

#[test]
fn the_reference_has_a_row_and_a_section_for_every_code() {
    let page = reference_markdown();
    assert_eq!(page, reference_markdown());
    for code in ErrorCode::ALL {
        assert_eq!(page.matches(&format!("\n## {code}\n")).count(), 1, "{code}");
        let row = format!("\n| [{code}](#{}) | ", code.as_str().to_lowercase());
        assert_eq!(page.matches(&row).count(), 1, "{code}");
        assert!(page.contains(&format!("\nFix: {}\n", code.explanation().remedy)), "{code}");
    }
    assert!(page.ends_with('\n') && !page.ends_with("\n\n"));
    let head: String = page.lines().skip_while(|l| !l.starts_with("| Code")).take(4).fold(
        String::new(),
        |mut out, line| {
            out.push_str(line);
            out.push('\n');
            out
        },
    );
    insta::assert_snapshot!(head, @"
    | Code | Transient | Exit | Meaning |
    |---|---|---|---|
    | [INVALID_CONFIG](#invalid_config) | no | 3 | The configuration cannot be used as it is. |
    | [UNKNOWN_PROJECT](#unknown_project) | no | 3 | No project of that name is in the configuration file that was read. |
    ");
    let interrupted: String = page.lines().filter(|l| l.starts_with("| [INTERRUPTED]")).collect();
    insta::assert_snapshot!(interrupted, @"| [INTERRUPTED](#interrupted) | no | 130 or 143 | The run was ended before its end, by a signal or because its process died. |");
    let locked = page.split("\n## ").find(|s| s.starts_with("REPO_LOCKED\n")).unwrap();
    insta::assert_snapshot!(locked, @"
    REPO_LOCKED

    Another restic process holds a lock of the repository that excludes this step. Locks of processes that are gone have been removed already where that could be proven.

    Usual causes:

    - another machine or person is working in the same repository, e.g. a check or a prune
    - restic was killed on another host; its lock counts as stale only after 30 minutes
    - two projects share one repository and their schedules overlap

    Fix: wait for the other restic, then run `backupctl recover PROJECT`; it uses `restic unlock`, which removes stale locks only
    ");
}

#[test]
fn a_failure_takes_class_and_remedy_from_its_code() {
    let f = Failure::new(ErrorCode::SshTimeout, "x");
    assert!(f.is_transient());
    assert_eq!(f.remedy, ErrorCode::SshTimeout.explanation().remedy);
    assert!(!f.permanent().is_transient());
    assert!(!Failure::internal("x").is_transient());
}

#[test]
fn the_full_message_is_one_line() {
    let f = Failure::new(ErrorCode::DumpEmpty, "pg_dump ended with status 1");
    assert_eq!(f.full_message(), "pg_dump ended with status 1");
    let f = f.with_detail("first line\n\n  second line\n");
    assert_eq!(f.full_message(), "pg_dump ended with status 1: first line; second line");
}
