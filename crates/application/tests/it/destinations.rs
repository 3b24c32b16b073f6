//! Several destinations of one project: each has its own attempts and its own end, and what fails at one
//! takes the copy from no other.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::context::Silent;
use backupctl_application::use_cases::verify::Which;
use backupctl_application::use_cases::{
    Check, CheckOutcome, DryRun, Forget, Listing, Restore, RestoreOptions, RestoreOutcome,
    RunBackup, RunOutcome, RunRequest, Status, list_snapshots, prune, verify,
};
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::{
    BackupRun, DestinationName, DestinationRecord, ErrorCode, Failure, Project, RunStatus, Stage,
    StageOutcome, Trigger,
};
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{archive, at, name, project, restic};
use backupctl_testkit::fakes::Inject;

use super::{code, failure, request, run};
use crate::watch::entries;

/// A repository and a stick, both required.
fn both() -> Project {
    project("shop")
        .webhook("https://hooks.example/one")
        .destinations([restic("/srv/repositories/shop"), archive("/mnt/usb")])
        .build()
}

/// The same, and a run may do without the stick.
fn with_optional_stick() -> Project {
    let mut shop = both();
    shop.destinations[1].required = false;
    shop
}

fn at_destination<'r>(run: &'r BackupRun, name: &str) -> &'r DestinationRecord {
    run.destinations.iter().find(|d| d.name.as_str() == name).unwrap()
}

/// A failure that no retry mends.
fn unplugged() -> Failure {
    Failure::new(ErrorCode::NotMounted, "no disk is mounted at /mnt/usb")
}

#[tokio::test]
async fn each_destination_has_its_copy_and_thins_out_by_its_own_rules() {
    let bench = TestBench::new();
    let mut shop = both();
    shop.destinations[0].keep = KeepPolicy { last: 1, ..KeepPolicy::default() };
    shop.destinations[1].keep = KeepPolicy { last: 2, ..KeepPolicy::default() };
    for _ in 0..3 {
        bench.clock.advance(Duration::from_hours(24));
        let done = run(&bench, &shop).await;
        assert_eq!(done.status, RunStatus::Success, "{done:?}");
    }
    assert_eq!((bench.repository.all().len(), bench.archives.all().len()), (1, 2));

    let done = bench.audit.runs().pop().unwrap();
    let names: Vec<_> = done.destinations.iter().map(|d| (d.name.as_str(), &*d.kind)).collect();
    assert_eq!(names, [("restic", "restic"), ("archive", "archive")]);
    assert!(done.destinations.iter().all(|d| d.stored && d.required && d.error.is_none()));
    let kept: Vec<_> = done.destinations.iter().map(|d| (d.removed, d.kept)).collect();
    assert_eq!(kept, [(Some(1), Some(1)), (Some(1), Some(2))]);
    let of: Vec<_> = done.snapshots.iter().map(|s| s.destination.clone().unwrap()).collect();
    assert_eq!(of.iter().map(DestinationName::as_str).collect::<Vec<_>>(), ["restic", "archive"]);
    assert!(done.snapshots[0].archive.is_none() && done.snapshots[1].archive.is_some());
    let message = done.stage(Stage::Sync).unwrap().message.clone().unwrap();
    assert!(message.contains("restic: ") && message.contains("archive: "), "{message}");
}

#[tokio::test]
async fn a_required_one_that_fails_fails_the_run_and_the_other_has_its_copy_all_the_same() {
    for broken in ["restic", "archive"] {
        let bench = TestBench::new();
        let (bad, good) = if broken == "restic" {
            (&bench.repository, &bench.archives)
        } else {
            (&bench.archives, &bench.repository)
        };
        bad.fail_always("store", unplugged());
        let done = run(&bench, &both()).await;

        assert_eq!((done.status, code(&done)), (RunStatus::Failed, Some(ErrorCode::NotMounted)));
        assert_eq!((bad.all().len(), good.all().len()), (0, 1), "{broken}");
        let error = done.error.clone().unwrap();
        let copy = good.all()[0].id.short().to_owned();
        assert!(error.message.starts_with(&format!("{broken}: no disk")), "{}", error.message);
        assert!(error.message.contains(&format!("has it as {copy}")), "{}", error.message);
        let other = if broken == "restic" { "archive" } else { "restic" };
        assert!(!at_destination(&done, broken).stored && at_destination(&done, other).stored);
        assert!(done.is_stored(), "the local dump may go in time: there is a copy");
        assert_eq!(at_destination(&done, broken).error.as_ref().unwrap().stage, Some(Stage::Sync));
        let text = bench.webhook.notices().pop().unwrap().text;
        assert!(text.contains("Backup failed for shop") && text.contains("NOT_MOUNTED"), "{text}");
        assert!(!text.contains("(stored)"), "not all of it is: {text}");
    }
}

