//! Names of dumps: the round trip, and whose they are not.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;

fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

#[test]
fn a_name_without_a_run_is_of_the_older_tool() {
    let shop = ProjectName::new("shop").unwrap();
    for (name, older) in [
        ("shop_backup_20260318_000005.dump", true),
        ("shop_backup_20260318_000005.sql.gz.gpg", true),
        ("shop_backup_20260318_000005_a1b2c3d4.dump", false),
        ("shop_backup_20260318_000005", false),
        ("other_backup_20260318_000005.dump", false),
        ("shop_backup_20261318_000005.dump", false),
    ] {
        assert_eq!(DumpName::is_of_older_tool(&shop, name), older, "{name}");
        assert!(!older || DumpName::parse(&shop, name).is_none());
    }
}

#[test]
fn names_round_trip_and_foreign_files_do_not_parse() {
    let p = project("my-app");
    let name = "my-app_backup_20260318_000005_a1b2c3d4.dump.zst.age";
    let parsed = DumpName::parse(&p, name).unwrap();
    assert_eq!(parsed.to_string(), name);
    assert_eq!(parsed.run, "a1b2c3d4");
    assert_eq!(parsed.time, date(2026, 3, 18).at(0, 0, 5, 0));
    assert_eq!(DumpName::parse_partial(&p, &parsed.partial()), Some(parsed));
    for foreign in [
        "my-app_backup_20260318_000005_a1b2c3d4",
        "my-app_backup_20260318_000005_a1b2c3d4.",
        "my-app_backup_20261318_000005_a1b2c3d4.dump",
        "my-app_backup_20260318_000060_a1b2c3d4.dump",
        "my-app_backup_20260318_240000_a1b2c3d4.dump",
        "my-app-2_backup_20260318_000005_a1b2c3d4.dump",
        "my-app_backup_20260318_000005_a1b2c3d4_x.dump",
        "my-app_backup_20260318_000005_a1b2c3dg.dump",
        "app_backup_20260318_000005_a1b2c3d4.dump",
        "notes.txt",
        "",
        ".my-app_backup_20260318_000005_a1b2c3d4.dump.partial",
    ] {
        assert_eq!(DumpName::parse(&p, foreign), None, "{foreign}");
    }
    for foreign in [
        "my-app_backup_20260318_000005_a1b2c3d4.dump",
        ".my-app_backup_20260318_000005_a1b2c3d4.dump",
        ".other_backup_20260318_000005_a1b2c3d4.dump.partial",
        ".partial",
    ] {
        assert_eq!(DumpName::parse_partial(&p, foreign), None, "{foreign}");
    }
}

#[test]
fn a_partial_without_an_extension_is_known_too() {
    let p = project("app");
    let name = DumpName::parse(&p, "app_backup_20260318_000005_a1b2c3d4.sql").unwrap().with_ext("");
    assert_eq!(name.partial(), ".app_backup_20260318_000005_a1b2c3d4.partial");
    assert_eq!(DumpName::parse_partial(&p, &name.partial()), Some(name));
}

proptest! {
    #[test]
    fn any_name_comes_back_and_to_its_own_project_alone(
        name in "[a-z0-9][a-z0-9-]{0,20}",
        other in "[a-z0-9][a-z0-9-]{0,20}",
        (y, mo, d) in (2000_i16..2100, 1_i8..=12, 1_i8..=28),
        (h, mi, s) in (0_i8..24, 0_i8..60, 0_i8..60),
        run in "[0-9a-f]{8}",
        ext in "(dump|sql|archive|sqlite|rdb)(\\.(zst|gz))?(\\.(age|gpg))?",
    ) {
        let dump = DumpName {
            project: project(&name),
            time: date(y, mo, d).at(h, mi, s, 0),
            run,
            ext,
        };
        let text = dump.to_string();
        let parsed = DumpName::parse(&dump.project, &text);
        prop_assert_eq!(parsed.as_ref(), Some(&dump));
        let partial = DumpName::parse_partial(&dump.project, &dump.partial());
        prop_assert_eq!(partial.as_ref(), Some(&dump));
        prop_assert_eq!(DumpName::parse(&dump.project, &dump.partial()), None);
        if other != name {
            prop_assert_eq!(DumpName::parse(&project(&other), &text), None);
        }
    }

    #[test]
    fn what_parses_is_written_the_same(file in r"app_backup_[0-9]{8}_[0-9]{6}_[0-9a-fA-F]{8}\.[a-z.]{0,8}") {
        if let Some(name) = DumpName::parse(&project("app"), &file) {
            prop_assert_eq!(name.to_string(), file);
        }
    }
}

#[test]
fn a_dump_is_known_by_its_path_and_by_any_project_name() {
    let shop = ProjectName::new("shop").unwrap();
    for (path, of_shop, any) in [
        ("/b/shop/shop_backup_20260317_000005_aaaaaaaa.dump.zst", true, true),
        ("/b/shop/shop_backup_20260317_000005.sql.gz", true, true),
        ("/b/old_backup_x/old_backup_20260317_000005_aaaaaaaa.dump", false, true),
        ("/srv/shop/files", false, false),
        ("/srv/shop_backup_notes.txt", false, false),
        ("/", false, false),
    ] {
        assert_eq!(DumpName::is_dump_of(&shop, Path::new(path)), of_shop, "{path}");
        assert_eq!(DumpName::is_dump(Path::new(path)), any, "{path}");
    }
}
