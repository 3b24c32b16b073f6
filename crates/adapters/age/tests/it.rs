//! What the encryptor promises, with real keys and the real `age` program.
#![expect(clippy::disallowed_methods, reason = "starts age and ssh-keygen to compare with")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use age::secrecy::ExposeSecret;
use backupctl_adapter_age::AgeEncryptor;
use backupctl_adapter_stream::Envelope;
use backupctl_application::context::{Cancel, Interrupt, Observer, RunEvent, StageContext};
use backupctl_application::ports::DumpEncryptor;
use backupctl_domain::project::{Encryption, EncryptionType};
use backupctl_domain::{ErrorCode, Redactor, Stage};
use backupctl_testkit::{WorkDir, contracts};
use tempfile::TempDir;

const CHUNK: usize = 64 * 1024;

struct Key {
    file: PathBuf,
    public: String,
}

fn age_key(dir: &Path, name: &str) -> Key {
    let identity = age::x25519::Identity::generate();
    let file = dir.join(name);
    let public = identity.to_public().to_string();
    let text = format!("# public key: {public}\n{}\n", identity.to_string().expose_secret());
    private(&file, &text);
    Key { file, public }
}

fn ssh_key(dir: &Path, kind: &str, passphrase: &str) -> Key {
    let file = dir.join(format!("id_{kind}_{}", passphrase.len()));
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-b", "2048", "-C", "somebody@somewhere", "-N", passphrase, "-f"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(status.success());
    let public = fs::read_to_string(file.with_extension("pub")).unwrap();
    Key { file, public: public.trim().to_owned() }
}

fn private(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn settings(recipients: &[&Key], identity: Option<&Key>) -> Encryption {
    Encryption {
        kind: EncryptionType::Age,
        recipients: recipients.iter().map(|k| k.public.clone()).collect(),
        recipients_file: None,
        identity_file: identity.map(|k| k.file.clone()),
    }
}

fn encryptor(recipients: &[&Key], identity: Option<&Key>) -> Arc<AgeEncryptor> {
    AgeEncryptor::new(&settings(recipients, identity)).unwrap()
}

fn context() -> StageContext {
    StageContext::new(Stage::Encrypt, Cancel::new(), Arc::new(Redactor::default()))
}

/// Bytes that neither repeat nor compress, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn age(args: &[&str], paths: &[&Path], input: Option<&Path>) -> Option<Vec<u8>> {
    let stdin = input.map_or(Stdio::null(), |p| fs::File::open(p).unwrap().into());
    let out = Command::new("age").args(args).args(paths).stdin(stdin).output().unwrap();
    out.status.success().then_some(out.stdout)
}

#[tokio::test]
async fn dump_encryptor() {
    let (work, keys) = (WorkDir::new(), WorkDir::new());
    let key = age_key(keys.path(), "key");
    contracts::dump_encryptor(encryptor(&[&key], Some(&key)), work.path(), "age").await;
}

#[tokio::test]
async fn a_file_of_any_size_comes_back_the_same() {
    let keys = TempDir::new().unwrap();
    let (a, b) = (age_key(keys.path(), "a"), age_key(keys.path(), "b"));
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 1 << 20, (1 << 20) + 1, 5_000_017] {
        let dir = TempDir::new().unwrap();
        let source = dir.path().join("p.dump.zst");
        let plain = noise(len);
        fs::write(&source, &plain).unwrap();

        let file = encryptor(&[&a, &b], None).encrypt(&source, &context()).await.unwrap();

        assert_eq!(file.path, dir.path().join("p.dump.zst.age"));
        let sealed = fs::read(&file.path).unwrap();
        assert_eq!(file.bytes, sealed.len() as u64);
        assert_eq!(file.checksum, format!("blake3:{}", blake3::hash(&sealed).to_hex()));
        assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["p.dump.zst", "p.dump.zst.age"], "the source stays");
        for key in [&a, &b] {
            let back = dir.path().join("back");
            encryptor(&[], Some(key)).decrypt(&file.path, &back, &context()).await.unwrap();
            assert!(fs::read(&back).unwrap() == plain, "{len} bytes came back changed");
            assert_eq!(fs::metadata(&back).unwrap().permissions().mode() & 0o777, 0o600);
            fs::remove_file(back).unwrap();
        }
    }
}

