//! What one project's backups need.

use backupctl_domain::{Destination, ErrorCode, Failure, Project, ProjectName, Secret};

use super::{Health, TOOL};
use crate::context::Cancel;
use crate::ports::{LockState, ProjectEntry};
use crate::use_cases::checks::{Check, CheckOutcome, ProjectChecks};
use crate::use_cases::run_all::invalid;

/// A project with the secrets that could be had, and what came of the others.
struct Resolved {
    project: Project,
    /// Why its destinations, each by its place, cannot be opened at all.
    destinations: Vec<Option<Failure>>,
    /// The same of its database.
    database: Option<Failure>,
    /// What is bad already.
    checks: Vec<Check>,
}

impl Resolved {
    /// The destinations that have all their secrets.
    fn open(&self) -> impl Iterator<Item = &Destination> {
        let all = self.project.destinations.iter().zip(&self.destinations);
        all.filter(|(_, why)| why.is_none()).map(|(at, _)| at)
    }
}

impl Health {
    pub(super) async fn project(&self, entry: ProjectEntry) -> Vec<Check> {
        let project = match entry.project {
            Ok(project) => project,
            Err(issues) => {
                // One by one; what may be the cause of others first.
                let mut issues = issues;
                issues.sort_by_key(|issue| !issue.message.starts_with("unknown key"));
                let failure = |issue| invalid(&entry.name, std::slice::from_ref(issue));
                let bad = |issue| Check::bad("config", CheckOutcome::Fail, failure(issue));
                return issues.iter().map(bad).collect();
            }
        };
        if !project.enabled {
            return vec![Check::pass("config", "disabled: not looked at")];
        }
        let resolved = self.resolved(project).await;
        let project = &resolved.project;
        let (tools, access, destinations, database, encryption, notifiers, heartbeat, disk) = tokio::join!(
            self.tools(&resolved),
            self.access(&resolved),
            self.destinations(&resolved),
            self.database(&resolved),
            self.encryption(project),
            self.notifiers(&resolved),
            self.heartbeat(project),
            self.disks(project),
        );
        let mut checks = tools;
        checks.extend(self.stale_lock(&project.name).await);
        checks.extend(access);
        checks.extend(destinations);
        checks.extend(database);
        checks.extend(encryption);
        checks.extend(disk);
        checks.extend(notifiers);
        checks.extend(heartbeat);
        checks.extend(resolved.checks);
        checks
    }

    /// The secrets, each by itself where not all can be had: one that is missing hides nothing else.
    async fn resolved(&self, project: Project) -> Resolved {
        let whole = self.config.resolve_secrets(project.clone()).await;
        let destinations = vec![None; project.destinations.len()];
        let mut resolved = Resolved { project, destinations, database: None, checks: Vec::new() };
        if let Ok(project) = whole {
            resolved.project = project;
            return resolved;
        }
        let project = &mut resolved.project;
        for (at, why) in project.destinations.iter_mut().zip(&mut resolved.destinations) {
            for (key, secret) in at.secrets_mut() {
                if let Err(failure) = self.resolve(&key, secret).await {
                    why.get_or_insert(failure);
                }
            }
        }
        if let Some(database) = &mut project.database
            && let Some(password) = &mut database.password
            && let Err(failure) = self.resolve("database.password", password).await
        {
            resolved.database = Some(failure);
            database.password = None;
        }
        let fail = |name, failure| Check::bad(name, CheckOutcome::Fail, failure);
        let mut channels = Vec::new();
        for mut channel in std::mem::take(&mut project.notifications) {
            let mut result = Ok(());
            for secret in channel.secrets_mut() {
                result = result.and(self.resolve("notification", secret).await);
            }
            match result {
                Ok(()) => channels.push(channel),
                Err(failure) => resolved.checks.push(fail("notifier", failure)),
            }
        }
        project.notifications = channels;
        if let Some(monitor) = &mut project.monitor
            && let Err(failure) = self.resolve("monitor", monitor.secret_mut()).await
        {
            resolved.checks.push(fail("heartbeat", failure));
            project.monitor = None;
        }
        for (name, mut secret) in std::mem::take(&mut project.hooks.env) {
            if let Err(failure) = self.resolve(&format!("hooks: {name}"), &mut secret).await {
                resolved.checks.push(fail("config", failure));
            }
        }
        resolved
    }

    async fn resolve(&self, key: &str, secret: &mut Secret) -> Result<(), Failure> {
        *secret = self.config.resolve_secret(key, secret.clone()).await?;
        Ok(())
    }

