//! Room, mounts and rights on the file systems that a run writes to.

use super::Explanation;

pub(super) const FULL: Explanation = Explanation {
    meaning: "A disk ran full while something was being written. The partial file was removed; no \
              finished dump was touched.",
    causes: &[
        "local dumps pile up: `retention.local_days` keeps more than the disk holds",
        "logs, caches or another program filled the same file system",
        "a quota or the file system's inodes are used up though bytes are free",
        "the repository's own disk is full, not this machine's",
    ],
    remedy: "free space on the file system in the message (`df -h`, `df -i`), lower \
             `retention.local_days`, or move `base_dir` to a larger disk",
};

pub(super) const LOW: Explanation = Explanation {
    meaning: "Less space is free than the run is going to need, so it was not begun. Needed are \
              `min_free_gb` and room for a dump a fifth larger than the previous one.",
    causes: &[
        "`retention.local_days` keeps more local dumps than the disk has room for",
        "the database has grown much since the disk was chosen",
        "`min_free_gb` asks for more than a disk of this size ever has free",
    ],
    remedy: "free space under `base_dir`, lower `retention.local_days`, or set `min_free_gb` to \
             what this disk can spare",
};

pub(super) const FILE_TOO_LARGE: Explanation = Explanation {
    meaning: "The file system cannot hold a file of the size that is expected. FAT32 ends at \
              4 GiB - 1 byte (4294967295 bytes) however much space is free. It is checked before \
              writing, by the size of the last one, and again while writing; nothing unfinished stays.",
    causes: &[
        "a USB stick or an SD card still has the FAT32 (vfat) format that it was sold with",
        "the archive or dump has grown past the limit after months below it",
        "a limit of the process on file sizes (`ulimit -f`, `LimitFSIZE=` of systemd) is lower \
         than the file",
        "`archive.split_size` is larger than what the file system can hold",
    ],
    remedy: "reformat the disk, which erases it: `umount DEV1`, `parted --script DEV mklabel gpt \
             mkpart backup ext4 1MiB 100%`, `mkfs.ext4 -L backup DEV1`, with DEV as `lsblk` shows it \
             (exFAT by `mkfs.exfat` instead, for sharing it with other systems); or set `archive.split_size: \
             3900MiB`, which makes numbered parts that `cat` joins; or use another disk",
};

pub(super) const NOT_MOUNTED: Explanation = Explanation {
    meaning: "The path lies on another file system than the disk that should be mounted there, or the \
              disk went away in the middle. Writing would have filled this machine instead of the \
              disk.",
    causes: &[
        "the stick or disk is not plugged in, was pulled out, or the network share is down",
        "it is plugged in, but nothing mounts it: no line in /etc/fstab, or one with another UUID",
        "it is mounted at another folder than `archive.path` says",
        "the folder is meant to be on this machine's own disk",
    ],
    remedy: "plug in and mount the disk (`lsblk -f`, `mount PATH`), or set \
             `archive.require_mount: false` if the folder belongs on this disk",
};

pub(super) const NOT_WRITABLE: Explanation = Explanation {
    meaning: "A folder, file or database that has to be written cannot be written by this process, or \
              must not be, since a restore would mix with what is there.",
    causes: &[
        "the target folder of a restore is not empty (the message says so)",
        "the database that a restore is to go into is not empty (the message says so)",
        "the folder belongs to another user than the one that backupctl runs as",
        "the systemd unit has `ProtectSystem=strict` and the folder is not in `ReadWritePaths=`",
        "the file system is mounted read-only, perhaps after an error of the disk",
        "the folder does not exist and its parent may not be written",
    ],
    remedy: "give the user that runs backupctl write access to the path in the message (`chown`; \
             in the systemd unit `ReadWritePaths=PATH`), or change `base_dir`. Not empty: restore \
             into a new folder or a new, empty database; `--force` writes into the folder all the \
             same, and replaces what the database holds",
};