#[tokio::test]
async fn ssh_keys_and_a_recipients_file_serve_as_recipients() {
    let dir = TempDir::new().unwrap();
    let (ed, rsa) = (ssh_key(dir.path(), "ed25519", ""), ssh_key(dir.path(), "rsa", ""));
    let native = age_key(dir.path(), "native");
    let list = dir.path().join("recipients");
    let mut settings = settings(&[&ed], None);
    settings.recipients_file = Some(list.clone());
    let encryptor = AgeEncryptor::new(&settings).unwrap();
    // Written only now: the file is read when it is used.
    fs::write(&list, format!("# who\n\n{}\r\n  {}  \n", rsa.public, native.public)).unwrap();
    encryptor.check_keys().await.unwrap();
    let source = dir.path().join("x");
    fs::write(&source, noise(100_000)).unwrap();

    let file = encryptor.encrypt(&source, &context()).await.unwrap();

    for key in [&ed, &rsa, &native] {
        let back = dir.path().join("back");
        let mine = self::encryptor(&[], Some(key));
        mine.decrypt(&file.path, &back, &context()).await.unwrap();
        assert!(fs::read(&back).unwrap() == noise(100_000));
        let theirs = age(&["-d", "-i"], &[&key.file, &file.path], None);
        assert!(theirs.unwrap() == noise(100_000), "age reads it with {}", key.file.display());
    }
}

#[tokio::test]
async fn what_age_has_written_is_read() {
    let dir = TempDir::new().unwrap();
    let native = age_key(dir.path(), "native");
    let ed = ssh_key(dir.path(), "ed25519", "");
    let source = dir.path().join("x");
    for len in [0, CHUNK, 3_000_000] {
        fs::write(&source, noise(len)).unwrap();
        for (key, flag) in [(&native, "--encrypt"), (&native, "--armor"), (&ed, "--encrypt")] {
            let sealed = dir.path().join("x.age");
            let bytes = age(&[flag, "-r", &key.public], &[], Some(&source)).unwrap();
            fs::write(&sealed, bytes).unwrap();
            let back = dir.path().join("back");
            let mine = encryptor(&[], Some(key));
            mine.decrypt(&sealed, &back, &context()).await.unwrap();
            assert!(fs::read(&back).unwrap() == noise(len), "{flag} {len}");
        }
    }
}

#[tokio::test]
async fn a_file_cut_anywhere_or_with_one_bit_flipped_is_refused() {
    let dir = TempDir::new().unwrap();
    let key = age_key(dir.path(), "key");
    let encryptor = encryptor(&[&key], Some(&key));
    let work = TempDir::new().unwrap();
    let source = work.path().join("x");
    fs::write(&source, noise(2 * CHUNK)).unwrap();
    let file = encryptor.encrypt(&source, &context()).await.unwrap();
    let sealed = fs::read(&file.path).unwrap();
    let head = sealed.len() - 2 * (CHUNK + 16);
    let mut offsets: Vec<usize> =
        (0..head + 40).chain((head..sealed.len()).step_by(4099)).collect();
    for edge in [head + CHUNK + 16, sealed.len()] {
        offsets.extend(edge - 20..(edge + 20).min(sealed.len()));
    }
    let back = work.path().join("back");
    for offset in offsets {
        let mut flipped = sealed.clone();
        flipped[offset] ^= 1 << (offset % 8);
        for (what, bytes) in [("cut", &sealed[..offset]), ("flipped", &flipped[..])] {
            fs::write(&file.path, bytes).unwrap();
            let failure = encryptor.decrypt(&file.path, &back, &context()).await.unwrap_err();
            assert_eq!(failure.code, ErrorCode::DecryptionFailed, "{what} at {offset}: {failure}");
        }
    }
    let mut longer = sealed.clone();
    longer.push(0);
    fs::write(&file.path, longer).unwrap();
    let failure = encryptor.decrypt(&file.path, &back, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DecryptionFailed);
    assert_eq!(names(work.path()), ["x", "x.age"], "nothing of a refused file is left");
}

