//! No secret survives, whatever stands around it.

use proptest::prelude::*;

use super::*;

fn redactor(secrets: &[&str]) -> Redactor {
    Redactor::new(secrets.iter().map(|s| (*s).to_owned()))
}

#[test]
fn secrets_and_url_passwords_are_masked() {
    let r = redactor(&["s3cret", "s3cret-long", ""]);
    assert_eq!(r.redact("a s3cret-long b s3cret"), "a *** b ***");
    assert_eq!(
        r.redact("at postgres://bob:pw@h:5432/db?x (rest:https://u:p@h/x)"),
        "at postgres://bob:***@h:5432/db?x (rest:https://u:***@h/x)"
    );
    assert_eq!(r.redact("redis://:pw@h:6379"), "redis://:***@h:6379");
    assert_eq!(r.redact("http://u:p@ss@h/"), "http://u:***@h/");
    assert_eq!(r.redact("https://h/p user@host"), "https://h/p user@host");
    assert_eq!(r.redact("no secret, 日本 ://"), "no secret, 日本 ://");
}

#[test]
fn a_secret_of_two_letters_leaves_words_readable() {
    let r = redactor(&["lo"]);
    assert_eq!(
        r.redact("loading at localhost: lo, (lo) hello"),
        "loading at localhost: ***, (***) hello"
    );
}

#[test]
fn a_secret_that_is_a_url_with_a_password_goes_whole() {
    let url = "https://u:p@hooks.example.org/services/T0/B0/token";
    assert_eq!(redactor(&[url]).redact(&format!("POST {url}: 404")), "POST ***: 404");
}

#[test]
fn debug_shows_no_secret() {
    assert_eq!(format!("{:?}", redactor(&["hunter2"])), "Redactor(1 secrets)");
}

proptest! {
    #[test]
    fn no_secret_survives(
        secrets in proptest::collection::vec("[a-zA-Z0-9:/@é-]{3,20}", 1..5),
        words in proptest::collection::vec(r"\PC{0,12}", 1..6),
        order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let mut text = String::new();
        for at in order {
            text.push_str(at.get::<String>(&words));
            text.push_str(at.get::<String>(&secrets));
        }
        let shown = Redactor::new(secrets.clone()).redact(&text);
        for secret in &secrets {
            prop_assert!(!shown.contains(secret.as_str()), "{secret} in {shown}");
        }
    }

    #[test]
    fn no_url_password_survives(
        scheme in "[a-z]{2,8}",
        user in "[a-z0-9]{0,8}",
        password in "[A-Z0-9:@?#%]{4,12}",
        host in "[a-z]{1,10}",
    ) {
        let shown = Redactor::default().redact(&format!("see {scheme}://{user}:{password}@{host}/x"));
        prop_assert_eq!(shown, format!("see {scheme}://{user}:***@{host}/x"));
    }

    #[test]
    fn a_text_without_secrets_stays_as_it_is(text in r"[^:@]{0,60}") {
        prop_assert_eq!(redactor(&["not in it: @"]).redact(&text), text);
    }
}
