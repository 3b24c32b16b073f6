//! The reference page of the configuration, made from the table of keys.

use std::fmt::Write as _;

use crate::keys::{Default, KEYS, Key, Kind, Scope};

const HEAD: &str = "\
# Configuration reference

<!-- Generated from the table of keys in crates/adapters/config; do not edit. -->

## Where it is read from

The first of these that is there:

1. the file of `--config`
2. the file that `BACKUPCTL_CONFIG` names
3. `./backupctl.yml`
4. `./config/projects.yml`
5. `$XDG_CONFIG_HOME/backupctl/backupctl.yml` (usually `~/.config/backupctl/backupctl.yml`)
6. `/etc/backupctl/backupctl.yml`

A `.env` file beside it is read too (for a `config/projects.yml` without one: the `.env` of the folder \
around): `KEY=VALUE` lines, quotes and comments as in a shell, quoted values over several lines. \
`${VAR}` in a value, but not between single quotes, is what the environment or a line above sets. The \
real environment wins over the file, and a variable that is empty counts as unset.

The file is read afresh for every run. `backupctl config validate` lists every mistake with file, \
line and column; `backupctl config show PROJECT` shows a project as it is in effect.

## What wins

From the strongest to the weakest:

1. the project's own keys
2. the environment, with `.env`
3. the file's `defaults:`, and its global keys
4. the built-in defaults

Sections are merged key by key; a list, `notification` and `monitor` are replaced whole. Of \
`restic.repository`, `restic.repository_path`, `archive.path` and `destinations`, of the ways to name \
recipients, and of the forms of a secret, the strongest level's takes the place of the others'. A key \
without a value is as good as left out.

## What values look like

- `${VAR}` in any text is replaced by the variable, `${VAR:-default}` has a default, and `$${` stands \
for the characters themselves. In hooks all of this is left to their shell, so that no secret gets \
into an argument: it knows the environment and those variables of `.env` that the hook names, and \
replaces nothing between single quotes. There `$${` is for variables that the hook sets itself.
- A secret `password` can be given as `password_file` (its first line; a relative path counts from \
systemd's `$CREDENTIALS_DIRECTORY`, then from the file's folder) or as `password_command` (a shell \
command that prints it within 30 seconds). The variable has these forms too: `RESTIC_PASSWORD_FILE`.
- A relative path counts from the configuration file's folder; `~/` is the home folder.
- A time span is `90m`, `2h`, `1d`.
- A size is `4GB`, `3900MiB`, `2G`, `500K`, or a number of bytes. Units are powers of 1024, whichever \
way they are written.
- Where a list is meant, a single value is a list of one.
- Top-level keys that begin with `x-` are free, e.g. for YAML anchors.
";

const GLOBAL: &str = "\
## Global keys

At the top of the file, beside `projects:` and `defaults:`. Under `defaults:` any key of a project but \
`name` may stand.
";

const PROJECT: &str = "\
## Keys of a project

An entry of the list `projects:`, or of a mapping of names to projects.
";

const DESTINATIONS: &str = "\
## Several destinations

A project with a `restic.repository` or an `archive.path` has that one destination. `destinations` is a \
list of several in its place:

```yaml
restic:
  password_file: restic-password       # of every repository below that gives no other
destinations:
  - restic: {repository: \"sftp:user@host:backups/shop\"}
  - name: stick
    required: false                    # a failure here is a warning
    archive: {path: /mnt/usb}
    retention: {local_days: 14}
```

An entry has one of the sections `restic` and `archive`, with their keys as above, or `type: restic` \
or `type: archive` with those keys beside it. The project's own sections hold for what an entry does \
not give, except where a place is. The entry's `retention` takes the place of the project's for this \
destination as a whole.

What stays: a repository keeps what a `keep_…` wants, and an archive stays while a `keep_…` or \
`local_days` wants it. For archives `local_days` alone is the whole rule where no `keep_…` is given, \
and no rule where only `keep_…` are; with neither, the defaults of both hold.
";

/// The reference page of all keys: Markdown, the content of `docs/reference/configuration.md`.
pub fn reference_markdown() -> String {
    let mut page = String::from(HEAD);
    for (scope, head) in [(Scope::Global, GLOBAL), (Scope::Project, PROJECT)] {
        page.push('\n');
        page.push_str(head);
        page.push_str("\n| Key | Variable | Default | Meaning |\n| --- | --- | --- | --- |\n");
        for key in KEYS.iter().filter(|key| key.is_in(scope)) {
            // Writing to a text cannot fail.
            let _ = writeln!(page, "{}", line(key, scope));
        }
    }
    page.push('\n');
    page.push_str(DESTINATIONS);
    page
}

fn line(key: &Key, scope: Scope) -> String {
    let mut name = format!("`{}`", key.path);
    if key.kind == Kind::Secret {
        name.push_str(", `…_file`, `…_command`");
    }
    let env = key.env.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let default = match key.default {
        Default::None => String::new(),
        Default::Required => "required".to_owned(),
        Default::Fixed(text) => format!("`{text}`"),
        Default::Computed(text) => text.to_owned(),
    };
    // The environment stands beside the key once, where it is global.
    let env = if scope == Scope::Project && key.scope == Scope::Both { String::new() } else { env };
    let meaning = match key.kind {
        Kind::Choice(words) => {
            let words = words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
            format!("{} ({words})", key.meaning)
        }
        Kind::Ignored(instead) => format!("{}: {instead}", key.meaning),
        _ => key.meaning.to_owned(),
    };
    let cells = [name, env, default, meaning].map(|cell| cell.replace('|', "\\|"));
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_line() {
        let page = reference_markdown();
        for key in KEYS {
            assert!(page.contains(&format!("| `{}`", key.path)), "{}", key.path);
            for name in key.env {
                assert!(page.contains(&format!("`{name}`")), "{name}");
            }
        }
    }
}