#[tokio::test]
async fn an_optional_one_that_fails_is_a_warning_that_people_hear() {
    let bench = TestBench::new();
    bench.archives.fail_always("store", unplugged());
    let done = run(&bench, &with_optional_stick()).await;

    assert_eq!(done.status, RunStatus::Success);
    assert_eq!(done.stage(Stage::Sync).unwrap().outcome, StageOutcome::Ok);
    let warning = done.warnings.join("\n");
    for fact in ["optional destination", "archive: no disk is mounted", "NOT_MOUNTED", "fix: "] {
        assert!(warning.contains(fact), "{fact}: {warning}");
    }
    let texts: Vec<String> = bench.webhook.notices().into_iter().map(|n| n.text).collect();
    assert!(texts.iter().any(|t| t.contains("NOT_MOUNTED")), "{texts:?}");
    assert!(!at_destination(&done, "archive").stored);
    assert_eq!(at_destination(&done, "archive").kept, None, "nothing is pruned where nothing came");
    assert!(!bench.journal.has("prune (archive)"));
}

#[tokio::test]
async fn no_run_succeeds_that_is_stored_nowhere() {
    let bench = TestBench::new();
    let mut shop = both();
    shop.destinations.iter_mut().for_each(|d| d.required = false);
    bench.repository.fail_always("store", unplugged());
    bench.archives.fail_always("store", unplugged());
    let done = run(&bench, &shop).await;
    assert_eq!((done.status, code(&done)), (RunStatus::Failed, Some(ErrorCode::NotMounted)));
}

#[tokio::test]
async fn whatever_else_has_failed_is_told_beside_the_failure() {
    let bench = TestBench::new();
    bench.repository.fail_always("store", failure(ErrorCode::RepoWrongPassword));
    bench.archives.fail_always("store", unplugged());
    let done = run(&bench, &both()).await;
    assert_eq!(code(&done), Some(ErrorCode::RepoWrongPassword));
    let warnings = done.warnings.join("\n");
    assert!(warnings.contains("not stored at another destination: archive: no disk"), "{warnings}");
    assert!(warnings.contains("NOT_MOUNTED"), "{warnings}");
}

#[tokio::test]
async fn attempts_are_each_destinations_own_and_nothing_is_stored_twice() {
    let bench = TestBench::new();
    bench.archives.fail_times("store", failure(ErrorCode::RepoUnreachable), 2);
    let done = run(&bench, &both()).await;

    assert_eq!(done.status, RunStatus::Success);
    assert_eq!((bench.repository.all().len(), bench.archives.all().len()), (1, 1));
    assert_eq!(bench.clock.sleeps(), [5, 10].map(Duration::from_secs));
    let attempts: Vec<u32> = done.destinations.iter().map(|d| d.attempts).collect();
    assert_eq!((attempts, done.stage(Stage::Sync).unwrap().attempts), (vec![1, 3], 3));
}

#[tokio::test]
async fn each_has_all_its_attempts_though_another_has_used_up_its_own() {
    let bench = TestBench::new();
    bench.repository.fail_always("store", failure(ErrorCode::SshTimeout));
    bench.archives.fail_times("store", failure(ErrorCode::RepoUnreachable), 3);
    let done = run(&bench, &both()).await;
    assert_eq!(code(&done), Some(ErrorCode::SshTimeout));
    let error = done.error.clone().unwrap();
    assert_eq!((error.retries, error.retries_allowed), (3, 3));
    assert!(at_destination(&done, "archive").stored);
}

