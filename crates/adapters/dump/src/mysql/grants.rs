//! What a user may do, from `SHOW GRANTS`: the catalog hides what the user may not see, so that only
//! its rights tell whether a dump can be whole.

/// The rights of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    granted: Vec<Grant>,
    /// MySQL's partial revokes: taken back from what is granted on everything.
    revoked: Vec<Grant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    privileges: Vec<String>,
    scope: Scope,
    /// The user, or a role of it, whose rights add to the user's own.
    to: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    Everything,
    /// A pattern: `_` and `%` stand for others unless a backslash is before them.
    Databases(String),
    Table(String, String),
}

impl Grants {
    /// Reads one line of it. Roles, proxies and single routines tell nothing about tables.
    pub(crate) fn add(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("GRANT ") {
            self.granted.extend(parse(rest));
        } else if let Some(rest) = line.strip_prefix("REVOKE ") {
            self.revoked.extend(parse(rest));
        }
    }

    /// Whether the right is held on everything.
    pub(crate) fn everywhere(&self, privilege: &str) -> bool {
        self.granted.iter().any(|g| g.scope == Scope::Everything && g.has(privilege))
    }

    /// Whether it is held on a whole database. Of the grants on databases that fit, the server looks at
    /// the most specific alone: what a wider one gives beside it does not count.
    pub(crate) fn on_database(&self, privilege: &str, database: &str) -> bool {
        let revoked = self.revoked_databases(privilege).any(|name| name == database);
        if self.everywhere(privilege) && !revoked {
            return true;
        }
        let fitting = || {
            let fits = |g: &&Grant| matches!(&g.scope, Scope::Databases(p) if matches(p, database));
            self.granted.iter().filter(fits)
        };
        fitting().map(|g| &g.to).any(|to| {
            let of = || fitting().filter(|g| g.to == *to);
            // A name without wildcards comes first. How patterns are ordered differs between versions:
            // each must have it.
            if of().any(Grant::is_of_one_database) {
                of().any(|g| g.is_of_one_database() && g.has(privilege))
            } else {
                of().all(|g| {
                    g.has(privilege) || of().any(|o| o.scope == g.scope && o.has(privilege))
                })
            }
        })
    }

    /// The databases on which it is taken back from what is granted on everything.
    pub(crate) fn revoked_databases<'a>(
        &'a self,
        privilege: &'a str,
    ) -> impl Iterator<Item = String> + 'a {
        // A server with partial revokes knows no wildcards in them.
        self.revoked.iter().filter(|g| g.has(privilege)).filter_map(|g| match &g.scope {
            Scope::Databases(name) => Some(name.replace('\\', "")),
            Scope::Everything | Scope::Table(..) => None,
        })
    }

    /// Whether it is held on a table.
    pub(crate) fn on_table(&self, privilege: &str, database: &str, table: &str) -> bool {
        let of = |g: &Grant| matches!(&g.scope, Scope::Table(d, t) if d == database && t == table);
        self.granted.iter().any(|g| of(g) && g.has(privilege))
            || self.on_database(privilege, database)
    }
}

impl Grant {
    fn is_of_one_database(&self) -> bool {
        matches!(&self.scope, Scope::Databases(pattern) if !has_wildcards(pattern))
    }

    fn has(&self, privilege: &str) -> bool {
        // What `ALL` does not bring (GRANT OPTION, PROXY) is nothing that we ask for.
        self.privileges.iter().any(|p| p == privilege || p == "ALL PRIVILEGES" || p == "ALL")
    }
}

/// Reads `SELECT, UPDATE (a, b) ON db.t TO …`.
fn parse(text: &str) -> Option<Grant> {
    let mut privileges = Vec::new();
    let mut word = String::new();
    let mut in_columns = false;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) => quote = (c != q).then_some(q),
            (None, '`' | '"') => quote = Some(c),
            (None, '(') => {
                // A right on some columns is none on the table.
                in_columns = true;
                word.clear();
            }
            (None, ')') => in_columns = false,
            (None, _) if in_columns => {}
            (None, ',') => privileges.extend(finished(&mut word)),
            (None, c) => word.push(c),
        }
        if quote.is_none() && !in_columns && word.ends_with(" ON ") {
            word.truncate(word.len() - " ON ".len());
            privileges.extend(finished(&mut word));
            let (scope, rest) = scope(&text[at + 1..])?;
            let to = rest.find(" TO ").map_or("", |at| &rest[at + " TO ".len()..]);
            let to = to.split(" WITH ").next().unwrap_or(to);
            let to = to.split(" IDENTIFIED ").next().unwrap_or(to).trim().to_owned();
            return Some(Grant { privileges, scope, to });
        }
    }
    None
}

fn finished(word: &mut String) -> Option<String> {
    let privilege = std::mem::take(word).trim().to_uppercase();
    (!privilege.is_empty()).then_some(privilege)
}

/// What a right is on, and what is behind it.
fn scope(text: &str) -> Option<(Scope, &str)> {
    let text = text.strip_prefix("TABLE ").unwrap_or(text);
    if let Some(rest) = text.strip_prefix("*.*") {
        return Some((Scope::Everything, rest));
    }
    let (database, rest) = name(text)?;
    let rest = rest.strip_prefix('.')?;
    if let Some(rest) = rest.strip_prefix('*') {
        return Some((Scope::Databases(database), rest));
    }
    let (table, rest) = name(rest)?;
    Some((Scope::Table(database, table), rest))
}

