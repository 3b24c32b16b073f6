//! `${VAR}` in a hook: looked at here, and left to the hook's shell.
//!
//! A hook's text becomes an argument of `sh`, which everybody on the machine can read, so no value
//! is put into it. The shell finds the variables in its environment; what is in nobody's is a
//! mistake that is told when the configuration is loaded, and not in the night.

use std::collections::BTreeSet;

use crate::environment::is_variable_name;
use crate::expand::{Problem, closing};

/// Checks that every `${VAR}` without a default is something that `is_set` knows. The answer is the
/// text for the shell: as it is written, save that `$${` stands for an unchecked `${`.
pub(crate) fn check(text: &str, is_set: &impl Fn(&str) -> bool) -> Result<String, Vec<Problem>> {
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let inner = &from[2..];
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = inner;
            continue;
        }
        out.push_str(before);
        let Some(end) = closing(inner) else {
            problems.push(Problem::unclosed());
            break;
        };
        out.push_str("${");
        let inside = &inner[..end];
        let (name, operation) = inside.split_at(name_end(inside));
        if !names_something(name, operation) {
            problems.push(Problem::nameless(inside));
        } else if !name.is_empty() && !is_set(name) {
            if operation.is_empty() {
                problems.push(Problem::Unset(name.to_owned()));
            } else if let Err(more) = check(operation, is_set) {
                problems.extend(more);
            }
        }
        // What is inside is the shell's, but for the escape.
        out.push_str(&inside.replace("$${", "${"));
        out.push('}');
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

/// Every variable that a text for the shell may be naming, as `$VAR` or `${VAR…}`.
pub(crate) fn names(text: &str) -> BTreeSet<&str> {
    text.split('$')
        .skip(1)
        .map(|after| after.trim_start_matches(['{', '#']))
        .map(|after| &after[..name_end(after)])
        .filter(|name| is_variable_name(name))
        .collect()
}

fn name_end(text: &str) -> usize {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if is_variable_name(&text[..end]) { end } else { 0 }
}

/// Whether the shell understands what is between the braces: a variable, alone or with an operation
/// such as `:-default` or `%suffix`; a parameter such as `1` or `?`; a length, as in `#VAR`.
fn names_something(name: &str, operation: &str) -> bool {
    let operates = |text: &str| text.is_empty() || text.starts_with(|c| ":-=+?%#/^,[".contains(c));
    if !name.is_empty() {
        return operates(operation);
    }
    let digits = operation.trim_start_matches(|c: char| c.is_ascii_digit());
    let special = || operation.starts_with(|c| "@*#?-$!".contains(c));
    (digits.len() < operation.len() && operates(digits))
        || operation.strip_prefix('#').is_some_and(is_variable_name)
        || (special() && operates(&operation[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, Vec<Problem>> {
        check(text, &|name| name == "SET")
    }

    #[test]
    fn what_the_shell_is_to_resolve_stays_as_it_is_written() {
        for text in [
            "curl -H \"${SET}\" $SET ${SET:-x} ${OTHER:-y} ${OTHER:-${SET}} $OTHER",
            "f=${1} n=${#} ${@} ${?} ${#SET} ${10:-x} ${1%.gz}",
            "for f in *.gz; do mv \"$f\" \"${OTHER%.gz}\"; done",
            "${SET:-${OTHER}}",
        ] {
            assert_eq!(run(text).as_deref(), Ok(text));
        }
        assert_eq!(run("for f in *; do echo $${f} ${f:-$${g}}; done").as_deref(), {
            Ok("for f in *; do echo ${f} ${f:-${g}}; done")
        });
    }

    #[test]
    fn what_resolves_nowhere_is_told() {
        let unset = |n: &str| Problem::Unset(n.to_owned());
        assert_eq!(run("${X} ${SET} ${Y:-${Z}}"), Err(vec![unset("X"), unset("Z")]));
        for text in ["${SET", "${}", "${a b}", "${=}"] {
            assert!(matches!(run(text).unwrap_err()[..], [Problem::Syntax(_)]), "{text}");
        }
    }

    #[test]
    fn variables_are_named_with_and_without_braces() {
        let found = names("a $A${B:-$C} \"$D\" '${E}' $1 $? $$F ${#G} ${} $");
        assert_eq!(found.into_iter().collect::<String>(), "ABCDEFG");
    }
}
