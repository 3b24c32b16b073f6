//! Around the backup itself: hooks, audit, notices, interruption, and our own mistakes.

use super::Explanation;

pub(super) const HOOK_FAILED: Explanation = Explanation {
    meaning: "A configured hook ended with a status other than 0. Its last output is in the run \
              record.",
    causes: &[
        "the command itself failed; hooks are run by `sh -c`, so the last command decides",
        "a program of the hook is not in the PATH that systemd or cron gives",
        "the hook relies on variables or a folder of a login shell; it has `BACKUPCTL_PROJECT`, \
         `BACKUPCTL_RUN_ID` and the like",
    ],
    remedy: "read its output with `backupctl logs --run ID`, then correct the command in \
             `hooks.pre_backup` or `hooks.post_backup`",
};

pub(super) const HOOK_TIMEOUT: Explanation = Explanation {
    meaning: "A hook ran longer than `hooks.timeout_minutes` and was ended with everything that it \
              had started.",
    causes: &[
        "the command waits for an answer on a terminal that is not there",
        "it waits for a lock, a service or the network",
        "its work has grown beyond the limit, which is 30 minutes unless set",
    ],
    remedy: "make the hook end by itself, or raise `hooks.timeout_minutes`",
};

pub(super) const AUDIT_UNAVAILABLE: Explanation = Explanation {
    meaning: "The audit database cannot be read or written. A backup goes on without it: its \
              record waits in `.fallback-audit/fallback.jsonl` under `base_dir` and is delivered \
              later.",
    causes: &[
        "the server of `audit.url` is down, or its password was changed",
        "the folder of the embedded database is not writable, or its disk is full",
        "another user (often root) created the embedded database, and this one may not open it",
    ],
    remedy: "make the database of `audit.url` reachable and writable for this user, then deliver \
             waiting records with `backupctl recover`",
};

pub(super) const NOTIFY_FAILED: Explanation = Explanation {
    meaning: "A notification could not be delivered. The run's own result stands; the notice is \
              kept in the fallback file and sent later, marked as delayed.",
    causes: &[
        "the webhook's URL was revoked or is wrong",
        "the mail server refuses the user, the password, the sender or the way of encryption",
        "the service or this machine's way to it is down",
    ],
    remedy: "correct `notification.config` of the channel in the message, then deliver what waits \
             with `backupctl recover`",
};

pub(super) const HEARTBEAT_FAILED: Explanation = Explanation {
    meaning: "The heartbeat monitor could not be told of the run. The run's own result stands; the \
              monitor may raise an alarm because it heard nothing.",
    causes: &[
        "the monitor's server is down or not reachable from this machine",
        "`uptime_kuma_base_url` is wrong, or contains more than scheme, host and port",
        "`monitor.config.push_token` or `monitor.config.ping_url` belongs to a monitor that was \
         deleted or paused",
    ],
    remedy: "open the monitor's URL with `curl -i` from this machine, and correct \
             `uptime_kuma_base_url` and `monitor.config`",
};

pub(super) const RUN_MISSED: Explanation = Explanation {
    meaning: "A run that the schedule promised was not made at its time. The record stands in the \
              history at the time at which it was due, so that no gap looks like a quiet night.",
    causes: &[
        "the machine was off or asleep",
        "the daemon was not running, or its timer was disabled",
        "the daemon was killed between the slot and the start of its run",
    ],
    remedy: "see that the daemon or its timer is started at boot with `backupctl systemd verify`, and \
             make the backup now with `backupctl run PROJECT`; `schedule.catch_up: always` makes up for \
             missed runs by itself",
};

pub(super) const DAEMON_NOT_RUNNING: Explanation = Explanation {
    meaning: "The command speaks to the daemon of this `base_dir`, and no process holds its lock \
              `.daemon.lock`.",
    causes: &[
        "backups are started by hand, by cron or by systemd timers, without a daemon",
        "the daemon has stopped, or has not been started since the machine came up",
        "the daemon reads another configuration file, with another `base_dir`",
    ],
    remedy: "name the configuration that the daemon reads with `--config PATH`; without a daemon \
             there is nothing to tell, since each run reads the configuration afresh",
};

pub(super) const INTERRUPTED: Explanation = Explanation {
    meaning: "The run was ended before its end, by a signal or because its process died. Its \
              partial files are removed, and finished dumps are kept.",
    causes: &[
        "Ctrl-C, `systemctl stop`, a reboot, or `backupctl runs abort` during the run",
        "the process was killed for lack of memory, or with `kill -9`",
        "the machine crashed or lost power; recovery has noticed it afterwards",
    ],
    remedy: "make the run again with `backupctl runs retry ID`; `journalctl -k` tells if the \
             kernel ended it for lack of memory",
};

pub(super) const INTERNAL: Explanation = Explanation {
    meaning: "backupctl came into a state that it should never be in. This is a bug of backupctl, \
              not of the configuration.",
    causes: &[
        "a case that its authors did not think of",
        "a wrapped program whose output has changed in a way that nobody expected",
    ],
    remedy: "run it again with `-vv`, and report the bug with that output, the log in `log.dir` \
             (or `journalctl -u backupctl`) and `backupctl --version`",
};
