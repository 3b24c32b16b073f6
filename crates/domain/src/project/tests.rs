//! Names, secrets, and projects that do not exist.

use super::*;

#[test]
fn names_are_lower_case_letters_digits_and_dashes() {
    for good in ["a", "0", "my-app", "a--b", "x-"] {
        assert!(ProjectName::new(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", "A", "a_b", "a b", "a/b", "..", "ä", &"a".repeat(65)] {
        let why = ProjectName::new(bad).unwrap_err();
        assert!(why.starts_with("a project name") || why.contains(bad), "{why}");
    }
}

#[test]
fn a_secret_shows_its_value_to_nobody_who_prints_it() {
    let secret = Secret::value("hunter2");
    assert!(!format!("{secret:?}").contains("hunter2"));
    assert_eq!(secret.expose().unwrap(), "hunter2");
    let unresolved = Secret::File(PathBuf::from("/run/secret"));
    assert_eq!(unresolved.expose().unwrap_err().code, ErrorCode::Internal);
}

#[test]
fn of_a_hooks_variables_those_that_may_be_secrets_are_hidden() {
    let env = [("URL", "https://h/x"), ("N", "3"), ("DATA", "/srv/x"), ("API_KEY", "/a")];
    let env = env.map(|(name, value)| (name.to_owned(), Secret::value(value))).into();
    let hooks = Hooks { env, ..Hooks::default() };
    let hidden: Vec<&str> = hooks.secrets().map(|secret| secret.expose().unwrap()).collect();
    assert_eq!(hidden, ["https://h/x", "/a"]);
}

#[test]
fn an_unknown_project_is_told_which_there_are() {
    let some = |n: usize| (0..n).map(|i| format!("p{i}")).collect::<Vec<_>>();
    let message = |known: &[String]| unknown_project("x", known).message;
    assert_eq!(message(&[]), "no project \"x\" (configured: none)");
    assert_eq!(message(&some(2)), "no project \"x\" (configured: p0, p1)");
    assert!(message(&some(12)).ends_with("p9 and 2 more)"));
}

#[test]
fn a_dump_with_roles_in_it_is_a_script() {
    let database = |engine, name: &str, globals| Database {
        engine,
        host: String::new(),
        port: 0,
        name: name.to_owned(),
        user: None,
        password: None,
        path: None,
        container: None,
        dump_timeout: None,
        options: DatabaseOptions { globals, ..DatabaseOptions::default() },
    };
    for (engine, name, globals, extension, whole) in [
        (Engine::Postgres, "shop", false, "dump", false),
        (Engine::Postgres, "shop", true, "sql", false),
        (Engine::Postgres, "all", false, "sql", true),
        (Engine::Mysql, "all", false, "sql", true),
        (Engine::Mongodb, "all", true, "archive", true),
        (Engine::Redis, "all", false, "rdb", false),
    ] {
        let database = database(engine, name, globals);
        assert_eq!(
            (database.extension(), database.is_whole_server()),
            (extension, whole),
            "{name}"
        );
    }
}
