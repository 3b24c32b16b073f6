//! `pg_dump`'s name patterns as regular expressions, so that the server can match them as `pg_dump` does.

/// The regular expressions of a pattern's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamePattern {
    /// For the schema; without one, only what the search path shows is meant.
    pub(crate) schema: Option<String>,
    /// For the name.
    pub(crate) name: String,
}

/// Translates `schema.name` with `*`, `?`, double quotes and character classes, by the rules of
/// psql's "Patterns": unquoted letters are folded to lower case, `*` and `?` are wildcards, quotes
/// make everything in them literal, and whatever else a regular expression knows stays what it is.
pub(crate) fn translate(pattern: &str) -> NamePattern {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(part) = parts.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '*' if !quoted => part.push_str(".*"),
            '?' if !quoted => part.push('.'),
            '.' if !quoted => parts.push(String::new()),
            '$' => part.push_str("\\$"),
            '[' if !quoted && chars.peek() == Some(&']') => part.push_str("\\["),
            _ if quoted && "|*+?()[]{}.^\\".contains(c) => {
                part.push('\\');
                part.push(c);
            }
            _ if quoted => part.push(c),
            _ => part.extend(c.to_lowercase()),
        }
    }
    let anchored = |part: String| format!("^({part})$");
    // A third part in front would be the database, which is ours.
    let name = parts.pop().map(anchored).unwrap_or_default();
    NamePattern { schema: parts.pop().map(anchored), name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_regular_expressions() {
        for (pattern, schema, name) in [
            ("log_*", None, "^(log_.*)$"),
            ("Audit.T?", Some("^(audit)$"), "^(t.)$"),
            (r#"app."Weird.Name*""#, Some("^(app)$"), r"^(Weird\.Name\*)$"),
            ("db.app.t", Some("^(app)$"), "^(t)$"),
            (r#""a""b""#, None, "^(a\"b)$"),
            ("x$1", None, r"^(x\$1)$"),
            ("a[0-9]", None, "^(a[0-9])$"),
        ] {
            let found = translate(pattern);
            assert_eq!(found.schema.as_deref(), schema, "{pattern}");
            assert_eq!(found.name, name, "{pattern}");
        }
    }
}
