//! `retention`: what stays, in a repository, in a folder of archives and locally.

use backupctl_domain::retention::{KeepPolicy, Retention, is_span};

use crate::reader::Reader;

/// What somebody chose. What that means depends on the place that it is for.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    local_days: Option<u32>,
    keep: Option<KeepPolicy>,
    /// Something of it could not be read, which is told already.
    misread: bool,
}

impl Rules {
    pub(super) fn read(r: &mut Reader<'_, '_>) -> Self {
        const KEEPS: [&str; 7] =
            ["last", "hourly", "daily", "weekly", "monthly", "yearly", "within"];
        let at = |keep: &str| format!("retention.keep_{keep}");
        let local_days = r.small("retention.local_days");
        let local_days = local_days.filter(|_| r.chosen("retention.local_days"));
        let keep = KEEPS.iter().any(|keep| r.chosen(&at(keep))).then(|| KeepPolicy {
            last: r.small(&at("last")).unwrap_or(0),
            hourly: r.small(&at("hourly")).unwrap_or(0),
            daily: r.small(&at("daily")).unwrap_or(0),
            weekly: r.small(&at("weekly")).unwrap_or(0),
            monthly: r.small(&at("monthly")).unwrap_or(0),
            yearly: r.small(&at("yearly")).unwrap_or(0),
            within: r.text(&at("within")),
            days: None,
        });
        if let Some(within) = keep.as_ref().and_then(|keep| keep.within.as_deref())
            && let Some(leaf) = r.leaf("retention.keep_within")
            && !is_span(within)
        {
            let message = format!("`{within}` is no time span of restic's form `2y5m7d3h`");
            r.wrong("retention.keep_within", leaf, message);
        }
        let misread = r.told("retention.local_days") || KEEPS.iter().any(|keep| r.told(&at(keep)));
        Self { local_days, keep, misread }
    }

    /// After how many days local dumps go.
    pub(super) fn local_days(&self) -> u32 {
        self.local_days.unwrap_or(Retention::default().local_days)
    }

    /// What a repository keeps.
    pub(super) fn of_repository(&self) -> KeepPolicy {
        self.keep.clone().unwrap_or(Retention::default().keep)
    }

    /// What a folder of archives keeps. Days that are given are a rule of it, and the only one where no
    /// other is given; those that hold by default stand beside the default rules alone.
    pub(super) fn of_archives(&self) -> KeepPolicy {
        let days = Some(self.local_days()).filter(|days| *days > 0);
        match (self.local_days, &self.keep) {
            (Some(_), None) => KeepPolicy { days, ..KeepPolicy::default() },
            (None, Some(keep)) => keep.clone(),
            (Some(_), Some(keep)) => KeepPolicy { days, ..keep.clone() },
            (None, None) => KeepPolicy { days, ..Retention::default().keep },
        }
    }

    /// Refuses days among the rules of a repository alone, where they would count for nothing.
    pub(super) fn refuse_days(r: &mut Reader<'_, '_>) {
        const DAYS: &str = "retention.local_days";
        if let Some(leaf) = r.leaf(DAYS) {
            let message = "`local_days` counts for local dumps and archives, not for a repository; \
                           give it `keep_…` instead, e.g. `keep_within: 14d`";
            r.wrong(DAYS, leaf, message);
        }
    }

    /// Refuses what would leave nothing in a repository.
    pub(super) fn check_repository(&self, r: &mut Reader<'_, '_>) {
        if self.of_repository().is_empty() && !self.misread {
            r.missing(
                "retention",
                "every `keep_…` is 0, which would remove every snapshot; keep at least one, e.g. \
                 `keep_daily: 7`",
            );
        }
    }

    /// Refuses what would leave nothing in a folder of archives.
    pub(super) fn check_archives(&self, r: &mut Reader<'_, '_>) {
        if self.of_archives().is_empty() && !self.misread {
            let nothing = match (self.local_days, &self.keep) {
                (Some(_), None) => "`local_days` is 0 and no `keep_…` is given",
                (Some(_), Some(_)) => "`local_days` is 0 and so is every `keep_…`",
                (None, _) => "every `keep_…` is 0 and `local_days` is not given",
            };
            r.missing(
                "retention",
                format!(
                    "{nothing}, which would remove every archive; keep some, e.g. \
                     `local_days: 14` or `keep_daily: 7`"
                ),
            );
        }
    }
}