#[tokio::test]
async fn the_wrong_identity_decrypts_nothing() {
    let dir = TempDir::new().unwrap();
    let (right, wrong) = (age_key(dir.path(), "right"), age_key(dir.path(), "wrong"));
    let source = dir.path().join("x");
    fs::write(&source, "content").unwrap();
    let file = encryptor(&[&right], None).encrypt(&source, &context()).await.unwrap();
    let back = dir.path().join("back");

    let mine = encryptor(&[], Some(&wrong));
    let failure = mine.decrypt(&file.path, &back, &context()).await.unwrap_err();

    assert_eq!(failure.code, ErrorCode::DecryptionFailed);
    assert!(failure.remedy.contains("identity_file"), "{}", failure.remedy);
    assert!(!back.exists());
}

#[tokio::test]
async fn keys_that_cannot_serve_are_named_without_giving_them_away() {
    let dir = TempDir::new().unwrap();
    let good = age_key(dir.path(), "good");
    let secret = fs::read_to_string(&good.file).unwrap().lines().last().unwrap().to_owned();
    let list = dir.path().join("list");
    let check = async |e: Encryption| AgeEncryptor::new(&e).unwrap().check_keys().await;

    let mut broken = settings(&[&good], None);
    broken.recipients.push(format!("{}q", good.public));
    let failure = check(broken).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);
    assert!(failure.message.contains("recipient 2"), "{failure}");
    assert!(failure.message.contains(&good.public[..20]), "{failure}");
    assert!(!failure.message.contains(&good.public[..21]), "{failure}");

    let mut mistaken = settings(&[], None);
    mistaken.recipients.push(secret.clone());
    let failure = check(mistaken).await.unwrap_err();
    assert!(failure.message.contains("secret key"), "{failure}");
    assert!(!failure.message.contains(&secret[15..20]), "{failure}");

    let failure = check(settings(&[], None)).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);

    let mut by_file = settings(&[&good], None);
    by_file.recipients_file = Some(list.clone());
    let failure = check(by_file.clone()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);
    assert!(failure.message.contains("list"), "{failure}");
    fs::write(&list, "# fine\nssh-dss AAAAB3NzaC1kc3MAAACBAPqx somebody\n").unwrap();
    let failure = check(by_file.clone()).await.unwrap_err();
    assert!(failure.message.contains("line 2"), "{failure}");
    by_file.recipients.clear();
    fs::write(&list, "# nobody\n").unwrap();
    assert_eq!(check(by_file).await.unwrap_err().code, ErrorCode::EncryptionKeyMissing);
}

#[tokio::test]
async fn identities_that_cannot_serve_are_told_by_the_check() {
    let dir = TempDir::new().unwrap();
    let good = age_key(dir.path(), "good");
    encryptor(&[&good], Some(&good)).check_keys().await.unwrap();

    for mode in [0o640, 0o604, 0o644] {
        fs::set_permissions(&good.file, fs::Permissions::from_mode(mode)).unwrap();
        let failure = encryptor(&[&good], Some(&good)).check_keys().await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::EncryptionKeyPermissions);
        assert!(failure.remedy.contains("chmod 600"), "{}", failure.remedy);
    }

    let locked = ssh_key(dir.path(), "ed25519", "a passphrase");
    let failure = encryptor(&[&good], Some(&locked)).check_keys().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);
    assert!(failure.message.contains("passphrase"), "{failure}");

    let absent = Key { file: dir.path().join("absent"), public: String::new() };
    let failure = encryptor(&[&good], Some(&absent)).check_keys().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);

    private(&absent.file, "no identity at all\n");
    let failure = encryptor(&[&good], Some(&absent)).check_keys().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);
    assert!(!failure.message.contains("no identity at all"), "{failure}");
}

