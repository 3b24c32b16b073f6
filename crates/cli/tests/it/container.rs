//! `database.via`: the programs of a container, by a stand-in for Docker's client.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use backupctl_testkit::services::{DockerClient, Postgres};
use serde_json::{Value, json};

use super::support::{DATABASE_PASSWORD, World, postgres, real, words};

/// The status of what SIGKILL has ended, as a shell tells it.
const KILLED: i32 = 128 + 9;

/// A world whose PostgreSQL is in a container, and whose own PATH has no program of PostgreSQL.
fn world(server: &Postgres, docker: &DockerClient) -> World {
    let mut w = World::with_postgres(server);
    w.project()["database"]["via"] = json!("docker:db");
    let links = w.work.dir("links");
    for program in ["restic", "sh", "env", "sed", "cat"] {
        symlink(real(program), links.join(program)).unwrap();
    }
    w.env.insert("PATH".to_owned(), format!("{}:{}", docker.dir().display(), links.display()));
    docker.set_inside("/usr/local/bin:/usr/bin:/bin");
    w
}

fn failed<'a>(document: &'a Value, name: &str) -> &'a Value {
    let mut checks = document["checks"].as_array().unwrap().iter();
    let found = checks.find(|c| c["name"] == name && c["outcome"] == "fail");
    found.unwrap_or_else(|| panic!("no {name} has failed in {document:#}"))
}

#[test]
fn a_database_in_a_container_comes_back_with_every_row() {
    let (server, docker) = (postgres(), DockerClient::new());
    let mut w = world(&server, &docker);
    let name = words(&w.project()["database"], "name").to_owned();
    assert_eq!(w.json(&["run", "shop", "--dry-run", "--json"])["ok"], true);
    w.backup();
    let given = docker.args();
    assert!(given.contains("pg_dump\n") && given.contains("pg_restore\n"), "{given}");
    assert!(!given.contains(DATABASE_PASSWORD), "{given}");

    // The same server for the same user is reached in the same way.
    let back = format!("{name}_back");
    server.create_database(&back, &name);
    let url = format!("postgres://{name}@127.0.0.1:{}/{back}", server.port());
    w.run(&["restore", "shop", "latest", "--into", &url]).expect(0);
    let sum = "select count(*), sum(hashtext(note)::bigint) from orders";
    assert_eq!(server.psql_in(&back, sum), server.psql_in(&name, sum));
    assert!(!docker.args().contains(DATABASE_PASSWORD));

    // Everybody who looks says what is missing.
    let links = w.work.join("links").to_string_lossy().into_owned();
    w.env.insert("PATH".to_owned(), links);
    let document = w.run(&["run", "shop", "--json"]).expect(1).json();
    let error = &document["error"];
    assert_eq!(error["code"], "TOOL_MISSING", "{document:#}");
    assert!(words(error, "message").contains("docker is not installed"), "{document:#}");
    assert!(words(error, "remedy").contains("`database.via`"), "{document:#}");
    let document = w.run(&["run", "shop", "--dry-run", "--json"]);
    let dumper = document.json();
    assert_eq!(failed(&dumper, "dumper")["code"], "TOOL_MISSING", "{dumper:#}");
    let document = w.run(&["health", "shop", "--json"]);
    let health = document.json();
    assert!(words(failed(&health, "tool"), "message").contains("docker"), "{health:#}");
}

#[test]
fn a_dump_in_a_container_that_outlived_its_backup_is_ended_by_the_next() {
    let (server, docker) = (postgres(), DockerClient::new());
    let w = world(&server, &docker);
    let (pid, open) = (w.work.join("pid"), w.work.join("open"));
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--format=*) [ -e {0} ] || {{ echo $$ > {1}.new; mv {1}.new {1}; exec sleep 600; }} ;; esac\nexec {2} \"$@\"\n",
        open.display(),
        pid.display(),
        real("pg_dump").display()
    );
    let hanging = w.work.file("inside/pg_dump", script);
    fs::set_permissions(&hanging, fs::Permissions::from_mode(0o755)).unwrap();
    docker.set_inside(&format!("{}:/usr/bin:/bin", w.work.join("inside").display()));
    let mut running = w.start(&["run", "shop"]);
    running.wait("the dump", |_| pid.exists());
    running.kill().expect(KILLED);
    let process = format!("/proc/{}", fs::read_to_string(&pid).unwrap().trim());
    assert!(fs::exists(&process).unwrap(), "nothing here reaches into a container");

    w.work.file("open", "");
    w.backup();
    let stat = fs::read_to_string(format!("{process}/stat"));
    assert!(stat.is_err() || stat.unwrap().contains(") Z "), "it goes on in its container");
}
