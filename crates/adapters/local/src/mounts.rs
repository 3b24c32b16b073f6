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
    /// The kernel's number of the mount.
    id: u64,
    /// The kernel's number of the file system, e.g. `8:17`.
    number: String,
    /// Which folder of the file system stands at the mount point.
    root: PathBuf,
}

/// Where a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The mount that the path is on; of a part mounted onto itself, the whole.
    pub(crate) mount: Mount,
    /// Whether it is of the file system of `/`.
    pub(crate) is_root: bool,
}

/// The place of an absolute path without symbolic links; `id` is its mount's, where the kernel told it.
pub(crate) fn place_of(mountinfo: &str, path: &Path, id: Option<u64>) -> Option<Place> {
    let all: Vec<Mount> = mountinfo.lines().filter_map(parse).collect();
    // A mount may be hidden by a later one further up: then its name alone would mislead.
    let told = id.and_then(|id| all.iter().find(|mount| mount.id == id));
    let mount = told.or_else(|| mount_of(&all, path))?;
    let root = mount_of(&all, Path::new("/"));
    let is_root = root.is_some_and(|root| root.number == mount.number);
    // A service manager makes a folder writable by mounting it onto itself: that is no disk of its own.
    let whole = |other: &&Mount| {
        let part = mount.point.strip_prefix(&other.point).map(|part| other.root.join(part));
        other.number == mount.number && part.is_ok_and(|part| part == mount.root)
    };
    let outermost = all.iter().filter(whole).min_by_key(|other| other.point.as_os_str().len());
    Some(Place { mount: outermost.unwrap_or(mount).clone(), is_root })
}

/// The mount that a path is on.
fn mount_of<'m>(all: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    // Of several at one place the last one covers the others.
    let holding = all.iter().filter(|mount| path.starts_with(&mount.point));
    holding.max_by_key(|mount| mount.point.as_os_str().len())
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw` (proc(5)).
fn parse(line: &str) -> Option<Mount> {
    let (fields, after) = line.split_once(" - ")?;
    let mut fields = fields.split(' ');
    let id = fields.next()?.parse().ok()?;
    let mut fields = fields.skip(1);
    let number = fields.next()?.to_owned();
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let mut after = after.split(' ');
    let kind = after.next()?.to_owned();
    let device = unescape(after.next().unwrap_or_default()).to_string_lossy().into_owned();
    Some(Mount { point, kind, device, id, number, root })
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
        let mount = |path: &str| place_of(MOUNTINFO, Path::new(path), None).unwrap().mount;
        let kind = |path: &str| mount(path).kind;
        assert_eq!(kind("/home/x"), "ext4");
        assert_eq!(kind("/srv/backups"), "btrfs");
        assert_eq!(kind("/srvx"), "ext4");
        let usb = mount("/media/usb stick\\x/a");
        assert_eq!(usb.point, Path::new("/media/usb stick\\x"));
        assert_eq!(usb.kind, "vfat");
        assert_eq!(place_of("nonsense\n", Path::new("/"), None), None);
    }

    #[test]
    fn what_is_mounted_onto_itself_is_what_it_was() {
        let bound = format!(
            "{MOUNTINFO}\
             93 22 8:1 /mnt/usb /mnt/usb rw - ext4 /dev/sda1 rw\n\
             94 90 8:17 /shop /media/usb\\040stick\\134x/shop rw - vfat /dev/sdb1 rw\n\
             95 22 8:65 / /mnt/other rw - ext4 /dev/sde1 rw\n\
             96 95 8:65 / /mnt/other rw - ext4 /dev/sde1 rw\n\
             97 22 8:65 /deep /mnt/deep rw - ext4 /dev/sde1 rw\n"
        );
        let place = |path: &str| {
            let place = place_of(&bound, Path::new(path), None).unwrap();
            (place.mount.point.to_string_lossy().into_owned(), place.is_root)
        };
        assert_eq!(place("/mnt/usb/shop"), ("/".to_owned(), true), "a sandbox makes no disk of it");
        assert_eq!(place("/home"), ("/".to_owned(), true));
        assert_eq!(place("/media/usb stick\\x/shop"), ("/media/usb stick\\x".to_owned(), false));
        assert_eq!(place("/mnt/other/x"), ("/mnt/other".to_owned(), false));
        assert_eq!(
            place("/mnt/deep/x"),
            ("/mnt/deep".to_owned(), false),
            "a part at another place"
        );
    }
}
