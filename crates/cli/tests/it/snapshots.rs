//! What is in the repository after many runs: tags, parts, retention, unchanged files.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::support::{World, real, tree};

fn per_tag_set(w: &World) -> BTreeMap<Vec<String>, usize> {
    let all: Value = serde_json::from_str(&w.restic(&["snapshots", "--json"])).unwrap();
    let mut sets = BTreeMap::new();
    for snapshot in all.as_array().unwrap() {
        let mut tags: Vec<String> = serde_json::from_value(snapshot["tags"].clone()).unwrap();
        tags.sort();
        *sets.entry(tags).or_default() += 1;
    }
    sets
}

#[test]
fn ten_runs_in_parts_leave_three_of_each_and_give_each_part_back() {
    let mut w = World::with_sqlite();
    // A comma would split a tag in two.
    let assets = w.work.file("assets/a,b 100%/one.txt", "first").parent().unwrap().to_owned();
    w.work.file("assets/a,b 100%/deep/two.txt", "second");
    w.project()["assets"]["paths"] = json!([assets]);
    w.project()["restic"]["snapshot_mode"] = json!("separate");
    w.project()["retention"] = json!({"keep_last": 3});
    let first = w.backup();
    let coded = assets.display().to_string().replace('%', "%25").replace(',', "%2C");
    let tag = format!("backupctl:assets:{coded}");
    let tags: Vec<&Value> =
        first["snapshots"].as_array().unwrap().iter().map(|s| &s["tags"]).collect();
    assert_eq!(tags, [&json!(["backupctl:db", "project:shop"]), &json!([tag, "project:shop"]),]);
    let second = w.backup();
    assert_eq!(second["snapshots"][1]["files_unmodified"], 2, "{second:#}");
    assert_eq!(second["snapshots"][1]["files_new"], 0, "{second:#}");
    for _ in 2..10 {
        w.backup();
    }
    let set = |tag: &str| vec![tag.to_owned(), "project:shop".to_owned()];
    let three = [set("backupctl:db"), set(&tag)].map(|s| (s, 3));
    assert_eq!(per_tag_set(&w), three.into());

    let listed = w.json(&["snapshots", "shop", "--json"]);
    let listed = listed["snapshots"].as_array().unwrap();
    assert_eq!(listed.len(), 6);
    let times: Vec<&str> = listed.iter().map(|s| s["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first: {times:#?}");
    let shown = format!("backupctl:assets:{}", assets.display());
    assert!(listed.iter().any(|s| s["tags"][0] == shown), "decoded: {listed:#?}");

    let back = |only: &str| {
        let target = w.work.join(format!("back-{only}"));
        w.run(&["restore", "shop", "latest", target.to_str().unwrap(), "--only", only]).expect(0);
        tree(&target)
    };
    let db = back("db");
    assert!(db.keys().any(|p| p.to_string_lossy().ends_with(".sqlite.zst")), "{db:?}");
    assert!(!db.keys().any(|p| p.to_string_lossy().ends_with(".txt")), "{db:?}");
    let assets = back("assets");
    let texts: Vec<&[u8]> = assets.values().map(Vec::as_slice).filter(|t| !t.is_empty()).collect();
    assert_eq!(texts.len(), 2, "{assets:?}");
    for text in ["first", "second"] {
        assert!(texts.contains(&text.as_bytes()), "{text}");
    }
}

#[test]
fn one_snapshot_of_everything_reads_no_unchanged_file_again_and_is_thinned_out() {
    let mut w = World::with_sqlite();
    w.project()["retention"] = json!({"keep_last": 3});
    let first = w.backup();
    assert_eq!(first["snapshots"][0]["files_new"], 3, "{first:#}");
    let log = w.work.join("restic.log");
    let restic = real("restic");
    w.wrap("restic", &format!("echo $1 >> {0}\nexec {1} \"$@\"", log.display(), restic.display()));
    // Another program: it is asked for its version once.
    let second = w.backup();
    assert_eq!(second["snapshots"][0]["files_unmodified"], 2, "{second:#}");
    assert_eq!(second["snapshots"][0]["files_new"], 1, "{second:#}");
    std::fs::write(&log, "").unwrap();
    w.backup();
    let calls = std::fs::read_to_string(&log).unwrap();
    assert_eq!(calls.lines().collect::<Vec<_>>(), ["backup", "ls", "forget"], "a process each");
    w.backup();
    let tags = ["backupctl:combined", "project:shop"].map(str::to_owned).to_vec();
    assert_eq!(per_tag_set(&w), [(tags, 3)].into());
    // The newest dump stays on disk, whatever its age.
    assert_eq!(w.dumps().len(), 4);
}
