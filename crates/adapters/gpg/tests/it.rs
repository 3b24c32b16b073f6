//! What the encryptor and the keyring promise, with real keys and the real gpg.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backupctl_adapter_gpg::{GpgEncryptor, GpgKeyring};
use backupctl_application::context::{Cancel, Interrupt, Observer, RunEvent, StageContext};
use backupctl_application::ports::{DumpEncryptor, KeyManager};
use backupctl_domain::project::{Encryption, EncryptionType};
use backupctl_domain::{ErrorCode, Failure, Redactor, Stage};
use backupctl_testkit::services::GpgHome;
use backupctl_testkit::{WorkDir, contracts};

fn settings(recipients: &[&str]) -> Encryption {
    Encryption {
        kind: EncryptionType::Gpg,
        recipients: recipients.iter().map(|&r| r.to_owned()).collect(),
        recipients_file: None,
        identity_file: None,
    }
}

fn encryptor(home: &GpgHome, recipients: &[&str]) -> Arc<GpgEncryptor> {
    GpgEncryptor::new(&settings(recipients), Some(home.path().to_owned())).unwrap()
}

fn keyring(home: &GpgHome) -> Arc<GpgKeyring> {
    GpgKeyring::new(Some(home.path().to_owned()))
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

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn refusal(home: &GpgHome, recipients: &[&str]) -> Failure {
    let encryptor = encryptor(home, recipients);
    let failure = encryptor.check_keys().await.unwrap_err();
    let work = WorkDir::new();
    let source = work.file("x", "content");
    let late = encryptor.encrypt(&source, &context()).await.unwrap_err();
    assert_eq!(late, failure, "encrypting says the same as the check");
    assert_eq!(work.names(""), ["x"]);
    assert!(!failure.is_transient());
    failure
}

#[tokio::test]
async fn it_keeps_the_promises_of_an_encryptor() {
    let (home, work) = (GpgHome::start(), WorkDir::new());
    home.key("Ann <ann@example.org>");
    let encryptor = encryptor(&home, &["ann@example.org"]);
    contracts::dump_encryptor(encryptor, work.path(), "gpg").await;
}

#[tokio::test]
async fn it_keeps_the_promises_of_a_key_manager() {
    let (maker, home, work) = (GpgHome::start(), GpgHome::start(), WorkDir::new());
    let (ann, bob) = (maker.key("Ann <ann@example.org>"), maker.key("Bob <bob@example.org>"));
    let file = work.file("keys/two.asc", maker.public_key(&ann) + &maker.public_key(&bob));
    contracts::key_manager(keyring(&home), &file, &[&ann, &bob]).await;
}

#[tokio::test]
async fn every_way_to_name_a_key_finds_it() {
    let (home, work) = (GpgHome::start(), WorkDir::new());
    let ann = home.key("Ann <ann@example.org>");
    // Not to be taken for the one above.
    home.key("Joann <joann@example.org>");
    let spaced: Vec<String> =
        ann.as_bytes().chunks(4).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
    let names = [
        "ann@example.org",
        "Ann@Example.ORG",
        "<ann@example.org>",
        "Ann <ann@example.org>",
        &ann,
        &ann.to_lowercase(),
        &format!("0x{ann}"),
        &spaced.join(" "),
        &ann[24..],
        &format!("0x{}", &ann[32..]),
    ];
    for name in names {
        encryptor(&home, &[name]).check_keys().await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let list = work.file("list", format!("# who\n\n  {ann}  \njoann@example.org\r\n"));
    let mut by_file = settings(&[]);
    by_file.recipients_file = Some(list.clone());
    let encryptor = GpgEncryptor::new(&by_file, Some(home.path().to_owned())).unwrap();
    encryptor.check_keys().await.unwrap();
    let tool = encryptor.check_tool().await.unwrap().unwrap();
    assert!(tool.name == "gpg" && tool.version.starts_with("2."), "{tool:?}");
    let file = encryptor.encrypt(&work.file("x", noise(10)), &context()).await.unwrap();
    let packets = home.gpg(&["--list-packets", text(&file.path)]);
    assert_eq!(packets.matches(":pubkey enc packet").count(), 2, "{packets}");
    fs::write(&list, "# nobody\n").unwrap();
    let failure = encryptor.check_keys().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);
    fs::remove_file(&list).unwrap();
    let failure = encryptor.check_keys().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);
    assert!(failure.message.contains("list"), "{failure}");
}

