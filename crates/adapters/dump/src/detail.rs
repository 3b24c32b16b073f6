//! The words of a program beside the message that quotes them: what is one line is not told twice.

use backupctl_adapter_process::last_lines;

/// The last lines of what a program has said, unless they are the one line that holds `quoted`.
pub(crate) fn detail(words: &str, quoted: &str) -> String {
    let mut lines = words.lines().filter(|line| !line.trim().is_empty());
    match (lines.next(), lines.next()) {
        (Some(only), None) if !quoted.is_empty() && only.contains(quoted) => String::new(),
        _ => last_lines(words, 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_that_the_message_holds_is_not_told_again() {
        assert_eq!(detail("tool: refused.\n", "refused"), "");
        assert_eq!(detail("tool: refused\nmore", "refused"), "tool: refused\nmore");
        assert_eq!(detail("tool: something else", ""), "tool: something else");
    }
}
