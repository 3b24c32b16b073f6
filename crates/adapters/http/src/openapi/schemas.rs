//! The form of what is sent and answered.

use backupctl_domain::{ErrorCode, RunStatus, Stage, Trigger};
use serde_json::{Map, Value, json};

use super::schema_of;

/// Every schema, by its name.
pub(super) fn all() -> Map<String, Value> {
    let schemas = [
        ("Error", error()),
        ("Live", object([("status", one_of(&["live"]))])),
        ("Ready", ready()),
        ("ProjectStatus", project_status()),
        ("Project", project()),
        ("Asked", asked()),
        ("PauseRequest", pause_request()),
        ("Pause", pause()),
        ("Run", run()),
        ("RunError", run_error()),
        ("StageRecord", stage_record()),
        ("DumpInfo", dump_info()),
        ("SnapshotInfo", snapshot_info()),
        ("DestinationRecord", destination_record()),
        ("DestinationStatus", destination_status()),
        ("Event", event()),
        ("EventData", event_data()),
        ("ErrorCode", codes()),
        ("Stage", stages()),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// An object that always has these keys.
pub(super) fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
    let required: Vec<&str> = properties.iter().map(|(name, _)| *name).collect();
    let mut object = json!({"type": "object", "required": required});
    let properties = properties.into_iter().map(|(name, schema)| (name.to_owned(), schema));
    object["properties"] = properties.collect::<Map<_, _>>().into();
    object
}

fn about(description: &str, mut schema: Value) -> Value {
    schema["description"] = json!(description);
    schema
}

fn text() -> Value {
    json!({"type": "string"})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn seconds() -> Value {
    json!({"type": "number", "minimum": 0})
}

fn moment() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

fn one_of(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

fn list(items: Value) -> Value {
    let mut list = json!({"type": "array"});
    list["items"] = items;
    list
}

/// This or `null`.
fn maybe(mut schema: Value) -> Value {
    if let Some(kind) = schema["type"].as_str().map(str::to_owned) {
        schema["type"] = json!([kind, "null"]);
        return schema;
    }
    let null = json!({"type": "null"});
    json!({"anyOf": vec![schema, null]})
}

fn codes() -> Value {
    let codes: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    about("See the reference of error codes, or `backupctl explain CODE`.", one_of(&codes))
}

fn stages() -> Value {
    let stages: Vec<&str> = Stage::ALL.iter().map(|stage| stage.name()).collect();
    one_of(&stages)
}

fn error() -> Value {
    let error = object([
        ("code", schema_of("ErrorCode")),
        ("message", about("The facts, in one line.", text())),
        ("stage", maybe(schema_of("Stage"))),
        ("remedy", about("What to do.", text())),
    ]);
    object([("error", error)])
}

fn ready() -> Value {
    object([
        ("status", one_of(&["ready", "not_ready"])),
        ("problems", about("What is in the way, a line each.", list(text()))),
        ("since", about("Since when the daemon has been running.", maybe(moment()))),
        ("running", about("How many runs go on.", count())),
        ("queued", about("How many wait for their turn.", count())),
    ])
}

fn project_status() -> Value {
    let states = [
        "fresh",
        "overdue",
        "never_ran",
        "paused",
        "disabled",
        "unscheduled",
        "running",
        "failing",
        "interrupted",
        "invalid",
    ];
    object([
        ("project", text()),
        ("enabled", maybe(flag())),
        ("state", about("The one word for it. Only `fresh` is green.", one_of(&states))),
        ("overdue", about("Whether a success that was promised is missing.", flag())),
        ("running", flag()),
        ("stage", about("The stage of the run that goes on.", maybe(schema_of("Stage")))),
        ("age_seconds", about("How long ago the newest run began.", maybe(count()))),
        ("cron", maybe(text())),
        ("schedule", about("The schedule in words.", maybe(text()))),
        ("next_run", maybe(moment())),
        ("due", about("By when the next success is, or was, due.", maybe(moment()))),
        ("paused", flag()),
        ("paused_since", maybe(moment())),
        ("paused_seconds", maybe(count())),
        ("paused_until", maybe(moment())),
        ("last_run", about("The newest run, of any end.", maybe(schema_of("Run")))),
        ("last_success", about("When the newest success began.", maybe(moment()))),
        ("destinations", list(schema_of("DestinationStatus"))),
    ])
}

fn project() -> Value {
    let last_run = object([
        ("run_id", uuid()),
        ("trigger", triggers()),
        ("status", statuses()),
        ("started_at", moment()),
        ("due_at", maybe(moment())),
        ("code", maybe(schema_of("ErrorCode"))),
    ]);
    let states = ["active", "paused", "disabled", "unscheduled", "invalid"];
    object([
        ("project", text()),
        ("state", about("Whether its schedule will come true.", one_of(&states))),
        ("enabled", maybe(flag())),
        ("cron", maybe(text())),
        ("schedule", about("The schedule in words.", maybe(text()))),
        ("timezone", maybe(text())),
        ("catch_up", maybe(one_of(&["false", "true", "always"]))),
        ("grace_seconds", maybe(count())),
        ("next_run", maybe(moment())),
        ("next_in_seconds", maybe(count())),
        ("paused_since", maybe(moment())),
        ("paused_until", maybe(moment())),
        ("paused_seconds", maybe(count())),
        ("last_run", maybe(last_run)),
        ("paused", flag()),
        (
            "errors",
            about(
                "What is wrong with its configuration.",
                list(object([("key", text()), ("message", text())])),
            ),
        ),
    ])
}

fn asked() -> Value {
    object([
        ("project", text()),
        ("run_id", about("The run, once it has begun.", maybe(uuid()))),
        ("queued", about("It waits for its turn.", flag())),
        ("folded", about("A run of the project waits already, and serves for this one.", flag())),
    ])
}

fn pause_request() -> Value {
    json!({
        "type": "object",
        "properties": {
            "until": {
                "description": "When the pause ends by itself: a moment in the future, or how long \
                                from now. Without it somebody must resume the schedule.",
                "anyOf": [
                    {"type": "string", "format": "date-time"},
                    {"type": "string", "pattern": "^[1-9][0-9]{0,3}[mhdw]$"},
                    {"type": "null"},
                ],
                "examples": ["12h", "3d", "2030-04-01T06:00:00Z"],
            },
        },
        "additionalProperties": false,
    })
}

fn pause() -> Value {
    object([
        ("project", text()),
        ("paused", flag()),
        ("paused_since", maybe(moment())),
        ("paused_until", maybe(moment())),
    ])
}

fn triggers() -> Value {
    let all = [Trigger::Manual, Trigger::Scheduled, Trigger::CatchUp, Trigger::Retry];
    one_of(&all.map(Trigger::as_str))
}

fn statuses() -> Value {
    one_of(&[RunStatus::Started, RunStatus::Success, RunStatus::Failed].map(RunStatus::as_str))
}

fn run() -> Value {
    let asset = object([("path", text()), ("state", one_of(&["present", "empty", "missing"]))]);
    object([
        ("run_id", uuid()),
        ("project", text()),
        ("trigger", triggers()),
        ("status", statuses()),
        ("current_stage", maybe(schema_of("Stage"))),
        ("stages", list(schema_of("StageRecord"))),
        ("warnings", list(text())),
        ("error", maybe(schema_of("RunError"))),
        ("due_at", about("The time of the schedule that it is for.", maybe(moment()))),
        ("started_at", moment()),
        ("finished_at", maybe(moment())),
        ("duration", maybe(seconds())),
        ("dump", maybe(schema_of("DumpInfo"))),
        ("assets", list(asset)),
        ("destinations", about("How it went at each.", list(schema_of("DestinationRecord")))),
        ("snapshots", list(schema_of("SnapshotInfo"))),
        ("repository_bytes", maybe(count())),
        ("host", text()),
        ("version", text()),
        ("pid", count()),
    ])
}

fn run_error() -> Value {
    object([
        ("code", schema_of("ErrorCode")),
        ("stage", maybe(schema_of("Stage"))),
        ("message", text()),
        ("remedy", text()),
        ("retries", count()),
        ("retries_allowed", count()),
    ])
}

fn stage_record() -> Value {
    object([
        ("stage", schema_of("Stage")),
        ("started_at", maybe(moment())),
        ("finished_at", maybe(moment())),
        ("outcome", one_of(&["ok", "failed", "skipped"])),
        ("attempts", count()),
        ("message", maybe(text())),
    ])
}

fn dump_info() -> Value {
    object([
        ("file", text()),
        ("bytes", count()),
        ("raw_bytes", count()),
        ("checksum", text()),
        ("engine", text()),
        ("tool_version", text()),
    ])
}

fn snapshot_info() -> Value {
    let archive =
        object([("file", text()), ("bytes", count()), ("parts", count()), ("checksum", text())]);
    object([
        ("id", text()),
        ("tags", list(text())),
        ("bytes_added", count()),
        ("files_new", count()),
        ("files_changed", count()),
        ("files_unmodified", count()),
        ("destination", about("Where it is.", maybe(text()))),
        ("archive", about("The file that it is, at a destination of archives.", maybe(archive))),
    ])
}

fn destination_record() -> Value {
    object([
        ("name", text()),
        ("kind", one_of(&["restic", "archive"])),
        ("required", flag()),
        ("location", text()),
        ("stored", about("Whether all that the run made is proven to be there.", flag())),
        ("attempts", count()),
        ("error", maybe(schema_of("RunError"))),
        ("removed", about("Snapshots that retention removed.", maybe(count()))),
        ("kept", maybe(count())),
        ("bytes", about("The size of what is there.", maybe(count()))),
    ])
}

fn destination_status() -> Value {
    let states = ["fresh", "overdue", "never_ran", "paused", "disabled", "unscheduled"];
    object([
        ("destination", text()),
        ("kind", one_of(&["restic", "archive"])),
        ("required", flag()),
        ("location", text()),
        ("state", about("Whether it has a backup as new as promised.", one_of(&states))),
        ("last_stored", about("When the newest run began that is stored there.", maybe(moment()))),
    ])
}

fn event() -> Value {
    let data = json!({
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": schema_of("EventData"),
    });
    about(
        "One event of the stream.",
        object([("event", about("Its kind.", text())), ("data", data)]),
    )
}

fn event_data() -> Value {
    about(
        "What an event says; the keys of its kind come on top.",
        object([
            ("event", about("Its kind, as in `event:`.", text())),
            ("at", moment()),
            ("project", about("What it is about; `null` for the daemon itself.", maybe(text()))),
        ]),
    )
}
