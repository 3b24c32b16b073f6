//! `${VAR}` in a text.

use crate::environment::is_variable_name;

/// What keeps a text from being expanded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A variable that is not set, and for which no default is given.
    Unset(String),
    /// A `${` that cannot be understood.
    Syntax(String),
}

impl Problem {
    pub(crate) fn unclosed() -> Self {
        Self::Syntax("`${` is not closed; write `$${` for the characters themselves".to_owned())
    }

    pub(crate) fn nameless(inside: &str) -> Self {
        Self::Syntax(format!(
            "`${{{inside}}}` names no variable; write `$${{` for the characters themselves"
        ))
    }
}

/// Replaces `${VAR}` and `${VAR:-default}`; `$${` stands for `${` itself. Every problem is told, not
/// the first only.
pub(crate) fn expand<'a>(
    text: &str,
    lookup: &impl Fn(&str) -> Option<&'a str>,
) -> Result<String, Vec<Problem>> {
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(before);
        let inner = &rest[at + 2..];
        let Some(end) = closing(inner) else {
            problems.push(Problem::unclosed());
            rest = "";
            break;
        };
        rest = &inner[end + 1..];
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        if !is_variable_name(name) {
            problems.push(Problem::nameless(name));
        } else if let Some(value) = lookup(name) {
            out.push_str(value);
        } else if let Some(default) = default {
            match expand(default, lookup) {
                Ok(value) => out.push_str(&value),
                Err(more) => problems.extend(more),
            }
        } else {
            problems.push(Problem::Unset(name.to_owned()));
        }
    }
    out.push_str(rest);
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

/// Where the `}` is that closes; braces in between are counted.
pub(crate) fn closing(text: &str) -> Option<usize> {
    let mut open = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, Vec<Problem>> {
        expand(text, &|name| match name {
            "A" => Some("1"),
            "B" => Some("${A}"),
            _ => None,
        })
    }

    #[test]
    fn variables_defaults_and_escapes() {
        for (text, expanded) in [
            ("x${A}y${A}", "x1y1"),
            ("${B}", "${A}"),
            ("${C:-d e}", "d e"),
            ("${C:-}", ""),
            ("${C:-${A}${D:-z}}", "1z"),
            ("$${A} $A $ {", "${A} $A $ {"),
        ] {
            assert_eq!(run(text).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn everything_that_does_not_resolve_is_told() {
        let unset = |n: &str| Problem::Unset(n.to_owned());
        assert_eq!(run("${X} ${A} ${Y:-${Z}}"), Err(vec![unset("X"), unset("Z")]));
        assert!(matches!(run("${A").unwrap_err()[..], [Problem::Syntax(_)]));
        assert!(matches!(run("${a b}").unwrap_err()[..], [Problem::Syntax(_)]));
    }
}
