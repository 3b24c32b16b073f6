//! Every stage failing for a while and for good: retries, codes, what is left.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backupctl_application::context::Interrupt;
use backupctl_application::use_cases::{RunBackup, RunOutcome};
use backupctl_domain::manifest::Completeness;
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::{
    AssetRecord, AssetState, ErrorCode, Failure, RunStatus, Stage, StageOutcome,
};
use backupctl_testkit::builders::archive;
use backupctl_testkit::fakes::{Inject, RepositoryLock};
use backupctl_testkit::{TestBench, project};

use super::{code, failure, request, run};

/// The retryable stages, with the fake and operation behind each.
fn break_stage(bench: &TestBench, stage: Stage, failure: Failure, times: usize) {
    match stage {
        Stage::Dump => bench.dumper.fail_times("dump", failure, times),
        Stage::Verify => bench.dumper.fail_times("verify", failure, times),
        Stage::Encrypt => bench.encryptor.fail_times("encrypt", failure, times),
        Stage::Sync => bench.repository.fail_times("store", failure, times),
        Stage::Prune => bench.repository.fail_times("prune", failure, times),
        Stage::Cleanup => bench.cleanup.fail_times("cleanup", failure, times),
        Stage::PreHook => bench.hooks.fail_times("pre_backup", failure, times),
        Stage::PostHook => bench.hooks.fail_times("post_backup", failure, times),
        other => panic!("{other} has no operation"),
    }
}

#[tokio::test]
async fn a_transient_failure_is_retried_with_growing_waits() {
    for stage in Stage::WORK.into_iter().filter(|s| s.is_retryable()) {
        let bench = TestBench::new();
        break_stage(&bench, stage, failure(ErrorCode::SshTimeout), 3);
        let done = run(&bench, &project("shop").everything().build()).await;

        assert_eq!(done.status, RunStatus::Success, "{stage}");
        assert_eq!(done.stage(stage).unwrap().attempts, 4, "{stage}");
        assert_eq!(bench.clock.sleeps(), [5, 10, 20].map(Duration::from_secs), "{stage}");
    }
}

#[tokio::test]
async fn a_transient_failure_that_stays_fails_the_run_after_its_retries() {
    for stage in Stage::WORK.into_iter().filter(|s| s.is_retryable()) {
        let bench = TestBench::new();
        break_stage(&bench, stage, failure(ErrorCode::SshTimeout), 9);
        let done = run(&bench, &project("shop").everything().build()).await;

        let error = done.error.clone().unwrap();
        assert_eq!((error.stage, error.retries, error.retries_allowed), (Some(stage), 3, 3));
        let text = bench.webhook.notices().pop().unwrap().text;
        assert!(text.contains(&format!("Failed at stage: {stage} (attempt 3/3)")), "{text}");
    }
}

#[tokio::test]
async fn a_permanent_failure_is_not_retried_and_says_so() {
    for stage in Stage::WORK {
        let bench = TestBench::new();
        break_stage(&bench, stage, failure(ErrorCode::DiskFull), 9);
        let done = run(&bench, &project("shop").everything().build()).await;

        assert_eq!(done.error.as_ref().unwrap().stage, Some(stage));
        assert_eq!(done.stage(stage).unwrap().attempts, 1, "{stage}");
        assert!(bench.clock.sleeps().is_empty(), "{stage}");
        let text = bench.webhook.notices().pop().unwrap().text;
        assert!(text.contains(&format!("Failed at stage: {stage}\n")), "{text}");
        assert!(bench.journal.has("heartbeat down"));
        assert!(bench.journal.has("lock release"));
    }
}

#[tokio::test]
async fn hooks_are_never_retried() {
    for stage in [Stage::PreHook, Stage::PostHook] {
        let bench = TestBench::new();
        break_stage(&bench, stage, failure(ErrorCode::SshTimeout), 1);
        let done = run(&bench, &project("shop").everything().build()).await;
        assert_eq!(done.status, RunStatus::Failed);
        assert!(bench.clock.sleeps().is_empty());
    }
}

#[tokio::test]
async fn behind_sync_the_message_says_that_the_snapshot_is_safe() {
    for stage in [Stage::Prune, Stage::Cleanup, Stage::PostHook] {
        let bench = TestBench::new();
        break_stage(&bench, stage, failure(ErrorCode::RepoCorrupt), 1);
        let done = run(&bench, &project("shop").everything().build()).await;

        let id = done.snapshots[0].id.short().to_owned();
        let error = done.error.unwrap();
        assert!(error.message.contains(&format!("the snapshot {id} is safe")), "{error:?}");
        let text = bench.webhook.notices().pop().unwrap().text;
        assert!(text.ends_with(&format!("Snapshot: {id} (stored)")), "{text}");
    }
}

