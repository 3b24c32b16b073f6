//! Nothing is lost and nothing is delivered twice, also when processes meet or die.

use std::os::unix::fs::PermissionsExt;
use std::pin::Pin;
use std::sync::Mutex;

use backupctl_adapter_process::Tool;
use backupctl_application::context::{Cancel, StageContext};
use backupctl_domain::{Notice, NoticeKind, Redactor, Stage};
use backupctl_testkit::WorkDir;
use backupctl_testkit::builders::{at, name, run};
use backupctl_testkit::fakes::{FakeClock, Journal};
use rustix::process::{Signal, getpid, kill_process};

use super::*;

/// Set in the process that a test starts to replay, and die in the middle.
const DIE: &str = "BACKUPCTL_TEST_DIE_REPLAYING_IN";

fn file_in(work: &Path) -> FallbackFile {
    FallbackFile::new(work, Arc::new(FakeClock::new(&Arc::new(Journal::default()))))
}

fn notice(text: &str) -> FallbackEntry {
    FallbackEntry::Notification {
        project: name("shop"),
        channel: "webhook".to_owned(),
        index: 0,
        notice: Notice {
            kind: NoticeKind::BackupSuccess,
            project: Some(name("shop")),
            text: text.to_owned(),
            data: serde_json::json!({"bytes": 18_446_744_073_709_551_615_u64, "x": null}),
            at: at("2026-03-18T00:00:05Z"),
            delayed: false,
        },
    }
}

fn text_of(entry: &FallbackEntry) -> String {
    match entry {
        FallbackEntry::Notification { notice, .. }
        | FallbackEntry::GlobalNotification { notice, .. } => notice.text.clone(),
        FallbackEntry::Audit { run } => run.project.to_string(),
    }
}