#[tokio::test]
async fn gpg_reads_what_it_writes_and_the_other_way_round() {
    let (home, work) = (GpgHome::start(), WorkDir::new());
    home.key("Ann <ann@example.org>");
    home.key("Bob <bob@example.org>");
    // What a gpg.conf adds or wants compressed is not what the configuration says.
    fs::write(
        home.path().join("gpg.conf"),
        "encrypt-to bob@example.org\ncompress-algo zlib\narmor\n",
    )
    .unwrap();
    let encryptor = encryptor(&home, &["ann@example.org"]);
    for len in [0, 1, 8191, 1 << 16, 3_000_017] {
        let plain = noise(len);
        let source = work.file("x.dump.zst", &plain);
        let file = encryptor.encrypt(&source, &context()).await.unwrap();
        let sealed = fs::read(&file.path).unwrap();
        assert_eq!(file.bytes, sealed.len() as u64);
        assert_eq!(file.checksum, format!("blake3:{}", blake3::hash(&sealed).to_hex()));
        let theirs = work.join("theirs");
        home.gpg(&["--output", text(&theirs), "--decrypt", text(&file.path)]);
        assert!(fs::read(&theirs).unwrap() == plain, "gpg reads {len} bytes");
        let packets = home.gpg(&["--list-packets", text(&file.path)]);
        assert!(!packets.contains("compressed packet"), "{packets}");
        assert_eq!(packets.matches(":pubkey enc packet").count(), 1, "{packets}");

        for extra in [&[][..], &["--armor"], &["--no-options", "--compress-algo", "zip"]] {
            let mut args = extra.to_vec();
            args.extend(["--recipient", "ann@example.org", "--output", text(&theirs)]);
            args.extend(["--encrypt", text(&source)]);
            home.gpg(&args);
            let back = work.join("back");
            encryptor.decrypt(&theirs, &back, &context()).await.unwrap();
            assert!(fs::read(&back).unwrap() == plain, "{len} bytes by gpg with {extra:?}");
        }
    }
}

#[tokio::test]
async fn a_file_cut_anywhere_or_with_one_bit_flipped_is_refused() {
    let (home, work) = (GpgHome::start(), WorkDir::new());
    home.key("Ann <ann@example.org>");
    let encryptor = encryptor(&home, &["ann@example.org"]);
    let source = work.file("x", noise(40_000));
    let file = encryptor.encrypt(&source, &context()).await.unwrap();
    let sealed = fs::read(&file.path).unwrap();
    // The session key's packet and the data's head byte by byte, then the rest at odd strides, then
    // the last bytes, where its hash is.
    let mut offsets: Vec<usize> = (0..130).collect();
    offsets.extend((130..sealed.len()).step_by(1999));
    offsets.extend(sealed.len() - 24..sealed.len());
    let back = work.join("back");
    for offset in offsets {
        let mut flipped = sealed.clone();
        flipped[offset] ^= 1 << (offset % 8);
        for (what, bytes) in [("cut", &sealed[..offset]), ("flipped", &flipped[..])] {
            fs::write(&file.path, bytes).unwrap();
            let result = encryptor.decrypt(&file.path, &back, &context()).await;
            if let Err(failure) = result {
                let code = failure.code;
                assert_eq!(code, ErrorCode::DecryptionFailed, "{what} at {offset}: {failure}");
            } else {
                // Not every bit of the header means something; the content is whole then.
                assert!(what == "flipped" && offset < 117, "{what} at {offset} was taken");
                assert!(fs::read(&back).unwrap() == noise(40_000), "{what} at {offset}");
                fs::remove_file(&back).unwrap();
            }
            assert_eq!(work.names(""), ["x", "x.gpg"], "{what} at {offset} leaves something");
        }
    }
    // What is not encrypted is not taken for a decrypted file either.
    home.gpg(&["--output", text(&work.join("signed")), "--sign", text(&source)]);
    for wrong in ["signed", "x"] {
        let failure = encryptor.decrypt(&work.join(wrong), &back, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::DecryptionFailed, "{wrong}: {failure}");
        assert!(!back.exists());
    }
}

