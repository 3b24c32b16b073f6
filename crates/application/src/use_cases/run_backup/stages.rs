//! The work of stages 2 to 5, 8 and 9: each is one call of a port, prepared and taken note of.

use backupctl_domain::manifest::Completeness;
use backupctl_domain::plan::{self, Space};
use backupctl_domain::{DumpName, ErrorCode, Failure, RunError, RunStatus, Stage, human};
use tracing::warn;

use super::pipeline::Shared;
use crate::context::RunEvent;
use crate::ports::{DumpRequest, HookCall, HookKind, RunQuery, VerifyRequest};
use crate::use_cases::prune::{kept_text, remove_old_dumps};

/// How many earlier runs are looked at for a parent snapshot and the last dump's size.
const HISTORY: u32 = 10;

impl Shared {
    /// Reads what earlier runs have left: estimates and parents. Without an audit there is none.
    pub(super) async fn load_history(&self) {
        let query = RunQuery {
            project: Some(self.project.name.clone()),
            limit: Some(HISTORY),
            ..RunQuery::default()
        };
        match self.world.audit.find_runs(&query).await {
            Ok(runs) => {
                self.with(|a| {
                    a.history = runs.into_iter().filter(|r| r.run_id != self.run_id).collect();
                });
            }
            Err(failure) => warn!(
                run.id = %self.run_id, error.code = %failure.code,
                "earlier runs are not known: {}", failure.message
            ),
        }
    }

    pub(super) async fn pre_hook(&self) -> Result<Option<String>, Failure> {
        self.hook(HookKind::PreBackup, self.project.hooks.pre_backup.as_deref()).await
    }

    pub(super) async fn post_hook(&self) -> Result<Option<String>, Failure> {
        self.hook(HookKind::PostBackup, self.project.hooks.post_backup.as_deref()).await
    }

    async fn hook(&self, kind: HookKind, command: Option<&str>) -> Result<Option<String>, Failure> {
        let Some(command) = command else { return Ok(None) };
        let stage = if kind == HookKind::PreBackup { Stage::PreHook } else { Stage::PostHook };
        let call = self.hook_call(kind, command, stage, None);
        let output = self.world.hooks.execute(&call, &self.context(stage)).await?;
        let tail = output.tail.trim_end();
        Ok((!tail.is_empty()).then(|| tail.to_owned()))
    }

    /// A hook with the environment that the configuration reference promises.
    pub(super) fn hook_call(
        &self,
        kind: HookKind,
        command: &str,
        stage: Stage,
        error: Option<ErrorCode>,
    ) -> HookCall {
        let status = match kind {
            HookKind::PreBackup => "started",
            _ if error.is_some() => "failed",
            _ => "success",
        };
        let dump = self.with(|a| a.dump.clone());
        let dump = dump.map(|d| d.to_string_lossy().into_owned()).unwrap_or_default();
        let code = error.map(|c| c.as_str().to_owned()).unwrap_or_default();
        let env = [
            ("BACKUPCTL_PROJECT", self.project.name.to_string()),
            ("BACKUPCTL_RUN_ID", self.run_id.to_string()),
            ("BACKUPCTL_STATUS", status.to_owned()),
            ("BACKUPCTL_STAGE", stage.name().to_owned()),
            ("BACKUPCTL_DUMP_FILE", dump),
            ("BACKUPCTL_ERROR_CODE", code),
        ];
        let hooks = &self.project.hooks;
        let named = hooks.env.iter();
        let named = named.filter_map(|(k, v)| Some((k.clone(), v.expose().ok()?.to_owned())));
        HookCall {
            kind,
            command: command.to_owned(),
            timeout: hooks.timeout,
            env: env.map(|(k, v)| (k.to_owned(), v)).into_iter().chain(named).collect(),
        }
    }

    pub(super) async fn dump(&self) -> Result<Option<String>, Failure> {
        let Some(dumper) = self.world.registries.dumper(&self.project)? else { return Ok(None) };
        let settings = &self.world.settings;
        let dir = settings.project_dir(&self.project.name);
        self.world.disk.ensure_dir(&dir, false).await?;
        let disk = self.world.disk.file_system(&dir).await?;
        let last = self.with(|a| {
            let last = a.history.iter().find(|r| r.status == RunStatus::Success);
            last.and_then(|r| r.dump.clone())
        });
        let (previous, before) =
            (last.as_ref().map(|d| d.bytes), last.as_ref().map(|d| d.raw_bytes));
        let expected = previous.map(|p| plan::expected_dump(p, self.project.encryption.is_some()));
        let space = Space {
            free: disk.free_bytes,
            min_free: settings.min_free_bytes,
            max_file: disk.max_file_bytes,
            largest: expected.map(|(file, _)| file),
            total: expected.map(|(_, total)| total),
        };
        plan::check_space(space, &dir.to_string_lossy())?;
        let time = self.started_at.to_zoned(settings.timezone.clone()).datetime();
        let request = DumpRequest {
            dir,
            name: DumpName {
                project: self.project.name.clone(),
                time,
                run: self.run_id.short(),
                ext: String::new(),
            },
            compression: self.project.compression,
            timeout: self.project.database.as_ref().and_then(|d| d.dump_timeout),
            max_bytes: self.writable(disk.free_bytes),
        };
        let dumped = dumper.dump(&request, &self.context(Stage::Dump)).await?;
        let message = format!(
            "{}, {} before compression",
            human::ByteSize(dumped.info.bytes),
            human::ByteSize(dumped.info.raw_bytes)
        );
        self.with(|a| {
            a.dump = Some(dumped.path.clone());
            a.run.dump = Some(dumped.info.clone());
        });
        let empty = dumped.completeness == Completeness::NothingInDatabase;
        let shrunk = before.and_then(|b| plan::judge_shrinking(b, dumped.info.raw_bytes, empty));
        for warning in dumped.warnings.iter().chain(&shrunk.transpose()?) {
            self.warn_people(warning).await;
        }
        Ok(Some(message))
    }

