//! The reader of archive contents, on archives laid out as `pg_dump` writes them.

use super::*;

fn int(out: &mut Vec<u8>, value: i32) {
    out.push(u8::from(value < 0));
    out.extend(value.unsigned_abs().to_le_bytes());
}

fn text(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        None => int(out, -1),
        Some(value) => {
            int(out, i32::try_from(value.len()).unwrap());
            out.extend(value.as_bytes());
        }
    }
}

fn archive(minor: u8, entries: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut out = b"PGDMP".to_vec();
    out.extend([1, minor, 0, 4, 8, 1]);
    if minor >= 15 {
        out.push(0);
    } else {
        int(&mut out, 0);
    }
    for part in [1, 2, 3, 4, 5, 126, 0] {
        int(&mut out, part);
    }
    for part in ["shop", "15.18", "15.18 (Debian)"] {
        text(&mut out, Some(part));
    }
    int(&mut out, i32::try_from(entries.len()).unwrap());
    for (kind, schema, name) in entries {
        int(&mut out, 7);
        int(&mut out, 1);
        text(&mut out, Some("1259"));
        text(&mut out, Some("16530"));
        text(&mut out, Some(name));
        text(&mut out, Some(kind));
        int(&mut out, 2);
        text(&mut out, Some(&"CREATE …".repeat(50)));
        text(&mut out, Some("DROP …"));
        text(&mut out, None);
        text(&mut out, Some(schema));
        text(&mut out, Some(""));
        if minor >= 14 {
            text(&mut out, Some("heap"));
        }
        if minor >= 16 {
            int(&mut out, 114);
        }
        text(&mut out, Some("owner"));
        text(&mut out, Some("false"));
        text(&mut out, Some("3"));
        text(&mut out, None);
        out.push(1);
        out.extend([0; 8]);
    }
    out.extend(b"and then the data");
    out
}

const ENTRIES: &[(&str, &str, &str)] = &[
    ("ENCODING", "", "ENCODING"),
    ("TABLE", "public", "orders"),
    ("TABLE DATA", "public", "orders"),
    ("MATERIALIZED VIEW", "my schema", "a.b"),
];

#[test]
fn every_known_format_is_read_in_pieces_of_any_size() {
    for minor in 12..=16 {
        let bytes = archive(minor, ENTRIES);
        for size in [1, 7, 100, bytes.len()] {
            let mut reader = TocReader::new();
            bytes.chunks(size).for_each(|chunk| reader.feed(chunk));
            let (state, contents, version) = reader.finish();
            assert_eq!(state, TocState::Done, "1.{minor} by {size}");
            let names: Vec<_> = contents.iter().map(String::as_str).collect();
            assert_eq!(
                names,
                [
                    "data of table public.orders",
                    "materialized view my schema.a.b",
                    "table public.orders"
                ]
            );
            assert_eq!(version.as_deref(), Some("15.18 (Debian)"));
        }
    }
}

#[test]
fn what_is_cut_unknown_or_no_archive_is_told_and_never_panics() {
    let bytes = archive(14, ENTRIES);
    for cut in 0..bytes.len() - "and then the data".len() {
        let mut reader = TocReader::new();
        reader.feed(&bytes[..cut]);
        assert!(matches!(reader.finish().0, TocState::Unreadable(_)), "cut at {cut}");
    }
    let mut reader = TocReader::new();
    reader.feed(&archive(17, ENTRIES));
    let TocState::Unreadable(why) = reader.finish().0 else { panic!("1.17 is not known") };
    assert!(why.contains("1.17"));
    let mut reader = TocReader::new();
    reader.feed(b"-- PostgreSQL database dump");
    assert!(matches!(reader.finish().0, TocState::Unreadable(_)));
}

#[test]
fn the_list_of_pg_restore_gives_the_same_names() {
    let list = include_str!("../../tests/fixtures/pg_restore-list-good.stdout");
    let names: Vec<_> = contents_of_list(list).into_iter().collect();
    assert_eq!(
        names,
        [
            "data of table public.articles",
            "data of table public.events",
            "table public.articles",
            "table public.events",
        ]
    );
}
