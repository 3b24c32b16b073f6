//! What running a program promises, shown with small shell scripts.

mod container;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backupctl_application::context::{Cancel, Interrupt, StageContext};
use backupctl_domain::{ErrorCode, Redactor, Stage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::mpsc;

use crate::{
    EndSignal, ProcessError, Tool, end_orphans, failure_from_io, find_program, journal_in,
};

fn ctx() -> StageContext {
    let redactor = Redactor::new(["hunter2".to_owned()]);
    StageContext::new(Stage::Dump, Cancel::new(), Arc::new(redactor))
}

fn sh(script: &str) -> Tool {
    Tool::new("sh").arg("-c").arg(script)
}

/// Waits until a process is dead (a zombie is); fails after some seconds.
fn assert_dies(pid: &str) {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let limit = Timespec::try_from(Duration::from_secs(5)).unwrap();
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap();
    assert_eq!(ready, 1, "process {pid:?} is still alive");
}

fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn kill(pid: &str) {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[tokio::test]
async fn output_and_status_are_kept_apart() {
    let out = sh("echo out; echo err >&2; exit 3").run(&ctx()).await.unwrap();
    assert_eq!((out.code, out.signal, out.success()), (Some(3), None, false));
    assert_eq!((out.stdout.as_slice(), out.stderr.as_str()), (&b"out\n"[..], "err\n"));
    assert_eq!(out.status_text(), "exit status 3");
    let out = sh("kill -9 $$").run(&ctx()).await.unwrap();
    assert_eq!((out.code, out.signal), (None, Some(9)));
}

/// Tests may not change their own environment, so a second process of this test binary has the secrets.
#[tokio::test]
async fn our_own_secrets_are_inherited_by_nobody_unless_asked_for() {
    const INNER: &str = "BACKUPCTL_TEST_INNER";
    let show = "echo ${BACKUPCTL_INTO_PASSWORD-none} ${SMTP_PASSWORD-none} ${RESTIC_PASSWORD-none}";
    #[expect(clippy::disallowed_methods, reason = "the test is two processes")]
    let is_inner = std::env::var_os(INNER).is_some();
    if is_inner {
        for (tool, said) in [
            (sh(show), "none none none\n"),
            (sh(show).env("RESTIC_PASSWORD", "given"), "none none given\n"),
            (sh(show).whole_environment(), "none mail repository\n"),
        ] {
            let output = tool.run(&ctx()).await.unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), said);
        }
        return;
    }
    let this = std::env::current_exe().unwrap();
    let inner = Tool::new("env")
        .args(["BACKUPCTL_INTO_PASSWORD=into", "SMTP_PASSWORD=mail", "RESTIC_PASSWORD=repository"])
        .arg(format!("{INNER}=1"))
        .arg(this)
        .args(["--exact", "tests::our_own_secrets_are_inherited_by_nobody_unless_asked_for"]);
    let output = inner.run(&ctx()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.success() && said.contains("1 passed"), "{said}{}", output.stderr);
}

#[tokio::test]
async fn surroundings_are_as_told_and_stdin_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let out = sh("pwd; echo $A$B$CARGO_MANIFEST_DIR; cat; echo end")
        .cwd(dir.path())
        .env("A", "a")
        .env("B", "b1")
        .env("B", "b2")
        .env_remove("CARGO_MANIFEST_DIR")
        .run(&ctx())
        .await
        .unwrap();
    let dir = dir.path().canonicalize().unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap(), format!("{}\nab2\nend\n", dir.display()));
}