#[tokio::test]
async fn only_the_encrypted_file_is_stored_and_the_plain_one_is_gone() {
    let bench = TestBench::new();
    let done = run(&bench, &project("shop").everything().build()).await;

    let dump = done.dump.unwrap();
    assert!(dump.file.ends_with(".dump.zst.age"), "{}", dump.file);
    let request = bench.repository.requests().pop().unwrap();
    assert_eq!(request.part.dump, Some((PathBuf::from(&dump.file), dump.bytes)));
    let dir = bench.base_dir().join("shop");
    let left: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, [PathBuf::from(dump.file)]);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_proven_fails_the_run() {
    let bench = TestBench::new();
    bench.repository.set_dump_size(Some(7));
    let done = run(&bench, &project("shop").build()).await;
    assert_eq!(code(&done), Some(ErrorCode::SnapshotUnproven));

    let bench = TestBench::new();
    bench.repository.lose_next_snapshot();
    let done = run(&bench, &project("shop").build()).await;
    assert_eq!(code(&done), Some(ErrorCode::SnapshotUnproven));
    assert!(!bench.journal.has("prune"), "nothing old may go when nothing new is proven");
}

#[tokio::test]
async fn a_retried_sync_does_not_store_again_what_is_stored() {
    let bench = TestBench::new();
    bench.repository.work_times("store", 1);
    bench.repository.fail_times("store", failure(ErrorCode::SshTimeout), 2);
    bench.repository.fail_times("prove", failure(ErrorCode::SshTimeout), 1);
    let shop = project("shop").separate().assets(["/srv/a", "/srv/b"]).build();
    let done = run(&bench, &shop).await;

    assert_eq!(done.status, RunStatus::Success, "{:?}", done.error);
    let tags: Vec<_> = bench.repository.all().into_iter().map(|s| s.tags).collect();
    assert_eq!(
        tags,
        [
            vec!["backupctl:db".to_owned(), "project:shop".to_owned()],
            vec!["backupctl:assets:/srv/a".to_owned(), "project:shop".to_owned()],
            vec!["backupctl:assets:/srv/b".to_owned(), "project:shop".to_owned()],
        ]
    );
    assert_eq!(done.snapshots.len(), 3);
}

#[tokio::test]
async fn the_parent_is_the_last_snapshot_with_the_same_tags() {
    let bench = TestBench::new();
    let shop = project("shop").separate().assets(["/srv/a"]).build();
    let first = run(&bench, &shop).await;
    bench.clock.advance(Duration::from_hours(24));
    let second = run(&bench, &shop).await;
    assert_eq!(second.status, RunStatus::Success, "{:?}", second.error);

    let parents: Vec<_> = bench.repository.requests().iter().map(|r| r.parent.clone()).collect();
    assert_eq!(parents[..2], [None, None]);
    assert_eq!(parents[2], Some(first.snapshots[0].id.clone()));
    assert_eq!(parents[3], Some(first.snapshots[1].id.clone()));
    assert_eq!(second.snapshots[1].files_unmodified, 1);
}

#[tokio::test]
async fn unread_sources_fail_the_run_unless_that_is_allowed() {
    let bench = TestBench::new();
    bench.repository.set_unread(&["/srv/shop/files/secret"]);
    let done = run(&bench, &project("shop").build()).await;
    assert_eq!(code(&done), Some(ErrorCode::SourceIncomplete));
    let error = done.error.unwrap();
    assert!(error.message.contains("/srv/shop/files/secret"), "{}", error.message);
    assert!(
        error.message.ends_with("is stored without it or with only a part of it)"),
        "{error:?}"
    );
    assert!(error.remedy.contains("`restic.allow_incomplete: true`"), "{}", error.remedy);
    assert_eq!(done.snapshots.len(), 1, "the snapshot stays and is named");

    let bench = TestBench::new();
    bench.repository.set_unread(&["/srv/shop/files/secret"]);
    let done = run(&bench, &project("shop").allow_incomplete().build()).await;
    assert_eq!(done.status, RunStatus::Success);
    assert!(done.warnings[0].contains("/srv/shop/files/secret"));

    let bench = TestBench::new();
    bench.archives.set_unread(&["/srv/shop/files/secret", "/srv/shop/files/other"]);
    let on_a_stick = project("shop").destinations([archive("/mnt/usb")]).build();
    let error = run(&bench, &on_a_stick).await.error.unwrap();
    assert!(error.message.contains("without them"), "{}", error.message);
    assert!(error.remedy.contains("`archive.allow_incomplete: true`"), "{}", error.remedy);
    assert!(!error.remedy.contains("restic"), "{}", error.remedy);
}

