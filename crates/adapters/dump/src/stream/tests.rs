//! The pass as a whole.

use std::fs;
use std::io::{Cursor, Read as _};
use std::os::unix::fs::PermissionsExt;

use backupctl_adapter_process::Existing;
use backupctl_application::context::{Cancel, Interrupt, StageContext};
use backupctl_domain::Stage;
use backupctl_domain::project::Algorithm;

use super::*;

fn context() -> StageContext {
    StageContext::new(Stage::Dump, Cancel::new(), std::sync::Arc::default())
}

/// Rows of text that compress like rows of text.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut out = Vec::with_capacity(bytes + 64);
    while out.len() < bytes {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend(format!("row {} of some words {}\n", state >> 40, state >> 52).into_bytes());
    }
    out.truncate(bytes);
    out
}

fn pumped(data: &[u8], compression: Option<Compression>, name: &str, dir: &Path) -> Written {
    let file = AtomicFile::create(&dir.join(name), Existing::Refuse).unwrap();
    let mut seen = 0;
    let mut watch = Watch::new(&context());
    let written =
        pump(&mut Cursor::new(data), file, compression, None, &mut watch, |c| seen += c.len());
    assert_eq!(seen, data.len());
    written.unwrap()
}

const ZSTD: Option<Compression> = Some(Compression { algorithm: Algorithm::Zstd, level: 3 });
const GZIP: Option<Compression> = Some(Compression { algorithm: Algorithm::Gzip, level: 3 });

#[test]
fn what_goes_in_comes_out_of_every_format() {
    let dir = tempfile::tempdir().unwrap();
    for size in [0, 1, 1000, 262_144, 5_000_000] {
        let data = text(size);
        for (ext, compression) in [("dump", None), ("dump.zst", ZSTD), ("dump.gz", GZIP)] {
            let name = format!("{size}.{ext}");
            let written = pumped(&data, compression, &name, dir.path());
            let (bytes, checksum) = (written.bytes, written.checksum.clone());
            assert_eq!(written.raw_bytes, size as u64);
            let path = written.file.commit().unwrap();
            let on_disk = fs::read(&path).unwrap();
            assert_eq!(on_disk.len() as u64, bytes);
            assert_eq!(checksum, format!("blake3:{}", blake3::hash(&on_disk).to_hex()));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let mut back = Vec::new();
            let file = fs::File::open(&path).unwrap();
            Decoder::new(file, Packing::of(&path)).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == data, "{name}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 15);
}

#[test]
fn an_insertion_leaves_most_of_the_compressed_file_alike() {
    let dir = tempfile::tempdir().unwrap();
    let before = text(8_000_000);
    let mut after = before.clone();
    after.splice(100_000..100_000, *b"an insertion of some bytes");
    for (compression, least) in [(ZSTD, 75), (GZIP, 80)] {
        let bytes = |data: &[u8], name: &str| {
            let written = pumped(data, compression, name, dir.path());
            fs::read(written.file.partial()).unwrap()
        };
        let (a, b) = (bytes(&before, "a"), bytes(&after, "b"));
        let same = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
        assert!(same * 100 / a.len() >= least, "{compression:?}: {same} of {}", a.len());
    }
}

#[test]
fn beyond_the_limit_nothing_is_written_and_nothing_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = AtomicFile::create(&dir.path().join("x.dump"), Existing::Refuse).unwrap();
    let target = file.target().to_owned();
    let mut watch = Watch::new(&context());
    let data = text(1_000_000);
    let error = pump(&mut Cursor::new(&data), file, None, Some(500_000), &mut watch, |_| ());
    let failure = into_failure(error.unwrap_err(), &target);
    assert_eq!(failure.code, ErrorCode::DiskLow);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_told_stop_ends_the_pass_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = context();
    ctx.cancel.cancel(Interrupt::Term);
    let file = AtomicFile::create(&dir.path().join("x.dump.gz"), Existing::Refuse).unwrap();
    let target = file.target().to_owned();
    let data = text(10_000_000);
    let error = pump(&mut Cursor::new(&data), file, GZIP, None, &mut Watch::new(&ctx), |_| ());
    assert_eq!(into_failure(error.unwrap_err(), &target).code, ErrorCode::Interrupted);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