#[tokio::test]
async fn joined_output_keeps_the_order_of_writing() {
    let out = sh("echo 1; echo 2 >&2; echo 3").join_output().run(&ctx()).await.unwrap();
    assert_eq!((out.stderr.as_str(), out.stdout.len()), ("1\n2\n3\n", 0));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_missing_and_the_package_is_named() {
    for program in ["no-such-program-at-all", "/nowhere/restic"] {
        let error = Tool::new(program).run(&ctx()).await.unwrap_err();
        assert!(matches!(error, ProcessError::Missing { .. }), "{error:?}");
    }
    let error = ProcessError::Missing { program: "pg_dump".to_owned() };
    let failure = error.into_failure(ErrorCode::DumpTimeout);
    assert_eq!(failure.code, ErrorCode::ToolMissing);
    assert!(failure.remedy.contains("postgresql-client"), "{}", failure.remedy);
}

#[tokio::test]
async fn a_program_that_cannot_be_started_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tool");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let error = Tool::new(&file).run(&ctx()).await.unwrap_err();
    assert!(matches!(error, ProcessError::Start { .. }), "{error:?}");
    let error = sh("true").cwd(dir.path().join("gone")).run(&ctx()).await.unwrap_err();
    assert!(matches!(error, ProcessError::Start { .. }), "{error:?}");
}

#[test]
fn programs_are_found_by_name_and_by_path() {
    let sh = find_program("sh").unwrap();
    assert_eq!(find_program(&sh), Some(sh));
    assert_eq!(find_program("no-such-program-at-all"), None);
    assert_eq!(find_program("/etc"), None);
}

#[tokio::test]
async fn time_being_up_ends_the_whole_group() {
    let started = Instant::now();
    let error = sh("sleep 1000 & echo $! >&2; wait")
        .timeout(Some(Duration::from_millis(300)))
        .run(&ctx())
        .await
        .unwrap_err();
    let ProcessError::TimedOut { stderr, .. } = &error else { panic!("{error:?}") };
    assert_dies(stderr);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(error.into_failure(ErrorCode::HookTimeout).code, ErrorCode::HookTimeout);
}

#[tokio::test]
async fn a_program_that_ignores_the_end_signal_is_killed_after_its_grace() {
    let error = sh("trap '' TERM; sleep 1000 & echo $! >&2; wait; wait; sleep 1000")
        .timeout(Some(Duration::from_millis(200)))
        .end_with(EndSignal::Term, Duration::from_millis(200))
        .run(&ctx())
        .await
        .unwrap_err();
    let ProcessError::TimedOut { stderr, .. } = error else { panic!("{error:?}") };
    assert_dies(&stderr);
}

#[tokio::test]
async fn cancel_asks_with_the_chosen_signal_and_ends_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let asked = dir.path().join("asked");
    let ctx = ctx();
    let cancel = ctx.cancel.clone();
    let pid = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&pid);
    let script = "trap 'echo INT > asked; exit 7' INT; sleep 1000 & echo $!; wait";
    let error = sh(script)
        .cwd(dir.path())
        .end_with(EndSignal::Int, Duration::from_secs(5))
        .run_lines(&ctx, move |line| {
            *seen.lock().unwrap() = String::from_utf8_lossy(line).into_owned();
            cancel.cancel(Interrupt::Int);
        })
        .await
        .unwrap_err();
    assert!(matches!(error, ProcessError::Interrupted(Interrupt::Int)), "{error:?}");
    assert_eq!(fs::read_to_string(asked).unwrap(), "INT\n");
    assert_dies(&pid.lock().unwrap());
    let error = sh("echo x > started").cwd(dir.path()).run(&ctx).await.unwrap_err();
    assert_eq!(error.into_failure(ErrorCode::Internal).code, ErrorCode::Interrupted);
    assert!(!dir.path().join("started").exists(), "nothing is started once cancelled");
}

#[tokio::test]
async fn a_background_process_is_neither_waited_for_nor_killed() {
    let started = Instant::now();
    let out = sh("sleep 1000 & echo $!").run(&ctx()).await.unwrap();
    let pid = String::from_utf8(out.stdout).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(lives(&pid));
    kill(&pid);
    // One that writes without end does not keep us either, and what came before it is whole.
    let out = sh("yes & echo $! >&2; exit 4").run(&ctx()).await.unwrap();
    assert_eq!(out.code, Some(4));
    assert_dies(&out.stderr);
    let script = "head -c 60000 /dev/zero; sleep 1000 & echo $! >&2";
    let (out, bytes) =
        sh(script).run_reading(&ctx(), |r| io::copy(r, &mut io::sink())).await.unwrap();
    assert_eq!(bytes, 60000);
    kill(&out.stderr);
}