/// A name in backquotes (double quotes in ANSI mode), and what is behind it.
fn name(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '`' | '"'))?;
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return Some((out, &text[at + 1..]));
        }
        out.push(c);
    }
    None
}

fn has_wildcards(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '_' | '%' => return true,
            _ => {}
        }
    }
    false
}

/// Whether a name is one of a pattern's.
fn matches(pattern: &str, name: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => name.is_empty(),
        Some('%') => {
            let rest = pattern.as_str();
            matches(rest, name)
                || name.char_indices().any(|(i, c)| matches(rest, &name[i + c.len_utf8()..]))
        }
        Some(first) => {
            let literal = if first == '\\' { pattern.next() } else { None };
            let mut name = name.chars();
            let Some(c) = name.next() else { return false };
            let same = match literal {
                Some(literal) => literal == c,
                None => first == '_' || first == c,
            };
            same && matches(pattern.as_str(), name.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[&str]) -> Grants {
        let mut grants = Grants::default();
        for line in lines {
            grants.add(line);
        }
        grants
    }

    #[test]
    fn rights_are_read_at_each_level() {
        let of = grants(&[
            "GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*7B'",
            "GRANT SELECT, LOCK TABLES ON `shop`.* TO `u`@`%`",
            "GRANT SELECT (`id`, `x on y`), TRIGGER ON `crm`.`a``b` TO `u`@`%` WITH GRANT OPTION",
            "GRANT SELECT ON `mysql`.`proc` TO `u`@`%`",
            "GRANT EXECUTE ON PROCEDURE `shop`.`p1` TO `u`@`%`",
            "GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION",
            "GRANT `reader` TO `u`@`%`",
            "SET DEFAULT ROLE `reader` FOR `u`@`%`",
        ]);
        assert!(of.on_database("SELECT", "shop") && of.on_table("LOCK TABLES", "shop", "t"));
        assert!(!of.on_database("TRIGGER", "shop") && !of.everywhere("SELECT"));
        assert!(of.on_table("TRIGGER", "crm", "a`b") && !of.on_table("TRIGGER", "crm", "b"));
        assert!(!of.on_table("SELECT", "crm", "a`b"), "some columns are not the table");
        assert!(of.on_table("SELECT", "mysql", "proc") && !of.on_database("SELECT", "mysql"));
        assert!(!of.on_database("EXECUTE", "shop"));
    }

    #[test]
    fn patterns_and_partial_revokes_count() {
        let of = grants(&[
            r"GRANT ALL PRIVILEGES ON `app\_%`.* TO `u`@`%`",
            "GRANT SELECT ON `a_c`.* TO `u`@`%`",
        ]);
        assert!(of.on_database("TRIGGER", "app_1") && !of.on_database("TRIGGER", "appx1"));
        assert!(of.on_database("SELECT", "abc") && !of.on_database("SELECT", "abbc"));
        let of = grants(&[
            "GRANT SELECT, EVENT ON *.* TO `u`@`%`",
            "GRANT SHOW_ROUTINE,BACKUP_ADMIN ON *.* TO `u`@`%`",
            "REVOKE SELECT ON `secret`.* FROM `u`@`%`",
        ]);
        assert!(of.everywhere("SHOW_ROUTINE") && of.on_database("SELECT", "shop"));
        assert!(!of.on_database("SELECT", "secret") && of.on_database("EVENT", "secret"));
    }

    #[test]
    fn the_most_specific_grant_on_a_database_counts_alone() {
        let of = grants(&[
            r"GRANT SELECT, TRIGGER ON `app\_%`.* TO `u`@`%`",
            r"GRANT SELECT, EVENT ON `app\_shop`.* TO `u`@`%`",
        ]);
        assert!(!of.on_database("TRIGGER", "app_shop") && of.on_database("TRIGGER", "app_crm"));
        assert!(of.on_database("EVENT", "app_shop") && of.on_database("SELECT", "app_shop"));
        // Which of two patterns comes first is not ours to guess.
        let of = grants(&[
            r"GRANT SELECT, TRIGGER ON `app\_%`.* TO `u`@`%`",
            "GRANT SELECT, EVENT ON `app_shop`.* TO `u`@`%`",
        ]);
        assert!(of.on_database("SELECT", "app_shop") && !of.on_database("TRIGGER", "app_shop"));
        assert!(!of.on_database("EVENT", "app_shop"));
        // What is held on everything or by a role of the user's comes on top.
        let of = grants(&[
            "GRANT EVENT ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*7B'",
            "GRANT SELECT ON `shop`.* TO `u`@`%` WITH GRANT OPTION",
            "GRANT EXECUTE ON `shop`.* TO `u`@`%`",
            "GRANT `reader` TO `u`@`%`",
            "GRANT TRIGGER ON `sh%`.* TO `reader`",
        ]);
        for right in ["EVENT", "SELECT", "EXECUTE", "TRIGGER"] {
            assert!(of.on_database(right, "shop"), "{right}");
        }
    }
}
