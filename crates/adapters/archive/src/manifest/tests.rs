//! A manifest is JSON to everybody, and differs where a file does.

use std::io::BufReader;

use proptest::prelude::*;

use super::*;

fn head() -> Head {
    Head {
        backupctl_manifest: FORM,
        project: "shop".to_owned(),
        run_id: "r".to_owned(),
        started_at: "2026-03-18T00:00:05.000Z".to_owned(),
        host: "host".to_owned(),
        version: "backupctl 0.1.0".to_owned(),
        dump: None,
        unread: vec!["/srv/a: no".to_owned()],
        absent: Vec::new(),
    }
}

fn spool(lines: &[Vec<u8>]) -> Spool {
    let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
    for line in lines {
        spool.push(line).unwrap();
    }
    spool
}

fn text(lines: &[Vec<u8>]) -> Vec<u8> {
    let head = head_text(&head()).unwrap();
    let spool = spool(lines);
    let bytes = head.len() as u64 + spool.text_bytes() + tail_text().len() as u64;
    let mut out = Vec::new();
    let mut write_all = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok(())
    };
    write(&head, spool, &mut write_all).unwrap();
    assert_eq!(out.len() as u64, bytes, "the size is known before");
    out
}

fn compared(text: &[u8], lines: &[Vec<u8>]) -> Result<(Head, u64), Difference> {
    compare(&mut BufReader::new(text), spool(lines)).unwrap()
}

fn lines(paths: &[Vec<u8>]) -> Vec<Vec<u8>> {
    paths
        .iter()
        .enumerate()
        .map(|(n, path)| match n % 3 {
            2 => link_line(path, &paths[0]).unwrap(),
            _ => file_line(path, n as u64, "blake3:00").unwrap(),
        })
        .collect()
}

proptest! {
    #[test]
    fn it_is_json_and_reads_back(paths in proptest::collection::vec(proptest::collection::vec(1_u8..=255, 1..40), 0..20)) {
        let lines = lines(&paths);
        let text = text(&lines);
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(json["files"].as_array().unwrap().len(), paths.len());
        prop_assert_eq!(json["project"].as_str(), Some("shop"));
        prop_assert_eq!(compared(&text, &lines), Ok((head(), paths.len() as u64)));
    }
}

#[test]
fn a_difference_is_told_by_the_file() {
    let all = lines(&[b"a".to_vec(), b"b".to_vec(), b"c".to_vec(), b"d".to_vec()]);
    let differs = |path: &str| Err(Difference::File(path.to_owned()));
    assert_eq!(compared(&text(&all), &all[..3]), differs("d"));
    assert_eq!(compared(&text(&all[..3]), &all), differs("d"));
    let mut changed = all.clone();
    changed[1] = file_line(b"b", 1, "blake3:01").unwrap();
    assert_eq!(compared(&text(&all), &changed), differs("b"));
    assert_eq!(compared(b"", &[]), Err(Difference::Unreadable));
    assert_eq!(compared(b"{}\n", &[]), Err(Difference::Unreadable));
}

#[test]
fn a_path_that_is_no_text_says_so() {
    let line = file_line(b"caf\xe9 100%", 1, "blake3:00").unwrap();
    assert_eq!(
        String::from_utf8(line).unwrap(),
        r#"{"path":"caf%E9 100%25","size":1,"checksum":"blake3:00","encoded":true}"#
    );
}
