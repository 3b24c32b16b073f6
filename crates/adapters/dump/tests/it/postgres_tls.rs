//! PostgreSQL by TLS: what `sslmode` promises is kept by our own connection and by the programs alike.

use backupctl_application::ports::DatabaseDumper;
use backupctl_domain::ErrorCode;
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::Database;
use backupctl_testkit::WorkDir;
use backupctl_testkit::services::Postgres;

use super::postgres::{folders, with};
use super::*;

fn tls(host: &str, mode: &str, authority: Option<&Path>) -> impl Fn(&mut Database) {
    let (host, mode) = (host.to_owned(), mode.to_owned());
    let authority = authority.map(Path::to_owned);
    move |d| {
        d.host.clone_from(&host);
        d.options.sslmode = Some(mode.clone()).filter(|m| !m.is_empty());
        d.options.sslrootcert.clone_from(&authority);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mode_promises_is_kept() {
    let server = Postgres::start_with_tls();
    server.psql("create table t (a int)");
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let (good, wrong) = (server.authority(), server.other_authority());
    let socket = server.socket_dir().to_string_lossy().into_owned();
    for (host, mode, authority) in [
        ("localhost", "verify-full", Some(&good)),
        ("127.0.0.1", "verify-ca", Some(&good)),
        ("127.0.0.1", "require", Some(&good)),
        ("127.0.0.1", "require", None),
        ("127.0.0.1", "prefer", None),
        ("127.0.0.1", "allow", None),
        ("127.0.0.1", "", None),
        // A socket has no TLS, whatever the mode.
        (&socket, "require", None),
        (&socket, "disable", None),
    ] {
        let dumper = with(
            &server,
            "postgres",
            &run,
            tls(host, mode, authority.map(std::path::PathBuf::as_path)),
        );
        dumper.check_database(&context()).await.unwrap();
        let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
        assert_eq!(dumped.completeness, Completeness::Complete, "{host} {mode}");
        fs::remove_file(&dumped.path).unwrap();
    }
    let missing = work.join("nothing.pem");
    for (host, mode, authority, code, remedy) in [
        ("localhost", "verify-full", &wrong, ErrorCode::DbConnectionRefused, "sslrootcert"),
        ("localhost", "verify-ca", &wrong, ErrorCode::DbConnectionRefused, "sslrootcert"),
        ("localhost", "require", &wrong, ErrorCode::DbConnectionRefused, "sslrootcert"),
        ("127.0.0.1", "verify-full", &good, ErrorCode::DbConnectionRefused, "verify-ca"),
        ("localhost", "verify-full", &missing, ErrorCode::InvalidConfig, "PEM file"),
        ("127.0.0.1", "disable", &good, ErrorCode::DbAuthFailed, "sslmode: require"),
    ] {
        let dumper = with(&server, "postgres", &run, tls(host, mode, Some(authority)));
        for failure in [
            dumper.check_database(&context()).await.unwrap_err(),
            dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err(),
        ] {
            let case = format!("{host} {mode}: {failure}: {}", failure.remedy);
            assert_eq!((failure.code, failure.is_transient()), (code, false), "{case}");
            assert!(failure.remedy.contains(remedy), "{case}");
            assert_nothing_left(&work, &failure);
        }
    }

    let plain = Postgres::start();
    let dumper = with(&plain, "postgres", &run, tls("localhost", "require", None));
    let failure = dumper.check_database(&context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbConnectionRefused, "{failure}");
    assert!(failure.remedy.contains("`ssl`"), "{}", failure.remedy);
}