#[tokio::test]
async fn a_missing_asset_is_told_and_the_rest_is_stored() {
    let bench = TestBench::new();
    bench.disk.set_missing("/srv/gone");
    let shop = project("shop").assets(["/srv/gone", "/srv/here"]).webhook("https://h.example");
    let done = run(&bench, &shop.build()).await;

    assert_eq!(done.status, RunStatus::Success);
    assert_eq!(done.warnings, ["Asset path not found: /srv/gone"]);
    assert_eq!(
        done.assets[0],
        AssetRecord { path: "/srv/gone".to_owned(), state: AssetState::Missing }
    );
    let request = bench.repository.requests().pop().unwrap();
    assert_eq!(request.part.assets, [PathBuf::from("/srv/here")]);
    let texts: Vec<String> = bench.webhook.notices().into_iter().map(|n| n.text).collect();
    assert!(texts[1].ends_with("Asset path not found: /srv/gone"), "{texts:?}");
}

#[tokio::test]
async fn an_asset_that_became_empty_is_told_and_nothing_old_goes_on_that_day() {
    let bench = TestBench::new();
    let keep = KeepPolicy { last: 1, ..KeepPolicy::default() };
    let shop = project("shop").assets(["/srv/volume"]).retention(7, keep).build();
    run(&bench, &shop).await;
    bench.clock.advance(Duration::from_hours(24));
    bench.disk.set_empty_dir("/srv/volume");
    let done = run(&bench, &shop).await;
    assert_eq!(done.status, RunStatus::Success);
    assert!(done.warnings[0].contains("/srv/volume"), "{:?}", done.warnings);
    assert_eq!(bench.journal.count("prune"), 1, "only the first run pruned");
    assert_eq!(bench.repository.all().len(), 2, "the good copy stays");

    bench.clock.advance(Duration::from_hours(24));
    let again = run(&bench, &shop).await;
    assert!(again.warnings[0].contains("/srv/volume"), "told as long as it lasts");
    assert_eq!(bench.journal.count("prune"), 2);
}

#[tokio::test]
async fn a_database_that_lost_its_tables_does_not_replace_the_good_copy() {
    let bench = TestBench::new();
    let shop = project("shop").build();
    run(&bench, &shop).await;
    bench.clock.advance(Duration::from_hours(24));
    bench.dumper.set_content(b"header".to_vec());
    bench.dumper.set_completeness(Completeness::NothingInDatabase);
    let done = run(&bench, &shop).await;
    assert_eq!(code(&done), Some(ErrorCode::DumpIncomplete));
    assert_eq!(bench.repository.all().len(), 1);
    assert_eq!(bench.journal.count("prune"), 1);
}

#[tokio::test]
async fn a_dump_that_could_not_be_encrypted_does_not_stay_plain() {
    let bench = TestBench::new();
    bench.encryptor.fail_always("encrypt", failure(ErrorCode::EncryptionKeyMissing));
    let done = run(&bench, &project("shop").age("age1fake").build()).await;
    assert_eq!(code(&done), Some(ErrorCode::EncryptionKeyMissing));
    assert_eq!(std::fs::read_dir(bench.base_dir().join("shop")).unwrap().count(), 0);
}

#[tokio::test]
async fn nothing_to_store_is_a_failure() {
    let bench = TestBench::new();
    bench.disk.set_missing("/srv/gone");
    let done = run(&bench, &project("files").no_database().assets(["/srv/gone"]).build()).await;
    assert_eq!(code(&done), Some(ErrorCode::NothingToBackUp));
}

#[tokio::test]
async fn a_full_disk_is_told_before_anything_is_written() {
    let bench = TestBench::new();
    bench.disk.set_free(1 << 29);
    let done = run(&bench, &project("shop").build()).await;
    assert_eq!(code(&done), Some(ErrorCode::DiskLow));
    assert!(!bench.journal.has("dump"));
}

#[tokio::test]
async fn dump_and_proof_may_write_what_is_free_beyond_the_reserve() {
    for (reserve, may) in [(5 << 30, Some(2 << 30)), (0, None)] {
        let bench = TestBench::new();
        bench.disk.set_free(7 << 30);
        let mut world = Arc::into_inner(bench.world()).unwrap();
        world.settings.min_free_bytes = reserve;
        let asked = request(&bench, &project("shop").build());
        RunBackup::new(Arc::new(world)).execute(asked).await.unwrap();
        assert_eq!(bench.dumper.requests()[0].max_bytes, may);
        assert_eq!(bench.dumper.proofs()[0].max_bytes, may);
    }
}

