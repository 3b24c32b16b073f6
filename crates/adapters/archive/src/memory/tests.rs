//! What is remembered stays apart by folder and project, and losing it harms nothing.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn known(proof: Proof) -> Known {
    Known {
        bytes: 7,
        parts: 1,
        checksum: "blake3:00".to_owned(),
        proof,
        proven_at: None,
        run: "r".to_owned(),
        host: "h".to_owned(),
        dump: Some(("d.dump".to_owned(), 3)),
        assets: vec![PathBuf::from("/srv/a")],
    }
}

#[test]
fn what_is_remembered_is_kept_by_folder_and_project() {
    let dir = tempfile::tempdir().unwrap();
    let (shop, blog) = (ProjectName::new("shop").unwrap(), ProjectName::new("blog").unwrap());
    let memory = |path: &str, project| Memory::new(dir.path(), Path::new(path), project);
    let add = |known: &mut Remembered| {
        known.archives.insert("a".to_owned(), self::known(Proof::Unproven));
    };
    memory("/mnt/a", &shop).update(add);
    assert_eq!(memory("/mnt/a", &shop).known("a"), Some(known(Proof::Unproven)));
    assert_eq!(memory("/mnt/b", &shop).known("a"), None);
    assert_eq!(memory("/mnt/a", &blog).known("a"), None);
    let at = "2026-03-18T00:00:05Z".parse().unwrap();
    memory("/mnt/a", &shop).judge("a", Proof::Proven, at);
    let proven = Known { proven_at: Some(at), ..known(Proof::Proven) };
    assert_eq!(memory("/mnt/a", &shop).known("a"), Some(proven));
    let file = memory("/mnt/a", &shop).file;
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_file_is_nothing_known() {
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::new(dir.path(), Path::new("/mnt/a"), &ProjectName::new("shop").unwrap());
    memory.update(|known| known.last_bytes = Some(7));
    fs::write(&memory.file, "{").unwrap();
    assert_eq!(memory.read(), Remembered::default());
}
