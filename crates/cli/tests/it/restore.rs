//! Bringing back: what is refused, and what is proven.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use age::secrecy::ExposeSecret;
use serde_json::json;

use super::support::{World, words};

#[test]
fn a_filled_target_is_refused_and_a_changed_dump_is_noticed() {
    let mut w = World::with_sqlite();
    let record = w.backup();
    let filled = w.work.file("filled/precious.txt", "mine").parent().unwrap().to_owned();
    let filled = filled.to_str().unwrap();
    let refused = w.run(&["restore", "shop", "latest", filled, "--json"]);
    let error = refused.expect(1).json();
    assert_eq!(error["error"]["code"], "PATH_NOT_WRITABLE");
    assert!(words(&error["error"], "remedy").contains("--force"));
    assert_eq!(w.work.names("filled"), ["precious.txt"]);
    let document = w.json(&["restore", "shop", "latest", filled, "--force", "--json"]);
    assert_eq!(document["files"], 3);
    assert_eq!(document["checksum_proven"], true);
    assert_eq!(w.work.names("filled").len(), 3);

    let unknown = w.run(&["restore", "shop", "0123abcd", "/nowhere", "--json"]);
    assert_eq!(unknown.expect(1).json()["error"]["code"], "SNAPSHOT_NOT_FOUND");
    assert!(!fs::exists("/nowhere").unwrap());

    // The open copy is the database.
    let open = w.work.join("open");
    let open = open.to_str().unwrap();
    let document =
        w.json(&["restore", "shop", "latest", open, "--only", "db", "--decompress", "--json"]);
    let copy = words(&document, "dump");
    assert!(copy.ends_with(".sqlite"), "{copy}");
    let db = rusqlite::Connection::open(copy).unwrap();
    let rows: i64 = db.query_row("SELECT count(*) FROM items", [], |r| r.get(0)).unwrap();
    assert_eq!(rows, 100);

    // Another file under the dump's name, as a damaged repository or a bad hand would give it.
    let file = words(&record["dump"], "file").to_owned();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    w.restic(&["backup", "--tag", "backupctl:combined", "--tag", "project:shop", &file]);
    let target = w.work.join("bad");
    let target = target.to_str().unwrap();
    let bad = w.run(&["restore", "shop", "latest", target, "--only", "db", "--json"]);
    let error = bad.expect(1).json();
    assert_eq!(error["error"]["code"], "CHECKSUM_MISMATCH", "{error:#}");

    let guide = w.run(&["restore", "shop", "latest", "/tmp/back", "--guide"]);
    assert!(guide.expect(0).stdout.contains("sqlite3"), "{}", guide.stdout);
    assert!(!guide.stdout.contains("password"), "{}", guide.stdout);
    w.project()["enabled"] = json!(false);
    w.run(&["restore", "shop", "latest", "/tmp/back", "--guide", "--json"]).expect(0);
}

#[test]
fn without_the_right_key_nothing_is_opened() {
    let mut w = World::with_sqlite();
    let (right, wrong) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let key = |name: &str, identity: &age::x25519::Identity, mode: u32| {
        let file = w.work.file(name, identity.to_string().expose_secret());
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    };
    let cases = [
        (None, "ENCRYPTION_KEY_MISSING"),
        (Some(key("wrong.txt", &wrong, 0o600)), "DECRYPTION_FAILED"),
        (Some(key("open.txt", &right, 0o644)), "ENCRYPTION_KEY_PERMISSIONS"),
    ];
    let good = key("right.txt", &right, 0o600);
    w.project()["encryption"] =
        json!({"enabled": true, "type": "age", "recipients": [right.to_public().to_string()]});
    w.backup();
    for (number, (identity, code)) in cases.into_iter().enumerate() {
        w.project()["encryption"]["identity_file"] = json!(identity);
        if identity.is_none() {
            w.project()["encryption"].as_object_mut().unwrap().remove("identity_file");
        }
        let target = w.work.join(format!("back{number}"));
        let target = target.to_str().unwrap();
        let out = w.run(&["restore", "shop", "latest", target, "--decompress", "--json"]);
        let error = out.expect(1).json();
        assert_eq!(error["error"]["code"], code, "{error:#}");
        words(&error["error"], "remedy");
        let plain = w.work.names(format!("back{number}"));
        assert!(plain.iter().all(|n| n == "tmp" || n.ends_with(".sqlite.zst.age")), "{plain:?}");
    }
    w.project()["encryption"]["identity_file"] = json!(good);
    let target = w.work.join("good");
    w.run(&["restore", "shop", "latest", target.to_str().unwrap(), "--decompress"]).expect(0);
}