#[tokio::test]
async fn an_interruption_ends_the_run_at_all_of_them() {
    let bench = TestBench::new();
    let hold = bench.repository.hold("store");
    let shop = both();
    let (world, request) = (bench.world(), request(&bench, &shop));
    let going = tokio::spawn(async move { RunBackup::new(world).execute(request).await });
    hold.entered().await;
    bench.cancel.cancel(backupctl_application::context::Interrupt::Term);
    let RunOutcome::Finished(done) = going.await.unwrap().unwrap() else { panic!("no run") };
    assert_eq!(code(&done), Some(ErrorCode::Interrupted));
    assert!(!bench.journal.has("store backupctl:combined,project:shop (archive)"));
}

#[tokio::test]
async fn retention_that_fails_at_one_is_told_and_the_other_is_thinned_out() {
    let bench = TestBench::new();
    bench.repository.fail_always("prune", failure(ErrorCode::RepoCorrupt));
    let done = run(&bench, &both()).await;
    assert_eq!(code(&done), Some(ErrorCode::RepoCorrupt));
    let error = done.error.clone().unwrap();
    assert_eq!(error.stage, Some(Stage::Prune));
    assert!(error.message.contains("is safe"), "{}", error.message);
    assert_eq!(at_destination(&done, "archive").kept, Some(1));
    assert_eq!(at_destination(&done, "restic").kept, None);

    let bench = TestBench::new();
    run(&bench, &both()).await;
    bench.archives.fail_always("prune", unplugged());
    let outcome = prune(&bench.world(), &both(), None, &bench.cancel).await.unwrap();
    assert_eq!(outcome.failure().unwrap().code, ErrorCode::NotMounted);
    assert_eq!(outcome.total().kept, 1, "of the one that answered");
    bench.repository.fail_always("prune", failure(ErrorCode::RepoUnreachable));
    let refused = prune(&bench.world(), &both(), None, &bench.cancel).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::RepoUnreachable, "the first of all that failed");
    let only = prune(&bench.world(), &both(), Some("archive"), &bench.cancel).await.unwrap_err();
    assert_eq!(only.code, ErrorCode::NotMounted);
    let wrong = prune(&bench.world(), &both(), Some("box"), &bench.cancel).await.unwrap_err();
    assert_eq!(wrong.code, ErrorCode::InvalidConfig);
    assert!(wrong.message.contains("restic, archive"), "{wrong}");

    let bench = TestBench::new();
    let shop = with_optional_stick();
    run(&bench, &shop).await;
    bench.archives.fail_always("prune", unplugged());
    let outcome = prune(&bench.world(), &shop, None, &bench.cancel).await.unwrap();
    assert!(outcome.failure().is_none(), "a stick that may be away is no failure");
    assert_eq!(outcome.destinations[1].result.as_ref().unwrap_err().code, ErrorCode::NotMounted);
    let only = prune(&bench.world(), &shop, Some("archive"), &bench.cancel).await.unwrap_err();
    assert_eq!(only.code, ErrorCode::NotMounted, "but not where it was asked for");
}

#[tokio::test]
async fn a_bad_copy_on_one_of_them_never_takes_the_local_dump() {
    let bench = TestBench::new();
    bench.archives.fail_always("prove", failure(ErrorCode::ChecksumMismatch));
    let shop = project("shop").destinations([archive("/mnt/usb")]).build();
    let done = run(&bench, &shop).await;
    assert_eq!(code(&done), Some(ErrorCode::ChecksumMismatch));
    let dump = done.dump.expect("the record names the dump");
    assert!(std::path::Path::new(&dump.file).exists(), "{}: the only good copy", dump.file);
}

#[tokio::test]
async fn where_it_is_stored_old_copies_go_though_another_is_away() {
    let bench = TestBench::new();
    let mut shop = both();
    shop.destinations[0].keep = KeepPolicy { last: 1, ..KeepPolicy::default() };
    run(&bench, &shop).await;
    bench.archives.fail_always("store", unplugged());
    for _ in 0..2 {
        bench.clock.advance(Duration::from_hours(24));
        let done = run(&bench, &shop).await;
        assert_eq!(code(&done), Some(ErrorCode::NotMounted));
        assert_eq!(at_destination(&done, "restic").kept, Some(1));
        assert_eq!(done.stage(Stage::Prune).unwrap().outcome, StageOutcome::Ok);
        assert_eq!(done.stage(Stage::Cleanup).unwrap().outcome, StageOutcome::Ok);
        let hook = done.stage(Stage::PostHook).unwrap();
        assert_eq!(hook.outcome, StageOutcome::Skipped, "the run has failed all the same");
        let stored = bench.repository.all();
        assert_eq!(stored.len(), 1);
        assert_eq!(done.main_snapshot(), Some(&stored[0].id));
    }
    assert_eq!(bench.archives.all().len(), 1, "nothing goes where nothing came");
}

