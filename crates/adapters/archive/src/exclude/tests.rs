//! Patterns by themselves; that they mean the same to restic is tried with restic in tests/it.

use super::*;

fn excluded(patterns: &[&str], path: &str) -> bool {
    let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
    Exclude::new(&patterns).unwrap().excludes(Path::new(path))
}

#[test]
fn a_pattern_fits_any_row_of_components() {
    for pattern in
        ["cache", "c*e", "ca?he", "[a-c]ache", "[^x]ache", "\\cache", "shop/cache", "./cache/"]
    {
        assert!(excluded(&[pattern], "/srv/shop/cache"), "{pattern}");
        assert!(excluded(&[pattern], "/srv/shop/cache/deep/file"), "{pattern}");
    }
    for pattern in ["cach", "ache", "Cache", "shop/*/cache", "/cache", "{cache,x}", "[^c]ache"] {
        assert!(!excluded(&[pattern], "/srv/shop/cache"), "{pattern}");
    }
}

#[test]
fn a_slash_in_front_holds_the_pattern_to_the_beginning() {
    assert!(excluded(&["/srv/shop"], "/srv/shop/a"));
    assert!(excluded(&["/"], "/srv/shop/a"));
    assert!(!excluded(&["/shop"], "/srv/shop/a"));
}

#[test]
fn two_stars_stand_for_any_number_of_components() {
    for path in ["/srv/a", "/srv/x/a", "/srv/x/y/a"] {
        assert!(excluded(&["/srv/**/a"], path), "{path}");
        assert!(excluded(&["srv/**/a"], &format!("/mnt{path}")), "{path}");
    }
    assert!(!excluded(&["/srv/**/a"], "/srv/x/b"));
}

#[test]
fn the_last_that_fits_decides() {
    assert!(!excluded(&["*.log", "!keep.log"], "/srv/keep.log"));
    assert!(excluded(&["*.log", "!keep.log", "k*"], "/srv/keep.log"));
    assert!(excluded(&["!keep.log", "*.log"], "/srv/keep.log"));
}

#[test]
fn what_has_no_meaning_is_told() {
    for pattern in ["[", "a[", "[]", "[a-]", "[^]", "a\\"] {
        let failure = Exclude::new(&[pattern.to_owned()]).unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidConfig, "{pattern}");
    }
}