#[tokio::test]
async fn one_that_leaves_the_group_does_not_keep_us() {
    let started = Instant::now();
    let error = sh("setsid sleep 1000 & echo $! >&2; wait")
        .timeout(Some(Duration::from_millis(300)))
        .run(&ctx())
        .await
        .unwrap_err();
    let ProcessError::TimedOut { stderr, .. } = error else { panic!("{error:?}") };
    assert!(started.elapsed() < Duration::from_secs(5));
    kill(&stderr);
}

#[tokio::test]
async fn of_much_output_the_head_of_stdout_and_the_tail_of_stderr_are_kept() {
    let script = "echo first; head -c 20000000 /dev/zero | tr '\\0' 'x'; \
                  head -c 20000000 /dev/zero | tr '\\0' 'y' >&2; echo last >&2";
    let out = sh(script).capture_limit(1000).run(&ctx()).await.unwrap();
    assert!(out.stdout.starts_with(b"first\nxxx") && out.stdout.len() == 1000);
    assert!(out.stderr.ends_with("yyylast\n") && out.stderr.len() == 1000);
    assert_eq!(out.last_lines(1).len(), 999);
}

#[tokio::test]
async fn secrets_do_not_get_out_even_where_the_tail_is_cut() {
    let out = sh("echo pw=hunter2 >&2; printf '\\377' >&2").run(&ctx()).await.unwrap();
    assert_eq!(out.stderr, "pw=***\n\u{fffd}");
    // Wherever the cut falls, no half of a secret is left over.
    let script = "i=0; while [ $i -lt 3000 ]; do printf hunter2 >&2; i=$((i+1)); done";
    for limit in 0..8 {
        let out = sh(script).capture_limit(limit).run(&ctx()).await.unwrap();
        assert!(out.stderr.bytes().all(|b| b == b'*'), "{}", out.stderr);
    }
}

#[tokio::test]
async fn lines_come_one_by_one_however_long() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let script = "echo a; echo; head -c 20000000 /dev/zero; echo; printf end";
    let on_line = move |line: &[u8]| seen.lock().unwrap().push(line.len());
    let out = sh(script).run_lines(&ctx(), on_line).await.unwrap();
    assert!(out.success());
    assert_eq!(*lines.lock().unwrap(), [1, 0, 16 * 1024 * 1024, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_gets_every_byte_and_the_status() {
    let bytes = 300 * 1024 * 1024_u64;
    let script = format!("head -c {bytes} /dev/zero; exit 2");
    let reading = sh(&script);
    let (out, read) = tokio::spawn(async move {
        reading.run_reading(&ctx(), |r| io::copy(r, &mut io::sink())).await.unwrap()
    })
    .await
    .unwrap();
    assert_eq!((read, out.code), (bytes, Some(2)));
}

#[tokio::test]
async fn a_consumer_that_fails_ends_the_program() {
    let started = Instant::now();
    let error = sh("echo $$ >&2; sleep 1000 & wait")
        .run_reading(&ctx(), |_| Err::<(), _>(io::ErrorKind::StorageFull.into()))
        .await
        .unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5));
    let ProcessError::Pipe(_, Some(output)) = &error else { panic!("{error:?}") };
    assert!(!output.success());
    assert_eq!(error.into_failure(ErrorCode::DumpTimeout).code, ErrorCode::DiskFull);
}