struct CancelAfter(Cancel, u64, Mutex<Vec<u64>>);

impl Observer for CancelAfter {
    fn event(&self, event: &RunEvent) {
        if let RunEvent::Progress { bytes, total, stage: Stage::Encrypt } = event {
            assert_eq!(*total, Some(8 << 20));
            self.2.lock().unwrap().push(*bytes);
            if *bytes >= self.1 {
                self.0.cancel(Interrupt::Int);
            }
        }
    }
}

#[tokio::test]
async fn progress_is_told_and_a_cancelled_run_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let key = age_key(dir.path(), "key");
    let work = TempDir::new().unwrap();
    let source = work.path().join("x");
    fs::write(&source, noise(8 << 20)).unwrap();
    // What a dead run may have left does not stand in the way.
    fs::write(work.path().join(".x.age.partial"), "old").unwrap();
    let mut ctx = context();
    let watch = Arc::new(CancelAfter(ctx.cancel.clone(), 4 << 20, Mutex::default()));
    ctx.observer = watch.clone();

    let failure = encryptor(&[&key], None).encrypt(&source, &ctx).await.unwrap_err();

    assert_eq!(failure.code, ErrorCode::Interrupted);
    assert_eq!(names(work.path()), ["x"]);
    assert_eq!(watch.2.lock().unwrap().last(), Some(&(4 << 20)));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let dir = TempDir::new().unwrap();
    let key = age_key(dir.path(), "key");
    let source = dir.path().join("x");
    fs::write(&source, "content").unwrap();
    let encryptor = encryptor(&[&key], Some(&key));
    let file = encryptor.encrypt(&source, &context()).await.unwrap();

    let nowhere = dir.path().join("absent/back");
    let failure = encryptor.decrypt(&file.path, &nowhere, &context()).await.unwrap_err();

    assert_eq!(failure.code, ErrorCode::PathNotWritable);
    assert!(failure.message.contains("absent"), "{failure}");
    let gone = encryptor.encrypt(&dir.path().join("gone"), &context()).await.unwrap_err();
    assert!(!gone.is_transient() && gone.message.contains("gone"), "{gone}");
}

#[test]
fn a_sealed_stream_is_an_encrypted_file_and_opens_as_one() {
    let keys = TempDir::new().unwrap();
    let key = age_key(keys.path(), "key");
    let plain = noise(300_000);
    let mut sealed = Vec::new();
    let (sealing, opening) = (encryptor(&[&key], None), encryptor(&[], Some(&key)));
    assert!(!sealing.can_open() && opening.can_open());
    Envelope::check(&*sealing).unwrap();
    let mut stream = sealing.seal(Box::new(&mut sealed)).unwrap();
    stream.write_all(&plain).unwrap();
    stream.finish().unwrap();
    let file = keys.path().join("sealed.age");
    fs::write(&file, &sealed).unwrap();
    let by_age = age(&["-d", "-i"], &[&key.file, &file], None).unwrap();
    assert!(by_age == plain);

    let read = |bytes: &[u8]| {
        let mut back = Vec::new();
        let mut stream = opening.open(Box::new(bytes), &file)?;
        let read = stream.read_to_end(&mut back);
        read.map(|_| back).map_err(|e| opening.read_failure(&e, &file))
    };
    assert!(read(&sealed).unwrap() == plain);
    let cut = read(&sealed[..sealed.len() - 1]).unwrap_err();
    assert_eq!(cut.code, ErrorCode::DecryptionFailed);
    let last = sealed.len() - 5;
    sealed[last] ^= 1;
    let changed = read(&sealed).unwrap_err();
    assert!(changed.message.contains("sealed.age is damaged"), "{changed}");
    let without = sealing.open(Box::new(&sealed[..]), &file).err().unwrap();
    assert_eq!(without.code, ErrorCode::EncryptionKeyMissing);
}
