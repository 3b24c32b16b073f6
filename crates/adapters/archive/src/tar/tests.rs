//! What is written reads back, and what is read from anybody does no harm.

use std::io::Read;

use proptest::prelude::*;

use super::pax::{time, time_text, xattr_key, xattr_name};
use super::*;

fn meta() -> Meta {
    Meta { mode: 0o4751, uid: 7, gid: 8, modified: (1_700_000_000, 123_456_789), xattrs: vec![] }
}

fn archive(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut out = global("{\"hello\":1}");
    for (entry, content) in entries {
        let head = encode(entry);
        out.extend(head.bytes);
        out.extend(content);
        out.resize(out.len() + head.padding, 0);
    }
    out.extend(END);
    out
}

fn read_back(bytes: &[u8]) -> std::io::Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        entries.push((entry, content));
    }
    assert_eq!(reader.comment(), Some("{\"hello\":1}"));
    Ok(entries)
}

fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let bytes = |most| proptest::collection::vec(1_u8..=255, 1..most);
    let name = bytes(300).prop_filter("no slash", |n| !n.ends_with(b"/"));
    let xattrs = proptest::collection::vec(
        ("[a-c=%235D]{1,9}".prop_map(String::into_bytes), bytes(90)),
        0..3,
    );
    (
        name,
        bytes(300),
        any::<u64>(),
        any::<i32>(),
        0_u32..1_000_000_000,
        xattrs,
        0_usize..3000,
        0_u8..6,
    )
        .prop_map(|(path, link, id, seconds, nanos, xattrs, len, kind)| {
            let kind = [
                Kind::File,
                Kind::Folder,
                Kind::Symlink,
                Kind::HardLink,
                Kind::CharDevice,
                Kind::BlockDevice,
            ][usize::from(kind)];
            let modified = (i64::from(seconds), nanos);
            let meta = Meta { mode: 0o6755, uid: id, gid: id >> 40, modified, xattrs };
            let mut entry = Entry::new(kind, &path, meta);
            match kind {
                Kind::File => entry.size = len as u64,
                Kind::Symlink | Kind::HardLink => entry.link = link,
                Kind::CharDevice | Kind::BlockDevice => entry.device = (8, 17),
                Kind::Folder => {}
            }
            let content = vec![7; usize::try_from(entry.size).unwrap()];
            (entry, content)
        })
}

proptest! {
    #[test]
    fn entries_come_back_as_they_were(entries in proptest::collection::vec(entry(), 0..6)) {
        prop_assert_eq!(read_back(&archive(&entries)).unwrap(), entries);
    }

    #[test]
    fn times_come_back_as_they_were(seconds in -5_000_000_000_i64..5_000_000_000, nanos in 0_u32..1_000_000_000) {
        prop_assert_eq!(time(time_text((seconds, nanos)).as_bytes()), Some((seconds, nanos)));
    }

    #[test]
    fn nothing_that_is_read_ends_the_program(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let mut reader = Reader::new(&bytes[..]);
        while let Ok(Some(_)) = reader.next() {}
    }
}

#[test]
fn names_of_attributes_are_encoded_as_gnu_tar_does() {
    for (name, key) in [("user.a=b", "user.a%3Db"), ("user.%", "user.%25"), ("a%3D=", "a%253D%3D")]
    {
        let key = [b"SCHILY.xattr.", key.as_bytes()].concat();
        assert_eq!(xattr_key(name.as_bytes()), key);
        assert_eq!(xattr_name(&key).unwrap(), name.as_bytes());
    }
    // Nothing else is encoded, in archives of others neither.
    assert_eq!(xattr_name(b"SCHILY.xattr.a%20%3d%").unwrap(), b"a%20%3d%");
    assert_eq!(xattr_name(b"path"), None);
}

#[test]
fn a_sparse_file_keeps_its_holes() {
    let mut sparse = Entry::new(Kind::File, b"a/sparse", meta());
    sparse.size = 1 << 40;
    sparse.extents =
        Some(vec![Extent { offset: 4096, len: 1000 }, Extent { offset: 1 << 39, len: 24 }]);
    let entries = vec![(sparse, vec![5; 1024])];
    assert_eq!(read_back(&archive(&entries)).unwrap(), entries);
    let mut nothing = Entry::new(Kind::File, b"hole", meta());
    nothing.size = 5000;
    nothing.extents = Some(vec![]);
    let entries = vec![(nothing, vec![])];
    assert_eq!(read_back(&archive(&entries)).unwrap(), entries);
}

#[test]
fn an_archive_without_its_end_is_an_error() {
    let mut file = Entry::new(Kind::File, b"f", meta());
    file.size = 700;
    let whole = archive(&[(file, vec![1; 700])]);
    for cut in (0..whole.len() - 1023).step_by(100) {
        assert!(read_back(&whole[..cut]).is_err(), "{cut}");
    }
}
