//! What the process itself has used, told at its end for whoever measures (`cargo xtask bench`).

use tracing::debug;

/// Logs CPU time of this process and of its children, and its peak memory, at debug level.
pub(crate) fn log() {
    let kernel = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name is in parentheses and may hold blanks: fields are counted behind it.
    let fields: Vec<&str> = kernel
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or_default();
    // utime, stime, cutime, cstime are fields 14 to 17; the rest begins with field 3. A tick is
    // 10 ms on every Linux that restic runs on (USER_HZ = 100).
    let own = (ticks(11) + ticks(12)) * 10;
    let children = (ticks(13) + ticks(14)) * 10;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .unwrap_or_default();
    debug!(
        target: "backupctl::usage",
        self_cpu_ms = own, children_cpu_ms = children, max_rss_kib = peak, "used"
    );
}