#[tokio::test]
async fn a_full_disk_is_thinned_out_first_and_tried_once_more() {
    let bench = TestBench::new();
    let mut shop = project("shop").destinations([archive("/mnt/usb")]).build();
    for _ in 0..3 {
        run(&bench, &shop).await;
        bench.clock.advance(Duration::from_hours(24));
    }
    shop.destinations[0].keep = KeepPolicy { last: 1, ..KeepPolicy::default() };
    bench.archives.fail_times("store", failure(ErrorCode::DiskLow), 1);
    let done = run(&bench, &shop).await;
    assert_eq!(done.status, RunStatus::Success, "{done:?}");
    assert_eq!(bench.archives.all().len(), 1);
    let warnings = done.warnings.join("\n");
    assert!(warnings.contains("2 archives that retention no longer keeps"), "{warnings}");

    bench.archives.fail_times("store", failure(ErrorCode::DiskLow), 1);
    let done = run(&bench, &shop).await;
    assert_eq!(code(&done), Some(ErrorCode::DiskLow), "nothing more may go");
    assert_eq!(bench.archives.all().len(), 1);
}

#[tokio::test]
async fn the_required_one_is_named_where_none_is_ready() {
    let bench = TestBench::new();
    let mut shop = both();
    shop.destinations[0].required = false;
    bench.repository.fail_always("check_tool", failure(ErrorCode::ToolMissing));
    bench.archives.fail_always("check", unplugged());
    let request = RunRequest { trigger: Trigger::Scheduled, ..request(&bench, &shop) };
    let outcome = RunBackup::new(bench.world()).execute(request).await.unwrap();
    let RunOutcome::Finished(done) = outcome else { panic!("no run") };
    assert_eq!(code(&done), Some(ErrorCode::NotMounted), "{:?}", done.error);
}

mod schedule {
    //! What a scheduled run looks at first, and how each destination stands afterwards.

    use super::*;

    async fn scheduled(bench: &TestBench, shop: &Project) -> BackupRun {
        let request = RunRequest { trigger: Trigger::Scheduled, ..request(bench, shop) };
        match RunBackup::new(bench.world()).execute(request).await.unwrap() {
            RunOutcome::Finished(run) => *run,
            other => panic!("no run came about: {other:?}"),
        }
    }

    #[tokio::test]
    async fn one_destination_that_is_ready_is_enough_to_begin() {
        let bench = TestBench::new();
        bench.archives.fail_always("check", unplugged());
        bench.archives.fail_always("store", unplugged());
        let done = scheduled(&bench, &both()).await;
        assert_eq!(code(&done), Some(ErrorCode::NotMounted));
        assert!(at_destination(&done, "restic").stored, "the copy that could be had was made");
    }

    #[tokio::test]
    async fn a_stick_that_is_not_there_is_told_before_an_hour_of_dumping() {
        let bench = TestBench::new();
        bench.archives.fail_always("check", unplugged());
        let shop = project("shop").destinations([archive("/mnt/usb")]).build();
        let done = scheduled(&bench, &shop).await;
        assert_eq!(code(&done), Some(ErrorCode::NotMounted));
        let error = done.error.clone().unwrap();
        assert!(error.message.starts_with("before the start: "), "{}", error.message);
        assert_eq!(error.stage, Some(Stage::Sync));
        assert!(!bench.journal.has("dump shop"));
    }

    #[tokio::test]
    async fn a_hook_may_mount_it_first() {
        let bench = TestBench::new();
        bench.archives.fail_times("check", unplugged(), 1);
        let shop = project("shop").pre_backup("mount /mnt/usb").destinations([archive("/mnt/usb")]);
        let done = scheduled(&bench, &shop.build()).await;
        assert_eq!(done.status, RunStatus::Success);
    }