#[tokio::test]
async fn a_consumer_of_a_program_that_is_ended_gets_an_error_not_an_end() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let error = sh("echo x; sleep 1000")
        .timeout(Some(Duration::from_millis(300)))
        .run_reading(&ctx(), move |r| {
            let mut all = Vec::new();
            let result = r.read_to_end(&mut all);
            sender.send(result.as_ref().map_err(io::Error::kind).copied()).unwrap();
            result
        })
        .await
        .unwrap_err();
    assert!(matches!(error, ProcessError::TimedOut { .. }), "{error:?}");
    assert_eq!(seen.recv().await.unwrap(), Err(io::ErrorKind::ConnectionAborted));
}

#[tokio::test]
async fn a_consumer_that_panics_ends_the_program_and_the_panic_goes_on() {
    let (sender, mut pid) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        sh("echo $$; exec sleep 1000")
            .run_reading(&ctx(), move |r| -> io::Result<()> {
                let mut buffer = [0; 100];
                let n = r.read(&mut buffer)?;
                sender.send(String::from_utf8_lossy(&buffer[..n]).into_owned()).unwrap();
                panic!("consumer");
            })
            .await
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_dies(&pid.recv().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_gets_every_byte_there() {
    let (out, written) = Tool::new("wc")
        .arg("-c")
        .run_writing(&ctx(), |w| {
            let block = vec![7; 1 << 20];
            for _ in 0..64 {
                w.write_all(&block)?;
            }
            Ok("done")
        })
        .await
        .unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap().trim(), (64 << 20).to_string());
    assert_eq!(written.unwrap(), "done");
}

#[tokio::test]
async fn a_given_input_is_read_to_its_end_and_opened_again_as_a_private_file() {
    let input = vec![b'x'; 300_000];
    let script = "wc -c; stat -L -c %a /dev/stdin";
    let out = sh(script).input(input).run(&ctx()).await.unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap(), "300000\n600\n");
    let out = Tool::new("cat").arg("/dev/stdin").input("a\nb").run(&ctx()).await.unwrap();
    assert_eq!(out.stdout, b"a\nb");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_both_stdin_and_stdout_and_its_end_is_told() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let talk = tokio::task::spawn_blocking(move || {
        ours.write_all(b"hello").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = String::new();
        ours.read_to_string(&mut said).unwrap();
        said
    });
    let out = sh("cat; echo no >&2; exit 4").run_on(&ctx(), theirs.into()).await.unwrap();
    assert_eq!((out.code, out.stderr.as_str()), (Some(4), "no\n"));
    assert_eq!(talk.await.unwrap(), "hello");
}

#[tokio::test]
async fn a_program_that_stops_reading_decides_by_its_status() {
    for script in ["exec <&-; exit 5", "sleep 1000 <&0 & echo $!; exit 5"] {
        let (out, written) =
            sh(script).run_writing(&ctx(), |w| io::copy(&mut io::repeat(0), w)).await.unwrap();
        assert_eq!(out.code, Some(5));
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        if !out.stdout.is_empty() {
            kill(&String::from_utf8(out.stdout).unwrap());
        }
    }
}

#[tokio::test]
async fn dropping_the_future_kills_the_group() {
    let (sender, mut pids) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        sh("sleep 1000 & echo $!; echo $$; wait")
            .run_lines(&ctx(), move |line| {
                sender.send(String::from_utf8_lossy(line).into_owned()).unwrap();
            })
            .await
    });
    let (one, two) = (pids.recv().await.unwrap(), pids.recv().await.unwrap());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_dies(&one);
    assert_dies(&two);
}

async fn journal_while_running(
    dir: &Path,
    script: &str,
) -> (String, tokio::task::JoinHandle<Result<crate::Output, ProcessError>>) {
    let journal = journal_in(dir);
    let tool = sh(script).journal(&journal);
    let (sender, mut lines) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        tool.run_lines(&ctx(), move |_| {
            // It runs before its number is noted.
            let text = loop {
                let text = fs::read_to_string(&journal).unwrap();
                if !text.starts_with('?') && text.ends_with('\n') {
                    break text;
                }
            };
            sender.send(text).unwrap();
        })
        .await
    });
    (lines.recv().await.unwrap(), task)
}

