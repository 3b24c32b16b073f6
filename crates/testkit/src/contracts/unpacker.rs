//! Decompressing for a restore.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backupctl_application::ports::Unpacker;
use backupctl_domain::Stage;

use super::{assert_checksum, context, names};

/// Holds an unpacker to its promises, in an empty folder. `packed` is the same content packed in
/// each way, by extension: `zst`, `gz`.
pub async fn unpacker(
    unpacker: Arc<dyn Unpacker>,
    dir: &Path,
    plain: &[u8],
    packed: &[(&str, Vec<u8>)],
) {
    let ctx = context(Stage::Verify);
    for (extension, bytes) in packed {
        let folder = dir.join(extension);
        fs::create_dir(&folder).unwrap();
        let source = folder.join(format!("a.dump.{extension}"));
        fs::write(&source, bytes).unwrap();
        // What an earlier try has left is replaced.
        fs::write(folder.join("a.dump"), [plain, b"and more"].concat()).unwrap();
        let unpacked = unpacker.unpack(&source, &ctx).await.unwrap().unwrap();
        assert_eq!(unpacked.path, folder.join("a.dump"));
        assert_eq!(unpacked.bytes, plain.len() as u64);
        assert_eq!(fs::read(&unpacked.path).unwrap(), plain);
        assert_eq!(names(&folder), ["a.dump", &format!("a.dump.{extension}")]);
    }
    let bare = dir.join("bare.dump");
    fs::write(&bare, plain).unwrap();
    assert_eq!(unpacker.unpack(&bare, &ctx).await.unwrap(), None, "nothing to unpack");

    let checksum = unpacker.checksum(&bare, &ctx).await.unwrap();
    assert_checksum(&checksum);
    assert_eq!(unpacker.checksum(&bare, &ctx).await.unwrap(), checksum);
    let mut other = plain.to_vec();
    other.push(0);
    fs::write(&bare, other).unwrap();
    assert_ne!(unpacker.checksum(&bare, &ctx).await.unwrap(), checksum);
    assert!(unpacker.checksum(&dir.join("missing"), &ctx).await.is_err());
}