    #[tokio::test]
    async fn a_destination_that_gets_nothing_is_late_though_the_runs_succeed() {
        let bench = TestBench::new();
        let mut shop = with_optional_stick();
        shop.schedule = project("x").cron("0 2 * * *").build().schedule;
        bench.clock.set(at("2026-03-18T02:00:00Z"));
        run(&bench, &shop).await;
        bench.archives.fail_always("store", unplugged());
        for day in ["2026-03-19T02:00:00Z", "2026-03-20T02:00:00Z"] {
            bench.clock.set(at(day));
            assert_eq!(run(&bench, &shop).await.status, RunStatus::Success);
        }
        bench.clock.set(at("2026-03-20T06:00:00Z"));
        let all = Status::new(&bench.world()).execute(entries(&[&shop])).await.unwrap();
        let json = all[0].to_json();
        assert_eq!(json["state"], "fresh", "{json:#}");
        let of: Vec<_> = json["destinations"].as_array().unwrap().iter().collect();
        assert_eq!((&of[0]["destination"], &of[0]["state"]), (&"restic".into(), &"fresh".into()));
        assert_eq!(
            (&of[1]["destination"], &of[1]["state"]),
            (&"archive".into(), &"overdue".into())
        );
        assert_eq!(of[1]["last_stored"], "2026-03-18T02:00:00.000Z");
        assert_eq!(of[1]["required"], false);
        let tz = jiff::tz::TimeZone::UTC;
        let complaint = all[0].destinations[1].complaint(bench.world().clock.now(), &tz).unwrap();
        assert!(complaint.contains("archive has had no backup since 2026-03-18"), "{complaint}");
        assert_eq!(all[0].destinations[0].complaint(bench.world().clock.now(), &tz), None);
    }

    #[tokio::test]
    async fn what_is_at_one_of_them_is_known_though_every_run_has_failed() {
        let bench = TestBench::new();
        let mut shop = both();
        shop.schedule = project("x").cron("0 2 * * *").build().schedule;
        bench.archives.fail_always("store", unplugged());
        bench.clock.set(at("2026-03-18T02:00:00Z"));
        run(&bench, &shop).await;
        bench.clock.set(at("2026-03-18T03:00:00Z"));
        let all = Status::new(&bench.world()).execute(entries(&[&shop])).await.unwrap();
        assert_eq!(all[0].state(), "failing");
        let json = all[0].to_json();
        assert_eq!(json["destinations"][0]["last_stored"], "2026-03-18T02:00:00.000Z");
        assert!(json["destinations"][1]["last_stored"].is_null(), "{json:#}");
    }
}

mod finding {
    //! Snapshots that are at several places, of which some do not answer.

    use super::*;

    async fn list(bench: &TestBench, from: Option<&str>) -> Result<Listing, Failure> {
        list_snapshots(&bench.world(), &both(), from, None, &bench.cancel).await
    }

    async fn restore(
        bench: &TestBench,
        snapshot: Option<&str>,
        from: Option<&str>,
        target: &str,
    ) -> Result<RestoreOutcome, Failure> {
        let (world, shop) = (bench.world(), both());
        let options = RestoreOptions {
            snapshot: snapshot.map(str::to_owned),
            destination: from.map(str::to_owned),
            target: bench.work.join(target),
            only: None,
            paths: Vec::new(),
            decompress: false,
            force: false,
        };
        let ctx = Restore::context(&shop, bench.cancel.clone());
        Restore::new(&world, &shop, ctx).execute(&options).await
    }

    #[tokio::test]
    async fn what_can_be_had_is_listed_with_its_place_and_the_rest_is_told() {
        let bench = TestBench::new();
        run(&bench, &both()).await;
        let listing = list(&bench, None).await.unwrap();
        let places: Vec<_> = listing.snapshots.iter().map(|s| s.destination.to_string()).collect();
        assert_eq!((places.len(), listing.silent.len()), (2, 0));
        assert!(places.contains(&"restic".to_owned()) && places.contains(&"archive".to_owned()));
        assert_eq!(list(&bench, Some("archive")).await.unwrap().snapshots.len(), 1);

        bench.archives.fail_always("snapshots", unplugged());
        let listing = list(&bench, None).await.unwrap();
        assert_eq!(listing.snapshots.len(), 1);
        assert_eq!(listing.silent[0].0.as_str(), "archive");
        assert_eq!(listing.silent[0].1.code, ErrorCode::NotMounted);
        bench.repository.fail_always("snapshots", failure(ErrorCode::RepoUnreachable));
        assert_eq!(list(&bench, None).await.unwrap_err().code, ErrorCode::RepoUnreachable);
    }

