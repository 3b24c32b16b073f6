//! What the application is tested with keeps the promises that it relies on.

use std::sync::Arc;

use backupctl_application::ports::{Clock, Heartbeat, LockHolder, TargetState};
use backupctl_application::registry::Storage;
use backupctl_domain::project::Engine;
use backupctl_domain::{ErrorCode, Failure};
use backupctl_testkit::builders::{name, project};
use backupctl_testkit::fakes::{FakeMonitor, FakeNotifier, Fate, Inject};
use backupctl_testkit::{TestBench, contracts};

#[tokio::test]
async fn audit_log() {
    contracts::audit_log(TestBench::new().audit).await;
}

#[tokio::test]
async fn backup_lock() {
    let bench = TestBench::new();
    contracts::backup_lock(|| bench.lock.clone()).await;
}

#[tokio::test]
async fn processes() {
    let bench = TestBench::new();
    let hold = |project: &_, temper| {
        if temper == contracts::Temper::Deaf {
            bench.processes.stubborn();
        }
        let holder = LockHolder { pid: Some(4712), started: None, recovering: false };
        bench.lock.set_held(project, holder);
        4712
    };
    let is_held = |project: &_| bench.lock.is_held(project);
    contracts::processes(bench.processes.clone(), hold, is_held).await;
}

#[tokio::test]
async fn launcher() {
    let bench = TestBench::new();
    let failure = |code| Failure::new(code, "injected");
    for (project, fate) in [
        ("bad", Fate::Failed(failure(ErrorCode::HookFailed))),
        ("folded", Fate::Folded),
        ("broken", Fate::NotStarted(failure(ErrorCode::InvalidConfig))),
        ("killed", Fate::Lost { begun: true }),
        ("stillborn", Fate::Lost { begun: false }),
        ("endless", Fate::Endless),
    ] {
        bench.launcher.set_fate(&name(project), fate);
    }
    contracts::launcher(bench.launcher.clone()).await;
    let made = bench.launcher.made();
    assert!(made.iter().all(|launch| launch.ended.is_some()), "{made:?}");
}

#[tokio::test]
async fn fallback_writer() {
    let bench = TestBench::new();
    contracts::fallback_writer(|| bench.fallback.clone()).await;
}

#[tokio::test]
async fn hook_executor() {
    contracts::hook_executor(TestBench::new().hooks).await;
}

#[tokio::test]
async fn notifier() {
    let bench = TestBench::new();
    let refusing = Arc::new(FakeNotifier::new(&bench.journal, "webhook"));
    refusing.fail_always("notify", Failure::new(ErrorCode::NotifyFailed, "status 500"));
    let good = bench.webhook.clone();
    contracts::notifier(good, refusing, || bench.webhook.notices().len()).await;
}

#[tokio::test]
async fn heartbeat_monitor() {
    let bench = TestBench::new();
    let refusing = Arc::new(FakeMonitor::new(&bench.journal));
    refusing.fail_always("send", Failure::new(ErrorCode::HeartbeatFailed, "status 500"));
    let good = bench.monitor.clone();
    let received = || {
        let beats = bench.monitor.heartbeats();
        beats.iter().filter(|beat| **beat != Heartbeat::Start).count()
    };
    contracts::heartbeat_monitor(good, refusing, received).await;
}

#[tokio::test]
async fn dump_encryptor() {
    let bench = TestBench::new();
    let dir = bench.work.dir("contract");
    contracts::dump_encryptor(Arc::new(bench.encryptor.clone()), &dir, "age").await;
}

#[tokio::test]
async fn local_cleanup() {
    let bench = TestBench::new();
    contracts::local_cleanup(bench.cleanup.clone(), &bench.base_dir()).await;
}

#[tokio::test]
async fn unpacker() {
    let bench = TestBench::new();
    let (dir, plain) = (bench.work.dir("contract"), b"packed in name only".to_vec());
    let packed = [("zst", plain.clone()), ("gz", plain.clone())];
    contracts::unpacker(bench.unpacker.clone(), &dir, &plain, &packed).await;
}

#[tokio::test]
async fn disk() {
    let bench = TestBench::new();
    contracts::disk(bench.disk.clone(), &bench.work.dir("contract")).await;
}

#[tokio::test]
async fn clock() {
    contracts::clock(TestBench::new().clock).await;
}

#[tokio::test]
async fn config_loader() {
    let bench = TestBench::new();
    bench.config.set_projects([project("web").build(), project("api").build()]);
    contracts::config_loader(bench.config.clone(), &["web", "api"]).await;
}

#[tokio::test]
async fn key_manager() {
    let bench = TestBench::new();
    bench.keys.add_file("/keys/team.asc", &["AAAA", "BBBB"]);
    contracts::key_manager(bench.keys.clone(), "/keys/team.asc".as_ref(), &["AAAA", "BBBB"]).await;
}

#[tokio::test]
async fn database_dumper() {
    for engine in Engine::ALL {
        let bench = TestBench::new();
        let dumper = Arc::new(bench.dumper.with_engine(engine));
        contracts::database_dumper(dumper, engine, &bench.work.dir("contract")).await;
    }
}

#[tokio::test]
async fn database_loader() {
    let bench = TestBench::new();
    bench.loader.set_state(TargetState::Missing);
    let (dump, broken) =
        (bench.work.file("good.dump", "a dump"), bench.work.file("broken.dump", ""));
    contracts::database_loader(Arc::new(bench.loader.clone()), &dump, &broken, 1).await;
}

#[tokio::test]
async fn remote_storage() {
    let bench = TestBench::new();
    let view = |project: &_| {
        let fake = bench.repository.of(project);
        Storage { remote: fake.clone(), admin: fake.clone(), cache: Some(fake) }
    };
    contracts::remote_storage(view, &|| bench.clock.now(), &bench.work.dir("contract")).await;
}

#[tokio::test]
async fn archive_storage() {
    let bench = TestBench::new();
    let view = |project: &_| {
        let fake = bench.archives.of(project);
        Storage { remote: fake.clone(), admin: fake, cache: None }
    };
    contracts::archive_storage(view, &|| bench.clock.now(), &bench.work.dir("contract")).await;
}
