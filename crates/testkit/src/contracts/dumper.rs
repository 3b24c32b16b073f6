//! A dump is whole, private, provable, or it is not there.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backupctl_application::ports::{DatabaseDumper, DumpRequest, DumpedFile, VerifyRequest};
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::{Algorithm, Compression, Engine};
use backupctl_domain::{DumpName, ErrorCode, Stage};

use super::{assert_checksum, assert_fails, assert_private, cancelled, context, names};
use crate::builders::name;

fn request(dir: &Path, run: &str, compression: Option<Compression>) -> DumpRequest {
    let project = name("contract");
    let time = "2026-03-18T00:00:05".parse().unwrap();
    let name = DumpName { project, time, run: run.to_owned(), ext: String::new() };
    DumpRequest { dir: dir.to_owned(), name, compression, timeout: None, max_bytes: None }
}

/// Holds a dumper of a database that is there and not empty to its promises, in an empty folder.
pub async fn database_dumper(dumper: Arc<dyn DatabaseDumper>, engine: Engine, dir: &Path) {
    let tool = dumper.check_tool().await.unwrap();
    assert!(!tool.name.is_empty() && !tool.version.is_empty(), "{tool:?}");
    let preview = dumper.check_database(&context(Stage::Dump)).await.unwrap();
    assert!(!preview.server_version.is_empty());
    let gzip = Compression { algorithm: Algorithm::Gzip, level: 6 };
    for (run, compression, ext) in [
        ("00000000", None, engine.extension().to_owned()),
        ("00000001", Some(Compression::default()), format!("{}.zst", engine.extension())),
        ("00000002", Some(gzip), format!("{}.gz", engine.extension())),
    ] {
        let folder = dir.join(run);
        fs::create_dir(&folder).unwrap();
        let request = request(&folder, run, compression);
        let dumped = dumper.dump(&request, &context(Stage::Dump)).await.unwrap();
        let expected = request.name.with_ext(ext).to_string();
        assert_eq!(dumped.path, folder.join(&expected));
        assert_eq!(names(&folder), [expected], "the dump and nothing else");
        assert_private(&dumped.path);
        assert_eq!(dumped.completeness, Completeness::Complete);
        assert_eq!(dumped.info.file, dumped.path.to_string_lossy());
        assert_eq!(dumped.info.bytes, fs::metadata(&dumped.path).unwrap().len());
        assert!(dumped.info.raw_bytes > 0);
        assert_checksum(&dumped.info.checksum);
        assert_eq!(dumped.info.engine, engine.as_str());
        assert_eq!(dumped.info.tool_version, format!("{} {}", tool.name, tool.version));
        what_was_touched_is_caught(&*dumper, &dumped).await;
    }
    a_dump_that_fails_leaves_nothing(&*dumper, dir).await;
}

async fn what_was_touched_is_caught(dumper: &dyn DatabaseDumper, dumped: &DumpedFile) {
    let ctx = context(Stage::Verify);
    let (path, info) = (dumped.path.clone(), dumped.info.clone());
    let verify = VerifyRequest { path: path.clone(), info, timeout: None, max_bytes: None };
    dumper.verify(&verify, &ctx).await.unwrap();
    let good = fs::read(&path).unwrap();
    let last = good.len() - 1;
    for at in [0, 1, last / 3, last / 2, last] {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, flipped).unwrap();
        assert!(dumper.verify(&verify, &ctx).await.is_err(), "a flipped byte at {at} went by");
        fs::write(&path, &good[..at]).unwrap();
        assert!(dumper.verify(&verify, &ctx).await.is_err(), "a dump cut to {at} went by");
    }
    let longer = [good.as_slice(), b"\0"].concat();
    fs::write(&path, longer).unwrap();
    assert!(dumper.verify(&verify, &ctx).await.is_err(), "a byte more went by");
    fs::write(&path, &good).unwrap();
    let stopped = dumper.verify(&verify, &cancelled(Stage::Verify)).await;
    assert_fails(stopped, ErrorCode::Interrupted, "a cancelled verify");
    dumper.verify(&verify, &ctx).await.unwrap();
}

async fn a_dump_that_fails_leaves_nothing(dumper: &dyn DatabaseDumper, dir: &Path) {
    let folder = dir.join("failed");
    fs::create_dir(&folder).unwrap();
    let whole = request(&folder, "00000003", None);
    let stopped = dumper.dump(&whole, &cancelled(Stage::Dump)).await;
    assert_fails(stopped, ErrorCode::Interrupted, "a cancelled dump");
    assert_eq!(names(&folder), Vec::<String>::new());
    let narrow = DumpRequest { max_bytes: Some(16), ..whole };
    let full = dumper.dump(&narrow, &context(Stage::Dump)).await.unwrap_err();
    let codes = [ErrorCode::DiskLow, ErrorCode::DiskFull, ErrorCode::FsFileTooLarge];
    assert!(codes.contains(&full.code), "{} is not about the disk", full.code);
    assert!(!full.is_transient(), "a full disk does not empty itself");
    assert_eq!(names(&folder), Vec::<String>::new());
}