#[tokio::test]
async fn keys_that_do_not_serve_are_told_apart() {
    let home = GpgHome::start();
    home.key("Ann <ann@example.org>");

    let failure = refusal(&home, &["ann@example.org", "nobody@example.org"]).await;
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);
    assert!(failure.message.contains("nobody@example.org"), "{failure}");
    assert!(failure.message.contains(text(home.path())), "{failure}");
    assert!(failure.remedy.contains("config import-gpg-key"), "{}", failure.remedy);
    assert!(failure.remedy.contains("GPG_KEYS_DIR"), "{}", failure.remedy);
    for nobody in [&[][..], &[" "]] {
        assert_eq!(refusal(&home, nobody).await.code, ErrorCode::EncryptionKeyMissing);
    }

    let old = home.expired_key("Old <old@example.org>");
    let failure = refusal(&home, &["old@example.org"]).await;
    assert_eq!(failure.code, ErrorCode::EncryptionKeyExpired);
    assert!(failure.message.contains("expired on 2020-01-02"), "{failure}");
    assert!(failure.message.contains(&old), "{failure}");
    assert!(failure.remedy.contains(&format!("--quick-set-expire {old} 2y")), "{}", failure.remedy);

    let late = home.key_with_expired_subkey("Late <late@example.org>");
    let failure = refusal(&home, &[&late]).await;
    assert_eq!(failure.code, ErrorCode::EncryptionKeyExpired);
    assert!(failure.message.contains("subkey"), "{failure}");
    assert!(failure.message.contains("2020-01-02"), "{failure}");
    // The remedy is the way out.
    let command = failure.remedy.split('`').nth(1).unwrap();
    home.gpg(&command.split(' ').skip(1).collect::<Vec<_>>());
    encryptor(&home, &[&late]).check_keys().await.unwrap();

    let revoked = home.revoked_key("Gone <gone@example.org>");
    let failure = refusal(&home, &["gone@example.org"]).await;
    assert_eq!(failure.code, ErrorCode::EncryptionKeyExpired);
    assert!(failure.message.contains("was revoked"), "{failure}");
    assert!(failure.message.contains(&revoked), "{failure}");

    home.signing_key("Sign <sign@example.org>");
    let failure = refusal(&home, &["sign@example.org"]).await;
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);
    assert!(failure.message.contains("no subkey for encryption"), "{failure}");
}

#[tokio::test]
async fn an_address_of_several_keys_means_the_one_that_serves_or_none() {
    let home = GpgHome::start();
    home.expired_key("Ann <ann@example.org>");
    let first = home.key("Ann (new) <ann@example.org>");
    encryptor(&home, &["ann@example.org"]).check_keys().await.unwrap();
    let second = home.key("Ann (newer) <ann@example.org>");
    let failure = refusal(&home, &["ann@example.org"]).await;
    assert_eq!(failure.code, ErrorCode::InvalidConfig);
    assert!(failure.message.contains(&first) && failure.message.contains(&second), "{failure}");
    assert!(failure.remedy.contains("fingerprint"), "{}", failure.remedy);
    encryptor(&home, &[&first]).check_keys().await.unwrap();
}

