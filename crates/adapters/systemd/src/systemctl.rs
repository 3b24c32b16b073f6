//! Asks systemd by its own program.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_adapter_process::{Output, Tool, find_program};
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{ServiceManager, UnitState};
use backupctl_domain::{ErrorCode, Failure, Redactor, Stage};

/// There where systemd is the machine's init, as `sd_booted(3)` has it.
const BOOTED: &str = "/run/systemd/system";

/// What is asked of each unit.
const PROPERTIES: &str = "Id,LoadState,ActiveState,UnitFileState,Result,ExecMainStatus,\
                          LastTriggerUSec,NextElapseUSecRealtime,NeedDaemonReload";

/// systemd, by `systemctl`.
#[derive(Debug, Clone)]
pub struct Systemctl {
    program: OsString,
    absence: Option<String>,
}

impl Systemctl {
    /// That of this machine.
    pub fn of_machine() -> Self {
        let program = OsString::from("systemctl");
        let absence = if !Path::new(BOOTED).exists() {
            let init = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
            Some(match init.trim() {
                "" => "systemd does not run here".to_owned(),
                init => format!("systemd does not run here (process 1 is {init})"),
            })
        } else if find_program(&program).is_none() {
            Some("systemctl is not in PATH".to_owned())
        } else {
            None
        };
        Self { program, absence }
    }

    /// Another program that answers as systemctl does.
    pub fn program(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), absence: None }
    }

    /// None, for this reason.
    pub fn absent(why: impl Into<String>) -> Self {
        Self { program: OsString::from("systemctl"), absence: Some(why.into()) }
    }

    async fn run(&self, args: &[&str], units: &[String]) -> Result<Output, Failure> {
        let context = StageContext::new(Stage::Lock, Cancel::new(), Arc::new(Redactor::default()));
        let tool = Tool::new(&self.program)
            .args(["--no-pager", "--no-ask-password"])
            .args(args)
            .args(units)
            .env("LC_ALL", "C")
            .env("SYSTEMD_COLORS", "0")
            .capture_limit(1 << 20)
            .timeout(Some(Duration::from_mins(4)));
        let output =
            tool.run(&context).await.map_err(|e| e.into_failure(ErrorCode::DaemonNotRunning))?;
        if output.success() {
            return Ok(output);
        }
        let what = args.iter().copied().chain(units.iter().map(String::as_str));
        let what = what.collect::<Vec<_>>().join(" ");
        Err(Failure::new(
            ErrorCode::DaemonNotRunning,
            format!("`systemctl {what}` ended with {}", output.status_text()),
        )
        .with_detail(output.last_lines(5))
        .with_remedy("run it by hand, and see `journalctl -u 'backupctl*'`"))
    }
}

#[async_trait]
impl ServiceManager for Systemctl {
    async fn absence(&self) -> Option<String> {
        self.absence.clone()
    }

    async fn show(&self, units: &[String]) -> Result<Vec<UnitState>, Failure> {
        let output = self.run(&["show", "-p", PROPERTIES, "--"], units).await?;
        Ok(states(&String::from_utf8_lossy(&output.stdout)))
    }

    async fn reload(&self) -> Result<(), Failure> {
        self.run(&["daemon-reload"], &[]).await.map(drop)
    }

    async fn enable(&self, units: &[String]) -> Result<(), Failure> {
        self.run(&["enable", "--now", "--"], units).await.map(drop)
    }

    async fn restart(&self, units: &[String]) -> Result<(), Failure> {
        self.run(&["try-restart", "--"], units).await.map(drop)
    }

    async fn disable(&self, units: &[String]) -> Result<(), Failure> {
        self.run(&["disable", "--now", "--"], units).await.map(drop)
    }
}

/// The blocks of `systemctl show`, one a unit, a blank line between them.
fn states(text: &str) -> Vec<UnitState> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    let state = |block: &str| {
        let mut state = UnitState::default();
        for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim().to_owned();
            let time = |value: String| {
                Some(value).filter(|v| !matches!(v.as_str(), "" | "n/a" | "0" | "infinity"))
            };
            match key.trim() {
                "Id" => state.name = value,
                "LoadState" => state.load = value,
                "ActiveState" => state.active = value,
                "UnitFileState" => state.file = value,
                "Result" => state.result = value,
                "ExecMainStatus" => state.exit_status = value.parse().ok(),
                "LastTriggerUSec" => state.last_trigger = time(value),
                "NextElapseUSecRealtime" => state.next = time(value),
                "NeedDaemonReload" => state.needs_reload = value == "yes",
                _ => {}
            }
        }
        state
    };
    blocks.map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_read() {
        let text = "Id=backupctl-shop.timer\nLoadState=loaded\nActiveState=active\n\
                    UnitFileState=enabled\nResult=success\n\
                    NextElapseUSecRealtime=Sun 2026-11-22 02:30:00 CET\n\
                    LastTriggerUSec=n/a\nNeedDaemonReload=no\n\nId=backupctl-shop.service\n\
                    LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=203\n";
        let all = states(text);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].next.as_deref(), Some("Sun 2026-11-22 02:30:00 CET"));
        assert_eq!(all[0].last_trigger, None);
        assert_eq!((all[1].active.as_str(), all[1].exit_status), ("failed", Some(203)));
    }
}