type After = Box<dyn Fn(&str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Notes what it gets and fails for texts that begin with `bad`; does something more after each.
struct Sink {
    got: Mutex<Vec<String>>,
    after: After,
}

impl Sink {
    fn new() -> Self {
        Self::with(|_| Box::pin(async {}))
    }

    fn with(
        after: impl Fn(&str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync + 'static,
    ) -> Self {
        Self { got: Mutex::default(), after: Box::new(after) }
    }

    fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }
}

#[async_trait]
impl ReplaySink for Sink {
    async fn deliver(&self, entry: &FallbackEntry) -> Result<(), Failure> {
        let text = text_of(entry);
        self.got.lock().unwrap().push(text.clone());
        (self.after)(&text).await;
        match text.strip_prefix("bad") {
            Some(how) => {
                let failure = Failure::new(ErrorCode::NotifyFailed, format!("no{how}"));
                Err(if how.starts_with(" for good") { failure.permanent() } else { failure })
            }
            None => Ok(()),
        }
    }
}

fn lines(work: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(work.join(FOLDER).join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn an_entry_is_one_private_json_line_and_comes_back_equal() {
    let work = WorkDir::new();
    let file = file_in(work.path());
    let audit = FallbackEntry::Audit {
        run: Box::new(run("blog").success(std::time::Duration::from_millis(61_234)).build()),
    };
    let entries = [audit, notice("line one\nline two \u{1f504}")];
    assert_eq!(file.pending().await.unwrap(), 0);
    for entry in &entries {
        file.append(entry).await.unwrap();
    }
    let written = lines(work.path(), FILE);
    assert_eq!(written.len(), 2);
    let json: serde_json::Value = serde_json::from_str(&written[1]).unwrap();
    assert_eq!(json["type"], "notification");
    assert_eq!(json["written_at"], "2026-03-18T00:00:05.000Z");
    assert_eq!(file.entries().await.unwrap(), entries);
    assert_eq!(file.pending().await.unwrap(), 2);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(work.join(FOLDER)), 0o700);
    assert_eq!(mode(work.join(FOLDER).join(FILE)), 0o600);
}

#[tokio::test]
async fn what_is_delivered_leaves_the_file_and_what_is_not_stays() {
    let work = WorkDir::new();
    let file = file_in(work.path());
    for text in ["a", "bad one", "b"] {
        file.append(&notice(text)).await.unwrap();
    }
    let sink = Sink::new();
    let report = file.replay(&sink).await.unwrap();
    assert_eq!(sink.got(), ["a", "bad one", "b"]);
    assert_eq!((report.delivered, report.rejected), (2, 0));
    assert_eq!(report.remaining, ["no one"]);
    assert_eq!(lines(work.path(), FILE).len(), 1);
    assert_eq!(file.entries().await.unwrap(), [notice("bad one")]);
    // The next time it works; the empty file goes.
    fs::write(work.join(FOLDER).join(FILE), lines(work.path(), FILE)[0].replace("bad", "good"))
        .unwrap();
    assert_eq!(file.replay(&Sink::new()).await.unwrap().delivered, 1);
    assert!(!work.join(FOLDER).join(FILE).exists());
    assert_eq!(file.replay(&Sink::new()).await.unwrap(), ReplayReport::default());
}

#[tokio::test]
async fn lines_that_cannot_be_read_are_put_aside_and_reported() {
    let work = WorkDir::new();
    let file = file_in(work.path());
    file.append(&notice("a")).await.unwrap();
    let path = work.join(FOLDER).join(FILE);
    // Half a line of a process that died, and something that was never ours.
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n{{\"type\":\"tea\"}}\n{}", &text[..40])).unwrap();
    file.append(&notice("b")).await.unwrap();
    assert_eq!(file.pending().await.unwrap(), 4);
    assert_eq!(file.entries().await.unwrap(), [notice("a"), notice("b")]);
    let report = file.replay(&Sink::new()).await.unwrap();
    assert_eq!((report.delivered, report.rejected), (2, 2));
    assert_eq!(lines(work.path(), REJECTED), ["{\"type\":\"tea\"}", &text[..40]]);
    assert_eq!(file.pending().await.unwrap(), 0);
}

#[tokio::test]
async fn two_replays_at_once_deliver_once() {
    let work = WorkDir::new();
    let (one, two) = (file_in(work.path()), file_in(work.path()));
    for i in 0..20 {
        one.append(&notice(&format!("{i:02}"))).await.unwrap();
    }
    let sink = Sink::with(|_| Box::pin(tokio::task::yield_now()));
    let (a, b) = tokio::join!(one.replay(&sink), two.replay(&sink));
    assert_eq!(a.unwrap().delivered + b.unwrap().delivered, 20);
    let expected: Vec<String> = (0..20).map(|i| format!("{i:02}")).collect();
    assert_eq!(sink.got(), expected);
}

#[tokio::test]
async fn what_is_appended_during_a_replay_is_neither_held_up_nor_lost() {
    let work = WorkDir::new();
    let file = Arc::new(file_in(work.path()));
    file.append(&notice("a")).await.unwrap();
    file.append(&notice("b")).await.unwrap();
    let appending = Arc::clone(&file);
    let sink = Sink::with(move |text| {
        let (file, entry) = (Arc::clone(&appending), notice(&format!("{text}, later")));
        Box::pin(async move { file.append(&entry).await.unwrap() })
    });
    assert_eq!(file.replay(&sink).await.unwrap().delivered, 2);
    assert_eq!(sink.got(), ["a", "b"]);
    assert_eq!(file.entries().await.unwrap(), [notice("a, later"), notice("b, later")]);
}

#[tokio::test]
async fn a_dead_place_is_left_in_peace_after_some_tries_but_one_bad_entry_stops_nothing() {
    let work = WorkDir::new();
    let file = file_in(work.path());
    for i in 0..6 {
        file.append(&notice(&format!("bad for good {i}"))).await.unwrap();
    }
    for i in 0..6 {
        file.append(&notice(&format!("bad {i}"))).await.unwrap();
    }
    file.append(&FallbackEntry::Audit { run: Box::new(run("blog").build()) }).await.unwrap();
    let sink = Sink::new();
    let report = file.replay(&sink).await.unwrap();
    assert_eq!(sink.got().len(), 6 + 3 + 1);
    assert_eq!((report.delivered, report.remaining.len()), (1, 12));
    assert_eq!(file.pending().await.unwrap(), 12);
}

/// Not a test by itself: what the process does that the next test starts.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how a test talks to the process that it starts")]
async fn die_replaying_when_told() {
    let Some(dir) = std::env::var_os(DIE).map(PathBuf::from) else { return };
    let log = dir.join("delivered");
    let sink = Sink::with(move |text| {
        append_line(&log, text.as_bytes()).unwrap();
        if text == "2" {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        Box::pin(async {})
    });
    file_in(&dir).replay(&sink).await.unwrap();
}

#[tokio::test]
async fn a_replay_killed_in_the_middle_repeats_only_what_it_was_delivering() {
    let work = WorkDir::new();
    let file = file_in(work.path());
    for i in 0..5 {
        file.append(&notice(&i.to_string())).await.unwrap();
    }
    let ctx = StageContext::new(Stage::Notify, Cancel::new(), Arc::new(Redactor::default()));
    let output = Tool::new(std::env::current_exe().unwrap())
        .args(["--exact", "fallback::tests::die_replaying_when_told"])
        .env(DIE, work.path())
        .run(&ctx)
        .await
        .unwrap();
    assert_eq!(output.signal, Some(9));
    let log = fs::read_to_string(work.join("delivered")).unwrap();
    assert_eq!(log.lines().collect::<Vec<_>>(), ["0", "1", "2"]);
    assert_eq!(file.pending().await.unwrap(), 3);
    let sink = Sink::new();
    assert_eq!(file.replay(&sink).await.unwrap().delivered, 3);
    assert_eq!(sink.got(), ["2", "3", "4"]);
    assert!(!work.join(FOLDER).join(FILE).exists());
}
