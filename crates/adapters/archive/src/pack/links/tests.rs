//! Each file once, as long as there is room to know it again.

use std::fs;
use std::path::PathBuf;

use super::*;

/// A file with two more names.
fn linked(dir: &Path, name: &str) -> (Metadata, PathBuf) {
    let path = dir.join(name);
    fs::write(&path, "x").unwrap();
    for other in ["one", "two"] {
        fs::hard_link(&path, path.with_extension(other)).unwrap();
    }
    (fs::metadata(&path).unwrap(), path)
}

#[test]
fn a_file_is_known_until_all_its_names_were_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (file, path) = linked(dir.path(), "f");
    let mut links = Links::default();
    assert_eq!(links.find(&file), None);
    links.remember(&file, &path, b"f");
    assert_eq!(links.find(&file).as_deref(), Some(&b"f"[..]));
    assert_eq!(links.find(&file).as_deref(), Some(&b"f"[..]));
    assert_eq!((links.seen.len(), links.room), (0, ROOM));
    assert_eq!(links.find(&file), None);
    assert_eq!(links.note(), None);
}

#[test]
fn where_there_is_no_room_a_file_is_stored_again_and_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut links = Links::with_room(2 * (EACH + 1));
    let files: Vec<_> = ["a", "b", "c"].iter().map(|name| linked(dir.path(), name)).collect();
    for ((file, path), name) in files.iter().zip([b"a", b"b", b"c"]) {
        assert_eq!(links.find(file), None);
        links.remember(file, path, name);
    }
    assert_eq!(links.find(&files[2].0), None);
    let shown = files[2].1.display();
    let note =
        format!("stored whole under each name, for too many files have several: 1 file: {shown}");
    assert_eq!(links.note(), Some(note));
    // Who leaves makes room.
    for _ in 0..2 {
        assert_eq!(links.find(&files[0].0).as_deref(), Some(&b"a"[..]));
    }
    links.remember(&files[2].0, &files[2].1, b"c");
    assert_eq!(links.find(&files[2].0).as_deref(), Some(&b"c"[..]));
}
