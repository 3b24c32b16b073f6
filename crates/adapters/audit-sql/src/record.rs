//! Between a run and its row.

use backupctl_domain::{BackupRun, Failure, RunStatus, Stage};
use jiff::Timestamp;

use crate::entity::Model;

/// The row of a run.
pub(crate) fn to_row(run: &BackupRun) -> Result<Model, Failure> {
    Ok(Model {
        run_id: run.run_id.to_string(),
        project: run.project.to_string(),
        trigger: run.trigger.as_str().to_owned(),
        status: run.status.as_str().to_owned(),
        stage: run.current_stage.map(|s| s.name().to_owned()),
        started_at: run.started_at.as_millisecond(),
        finished_at: run.finished_at.map(Timestamp::as_millisecond),
        error_code: run.error.as_ref().map(|e| e.code.to_string()),
        version: run.version.clone(),
        record: serde_json::to_string(run)
            .map_err(|e| Failure::internal(format!("a run record cannot be written: {e}")))?,
    })
}

/// A row that is no run's, for a look whether one is taken. It never stays.
pub(crate) fn probe() -> Model {
    Model {
        run_id: "probe".to_owned(),
        project: String::new(),
        trigger: String::new(),
        status: String::new(),
        stage: None,
        started_at: 0,
        finished_at: None,
        error_code: None,
        version: String::new(),
        record: "{}".to_owned(),
    }
}

/// The runs of rows. One that cannot be read (a newer program may have written it) hides no other.
pub(crate) fn from_rows(rows: &[Model]) -> Vec<BackupRun> {
    rows.iter().filter_map(from_row).collect()
}

fn from_row(row: &Model) -> Option<BackupRun> {
    match serde_json::from_str::<BackupRun>(&row.record) {
        Ok(mut run) => {
            if run.status == RunStatus::Started {
                run.current_stage = row.stage.as_deref().and_then(Stage::from_name);
            }
            Some(run)
        }
        Err(error) => {
            tracing::warn!(run.id = row.run_id, %error, "a run record cannot be read");
            None
        }
    }
}

/// The beginning of an id as the table holds it, from one with or without dashes; `None` where no
/// id can begin so.
pub(crate) fn id_prefix(text: &str) -> Option<String> {
    let mut prefix = String::new();
    for digit in text.trim().chars().filter(|c| *c != '-') {
        if matches!(prefix.len(), 8 | 13 | 18 | 23) {
            prefix.push('-');
        }
        if !digit.is_ascii_hexdigit() || prefix.len() == 36 {
            return None;
        }
        prefix.push(digit.to_ascii_lowercase());
    }
    Some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_begins_the_same_with_or_without_dashes() {
        let whole = "0f1e2d3c-4b5a-4678-9abc-def012345678";
        for given in [whole.to_owned(), whole.replace('-', ""), whole.to_uppercase()] {
            assert_eq!(id_prefix(&given).as_deref(), Some(whole));
        }
        assert_eq!(id_prefix("0f1e2d3c4").as_deref(), Some("0f1e2d3c-4"));
        assert_eq!(id_prefix("0f1e2d3c-").as_deref(), Some("0f1e2d3c"));
        assert_eq!(id_prefix(" 0F1E ").as_deref(), Some("0f1e"));
        assert_eq!(id_prefix("%"), None);
        assert_eq!(id_prefix(&format!("{whole}0")), None);
    }
}
