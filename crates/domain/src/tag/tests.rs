//! The grammar of tags and its round trip.

use proptest::prelude::*;

use super::*;

fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

#[test]
fn tags_are_written_as_the_contract_says() {
    assert_eq!(Tag::Combined.to_string(), "backupctl:combined");
    assert_eq!(Tag::Db.to_string(), "backupctl:db");
    assert_eq!(Tag::Project(project("vinsware")).to_string(), "project:vinsware");
    let tag = Tag::Assets("/data/projectx/storage".to_owned());
    assert_eq!(tag.to_string(), "backupctl:assets:/data/projectx/storage");
    let tag = Tag::Assets("/a,b/100%/%2C".to_owned());
    assert_eq!(tag.to_string(), "backupctl:assets:/a%2Cb/100%25/%252C");
    assert_eq!(tag.shown(), "backupctl:assets:/a,b/100%/%2C");
    assert_eq!(shown(&tag.to_string()), tag.shown());
    assert_eq!(Tag::Assets("/a ".to_owned()).to_string(), "backupctl:assets:/a%20");
}

#[test]
fn tags_of_others_are_left_as_they_are() {
    for foreign in ["", "daily", "project:", "project:Not A Name", "backupctl", "backupctl:other"] {
        assert_eq!(Tag::parse(foreign), None, "{foreign}");
        assert_eq!(shown(foreign), foreign);
    }
    // A percent sign that we did not write stands for itself.
    assert_eq!(
        Tag::parse("backupctl:assets:/50%/%zz/%20/%"),
        Some(Tag::Assets("/50%/%zz/%20/%".to_owned()))
    );
}

proptest! {
    #[test]
    fn any_path_comes_back_as_it_was(path in r"/(\PC|[,% ]|%2C|%25|%20|é|日本){0,30}") {
        let tag = Tag::Assets(path);
        let text = tag.to_string();
        prop_assert!(!text.contains(','), "restic would split {text}");
        prop_assert!(!text.ends_with(' '), "restic would trim {text}");
        prop_assert_eq!(Tag::parse(&text), Some(tag));
    }

    #[test]
    fn different_paths_have_different_tags(a in "[/a,%2C5 ]{0,8}", b in "[/a,%2C5 ]{0,8}") {
        prop_assume!(a != b);
        prop_assert_ne!(Tag::Assets(a).to_string(), Tag::Assets(b).to_string());
    }

    #[test]
    fn any_project_comes_back(name in "[a-z0-9][a-z0-9-]{0,63}") {
        let tag = Tag::Project(project(&name));
        prop_assert_eq!(Tag::parse(&tag.to_string()), Some(tag));
    }

    #[test]
    fn reading_a_tag_never_fails_on_any_text(text in r"(backupctl:assets:)?\PC{0,40}") {
        let _ = shown(&text);
    }
}
