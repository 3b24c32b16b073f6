//! One project, a repository and a stick: three copies, of which each speaks for itself.

use std::fs;

use serde_json::{Value, json};

use super::support::{OnStick, REPOSITORY_PASSWORD, faithful, words};

/// The project goes to a repository and to the stick.
fn both(required: bool) -> OnStick {
    let mut s = OnStick::new("64m");
    let repository = s.w.repository.path().to_owned();
    let project = s.w.project();
    let archive = project["archive"].clone();
    project.as_object_mut().unwrap().remove("archive");
    project["retention"] = json!({"keep_last": 5});
    project["destinations"] = json!([
        {"name": "box", "restic": {"repository": repository, "password": REPOSITORY_PASSWORD}},
        {"name": "stick", "required": required, "archive": archive},
    ]);
    s
}

fn of<'v>(record: &'v Value, name: &str) -> &'v Value {
    let all = record["destinations"].as_array().unwrap();
    all.iter().find(|d| d["name"] == name).unwrap()
}

#[test]
fn each_has_a_copy_that_comes_back() {
    let s = both(true);
    let record = s.backup();
    assert_eq!(record["snapshots"].as_array().unwrap().len(), 2);
    for name in ["box", "stick"] {
        assert_eq!(of(&record, name)["stored"], true, "{record:#}");
    }
    let listed = s.json(&["snapshots", "shop", "--json"]);
    let places: Vec<&str> =
        listed["snapshots"].as_array().unwrap().iter().map(|x| words(x, "destination")).collect();
    assert!(places.contains(&"box") && places.contains(&"stick"), "{places:?}");
    let uploads = s.w.work.join("assets/uploads");
    for name in ["box", "stick"] {
        let target = s.w.work.join(format!("back-{name}"));
        let args = ["restore", "shop", "latest", target.to_str().unwrap(), "--destination", name];
        s.run(&args).expect(0);
        let inside = target.join(uploads.strip_prefix("/").unwrap());
        let contents =
            |tree| faithful(tree).into_iter().map(|(p, _, c)| (p, c)).collect::<Vec<_>>();
        assert_eq!(contents(&inside), contents(&uploads), "{name}");
    }
    let verified = s.json(&["verify", "shop", "--json"]);
    assert_eq!(verified["verified"].as_array().unwrap().len(), 2, "{verified:#}");
    let text = s.run(&["status", "shop"]).stdout;
    assert!(text.contains("box") && text.contains("stick"), "{text}");
    s.run(&["logs", "--run", words(&record, "run_id")]).expect(0);
    let restic = s.run(&["restic", "--destination", "box", "shop", "snapshots", "--json"]);
    assert!(restic.expect(0).stdout.contains("project:shop"));
}

#[test]
fn a_required_stick_that_is_missing_fails_the_run_that_the_repository_has() {
    let s = both(true);
    s.stick.pull_out();
    let output = s.run(&["run", "shop"]);
    let record = s.w.failed(&output, "NOT_MOUNTED", 1, "Sync");
    assert_eq!(
        (&of(&record, "box")["stored"], &of(&record, "stick")["stored"]),
        (&json!(true), &json!(false))
    );
    assert!(words(&record["error"], "message").starts_with("stick: "), "{record:#}");
    let listed = s.run(&["snapshots", "shop", "--json"]);
    let document = listed.expect(1).json();
    assert_eq!(document["snapshots"].as_array().unwrap().len(), 1);
    assert_eq!(document["unreachable"][0]["code"], "NOT_MOUNTED", "{document:#}");
    let target = s.w.work.join("back").display().to_string();
    let done = s.json(&["restore", "shop", "latest", &target, "--json"]);
    assert_eq!(done["destination"], "box");
    assert!(done["notes"].to_string().contains("stick could not be asked"), "{done:#}");
    let pruned = s.run(&["prune", "--all", "--json"]).expect(1).json();
    let project = &pruned["projects"][0];
    assert_eq!((&project["error"]["code"], &project["kept"]), (&json!("NOT_MOUNTED"), &json!(1)));
    assert_eq!(project["destinations"][0]["kept"], 1, "{pruned:#}");
    let text = s.run(&["prune", "--all"]).expect(1).stdout.clone();
    assert!(text.contains("(box)") && text.contains("1 kept"), "{text}");
    s.stick.plug_in_again();
    s.backup();
}

#[test]
fn an_optional_stick_that_is_missing_is_a_warning_until_it_is_back() {
    let s = both(false);
    s.stick.pull_out();
    let record = s.backup();
    assert!(record["warnings"].to_string().contains("NOT_MOUNTED"), "{record:#}");
    assert_eq!(s.w.events_of("backup_warning").len(), 1);
    let status = s.json(&["status", "--json"]);
    let stick = &status["projects"][0]["destinations"][1];
    assert_eq!((&stick["destination"], &stick["last_stored"]), (&json!("stick"), &Value::Null));
    let health = s.run(&["health", "shop", "--json"]).json();
    let check = health["checks"].as_array().unwrap().iter().find(|c| c["name"] == "archive");
    assert_eq!(check.unwrap()["outcome"], "warn", "{health:#}");
    s.run(&["prune", "--all"]).expect(0);
    s.stick.plug_in_again();
    let record = s.backup();
    assert_eq!(of(&record, "stick")["stored"], true);
    assert!(fs::read_dir(s.stick.on_it("backups")).unwrap().count() == 1);
}
