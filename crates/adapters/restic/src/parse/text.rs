//! Pieces of restic's texts: sizes, ids, and stderr made fit to be shown.

use serde::Deserialize;

/// The repository's size in prune's line `remaining: 10 blobs / 60.550 KiB`.
pub(crate) fn remaining(line: &str) -> Option<u64> {
    let (_, size) = line.trim().strip_prefix("remaining:")?.rsplit_once('/')?;
    bytes(size.trim())
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once(' ')?;
    let unit: f64 = match unit.trim() {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a size has three decimals anyway, and restic prints no negative ones"
    )]
    Some((number * unit) as u64)
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

/// The id in what `init` prints: JSON from 0.15 on, before that 10 characters of it in a sentence.
pub(crate) fn created_id(stdout: &str) -> Option<String> {
    let json = |line: &str| serde_json::from_str::<Id>(line).ok().map(|found| found.id);
    let sentence = |line: &str| {
        let rest = line.strip_prefix("created restic repository ")?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    stdout.lines().find_map(|line| json(line).or_else(|| sentence(line)))
}

/// The id in what `cat config` prints.
pub(crate) fn config_id(stdout: &[u8]) -> Option<String> {
    serde_json::from_slice::<Id>(stdout).ok().map(|found| found.id).filter(|id| !id.is_empty())
}

#[derive(Deserialize)]
struct Spoken {
    message: Option<String>,
    error: Option<serde_json::Value>,
    item: Option<String>,
}

/// The lines of stderr as people read them: terminal codes and empty lines gone, JSON turned into
/// its text.
pub(crate) fn spoken_lines(stderr: &str) -> Vec<String> {
    let lines = stderr.split(['\n', '\r']);
    let lines = lines.map(|line| line.replace("\u{1b}[2K", "").replace("\u{1b}[1A", ""));
    lines.map(|line| spoken(line.trim())).filter(|line| !line.is_empty()).collect()
}

fn spoken(line: &str) -> String {
    let json = line.strip_prefix("Fatal: ").unwrap_or(line);
    if !json.starts_with('{') {
        return line.to_owned();
    }
    let Ok(spoken) = serde_json::from_str::<Spoken>(json) else { return line.to_owned() };
    let error = spoken.error.as_ref().and_then(|error| error.get("message")?.as_str());
    match (spoken.message.as_deref().or(error), spoken.item) {
        (Some(message), _) => message.trim().replace('\n', ": "),
        (None, Some(item)) => format!("cannot read {item}"),
        (None, None) => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prunes_size_is_read() {
        assert_eq!(remaining("remaining:            10 blobs / 60.550 KiB"), Some(62_003));
        assert_eq!(remaining("remaining:  1 blobs / 12 B"), Some(12));
        assert_eq!(remaining("to delete:  2 blobs / 268 B"), None);
    }

    #[test]
    fn the_id_of_a_new_repository_is_read_in_both_forms() {
        let text = include_str!("../../tests/fixtures/restic-0.14/init.stdout");
        assert_eq!(created_id(text).as_deref(), Some("6d412b359b"));
        let json = r#"{"message_type":"initialized","id":"6d412b","repository":"/r"}"#;
        assert_eq!(created_id(json).as_deref(), Some("6d412b"));
        let config = include_bytes!("../../tests/fixtures/restic-0.14/cat-config.stdout");
        assert_eq!(config_id(config).unwrap().len(), 64);
    }

    #[test]
    fn json_errors_become_text() {
        let text = "\u{1b}[2K{\"message_type\":\"exit_error\",\"code\":12,\"message\":\"Fatal: no key\"}\n\
                    {\"message_type\":\"error\",\"error\":{},\"during\":\"archival\",\"item\":\"/a\"}\n\
                    {\"message_type\":\"error\",\"error\":{\"message\":\"open /b: denied\"}}\n\nplain\n";
        assert_eq!(
            spoken_lines(text),
            ["Fatal: no key", "cannot read /a", "open /b: denied", "plain"]
        );
    }
}