#[tokio::test]
async fn the_journal_names_a_program_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (text, task) = journal_while_running(dir.path(), "echo x; sleep 0.1").await;
    assert_eq!(text.lines().count(), 1);
    task.await.unwrap().unwrap();
    assert!(!journal_in(dir.path()).exists());
}

#[tokio::test]
async fn orphans_are_ended_and_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (text, task) = journal_while_running(dir.path(), "sleep 1000 & echo $!; wait").await;
    let (pid, _) = text.trim().split_once(' ').unwrap();
    let left_over = dir.path().join("left-over");
    // The same number with another start time is another program.
    fs::write(&left_over, format!("{pid} 1\nnonsense\n1 1\n")).unwrap();
    assert_eq!(end_orphans(&left_over), 0);
    assert!(lives(pid) && !left_over.exists());
    fs::write(&left_over, &text).unwrap();
    let path = left_over.clone();
    assert_eq!(tokio::task::spawn_blocking(move || end_orphans(&path)).await.unwrap(), 1);
    assert_eq!(task.await.unwrap().unwrap().signal, Some(2));
    assert_eq!(end_orphans(&left_over), 0);
}

#[tokio::test]
async fn an_orphan_whose_number_was_not_noted_is_found_by_what_it_carries() {
    let dir = tempfile::tempdir().unwrap();
    let left_over = dir.path().join("left-over");
    let start = |token: &str| {
        let ctx = ctx();
        let cancel = ctx.cancel.clone();
        let tool = Tool::new("sleep").arg("1000").env("BACKUPCTL_CHILD", token);
        (cancel, tokio::spawn(async move { tool.run(&ctx).await }))
    };
    let (_, lost) = start("1-2-3");
    let (stop, other) = start("1-2-33");
    // Nothing tells that it has started but its being found.
    let mut ended = 0;
    while ended == 0 {
        fs::write(&left_over, "? 1-2-3\n").unwrap();
        let path = left_over.clone();
        ended = tokio::task::spawn_blocking(move || end_orphans(&path)).await.unwrap();
    }
    assert_eq!(ended, 1);
    assert_eq!(lost.await.unwrap().unwrap().signal, Some(2));
    assert!(!other.is_finished() && !left_over.exists());
    stop.cancel(Interrupt::Int);
    let _ = other.await;
}

#[test]
fn failed_file_operations_get_the_code_of_their_cause() {
    let path = Path::new("/srv/x");
    for (kind, code) in [
        (io::ErrorKind::StorageFull, ErrorCode::DiskFull),
        (io::ErrorKind::FileTooLarge, ErrorCode::FsFileTooLarge),
        (io::ErrorKind::ReadOnlyFilesystem, ErrorCode::PathNotWritable),
        (io::ErrorKind::PermissionDenied, ErrorCode::PathNotWritable),
        (io::ErrorKind::InvalidData, ErrorCode::Internal),
    ] {
        let failure = failure_from_io(kind.into(), path, "cannot write");
        assert_eq!(failure.code, code);
        assert!(failure.message.starts_with("cannot write /srv/x: "), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_session_of_its_own_has_no_terminal_and_ends_like_any_group() {
    let stat = Tool::new("cat").arg("/proc/self/stat").new_session().run(&ctx()).await.unwrap();
    let text = String::from_utf8(stat.stdout).unwrap();
    let fields: Vec<&str> = text.split(' ').collect();
    // Number, group, session, terminal.
    assert!(fields[0] == fields[4] && fields[0] == fields[5] && fields[6] == "0", "{text}");

    let slow = Tool::new("sleep").arg("60").new_session().timeout(Some(Duration::from_millis(50)));
    assert!(matches!(slow.run(&ctx()).await, Err(ProcessError::TimedOut { .. })));
    let missing = Tool::new("/no/such/program").new_session().run(&ctx()).await;
    assert!(matches!(missing, Err(ProcessError::Missing { .. })));
}
