//! Which file system a path is on, by the kernel's own list of mounts.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// Its type, e.g. `ext4`.
    pub(crate) kind: String,
    /// What is mounted, e.g. `/dev/sdb1`.
    pub(crate) device: String,
}

/// The mount that an absolute path without symbolic links is on.
pub(crate) fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    // Of several at one place the last one covers the others.
    mountinfo
        .lines()
        .filter_map(parse)
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.as_os_str().len())
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw` (proc(5)).
fn parse(line: &str) -> Option<Mount> {
    let (fields, after) = line.split_once(" - ")?;
    let point = unescape(fields.split(' ').nth(4)?);
    let mut after = after.split(' ');
    let kind = after.next()?.to_owned();
    let device = unescape(after.next().unwrap_or_default()).to_string_lossy().into_owned();
    Some(Mount { point, kind, device })
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let value = octal
            .and_then(|o| std::str::from_utf8(o).ok())
            .and_then(|o| u8::from_str_radix(o, 8).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 4 } else { 1 };
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro
25 22 0:23 / /proc rw,nosuid - proc proc rw
90 22 8:17 / /media/usb\\040stick\\134x rw,nosuid shared:40 - vfat /dev/sdb1 rw,uid=1000
91 22 8:33 / /srv ro,relatime - xfs /dev/sdc1 rw
92 22 8:49 / /srv rw,relatime master:1 propagate_from:2 - btrfs /dev/sdd1 rw
";

    #[test]
    fn the_deepest_and_last_mount_is_the_one() {
        let kind = |path: &str| mount_of(MOUNTINFO, Path::new(path)).unwrap().kind;
        assert_eq!(kind("/home/x"), "ext4");
        assert_eq!(kind("/srv/backups"), "btrfs");
        assert_eq!(kind("/srvx"), "ext4");
        let usb = mount_of(MOUNTINFO, Path::new("/media/usb stick\\x/a")).unwrap();
        assert_eq!(usb.point, Path::new("/media/usb stick\\x"));
        assert_eq!(usb.kind, "vfat");
        assert_eq!(mount_of("nonsense\n", Path::new("/")), None);
    }
}
