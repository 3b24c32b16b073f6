//! There and back, and nothing from a file that was touched.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backupctl_application::ports::DumpEncryptor;
use backupctl_domain::{ErrorCode, Stage};

use super::{assert_checksum, assert_fails, assert_private, cancelled, context, names, noise};

/// Holds an encryptor that has its identity to its promises, in an empty folder. `extension` is what
/// it adds: `age` or `gpg`.
pub async fn dump_encryptor(encryptor: Arc<dyn DumpEncryptor>, dir: &Path, extension: &str) {
    let ctx = context(Stage::Encrypt);
    encryptor.check_keys().await.unwrap();
    let chunk = 64 * 1024;
    for len in [0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk, 1_000_003] {
        let folder = dir.join(len.to_string());
        fs::create_dir(&folder).unwrap();
        let (plain, source, back) = (noise(len), folder.join("a.dump"), folder.join("back"));
        fs::write(&source, &plain).unwrap();
        // What an earlier try has left is replaced.
        fs::write(folder.join(format!("a.dump.{extension}")), noise(len + 1)).unwrap();
        fs::write(&back, noise(len + 1)).unwrap();
        let sealed = encryptor.encrypt(&source, &ctx).await.unwrap();
        assert_eq!(sealed.path, folder.join(format!("a.dump.{extension}")));
        assert_eq!(names(&folder), ["a.dump", &format!("a.dump.{extension}"), "back"]);
        assert_private(&sealed.path);
        assert_checksum(&sealed.checksum);
        let bytes = fs::read(&sealed.path).unwrap();
        assert_eq!(sealed.bytes, bytes.len() as u64);
        assert_eq!(fs::read(&source).unwrap(), plain, "the source is left alone");
        assert!(len < 100 || !bytes.windows(32).any(|w| w == &plain[..32]), "it is encrypted");
        encryptor.decrypt(&sealed.path, &back, &ctx).await.unwrap();
        assert_private(&back);
        assert_eq!(fs::read(&back).unwrap(), plain, "{len} bytes come back");
        fs::remove_file(&back).unwrap();
        broken_files_give_nothing(&*encryptor, &folder, &bytes).await;
    }
    a_cancelled_call_leaves_nothing(&*encryptor, dir, extension).await;
}

async fn broken_files_give_nothing(encryptor: &dyn DumpEncryptor, folder: &Path, bytes: &[u8]) {
    let ctx = context(Stage::Encrypt);
    let (broken, back) = (folder.join("broken"), folder.join("back"));
    let last = bytes.len() - 1;
    let mut wrecks = vec![(format!("cut to {last}"), bytes[..last].to_vec())];
    for at in [0, last / 2, last] {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1;
        wrecks.push((format!("flipped at {at}"), flipped));
        wrecks.push((format!("cut to {at}"), bytes[..at].to_vec()));
    }
    for (what, wreck) in wrecks {
        fs::write(&broken, wreck).unwrap();
        let result = encryptor.decrypt(&broken, &back, &ctx).await;
        assert_fails(result, ErrorCode::DecryptionFailed, &what);
        assert!(!back.exists(), "{what}: something stands under the final name");
    }
    fs::remove_file(&broken).unwrap();
    assert_eq!(names(folder).len(), 2, "nothing partial is left: {:?}", names(folder));
}

async fn a_cancelled_call_leaves_nothing(
    encryptor: &dyn DumpEncryptor,
    dir: &Path,
    extension: &str,
) {
    let folder = dir.join("cancelled");
    fs::create_dir(&folder).unwrap();
    let source = folder.join("a.dump");
    fs::write(&source, noise(3_000_000)).unwrap();
    let result = encryptor.encrypt(&source, &cancelled(Stage::Encrypt)).await;
    assert_fails(result, ErrorCode::Interrupted, "a cancelled encryption");
    assert_eq!(names(&folder), ["a.dump"]);
    encryptor.encrypt(&source, &context(Stage::Encrypt)).await.unwrap();
    let sealed = folder.join(format!("a.dump.{extension}"));
    let back = folder.join("back");
    let result = encryptor.decrypt(&sealed, &back, &cancelled(Stage::Encrypt)).await;
    assert_fails(result, ErrorCode::Interrupted, "a cancelled decryption");
    assert_eq!(names(&folder), ["a.dump", &format!("a.dump.{extension}")]);
}
