//! What adapter tests rely on when they start a private server.

use std::io::{Read, Write};
use std::net::TcpStream;

use backupctl_testkit::services::{
    HttpReceiver, MariaDb, Postgres, Reply, Repository, SmtpFault, SmtpSink, SmtpStep, SmtpTls,
    Sshd, Stick,
};

const QUICK: &str = Repository::QUICK_PASSWORD;

#[test]
fn a_private_postgres_serves_stops_and_comes_back() {
    let mut server = Postgres::start();
    server.create_role("app", "it's a secret");
    server.create_database("shop", "app");
    server.psql_as("app", "shop", "CREATE TABLE t AS SELECT generate_series(1, 10) AS n");
    assert_eq!(server.psql_in("shop", "SELECT count(*), max(n) FROM t"), "10|10");
    server.stop();
    assert!(!server.listens());
    server.start_again();
    assert_eq!(server.psql_in("shop", "SELECT count(*) FROM t"), "10");
    server.kill();
    assert!(!server.listens());
}

#[test]
fn a_private_mariadb_serves_stops_and_comes_back() {
    let mut server = MariaDb::start();
    server.create_database("shop");
    server.create_user("app", "it's \\ secret", &["all on shop.*"]);
    let made = "create table t (n int); insert into t values (1), (10)";
    server.try_sql_as("app", "it's \\ secret", "shop", made).unwrap();
    assert!(server.try_sql_as("app", "wrong", "shop", "select 1").is_err());
    assert_eq!(server.sql_in("shop", "select count(*), max(n) from t"), "2\t10");
    server.stop();
    assert!(!server.listens());
    server.start_again();
    assert_eq!(server.sql_in("shop", "select count(*) from t"), "2");
    server.kill();
    assert!(!server.listens());
}

#[test]
fn servers_end_with_their_values_and_do_not_share_data() {
    let (port, data) = {
        let first = Postgres::start();
        let second = Postgres::start();
        first.psql("CREATE TABLE only_here (n int)");
        assert_eq!(
            second.psql("SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'"),
            "0"
        );
        (first.port(), first.data_dir())
    };
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!data.exists());
}

#[test]
fn a_private_sshd_takes_a_restic_repository_over_sftp() {
    let mut server = Sshd::start();
    let repository = Repository::fresh_at(&server.root().join("one"), QUICK);
    let ssh = |key: &std::path::Path, known_hosts: &std::path::Path| {
        let command = format!(
            "sftp.command=ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -i {} -p {} -o \
             UserKnownHostsFile={} -o StrictHostKeyChecking=yes {}@127.0.0.1 -s sftp",
            key.display(),
            server.port(),
            known_hosts.display(),
            server.user()
        );
        let location = server.repository("one");
        repository.try_restic(&["-r", &location, "-o", &command, "snapshots", "--json"])
    };
    let good = ssh(&server.key_path(), &server.known_hosts_path());
    assert_eq!(good.as_deref().map(str::trim), Ok("[]"));
    // Why is not asserted: restic may end before it has passed on what ssh said.
    assert!(ssh(&server.wrong_key_path(), &server.known_hosts_path()).is_err());
    assert!(ssh(&server.key_path(), &server.empty_known_hosts_path()).is_err());
    assert!(ssh(&server.key_path(), &server.wrong_known_hosts_path()).is_err());
    server.stop();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
}

#[test]
fn a_fresh_repository_is_empty_whatever_others_hold() {
    let first = Repository::fresh(QUICK);
    first.restic(&["backup", "--host", "h", "/etc/hostname"]);
    assert!(first.restic(&["snapshots", "--json"]).contains("/etc/hostname"));
    let second = Repository::fresh(QUICK);
    assert_eq!(second.restic(&["snapshots", "--json"]).trim(), "[]");
    let third = Repository::fresh("another");
    assert_eq!(third.restic(&["snapshots", "--json"]).trim(), "[]");
}

#[test]
fn a_quick_repository_opens_with_its_own_password_alone() {
    let quick = Repository::fresh(QUICK);
    quick.restic(&["cat", "config"]);
    let key: String = quick.restic(&["cat", "key", &key_of(&quick)]);
    assert!(key.contains("\"N\": 2048"), "slow to open: {key}");
    let other = Repository::fresh("another");
    assert_ne!(key_of(&other), key_of(&quick));
}

fn key_of(repository: &Repository) -> String {
    let mut keys = std::fs::read_dir(repository.path().join("keys")).unwrap();
    keys.next().unwrap().unwrap().file_name().into_string().unwrap()
}

