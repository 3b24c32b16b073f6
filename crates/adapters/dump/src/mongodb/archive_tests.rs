//! Archives cut and flipped at every byte.

use backupctl_testkit::mongo_archive::{MongoArchive, Part, document};

use super::*;

fn read(bytes: &[u8], piece: usize) -> (Verdict, Summary) {
    let mut reader = ArchiveReader::new();
    bytes.chunks(piece).for_each(|chunk| reader.feed(chunk));
    reader.finish()
}

fn verdict(bytes: &[u8]) -> Verdict {
    read(bytes, usize::MAX).0
}

/// Interleaved collections, one of many blocks; an empty one; a view; a time series; users.
fn small() -> MongoArchive {
    MongoArchive::new()
        .collection("shop", "orders", (0..7).map(|i| document(i, "an order")))
        .collection("shop", "customers", (0..3).map(|i| document(i, "somebody")))
        .collection("shop", "empty", [])
        .view("shop", "recent")
        .timeseries("shop", "weather", (0..2).map(|i| document(i, "rain")))
        .collection("shop", "$admin.system.users", [document(0, "u")])
        .documents_a_block(2)
}

#[test]
fn a_whole_archive_is_read_however_its_bytes_come() {
    let archive = small();
    let bytes = archive.bytes();
    for piece in [1, 2, 3, 5, 64, bytes.len()] {
        let (verdict, summary) = read(&bytes, piece);
        assert_eq!(verdict, Verdict::Whole, "in pieces of {piece}");
        assert_eq!(summary.server_version, "7.0.5");
        assert_eq!(summary.tool_version, "100.9.4");
        let expected = [
            ("shop.$admin.system.users", 1),
            ("shop.customers", 3),
            ("shop.empty", 0),
            ("shop.orders", 7),
            ("shop.recent", 0),
            ("shop.system.buckets.weather", 2),
        ];
        let expected: BTreeMap<_, _> = expected.map(|(n, c)| (n.to_owned(), c)).into();
        assert_eq!(summary.documents, expected);
    }
    let (verdict, summary) = read(&MongoArchive::new().bytes(), 7);
    assert_eq!((verdict, summary.documents.len()), (Verdict::Whole, 0), "an empty database");
}

#[test]
fn a_cut_at_any_byte_is_noticed() {
    let bytes = small().bytes();
    for cut in 0..bytes.len() {
        let found = verdict(&bytes[..cut]);
        let noticed = matches!(found, Verdict::Cut(_) | Verdict::Unfinished(_));
        assert!(noticed, "cut to {cut} of {}: {found:?}", bytes.len());
    }
    let prelude = small().parts().iter().find(|(part, _)| *part == Part::Terminator).cloned();
    let prelude = prelude.unwrap().1;
    let Verdict::Unfinished(names) = verdict(&bytes[..prelude.end]) else {
        panic!("a prelude alone is not whole")
    };
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn a_flipped_bit_is_noticed_wherever_the_format_can_tell() {
    let archive = small();
    let bytes = archive.bytes();
    let part_at =
        |at: usize| archive.parts().into_iter().find(|(_, range)| range.contains(&at)).unwrap().0;
    let mut unnoticed: BTreeMap<Part, usize> = BTreeMap::new();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            if verdict(&bad) == Verdict::Whole {
                *unnoticed.entry(part_at(at)).or_default() += 1;
            }
        }
    }
    // The prelude carries no checksum: an index definition may change and still be text. That is what
    // the checksum of the file is for.
    let parts: Vec<Part> = unnoticed.keys().copied().collect();
    assert!(
        parts.iter().all(|p| matches!(p, Part::Header | Part::Metadata)),
        "unnoticed: {unnoticed:?}"
    );
}

#[test]
fn what_comes_too_much_is_noticed() {
    let bytes = small().bytes();
    let bad = |found: Verdict| matches!(found, Verdict::Bad(_) | Verdict::Cut(_));
    for more in [&b"\0"[..], b"\xff\xff\xff\xff", b"\x05\0\0\0\0", b"and some text behind it"] {
        let longer = [bytes.as_slice(), more].concat();
        assert!(bad(verdict(&longer)), "{more:?}");
    }
    // A whole block of a collection that has ended, and one that nobody has announced.
    let blocks = |archive: &MongoArchive| {
        let begin = archive.parts().iter().find(|(p, _)| *p == Part::Terminator).unwrap().1.end;
        archive.bytes()[begin..].to_vec()
    };
    let again = [bytes.as_slice(), &blocks(&small())].concat();
    assert!(matches!(verdict(&again), Verdict::Bad(why) if why.contains("behind its end")));
    let other = MongoArchive::new().collection("other", "x", [document(1, "y")]);
    let foreign = [bytes.as_slice(), &blocks(&other)].concat();
    assert!(matches!(verdict(&foreign), Verdict::Bad(why) if why.contains("other.x")));
    assert!(matches!(verdict(b"BSON, or what"), Verdict::Bad(_)));
}

#[test]
fn a_time_series_may_come_under_its_own_name() {
    // Servers from 8.3 on keep no buckets collection.
    let archive = MongoArchive::new().timeseries_without_buckets("shop", "weather", []);
    assert_eq!(verdict(&archive.bytes()), Verdict::Whole);
}

#[test]
fn documents_as_large_as_the_server_allows_pass_and_take_no_memory() {
    let large = document(1, &"x".repeat(16 * 1024 * 1024 - 1024));
    let bytes = MongoArchive::new().collection("shop", "large", [large]).bytes();
    let mut reader = ArchiveReader::new();
    for chunk in bytes.chunks(256 * 1024) {
        reader.feed(chunk);
        assert!(reader.buffer.capacity() < 4096, "{}", reader.buffer.capacity());
    }
    assert_eq!(reader.finish().0, Verdict::Whole);
}
