//! What is written reads back, and what is read from anybody does no harm.

use std::io::{self, Read};

use proptest::prelude::*;

use super::header::{Header, LEN};
use super::pax::{record, time, time_text, xattr_key, xattr_name};
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
        read_anything(&bytes);
    }

    #[test]
    fn a_changed_archive_does_no_harm(
        entries in proptest::collection::vec(entry(), 0..4),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), change()), 1..12),
    ) {
        let mut bytes = archive(&[entries, vec![sparse()]].concat());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        sum_anew(&mut bytes);
        read_anything(&bytes);
    }

    #[test]
    fn a_made_up_archive_does_no_harm(
        entries in proptest::collection::vec((records(), any::<u8>(), prop::sample::select(b"00000127xg".as_slice()), numbers()), 1..4),
    ) {
        let mut bytes = Vec::new();
        for (records, short, kind, content) in entries {
            bytes.extend(block(b'x', records.len() as u64));
            bytes.extend(&records);
            bytes.resize(bytes.len().next_multiple_of(LEN), 0);
            let size = if short < 99 { content.len() as u64 } else { u64::from(short) << 28 };
            bytes.extend(block(kind, size));
            bytes.extend(&content);
            bytes.resize(bytes.len().next_multiple_of(LEN), 0);
        }
        read_anything(&bytes);
    }
}

/// Reads as much as there is, as those do who trust what is said of pieces and sizes.
fn read_anything(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while let Ok(Some(entry)) = reader.next() {
        let names: usize =
            entry.meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(entry.path.len() + entry.link.len() + names <= bytes.len() + 512);
        let mut at = 0;
        for extent in entry.extents.as_deref().unwrap_or_default() {
            assert!(extent.offset >= at && extent.len > 0);
            at = extent.offset + extent.len;
        }
        assert!(at <= entry.size);
        assert!(encode(&entry).padding < LEN);
        let mut content = Vec::new();
        if reader.read_to_end(&mut content).is_ok() {
            assert_eq!(content.len() as u64, entry.stored());
        }
    }
}

/// What a byte becomes: anything, or what numbers and records are made of.
fn change() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), prop::sample::select(b"0179 =\n.-xgS".as_slice())]
}

/// Numbers as they should be, and as they should not.
fn odd_number() -> impl Strategy<Value = String> {
    let odd =
        vec!["", "-1", "1.5", "-0.000000001", "18446744073709551616", "99999999999999999999999"];
    let most = vec![0, 1, 512, 1 << 40, u64::MAX - 511, u64::MAX - 1, u64::MAX];
    prop_oneof![
        1 => prop::sample::select(odd).prop_map(str::to_owned),
        4 => prop::sample::select(most).prop_map(|number| number.to_string()),
        4 => (0_u64..3000).prop_map(|number| number.to_string()),
    ]
}

/// PAX records, most of which are such.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let keys = vec![
        "size",
        "size",
        "GNU.sparse.realsize",
        "GNU.sparse.realsize",
        "GNU.sparse.name",
        "path",
        "linkpath",
        "uid",
        "mtime",
        "comment",
        "SCHILY.xattr.user.a%",
        "",
    ];
    let one = (prop::sample::select(keys), odd_number(), 0_u8..40);
    proptest::collection::vec(one, 0..6).prop_map(|all| {
        let mut out = Vec::new();
        for (key, value, cut) in all {
            record(&mut out, key.as_bytes(), value.as_bytes());
            if cut == 0 {
                out.pop();
            }
        }
        out
    })
}

/// A map of pieces, and something behind it.
fn numbers() -> impl Strategy<Value = Vec<u8>> {
    (0_u8..4, proptest::collection::vec(odd_number(), 0..8), 0_usize..600).prop_map(
        |(count, numbers, behind)| {
            let mut out = format!("{count}\n{}\n", numbers.join("\n")).into_bytes();
            out.resize(out.len().next_multiple_of(LEN) + behind, 0);
            out
        },
    )
}

/// A header.
fn block(kind: u8, size: u64) -> [u8; LEN] {
    Header { name: b"made/up".to_vec(), kind, size, ..Header::default() }.block()
}

/// Makes all headers right again that were changed.
fn sum_anew(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(LEN).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
}

fn sparse() -> (Entry, Vec<u8>) {
    let mut sparse = Entry::new(Kind::File, b"a/sparse", meta());
    sparse.size = 1 << 40;
    sparse.extents =
        Some(vec![Extent { offset: 4096, len: 1000 }, Extent { offset: 1 << 39, len: 24 }]);
    (sparse, vec![5; 1024])
}

/// An archive of one file, with these records and this content.
fn made(records: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for (key, value) in records {
        record(&mut all, key.as_bytes(), value.as_bytes());
    }
    let mut bytes = block(b'x', all.len() as u64).to_vec();
    bytes.extend(&all);
    bytes.resize(bytes.len().next_multiple_of(LEN), 0);
    bytes.extend(block(b'0', content.len() as u64));
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(LEN), 0);
    bytes.extend(END);
    bytes
}

#[test]
fn sizes_that_no_file_has_are_errors() {
    let most = u64::MAX.to_string();
    let bytes = made(&[("size", &most)], b"x");
    let mut reader = Reader::new(&bytes[..]);
    assert_eq!(reader.next().unwrap().unwrap().size, u64::MAX);
    assert_eq!(reader.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

    let map = |text: &str| {
        let mut map = text.as_bytes().to_vec();
        map.resize(LEN, 0);
        let bytes = made(&[("GNU.sparse.realsize", &most)], &map);
        Reader::new(&bytes[..]).next().map(Option::unwrap)
    };
    let hole = map(&format!("1\n{most}\n0\n")).unwrap();
    assert_eq!((hole.size, hole.stored()), (u64::MAX, 0));
    let last = format!("1\n{most}\n1\n");
    let many = format!("{}\n", MAX_EXTENTS + 2);
    for wrong in [last.as_str(), &many, "2\n5\n5\n9\n0\n", "1\n-1\n0\n", "1\n0\n1\n", "x\n"] {
        assert_eq!(map(wrong).unwrap_err().kind(), io::ErrorKind::InvalidData, "{wrong}");
    }
}

#[test]
fn records_without_an_end_are_errors() {
    let large = block(b'x', MAX_PAX + 1);
    assert_eq!(Reader::new(&large[..]).next().unwrap_err().kind(), io::ErrorKind::InvalidData);
    let name = "SCHILY.xattr.user.a";
    let many = made(&vec![(name, ""); MAX_XATTRS + 1], b"");
    assert_eq!(Reader::new(&many[..]).next().unwrap_err().kind(), io::ErrorKind::InvalidData);
    let few = made(&vec![(name, ""); 9], b"");
    assert_eq!(Reader::new(&few[..]).next().unwrap().unwrap().meta.xattrs.len(), 9);
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
    let entries = vec![sparse()];
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
