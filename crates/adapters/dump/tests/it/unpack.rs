//! Unpacking for a restore: whole or not at all.

use backupctl_adapter_dump::FileUnpacker;
use backupctl_application::ports::Unpacker;

use super::*;

#[tokio::test]
async fn only_what_is_whole_is_unpacked() {
    let work = WorkDir::new();
    let text = "one line of many\n".repeat(20_000);
    let packed = zstd_file(&text);
    let file = work.file("d/x.sql.zst", &packed);
    let unpacked = FileUnpacker.unpack(&file, &context()).await.unwrap().unwrap();
    assert_eq!(unpacked.path, work.join("d/x.sql"));
    assert_eq!(unpacked.bytes, text.len() as u64);
    assert_eq!(fs::read_to_string(&unpacked.path).unwrap(), text);
    // What an earlier try has left is made anew, and stays as long as there is nothing better.
    fs::write(&unpacked.path, "of an earlier try").unwrap();
    let cut = work.file("d/x.sql.gz", &gzip_file(&text)[..500]);
    FileUnpacker.unpack(&cut, &context()).await.unwrap_err();
    assert_eq!(fs::read_to_string(&unpacked.path).unwrap(), "of an earlier try");
    let again = FileUnpacker.unpack(&file, &context()).await.unwrap().unwrap();
    assert_eq!(fs::read_to_string(&again.path).unwrap(), text);
    assert_eq!(FileUnpacker.unpack(&unpacked.path, &context()).await.unwrap(), None);

    for place in 0..packed.len() {
        let cut = work.file("e/y.sql.zst", &packed[..place]);
        let failure = FileUnpacker.unpack(&cut, &context()).await.unwrap_err();
        assert_eq!(
            (failure.code, failure.is_transient()),
            (ErrorCode::DumpCorrupt, false),
            "cut at {place}"
        );
        assert_eq!(work.names("e"), ["y.sql.zst"]);
    }
    let gz = work.file("f/z.gz", b"\x1f\x8bnonsense");
    let failure = FileUnpacker.unpack(&gz, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpCorrupt);
    assert_eq!(work.names("f"), ["z.gz"]);
}

pub(super) fn zstd_file(text: &str) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::copy(&mut text.as_bytes(), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn gzip_file(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::copy(&mut text.as_bytes(), &mut encoder).unwrap();
    encoder.finish().unwrap()
}
