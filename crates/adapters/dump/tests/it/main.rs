//! Real databases, dumped, proven, damaged and restored.

#![expect(clippy::unwrap_used, reason = "tests")]

mod container;
mod contract;
mod mongodb;
mod mysql;
mod mysql_refusals;
mod postgres;
mod postgres_loader;
mod postgres_refusals;
mod postgres_scripts;
mod postgres_tls;
mod redis;
mod sqlite;
mod sqlite_loader;
mod unpack;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{DatabaseDumper, DumpRequest, DumpedFile, VerifyRequest};
use backupctl_domain::project::{Algorithm, Compression};
use backupctl_domain::{DumpName, ErrorCode, Failure, ProjectName, Redactor, Stage};
use backupctl_testkit::WorkDir;

const NAME: &str = "shop_backup_20260318_000005_a1b2c3d4";

fn context() -> StageContext {
    let redactor = Redactor::new(["database-password".to_owned()]);
    StageContext::new(Stage::Dump, Cancel::new(), Arc::new(redactor))
}

fn name() -> DumpName {
    let project = ProjectName::new("shop").unwrap();
    DumpName::parse(&project, &format!("{NAME}.x")).unwrap().with_ext("")
}

fn request(dir: &Path, compression: Option<Compression>) -> DumpRequest {
    DumpRequest { dir: dir.to_owned(), name: name(), compression, timeout: None, max_bytes: None }
}

const ZSTD: Option<Compression> = Some(Compression { algorithm: Algorithm::Zstd, level: 3 });
const GZIP: Option<Compression> = Some(Compression { algorithm: Algorithm::Gzip, level: 6 });

fn proof(dumped: &DumpedFile) -> VerifyRequest {
    let (path, info) = (dumped.path.clone(), dumped.info.clone());
    VerifyRequest { path, info, timeout: None, max_bytes: None }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// Flips one bit in every place, cuts at every place: each time the proof fails as damage.
async fn every_damage_is_caught(
    dumper: &dyn DatabaseDumper,
    dumped: &DumpedFile,
    places: impl Iterator<Item = usize>,
) {
    let good = fs::read(&dumped.path).unwrap();
    let request = proof(dumped);
    for place in places {
        for cut in [false, true] {
            let mut bad = good.clone();
            if cut {
                bad.truncate(place);
            } else {
                bad[place] ^= 1 << (place % 8);
            }
            fs::write(&dumped.path, &bad).unwrap();
            let failure = dumper.verify(&request, &context()).await.unwrap_err();
            let expected = if cut { ErrorCode::DumpTruncated } else { ErrorCode::ChecksumMismatch };
            assert_eq!(failure.code, expected, "at {place}, cut: {cut}: {failure}");
        }
    }
    fs::write(&dumped.path, &good).unwrap();
    dumper.verify(&request, &context()).await.unwrap();
}

fn assert_nothing_left(work: &WorkDir, failure: &Failure) {
    for folder in ["dumps", "run"] {
        assert_eq!(work.names(folder), Vec::<String>::new(), "after {failure}");
    }
}
