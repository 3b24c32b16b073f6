//! The getters, one for each kind of value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use backupctl_domain::Secret;
use figment::value::{Dict, Value};
use jiff::tz::TimeZone;

use super::{Reader, inspect_secret_file};
use crate::keys::{Kind, LEAST_SIZE, SECRET_FORMS, key, nearest};
use crate::layers::{Leaf, base_of, find};
use crate::text;
use crate::yaml::Yaml;

impl<'a> Reader<'_, 'a> {
    /// The value of a key as `read` understands it; what `read` refuses becomes an issue.
    fn parsed<T>(&mut self, path: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let leaf = self.leaf(path)?;
        let text = self.resolved(path, leaf)?;
        match read(&text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.wrong(path, leaf, message);
                None
            }
        }
    }

    /// A text, or one of the words that the key allows.
    pub(crate) fn text(&mut self, path: &str) -> Option<String> {
        let kind = key(path).map(|k| k.kind);
        self.parsed(path, |text| match kind {
            Some(Kind::Choice(words)) if !words.contains(&text) => {
                let near = nearest(text, words.iter().copied())
                    .map_or(String::new(), |w| format!("; did you mean `{w}`?"));
                let list = words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
                Err(format!("`{text}` is none of {list}{near}"))
            }
            Some(Kind::Url) => {
                let url = text.trim_end_matches('/');
                let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
                match rest {
                    Some(host) if !host.is_empty() => Ok(url.to_owned()),
                    _ => Err(format!("`{text}` does not begin with `https://` or `http://`")),
                }
            }
            Some(Kind::Listen) => match text.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                    Ok(text.to_owned())
                }
                _ => Err(format!("`{text}` is not of the form `host:port`")),
            },
            _ => Ok(text.to_owned()),
        })
    }

    pub(crate) fn flag(&mut self, path: &str) -> Option<bool> {
        self.parsed(path, |text| {
            text::flag(text).ok_or_else(|| format!("`{text}` is neither `true` nor `false`"))
        })
    }

    /// A whole number within the key's bounds.
    pub(crate) fn count(&mut self, path: &str) -> Option<u64> {
        let (least, most) = match key(path).map(|k| k.kind) {
            Some(Kind::Count(least, most)) => (least, most),
            _ => (0, u64::MAX),
        };
        self.parsed(path, |text| match text.trim().parse::<u64>() {
            Ok(n) if (least..=most).contains(&n) => Ok(n),
            Ok(_) => Err(format!("`{text}` is not between {least} and {most}")),
            Err(_) => Err(format!("`{text}` is not a whole number")),
        })
    }

    /// A whole number that is known to fit.
    pub(crate) fn small(&mut self, path: &str) -> Option<u32> {
        self.count(path).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
    }

    pub(crate) fn port(&mut self, path: &str) -> Option<u16> {
        self.count(path).map(|n| u16::try_from(n).unwrap_or(u16::MAX))
    }

    pub(crate) fn minutes(&mut self, path: &str) -> Option<Duration> {
        self.count(path).map(|n| Duration::from_secs(n * 60))
    }

    pub(crate) fn amount(&mut self, path: &str) -> Option<f64> {
        self.parsed(path, |text| match text.trim().parse::<f64>() {
            Ok(n) if n.is_finite() && n >= 0.0 => Ok(n),
            _ => Err(format!("`{text}` is not a number of 0 or more")),
        })
    }

    pub(crate) fn span(&mut self, path: &str) -> Option<Duration> {
        self.parsed(path, |text| {
            text::span(text)
                .ok_or_else(|| format!("`{text}` is no time span such as `90m`, `2h` or `1d`"))
        })
    }

    /// A number of bytes.
    pub(crate) fn size(&mut self, path: &str) -> Option<u64> {
        self.parsed(path, |text| match text::size(text) {
            Some(bytes) if bytes >= LEAST_SIZE => Ok(bytes),
            Some(_) => Err(format!("`{text}` is less than {}", text::size_text(LEAST_SIZE))),
            None => Err(format!(
                "`{text}` is no size such as `4GB`, `3900MiB`, `500K` or a number of bytes"
            )),
        })
    }

    pub(crate) fn zone(&mut self, path: &str) -> Option<TimeZone> {
        self.parsed(path, |text| {
            TimeZone::get(text).map_err(|_| {
                let names: Vec<String> =
                    jiff::tz::db().available().map(|n| n.as_str().to_owned()).collect();
                let near = nearest_zone(text, &names)
                    .map_or(String::new(), |n| format!("; did you mean `{n}`?"));
                format!("unknown time zone `{text}`{near}")
            })
        })
    }

    pub(crate) fn path(&mut self, path: &str) -> Option<PathBuf> {
        let leaf = self.leaf(path)?;
        let text = self.resolved(path, leaf)?;
        self.as_path(path, leaf, &text)
    }

    /// A path below home for `~/`, and below the file's folder for a relative one.
    pub(crate) fn as_path(&mut self, path: &str, leaf: &Leaf<'_>, text: &str) -> Option<PathBuf> {
        if text == "~" || text.starts_with("~/") {
            let Some(home) = &self.ctx.variables.environment.home else {
                self.wrong(path, leaf, format!("`{text}` needs a home folder and there is none"));
                return None;
            };
            return Some(tidy(&home.join(text[1..].trim_start_matches('/'))));
        }
        Some(tidy(&self.ctx.folder.join(text)))
    }

    /// Each text of a list; a single one is a list too.
    fn items(&mut self, path: &str) -> Vec<(Leaf<'a>, String)> {
        let Some(leaf) = self.leaf(path) else { return Vec::new() };
        let items: Vec<Leaf<'a>> = match &leaf.node.value {
            Yaml::List(items) => items
                .iter()
                .map(|node| Leaf { node: Cow::Owned(node.clone()), origin: leaf.origin.clone() })
                .collect(),
            Yaml::Map(_) => {
                self.wrong(path, leaf, "expected a list, found a mapping");
                return Vec::new();
            }
            _ => vec![leaf.clone()],
        };
        items
            .into_iter()
            .filter_map(|leaf| {
                let text = self.resolved(path, &leaf)?;
                Some((leaf, text))
            })
            .collect()
    }

    pub(crate) fn list(&mut self, path: &str) -> Vec<String> {
        self.items(path).into_iter().map(|(_, text)| text).collect()
    }

    pub(crate) fn paths(&mut self, path: &str) -> Vec<PathBuf> {
        let items = self.items(path);
        items.iter().filter_map(|(leaf, text)| self.as_path(path, leaf, text)).collect()
    }

    /// Texts by free names.
    pub(crate) fn map(&mut self, path: &str) -> BTreeMap<String, String> {
        let Some(Value::Dict(_, lines)) = find(self.dict, path) else { return BTreeMap::new() };
        let mut all = BTreeMap::new();
        for (name, value) in lines {
            let Some(leaf) = self.arena.get(value) else { continue };
            if let Some(text) = self.resolved(&format!("{path}.{name}"), leaf) {
                all.insert(name.clone(), text);
            }
        }
        all
    }

    /// Secrets by free names.
    pub(crate) fn secrets(&mut self, path: &str) -> BTreeMap<String, Secret> {
        let Some(Value::Dict(_, lines)) = find(self.dict, path) else { return BTreeMap::new() };
        let names: std::collections::BTreeSet<&str> =
            lines.keys().map(|name| base_of(name)).collect();
        names
            .into_iter()
            .filter_map(|name| {
                let secret = self.secret_in(lines, name, &format!("{path}.{name}"))?;
                Some((name.to_owned(), secret))
            })
            .collect()
    }

    /// A secret in whichever of its forms.
    pub(crate) fn secret(&mut self, path: &str) -> Option<Secret> {
        let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
        let Some(Value::Dict(_, dict)) = find(self.dict, section) else { return None };
        self.secret_in(dict, name, path)
    }

    fn secret_in(&mut self, dict: &Dict, name: &str, path: &str) -> Option<Secret> {
        let forms = ["", SECRET_FORMS[0], SECRET_FORMS[1]];
        let mut found = forms
            .iter()
            .filter_map(|form| Some((*form, self.arena.get(dict.get(&format!("{name}{form}"))?)?)));
        let (form, leaf) = found.next()?;
        if let Some((second, other)) = found.next() {
            let message = format!("`{name}{form}` and `{name}{second}` are both given; keep one");
            let path = format!("{path}{second}");
            self.wrong(&path, other, message);
            return None;
        }
        let path = format!("{path}{form}");
        let text = self.resolved(&path, leaf)?;
        Some(match form {
            "" => Secret::value(text),
            "_file" => {
                let file = if text.starts_with('~') {
                    self.ctx.secret_path(&self.as_path(&path, leaf, &text)?)
                } else {
                    tidy(&self.ctx.secret_path(Path::new(&text)))
                };
                let fresh = self.ctx.inspected.borrow_mut().insert(file.clone());
                if fresh && let Some(message) = inspect_secret_file(&file) {
                    let issue = self.about(&path, leaf, message);
                    self.warnings.push(issue);
                }
                Secret::File(file)
            }
            _ => Secret::Command(text),
        })
    }
}

/// The path without `.` parts.
pub(super) fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|c| !matches!(c, Component::CurDir)).collect()
}

/// The nearest time zone, of which people often know the last part alone.
fn nearest_zone<'n>(text: &str, names: &'n [String]) -> Option<&'n str> {
    let lower = text.to_lowercase().replace(' ', "_");
    let last = |name: &str| name.to_lowercase().rsplit('/').next().map(str::to_owned);
    names
        .iter()
        .find(|n| last(n).is_some_and(|l| Some(l) == last(&lower)))
        .map(String::as_str)
        .or_else(|| {
            names
                .iter()
                .map(|n| (strsim::damerau_levenshtein(&lower, &n.to_lowercase()), n.as_str()))
                .filter(|(distance, _)| *distance <= 3)
                .min()
                .map(|(_, name)| name)
        })
}