#[tokio::test]
async fn without_a_usable_secret_key_nothing_is_decrypted_and_nobody_asked() {
    let (home, other, work) = (GpgHome::start(), GpgHome::start(), WorkDir::new());
    let locked = home.locked_key("Ann <ann@example.org>", "a passphrase");
    let source = work.file("x", noise(1000));
    let file = encryptor(&home, &[&locked]).encrypt(&source, &context()).await.unwrap();
    // The agent has kept the passphrase from the making of the key.
    home.forget_passphrases();
    let back = work.join("back");
    let begin = Instant::now();

    let failure = encryptor(&home, &[]).decrypt(&file.path, &back, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DecryptionFailed);
    assert!(failure.message.contains("passphrase"), "{failure} {}", failure.detail);

    let failure = encryptor(&other, &[]).decrypt(&file.path, &back, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DecryptionFailed);
    assert!(failure.message.contains("no secret key"), "{failure} {}", failure.detail);
    assert!(failure.message.contains(text(other.path())), "{failure}");

    assert!(begin.elapsed() < Duration::from_secs(20), "somebody was waited for");
    assert_eq!(work.names(""), ["x", "x.gpg"]);
}

#[tokio::test]
async fn keys_of_a_folder_are_imported_once_and_their_updates_too() {
    let (maker, home, work) = (GpgHome::start(), GpgHome::start(), WorkDir::new());
    let (ann, bob) = (maker.key("Ann <ann@example.org>"), maker.key("Bob <bob@example.org>"));
    let old = maker.expired_key("Old <old@example.org>");
    work.file("ann.asc", maker.public_key(&ann));
    maker.gpg(&["--output", text(&work.join("bob.gpg")), "--export", &bob]);
    work.file("old.KEY", maker.public_key(&old));
    work.file("readme.txt", "not a key");
    work.file(".hidden.asc", "not a key");
    work.dir("folder.asc");
    let keys = keyring(&home);
    assert_eq!(keys.import_new(work.path()).await.unwrap(), [&*ann, &bob, &old]);
    encryptor(&home, &["ann@example.org", "bob@example.org"]).check_keys().await.unwrap();
    assert!(keys.import_new(work.path()).await.unwrap().is_empty());

    let expired = encryptor(&home, &["old@example.org"]);
    assert_eq!(expired.check_keys().await.unwrap_err().code, ErrorCode::EncryptionKeyExpired);
    maker.gpg(&["--quick-set-expire", &old, "2y"]);
    work.file("old.KEY", maker.public_key(&old));
    assert_eq!(keys.import_new(work.path()).await.unwrap(), [&*old], "the extended copy is news");
    expired.check_keys().await.unwrap();

    let carol = maker.key("Carol <carol@example.org>");
    work.file("a-broken.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END");
    work.file("carol.asc", maker.public_key(&carol));
    let failure = keys.import_new(work.path()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);
    assert!(failure.message.contains("a-broken.asc"), "{failure}");
    assert!(failure.message.contains(&carol), "{failure}");
    encryptor(&home, &[&carol]).check_keys().await.unwrap();

    let failure = keys.import_new(&work.join("absent")).await.unwrap_err();
    assert!(failure.message.contains("absent"), "{failure}");
    assert!(failure.remedy.contains("GPG_KEYS_DIR"), "{}", failure.remedy);
}

