//! The roles that an archive names: a server without them can hold neither its owners nor its grants.

use std::collections::BTreeSet;

use super::script::first_name;

/// The roles of an archive, by what they are there for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roles {
    /// Owners.
    pub(crate) owners: BTreeSet<String>,
    /// Named in grants.
    pub(crate) granted: BTreeSet<String>,
    /// Named in policies and user mappings, which `pg_restore` cannot leave out.
    pub(crate) needed: BTreeSet<String>,
}

impl Roles {
    /// Takes an entry of the table of contents.
    pub(crate) fn add(&mut self, kind: &str, owner: &str, definition: &str) {
        if !owner.is_empty() {
            self.owners.insert(owner.to_owned());
        }
        match kind {
            "ACL" => {
                self.granted.extend(names_behind(definition, &["TO", "FROM", "AUTHORIZATION"]));
            }
            "DEFAULT ACL" => {
                self.granted.extend(names_behind(definition, &["TO", "FROM", "ROLE"]));
            }
            "POLICY" => self.needed.extend(names_behind(definition, &["TO"])),
            "USER MAPPING" => self.needed.extend(names_behind(definition, &["FOR"])),
            _ => {}
        }
    }
}

/// The names behind these keywords, several of them split by commas. Quoted names and what is in
/// parentheses hold no keywords.
fn names_behind(definition: &str, keywords: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut depth = 0_u32;
    let mut quote = None;
    let mut word_start = true;
    for (i, c) in definition.char_indices() {
        if let Some(open) = quote {
            if c == open {
                quote = None;
            }
            word_start = false;
            continue;
        }
        match c {
            '"' | '\'' => quote = Some(c),
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if word_start && depth == 0 {
            let rest = &definition[i..];
            for keyword in keywords {
                if let Some(behind) = rest.strip_prefix(keyword)
                    && behind.starts_with(' ')
                {
                    names.extend(list(behind));
                }
            }
        }
        word_start = c.is_whitespace();
    }
    // `PUBLIC` is everybody, as a role of that name would have to be quoted.
    names.retain(|name| name != "PUBLIC");
    names
}

fn list(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let begin = rest.trim_start();
        let Some(name) = first_name(begin) else { return names };
        let length = if begin.starts_with('"') {
            name.len() + name.matches('"').count() + 2
        } else {
            name.len()
        };
        names.push(name);
        match begin[length..].trim_start().strip_prefix(',') {
            Some(more) => rest = more,
            None => return names,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_of_a_definition_is_found() {
        for (kind, definition, expected) in [
            (
                "ACL",
                "REVOKE ALL ON TABLE public.t FROM bob;\nGRANT SELECT(a,b) ON TABLE public.t TO \"odd, \"\"q\" WITH GRANT OPTION;\n",
                &["bob", "odd, \"q"][..],
            ),
            ("ACL", "GRANT ALL ON TABLE public.\" TO x\" TO PUBLIC;\n", &[]),
            (
                "ACL",
                "SET SESSION AUTHORIZATION eve;\nGRANT ALL ON SCHEMA s TO amy;\nRESET SESSION AUTHORIZATION;\n",
                &["amy", "eve"],
            ),
            (
                "DEFAULT ACL",
                "ALTER DEFAULT PRIVILEGES FOR ROLE bob GRANT SELECT ON TABLES  TO \"odd 'q\";\n",
                &["bob", "odd 'q"],
            ),
            (
                "POLICY",
                "CREATE POLICY p ON public.t FOR SELECT TO bob, \"A b\" USING ((a = 'x TO y'::text));\n",
                &["A b", "bob"],
            ),
            (
                "USER MAPPING",
                "CREATE USER MAPPING FOR bob SERVER far OPTIONS (user 'x');\n",
                &["bob"],
            ),
            ("TABLE", "CREATE TABLE t (a text DEFAULT 'x TO y');\n", &[]),
        ] {
            let mut roles = Roles::default();
            roles.add(kind, "", definition);
            let found: Vec<_> = roles.granted.union(&roles.needed).map(String::as_str).collect();
            assert_eq!(found, expected, "{definition}");
        }
    }
}