    #[tokio::test]
    async fn a_restore_takes_the_newest_that_there_is_and_says_what_it_could_not_ask() {
        let bench = TestBench::new();
        run(&bench, &both()).await;
        let done = restore(&bench, None, None, "one").await.unwrap();
        assert_eq!(done.destination.unwrap().as_str(), "restic", "the first of equals");

        bench.repository.fail_always("store", unplugged());
        bench.clock.advance(Duration::from_hours(24));
        run(&bench, &both()).await;
        let done = restore(&bench, None, None, "two").await.unwrap();
        assert_eq!(done.destination.unwrap().as_str(), "archive", "it has a newer one");
        let newest = bench.archives.all().pop().unwrap();
        assert_eq!(done.snapshots, std::slice::from_ref(&newest.id));
        let done = restore(&bench, None, Some("restic"), "three").await.unwrap();
        assert_eq!(done.destination.unwrap().as_str(), "restic");

        let file = newest.archive.as_ref().unwrap().file_name().unwrap().to_str().unwrap();
        let done = restore(&bench, Some(file), None, "four").await.unwrap();
        assert_eq!(done.snapshots, std::slice::from_ref(&newest.id), "by the name of the file");

        bench.archives.fail_always("snapshots", unplugged());
        let done = restore(&bench, None, None, "five").await.unwrap();
        assert_eq!(done.destination.unwrap().as_str(), "restic");
        assert!(done.notes.join(" ").contains("archive could not be asked: NOT_MOUNTED"));
        let gone = restore(&bench, Some(newest.id.as_str()), None, "six").await.unwrap_err();
        assert_eq!(gone.code, ErrorCode::SnapshotNotFound);
        assert!(gone.message.contains("archive could not be asked: NOT_MOUNTED"), "{gone}");
    }

    #[tokio::test]
    async fn a_damaged_archive_is_passed_over_for_an_older_good_one() {
        let bench = TestBench::new();
        let shop = project("shop").destinations([archive("/mnt/usb")]).build();
        for _ in 0..2 {
            run(&bench, &shop).await;
            bench.clock.advance(Duration::from_hours(24));
        }
        let all = bench.archives.all();
        bench.archives.damage(&all[1].id);
        let world = bench.world();
        let options = RestoreOptions {
            snapshot: None,
            destination: None,
            target: bench.work.join("back"),
            only: None,
            paths: Vec::new(),
            decompress: false,
            force: false,
        };
        let ctx = Restore::context(&shop, bench.cancel.clone());
        let done = Restore::new(&world, &shop, ctx).execute(&options).await.unwrap();
        assert_eq!(done.snapshots, std::slice::from_ref(&all[0].id));
        let notes = done.notes.join("\n");
        assert!(notes.contains("passed over, for it is damaged"), "{notes}");
        assert!(notes.contains(all[1].id.short()), "{notes}");
    }