    /// How much of what is free may be written: the reserve is kept while writing too. Without one
    /// the disk itself is the limit.
    fn writable(&self, free: u64) -> Option<u64> {
        let reserve = self.world.settings.min_free_bytes;
        (reserve > 0).then(|| free.saturating_sub(reserve))
    }

    pub(super) async fn verify(&self) -> Result<Option<String>, Failure> {
        let Some(dumper) = self.world.registries.dumper(&self.project)? else { return Ok(None) };
        let (Some(path), Some(info)) = self.with(|a| (a.dump.clone(), a.run.dump.clone())) else {
            return Err(Failure::internal("there is no dump to verify"));
        };
        let timeout = self.project.database.as_ref().and_then(|d| d.dump_timeout);
        let free = self.world.disk.file_system(&path).await?.free_bytes;
        let request = VerifyRequest { path, info, timeout, max_bytes: self.writable(free) };
        dumper.verify(&request, &self.context(Stage::Verify)).await?;
        Ok(Some("whole file read back and proven".to_owned()))
    }

    /// Removes a dump that was proven bad: left there it would pass for the newest good one.
    pub(super) async fn discard_condemned_dump(&self, error: &RunError) {
        if !error.stage.is_some_and(|stage| plan::condemns_dump(stage, error.code)) {
            return;
        }
        let Some(path) = self.with(|a| a.dump.take()) else { return };
        if let Err(failure) = self.world.cleanup.remove_file(&path).await {
            warn!(run.id = %self.run_id, "the bad dump stays: {}", failure.full_message());
        }
    }

    /// Removes a plain dump that could not be encrypted.
    pub(super) async fn discard_plain_dump(&self) {
        let Some(path) = self.with(|a| a.dump.take()) else { return };
        match self.world.cleanup.remove_file(&path).await {
            Ok(()) => self.with(|a| a.run.dump = None),
            Err(failure) => self.note_warning(&format!(
                "the unencrypted dump {} stays: {}",
                path.display(),
                failure.message
            )),
        }
    }

    pub(super) async fn encrypt(&self) -> Result<Option<String>, Failure> {
        let Some(encryptor) = self.world.registries.encryptor(&self.project)? else {
            return Ok(None);
        };
        let Some(plain) = self.with(|a| a.dump.clone()) else {
            return Err(Failure::internal("there is no dump to encrypt"));
        };
        let done = self.with(|a| a.encrypted.clone());
        let file = if let Some(file) = done {
            file
        } else {
            let disk = self.world.disk.file_system(&plain).await?;
            let size = self.world.disk.file_size(&plain).await.unwrap_or_default();
            let space = Space {
                free: disk.free_bytes,
                min_free: self.world.settings.min_free_bytes,
                max_file: disk.max_file_bytes,
                largest: Some(size),
                total: Some(size),
            };
            plan::check_space(space, &plain.to_string_lossy())?;
            let file = encryptor.encrypt(&plain, &self.context(Stage::Encrypt)).await?;
            self.with(|a| a.encrypted = Some(file.clone()));
            file
        };
        self.world.cleanup.remove_file(&plain).await?;
        self.with(|a| {
            a.dump = Some(file.path.clone());
            a.encrypted = None;
            if let Some(dump) = &mut a.run.dump {
                dump.file = file.path.to_string_lossy().into_owned();
                dump.bytes = file.bytes;
                dump.checksum.clone_from(&file.checksum);
            }
        });
        Ok(None)
    }

    pub(super) async fn cleanup(&self) -> Result<Option<String>, Failure> {
        let report = remove_old_dumps(&self.world, &self.project).await?;
        let kept = match report.kept.len() {
            0 => String::new(),
            _ => format!("; {}", kept_text(&report)),
        };
        Ok(Some(format!(
            "{} old dumps removed, {} freed{kept}",
            report.removed.len(),
            human::ByteSize(report.freed_bytes)
        )))
    }

    /// Step 1's second half: a monitor that knows of beginnings is told of one.
    pub(super) async fn beat_start(&self) {
        let Ok(Some(monitor)) = self.world.registries.monitor(&self.project) else { return };
        if let Err(failure) = monitor.send(&crate::ports::Heartbeat::Start).await {
            let message = format!("heartbeat start not delivered: {}", failure.message);
            warn!(run.id = %self.run_id, error.code = %failure.code, "{message}");
            self.observer.event(&RunEvent::Warning { message });
        }
    }
}