    /// The programs and their versions: restic, the dump tool, gpg.
    async fn tools(&self, resolved: &Resolved) -> Vec<Check> {
        let (project, limit) = (&resolved.project, (TOOL, ErrorCode::ToolMissing));
        let mut checks = Vec::new();
        for at in resolved.open() {
            let tool = async {
                let storage = self.world.registries.storage(project, at)?;
                storage.admin.check_tool().await
            };
            let tool = async {
                match tool.await {
                    Ok(None) => Vec::new(),
                    Ok(Some(tool)) => {
                        vec![Check::pass(TOOL, format!("{} {}", tool.name, tool.version))]
                    }
                    Err(failure) => {
                        vec![ProjectChecks::as_required(
                            at,
                            Check::bad(TOOL, CheckOutcome::Fail, failure),
                        )]
                    }
                }
            };
            for check in self.limited(limit, &Cancel::new(), tool).await {
                if !checks.contains(&check) {
                    checks.push(check);
                }
            }
        }
        if project.database.is_some() {
            let (cancel, look) = self.checks(project);
            let dumper = self.limited(limit, &cancel, look.dumper()).await;
            checks.push(Check { name: TOOL, ..dumper });
        }
        let encryptor = async {
            match self.world.registries.encryptor(project)? {
                Some(encryptor) => encryptor.check_tool().await,
                None => Ok(None),
            }
        };
        let encryptor = async {
            match encryptor.await {
                Ok(None) => Vec::new(),
                Ok(Some(tool)) => {
                    vec![Check::pass(TOOL, format!("{} {}", tool.name, tool.version))]
                }
                Err(failure) => vec![Check::bad(TOOL, CheckOutcome::Fail, failure)],
            }
        };
        checks.extend(self.limited(limit, &Cancel::new(), encryptor).await);
        checks
    }

    /// ssh and its key, where a repository is reached by it.
    async fn access(&self, resolved: &Resolved) -> Vec<Check> {
        let name = "ssh";
        let (_, look) = self.checks(&resolved.project);
        let mut checks = Vec::new();
        for at in resolved.open() {
            let access = async {
                let storage = self.world.registries.storage(&resolved.project, at)?;
                storage.admin.check_access().await
            };
            let access = async {
                let check = match access.await {
                    Ok(None) => return Vec::new(),
                    Ok(Some(message)) => Check::pass(name, message),
                    Err(failure) => Check::bad(name, CheckOutcome::Fail, failure),
                };
                vec![look.of_destination(at, check)]
            };
            checks
                .extend(self.limited((name, ErrorCode::ToolMissing), &Cancel::new(), access).await);
        }
        checks
    }

    /// The repositories and folders of archives, each by itself.
    async fn destinations(&self, resolved: &Resolved) -> Vec<Check> {
        let project = &resolved.project;
        let mut checks = Vec::new();
        for (at, why) in project.destinations.iter().zip(&resolved.destinations) {
            let name = at.check_name();
            let (cancel, look) = self.checks(project);
            if let Some(failure) = why {
                let check = Check::bad(name, CheckOutcome::Fail, failure.clone());
                checks.push(look.of_destination(at, check));
                continue;
            }
            let code = match at.archive() {
                None => ErrorCode::RepoUnreachable,
                Some(_) => ErrorCode::NotMounted,
            };
            let found: Vec<Check> = self.limited((name, code), &cancel, look.destination(at)).await;
            checks.extend(found);
        }
        checks
    }

    async fn database(&self, resolved: &Resolved) -> Option<Check> {
        resolved.project.database.as_ref()?;
        if let Some(failure) = &resolved.database {
            return Some(Check::bad("database", CheckOutcome::Fail, failure.clone()));
        }
        let (cancel, look) = self.checks(&resolved.project);
        Some(self.limited(("database", ErrorCode::DbTimeout), &cancel, look.database()).await)
    }

    async fn encryption(&self, project: &Project) -> Option<Check> {
        project.encryption.as_ref()?;
        let (cancel, look) = self.checks(project);
        let limit = ("encryption", ErrorCode::EncryptionKeyMissing);
        Some(self.limited(limit, &cancel, look.encryption()).await)
    }

    /// The asset paths; and the disk where it has too little room for this project's next dump, which
    /// what all projects share does not show.
    async fn disks(&self, project: &Project) -> Vec<Check> {
        let (cancel, look) = self.checks(project);
        let limit = ("assets", ErrorCode::NotMounted);
        let mut checks = self.limited(limit, &cancel, look.assets()).await;
        let (cancel, look) = self.checks(project);
        let disk = self.limited(("disk", ErrorCode::NotMounted), &cancel, look.disk()).await;
        if disk.outcome != CheckOutcome::Pass {
            checks.push(disk);
        }
        checks
    }

    async fn notifiers(&self, resolved: &Resolved) -> Vec<Check> {
        let none_left = resolved.project.notifications.is_empty();
        if none_left && resolved.checks.iter().any(|c| c.name == "notifier") {
            return Vec::new();
        }
        let (cancel, look) = self.checks(&resolved.project);
        self.limited(("notifier", ErrorCode::NotifyFailed), &cancel, look.notifiers(true)).await
    }

    async fn heartbeat(&self, project: &Project) -> Option<Check> {
        project.monitor.as_ref()?;
        let name = "heartbeat";
        let check = async {
            match self.world.registries.monitor(project)? {
                Some(monitor) => monitor.check().await,
                None => Ok(()),
            }
        };
        let check = async {
            Check::of(name, check.await.map(|()| "the monitor's server answers".to_owned()))
        };
        Some(self.limited((name, ErrorCode::HeartbeatFailed), &Cancel::new(), check).await)
    }

    async fn stale_lock(&self, project: &ProjectName) -> Option<Check> {
        let name = "lock";
        match self.world.lock.state(project).await {
            Ok(LockState::Free | LockState::Held(_)) => None,
            Ok(LockState::Stale(holder)) => {
                let pid = holder.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
                Some(Check::warn(
                    name,
                    format!("a run that died{pid} has left its lock file"),
                    format!("put it right with `backupctl recover {project}`; the next run does"),
                ))
            }
            Err(failure) => Some(Check::bad(name, CheckOutcome::Fail, failure)),
        }
    }
}