    #[tokio::test]
    async fn one_id_at_two_places_is_restored_from_the_good_one_and_deleted_only_by_place() {
        let bench = TestBench::new();
        run(&bench, &both()).await;
        bench.clock.advance(Duration::from_hours(24));
        run(&bench, &both()).await;
        let id = bench.archives.all()[0].id.clone();
        assert_eq!(bench.repository.all()[0].id, id);
        let done = restore(&bench, Some(id.as_str()), None, "one").await.unwrap();
        assert_eq!(done.destination.unwrap().as_str(), "restic", "the first of equals");
        bench.repository.damage(&id);
        let done = restore(&bench, Some(id.as_str()), None, "two").await.unwrap();
        assert_eq!(done.destination.unwrap().as_str(), "archive", "the one that is whole");

        let (world, shop) = (bench.world(), both());
        let forget = Forget::new(&world, &shop, bench.cancel.clone());
        let refused = forget.execute(id.as_str(), None, false).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidConfig);
        assert!(refused.message.contains("restic, archive"), "{refused}");
        assert!(refused.remedy.contains("--destination"), "{refused}");
        let done = forget.execute(id.as_str(), Some("archive"), false).await.unwrap();
        assert_eq!(done.destination.as_str(), "archive");
        assert_eq!((bench.repository.all().len(), bench.archives.all().len()), (2, 1));
    }

    #[tokio::test]
    async fn what_is_read_back_is_told_by_place_and_what_is_damaged_by_name() {
        let bench = TestBench::new();
        run(&bench, &both()).await;
        let read = |which: Which<'static>| {
            let (world, cancel) = (bench.world(), bench.cancel.clone());
            async move { verify(&world, &both(), which, None, &cancel, Arc::new(Silent)).await }
        };
        let good = read(Which::Latest).await.unwrap();
        assert_eq!(good.len(), 2);
        assert!(good.iter().all(|one| one.result.is_ok()), "{good:?}");

        bench.archives.damage(&bench.archives.all()[0].id);
        let found = read(Which::All).await.unwrap();
        let bad = found.iter().find(|one| one.destination.as_str() == "archive").unwrap();
        let failure = bad.result.as_ref().unwrap_err();
        assert_eq!(failure.code, ErrorCode::ChecksumMismatch);
        assert!(failure.message.contains("/fake/stick/shop_1.tar.zst.age"), "{failure}");
        assert!(found.iter().any(|one| one.result.is_ok()), "the other is read all the same");

        bench.archives.fail_always("snapshots", unplugged());
        let found = read(Which::Latest).await.unwrap();
        let silent = found.iter().find(|one| one.snapshot.is_none()).unwrap();
        assert_eq!(silent.result.as_ref().unwrap_err().code, ErrorCode::NotMounted);
        let gone = read(Which::One("ffffffff")).await.unwrap_err();
        assert_eq!(gone.code, ErrorCode::SnapshotNotFound);
    }

    #[tokio::test]
    async fn nothing_stored_is_nothing_proven() {
        let bench = TestBench::new();
        let world = bench.world();
        let silent = Arc::new(Silent);
        let found =
            verify(&world, &both(), Which::Latest, None, &bench.cancel, silent).await.unwrap();
        assert!(found.iter().all(|one| one.result.is_err()), "{found:?}");
        let code = |one: &backupctl_application::use_cases::VerifyOutcome| {
            one.result.as_ref().unwrap_err().code
        };
        assert!(found.iter().all(|one| code(one) == ErrorCode::SnapshotNotFound));
    }

    #[tokio::test]
    async fn the_only_whole_archive_needs_force() {
        let bench = TestBench::new();
        let shop = project("shop").destinations([archive("/mnt/usb")]).build();
        run(&bench, &shop).await;
        bench.clock.advance(Duration::from_hours(24));
        run(&bench, &shop).await;
        let all = bench.archives.all();
        let world = bench.world();
        let forget = Forget::new(&world, &shop, bench.cancel.clone());
        bench.archives.damage(&all[0].id);
        let refused = forget.execute(all[1].id.as_str(), None, false).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidConfig);
        assert!(refused.message.contains("whole archive"), "a damaged one is no copy: {refused}");
        let done = forget.execute(all[0].id.as_str(), None, false).await.unwrap();
        assert_eq!((done.destination.as_str(), done.left), ("archive", 1));
    }
}

#[tokio::test]
async fn checks_name_the_destination_and_an_optional_one_warns() {
    let bench = TestBench::new();
    bench.archives.fail_always("check", unplugged());
    let of = |checks: &[Check], name: &str| {
        checks.iter().find(|c| c.name == name).map(|c| (c.outcome, c.message.clone())).unwrap()
    };
    let world = bench.world();
    let (required, optional) = (both(), with_optional_stick());
    let checks = DryRun::new(&world, &required, bench.cancel.clone()).execute().await;
    let (outcome, message) = of(&checks, "archive");
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(message.starts_with("archive: no disk is mounted"), "{message}");
    assert!(of(&checks, "repository").1.starts_with("restic: "), "{checks:?}");
    let checks = DryRun::new(&world, &optional, bench.cancel.clone()).execute().await;
    let (outcome, message) = of(&checks, "archive");
    assert_eq!(outcome, CheckOutcome::Warn);
    assert!(message.ends_with("(not required)"), "{message}");
    assert_eq!(name("shop"), required.name);
}