#[tokio::test]
async fn a_file_without_keys_is_named_and_a_secret_key_serves_the_restore() {
    let (maker, home, work) = (GpgHome::start(), GpgHome::start(), WorkDir::new());
    let keys = keyring(&home);
    for (name, content) in [("empty.asc", ""), ("text.asc", "no key\n"), ("x.gpg", "\u{85}\u{1}")] {
        let failure = keys.import_file(&work.file(name, content)).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing, "{failure}");
        assert!(failure.message.contains(name), "{failure}");
    }
    assert!(keys.import_file(work.path()).await.unwrap_err().message.contains("folder"));

    let ann = maker.key("Ann <ann@example.org>");
    let source = work.file("x", noise(1000));
    let file = encryptor(&maker, &[&ann]).encrypt(&source, &context()).await.unwrap();
    let secret = work.file("secret.asc", maker.secret_key(&ann));
    assert_eq!(keys.import_file(&secret).await.unwrap(), [&*ann]);
    let back = work.join("back");
    encryptor(&home, &[]).decrypt(&file.path, &back, &context()).await.unwrap();
    assert_eq!(fs::read(back).unwrap(), noise(1000));
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
    let (home, work) = (GpgHome::start(), WorkDir::new());
    home.key("Ann <ann@example.org>");
    let source = work.file("x", noise(8 << 20));
    // What a dead run may have left does not stand in the way.
    work.file(".x.gpg.partial", "old");
    let mut ctx = context();
    let watch = Arc::new(CancelAfter(ctx.cancel.clone(), 4 << 20, Mutex::default()));
    ctx.observer = watch.clone();

    let failure = encryptor(&home, &["ann@example.org"]).encrypt(&source, &ctx).await.unwrap_err();

    assert_eq!(failure.code, ErrorCode::Interrupted);
    assert_eq!(work.names(""), ["x"]);
    let told = watch.2.lock().unwrap();
    assert!(told.len() > 3 && told.is_sorted() && *told.last().unwrap() < 5 << 20, "{told:?}");
}

/// Kills every gpg that works in this home, as a system without memory would.
fn kill_gpg_of(home: &Path) -> bool {
    let mut killed = false;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        if words.contains("--encrypt") && words.contains(text(home)) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            killed |= rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok();
        }
    }
    killed
}

struct KillAfter(PathBuf, u64, Mutex<bool>);

impl Observer for KillAfter {
    fn event(&self, event: &RunEvent) {
        if let RunEvent::Progress { bytes, .. } = event {
            let mut killed = self.2.lock().unwrap();
            if *bytes >= self.1 && !*killed {
                *killed = kill_gpg_of(&self.0);
            }
        }
    }
}

#[tokio::test]
async fn a_gpg_that_is_killed_is_not_taken_for_one_that_has_finished() {
    let (home, work) = (GpgHome::start(), WorkDir::new());
    home.key("Ann <ann@example.org>");
    let source = work.file("x", noise(8 << 20));
    for after in [1, 3 << 20] {
        let mut ctx = context();
        let killer = Arc::new(KillAfter(home.path().to_owned(), after, Mutex::new(false)));
        ctx.observer = killer.clone();
        let result = encryptor(&home, &["ann@example.org"]).encrypt(&source, &ctx).await;
        assert!(*killer.2.lock().unwrap(), "gpg was there to be killed after {after}");
        let failure = result.unwrap_err();
        assert!(failure.message.contains("gpg"), "{failure}");
        assert_eq!(work.names(""), ["x"], "killed after {after}");
    }
}

#[tokio::test]
async fn folders_and_disks_that_do_not_serve_are_named() {
    let (home, work) = (GpgHome::start(), WorkDir::new());
    home.key("Ann <ann@example.org>");
    let source = work.file("x", "content");
    let good = encryptor(&home, &["ann@example.org"]);
    let file = good.encrypt(&source, &context()).await.unwrap();
    let failure =
        good.decrypt(&file.path, &work.join("absent/back"), &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::PathNotWritable);
    let failure = good.encrypt(&work.join("gone"), &context()).await.unwrap_err();
    assert!(!failure.is_transient() && failure.message.contains("gone"), "{failure}");

    let nowhere = Some(work.join("no-home"));
    let lost = GpgEncryptor::new(&settings(&["ann@example.org"]), nowhere).unwrap();
    let failure = lost.check_keys().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::EncryptionKeyMissing);
    assert!(failure.message.contains("no-home"), "{failure}");

    // What cannot be read to its end is not encrypted as far as it goes.
    let failure = good.encrypt(&work.dir("folder"), &context()).await.unwrap_err();
    assert!(failure.detail.contains("Is a directory"), "{failure} {}", failure.detail);
    assert_eq!(work.names(""), ["folder", "x", "x.gpg"]);

    let mut other = settings(&["ann@example.org"]);
    other.kind = EncryptionType::Age;
    assert_eq!(GpgEncryptor::new(&other, None).unwrap_err().code, ErrorCode::InvalidConfig);
}