#[tokio::test]
async fn a_dump_proven_bad_does_not_stay() {
    let bench = TestBench::new();
    bench.dumper.fail_always("verify", failure(ErrorCode::DumpCorrupt));
    let done = run(&bench, &project("shop").build()).await;
    assert_eq!(code(&done), Some(ErrorCode::DumpCorrupt));
    assert_eq!(std::fs::read_dir(bench.base_dir().join("shop")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_stale_repository_lock_is_removed_and_a_live_one_is_waited_for() {
    let bench = TestBench::new();
    bench.repository.set_lock(Some(RepositoryLock::Stale));
    let done = run(&bench, &project("shop").build()).await;
    assert_eq!(done.status, RunStatus::Success);
    assert_eq!(done.stage(Stage::Prune).unwrap().attempts, 1);
    assert!(bench.clock.sleeps().is_empty());

    let bench = TestBench::new();
    bench.repository.set_lock(Some(RepositoryLock::Live));
    let done = run(&bench, &project("shop").build()).await;
    assert_eq!(code(&done), Some(ErrorCode::RepoLocked));
    assert_eq!(bench.clock.sleeps().len(), 3);
}

#[tokio::test]
async fn a_panic_is_a_failed_run_that_is_told_and_unlocked() {
    let bench = TestBench::new();
    bench.repository.panic_on("store");
    let done = run(&bench, &project("shop").everything().build()).await;

    assert_eq!(code(&done), Some(ErrorCode::Internal));
    assert_eq!(done.error.as_ref().unwrap().stage, Some(Stage::Sync));
    assert_eq!(done.stage(Stage::Sync).unwrap().outcome, StageOutcome::Failed);
    bench.journal.assert_order(&["notify backup_failed", "heartbeat down", "lock release"]);
}

#[tokio::test]
async fn an_interrupt_ends_a_hanging_stage_and_is_told() {
    for (stage, why) in [(Stage::Dump, Interrupt::Int), (Stage::Sync, Interrupt::Term)] {
        let bench = TestBench::new();
        let hold = match stage {
            Stage::Dump => bench.dumper.hold("dump"),
            _ => bench.repository.hold("store"),
        };
        let shop = project("shop").everything().build();
        let going =
            tokio::spawn(RunBackup::new(bench.world()).execute_owned(request(&bench, &shop)));
        hold.entered().await;
        bench.cancel.cancel(why);

        let Ok(RunOutcome::Finished(done)) = going.await.unwrap() else { panic!("no run") };
        assert_eq!(code(&done), Some(ErrorCode::Interrupted));
        assert_eq!(done.error.as_ref().unwrap().stage, Some(stage));
        bench.journal.assert_order(&[
            "hook finally",
            "audit finish shop failed",
            "notify backup_failed",
            "heartbeat down",
            "lock release",
        ]);
    }
}

#[tokio::test]
async fn an_interrupt_ends_the_wait_between_retries() {
    let bench = TestBench::new();
    bench.clock.set_manual();
    bench.repository.fail_always("store", failure(ErrorCode::SshTimeout));
    let shop = project("shop").build();
    let going = tokio::spawn(RunBackup::new(bench.world()).execute_owned(request(&bench, &shop)));
    bench.clock.sleeping(1).await;
    bench.cancel.cancel(Interrupt::Int);
    let Ok(RunOutcome::Finished(done)) = going.await.unwrap() else { panic!("no run") };
    assert_eq!(code(&done), Some(ErrorCode::Interrupted));
}

#[tokio::test]
async fn a_slow_run_is_called_out_once_while_its_stage_hangs() {
    let bench = TestBench::new();
    bench.clock.set_manual();
    let hold = bench.repository.hold("store");
    let shop = project("shop")
        .timeout(Duration::from_mins(30))
        .webhook("https://hooks.example/one")
        .build();
    let going = tokio::spawn(RunBackup::new(bench.world()).execute_owned(request(&bench, &shop)));
    hold.entered().await;
    bench.clock.advance(Duration::from_mins(32));
    bench.webhook.received(2).await;
    let text = bench.webhook.notices().pop().unwrap().text;
    assert!(text.contains("Elapsed: 32m (timeout: 30m)\nCurrent stage: Sync (6/11)"), "{text}");

    hold.release();
    let Ok(RunOutcome::Finished(done)) = going.await.unwrap() else { panic!("no run") };
    assert_eq!(done.status, RunStatus::Success, "it was not killed for being slow");
    assert_eq!(bench.journal.count("notify backup_warning"), 1);
}

#[tokio::test]
async fn a_timeout_that_no_timer_told_is_told_at_the_next_step() {
    let bench = TestBench::new();
    bench.clock.set_manual();
    let hold = bench.dumper.hold("dump");
    let shop = project("shop").timeout(Duration::from_mins(1)).webhook("https://h.example").build();
    let going = tokio::spawn(RunBackup::new(bench.world()).execute_owned(request(&bench, &shop)));
    hold.entered().await;
    bench.clock.advance(Duration::from_mins(2));
    hold.release();
    let _ = going.await.unwrap();
    assert_eq!(bench.journal.count("notify backup_warning"), 1);
}
