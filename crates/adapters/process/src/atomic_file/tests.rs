//! What stands where, before and after, and what the disk's refusals mean.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_has_its_name_once_it_is_whole_and_is_gone_if_it_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("x");
    // A partial left by a killed attempt is in nobody's way.
    fs::write(dir.path().join(".x.partial"), "old and longer").unwrap();
    for existing in [Existing::Refuse, Existing::Replace] {
        drop(AtomicFile::create(&target, existing).unwrap());
        assert_eq!(names(dir.path()), Vec::<String>::new());
        let file = AtomicFile::create(&target, existing).unwrap();
        file.handle().write_all(b"whole").unwrap();
        assert_eq!(names(dir.path()), [".x.partial"]);
        assert_eq!(file.commit().unwrap(), target);
        assert_eq!(names(dir.path()), ["x"]);
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&target).unwrap(), b"whole");
        fs::remove_file(&target).unwrap();
    }
    let named = AtomicFile::create_as("y", &target, Existing::Refuse).unwrap();
    assert_eq!(named.partial(), dir.path().join(".y.partial"));
    named.commit().unwrap();
    assert_eq!(names(dir.path()), ["x"]);
}

#[test]
fn a_name_in_use_is_kept_where_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (early, late) = (dir.path().join("x"), dir.path().join("y"));
    fs::write(&early, "mine").unwrap();
    let failure = AtomicFile::create(&early, Existing::Refuse).unwrap_err();
    assert_eq!(failure.code, ErrorCode::PathNotWritable);
    assert!(failure.message.contains("already exists"));
    let file = AtomicFile::create(&late, Existing::Refuse).unwrap();
    fs::write(&late, "mine").unwrap();
    assert!(file.commit().unwrap_err().message.contains("already exists"));
    assert_eq!(fs::read_to_string(late).unwrap(), "mine");
    assert_eq!(names(dir.path()), ["x", "y"]);
}

#[test]
fn a_name_in_use_is_taken_where_it_is_replaced_by_what_is_whole_alone() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("x");
    fs::write(&target, "old").unwrap();
    let file = AtomicFile::create(&target, Existing::Replace).unwrap();
    file.handle().write_all(b"half").unwrap();
    drop(file);
    assert_eq!(fs::read(&target).unwrap(), b"old");
    let file = AtomicFile::create(&target, Existing::Replace).unwrap();
    file.handle().write_all(b"new").unwrap();
    file.commit().unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"new");
    assert_eq!(names(dir.path()), ["x"]);

    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let failure = AtomicFile::create(&folder, Existing::Replace).unwrap_err();
    assert!(failure.message.contains("already exists"), "{failure}");
}

#[test]
fn errors_of_the_disk_have_their_codes_and_name_the_file() {
    let code = |errno: Errno| write_failure(&errno.into(), Path::new("/d/f")).code;
    assert_eq!(code(Errno::NOSPC), ErrorCode::DiskFull);
    assert_eq!(code(Errno::DQUOT), ErrorCode::DiskFull);
    assert_eq!(code(Errno::FBIG), ErrorCode::FsFileTooLarge);
    assert_eq!(code(Errno::ACCESS), ErrorCode::PathNotWritable);
    assert_eq!(code(Errno::ROFS), ErrorCode::PathNotWritable);
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("none/x");
    let failure = AtomicFile::create(&target, Existing::Replace).unwrap_err();
    assert_eq!(failure.code, ErrorCode::PathNotWritable);
    assert!(failure.message.contains("none/x"));
}