fn send(receiver: &HttpReceiver, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", receiver.port())).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn the_receiver_keeps_requests_and_answers_as_told() {
    let receiver = HttpReceiver::start();
    receiver.reply_once(Reply::Status(503, "later".to_owned()));
    receiver.reply_once(Reply::Close);
    let post =
        "POST /hook?a=1%202&b=x+y HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nContent-Length: 4\r\n\r\nbody";
    let answer = send(&receiver, post);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("later"), "{answer}");
    assert_eq!(send(&receiver, "GET /gone HTTP/1.1\r\n\r\n"), "");
    let chunked =
        "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert!(send(&receiver, chunked).starts_with("HTTP/1.1 200 "));
    let requests = receiver.wait_for(3);
    assert_eq!((requests[0].method.as_str(), requests[0].path()), ("POST", "/hook"));
    assert_eq!(requests[0].query("a").as_deref(), Some("1 2"));
    assert_eq!(requests[0].query("b").as_deref(), Some("x y"));
    assert_eq!(requests[0].header("x-one"), Some("1"));
    assert_eq!(requests[0].text(), "body");
    assert_eq!(requests[2].text(), "abcde");
}

#[test]
fn a_hanging_reply_ends_with_the_receiver() {
    let receiver = HttpReceiver::start();
    receiver.reply_always(Reply::Hang);
    let mut stream = TcpStream::connect(("127.0.0.1", receiver.port())).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    receiver.wait_for(1);
    drop(receiver);
    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn the_sink_keeps_mails_checks_logins_and_fails_as_told() {
    let sink = SmtpSink::start(SmtpTls::None);
    sink.require_login("u", "p");
    sink.refuse_recipient("no@b");
    sink.fail_once(SmtpStep::Sender, SmtpFault::Say("451 later".to_owned()));
    let mut stream = TcpStream::connect((sink.host(), sink.port())).unwrap();
    // The login's base64 is `\0u\0x` and `\0u\0p`.
    let words = "EHLO h\r\nMAIL FROM:<a@b>\r\nAUTH PLAIN AHUAeA==\r\nAUTH PLAIN AHUAcA==\r\n\
                 MAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\nRCPT TO:<no@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n\
                 Subject: =?utf-8?b?4p2M?= =?utf-8?q?_no?=\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
    stream.write_all(words.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let codes: Vec<&str> = answers.lines().filter(|l| &l[3..4] == " ").map(|l| &l[..3]).collect();
    let expected = "220 250 530 535 235 451 250 550 250 354 250 221";
    assert_eq!(codes.join(" "), expected, "{answers}");
    let mail = &sink.wait_for(1)[0];
    assert_eq!((mail.from.as_str(), mail.to.as_slice()), ("a@b", &["c@d".to_owned()][..]));
    assert_eq!(mail.header("subject").as_deref(), Some("❌ no"));
    assert_eq!(mail.parts()[0].text, ".dot");
}

#[test]
fn a_hanging_sink_ends_the_conversation_when_it_ends() {
    let sink = SmtpSink::start(SmtpTls::None);
    sink.fail_always(SmtpStep::Greeting, SmtpFault::Hang);
    let mut stream = TcpStream::connect((sink.host(), sink.port())).unwrap();
    while sink.connections() == 0 {
        std::thread::yield_now();
    }
    drop(sink);
    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn a_stick_is_seen_by_who_is_led_to_it_and_survives_being_pulled_out() {
    let work = backupctl_testkit::WorkDir::new();
    let stick = Stick::plug_in(&work.join("usb"), "1m");
    let inside = |script: &str| {
        let prefix = stick.prefix();
        #[expect(clippy::disallowed_methods, reason = "a program of the system, led to the stick")]
        let mut command = std::process::Command::new(&prefix[0]);
        let folder = stick.folder().display().to_string();
        let status = command.args(&prefix[1..]).args(["sh", "-c", script, "sh", &folder]).status();
        status.unwrap().success()
    };
    assert!(inside("mountpoint -q \"$1\" && echo one > \"$1/file\""));
    assert_eq!(stick.names("."), ["file"]);
    assert!(!work.join("usb/file").exists(), "nobody else sees it");
    assert!(!inside("head -c 2000000 /dev/zero > \"$1/large\" 2> /dev/null"), "it has its size");
    stick.set_read_only(true);
    assert!(!inside("echo two 2> /dev/null > \"$1/file\""));
    stick.pull_out();
    assert!(!inside("mountpoint -q \"$1\" || test -e \"$1/file\""));
    stick.plug_in_again();
    assert!(inside("echo three > \"$1/file\""));
    assert_eq!(std::fs::read_to_string(stick.on_it("file")).unwrap(), "three\n");
}
