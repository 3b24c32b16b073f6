//! `backupctl serve`: the daemon, wired to this machine, its signals and its service manager.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::sync::Arc;

use backupctl_adapters::application::context::Cancel;
use backupctl_adapters::application::ports::{ConfigLoader, DaemonControl, DaemonEvent};
use backupctl_adapters::application::use_cases::Daemon;
use backupctl_adapters::application::use_cases::daemon::Handle;
use backupctl_adapters::config::Environment;
use backupctl_adapters::defaults::VERSION;
use backupctl_adapters::domain::{BackupRun, ErrorCode, Failure, human, notice};
use backupctl_adapters::http;
use backupctl_adapters::local::{ProcessLauncher, ServiceManager, lock_daemon};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::args::Global;
use crate::exit::CommandResult;
use crate::render::{BAD, BOLD, DIM, GOOD, Out};
use crate::wire::App;

/// How many projects are listed at the start.
const LISTED: usize = 20;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out) -> CommandResult {
    let mut app = App::start(global, out).await?;
    let lock = lock_daemon(&app.global.base_dir, app.world.clock.now()).await?;
    // From here on `config reload` finds this process: its signal must not end it.
    let reload_signal = signal(SignalKind::hangup())
        .map_err(|e| Failure::internal(format!("signals cannot be watched: {e}")))?;
    let socket = Environment::from_process().variables.remove("NOTIFY_SOCKET");
    let manager = Arc::new(ServiceManager::new(socket.as_deref().map(OsStr::new)));

    let world = Arc::clone(&app.world);
    let config: Arc<dyn ConfigLoader> = app.config.clone();
    let launcher = ProcessLauncher::new(
        app.loaded.file.clone(),
        Arc::clone(&world.lock),
        Arc::clone(&world.children),
    );
    let (daemon, handle) = Daemon::new(
        world,
        Arc::clone(&config),
        Arc::new(launcher),
        app.recover(),
        app.cancel.clone(),
    );

    let http = serve_http(&app, handle.clone()).await?;
    greet(&app, http.address).await;
    let status = format!("{} projects", app.loaded.projects.len());
    // The daemon reads the configuration for itself, and this one is large.
    app.loaded.projects = Vec::new();
    tokio::spawn(tell_events(app.out.clone(), handle.events()));
    tokio::spawn(reload_on(
        reload_signal,
        Arc::clone(&handle),
        Arc::clone(&manager),
        status.clone(),
    ));
    tokio::spawn(tell_the_end(app.out.clone(), app.cancel.clone(), Arc::clone(&manager)));
    manager.ready(&status);
    let ended = daemon.run(lock).await;
    // Ends by the same word, within a few seconds; at once where the daemon could not begin.
    match &ended {
        Ok(_) => drop(http.task.await),
        Err(_) => http.task.abort(),
    }
    Ok(ended?.exit_status())
}

/// The HTTP interface, as it serves.
struct Http {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Lets others speak to the daemon by HTTP. A place that cannot be listened on, or a token that cannot
/// be had, is told at once: whoever watches the daemon from there would otherwise believe it dead.
async fn serve_http(app: &App, control: Arc<dyn DaemonControl>) -> Result<Http, Failure> {
    let listen = &app.global.http_listen;
    let token = match app.global.http_token.clone() {
        Some(secret) => Some(app.config.resolve_secret("http.token", secret).await?),
        None => None,
    };
    let cannot = |e: std::io::Error| {
        Failure::new(
            ErrorCode::InvalidConfig,
            format!("http.listen: {listen} cannot be listened on: {e}"),
        )
        .with_remedy("set `http.listen` to an address of this machine and a port that nobody has")
    };
    let listener = TcpListener::bind(listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let (out, world) = (app.out.clone(), Arc::clone(&app.world));
    let (config, cancel) = (app.config.clone(), app.cancel.clone());
    let task = tokio::spawn(async move {
        if let Err(failure) = http::serve(listener, token, control, world, config, cancel).await {
            tracing::error!(error.code = %failure.code, "no HTTP: {}", failure.full_message());
            out.error(failure.code, &failure.full_message(), &failure.remedy);
        }
    });
    Ok(Http { address, task })
}

/// What it does and how it is stopped, for people.
async fn greet(app: &App, address: SocketAddr) {
    let out = &app.out;
    let now = app.world.clock.now();
    let count = app.loaded.projects.len();
    let word = if count == 1 { "project" } else { "projects" };
    out.note(format!(
        "{BOLD}backupctl {VERSION}{BOLD:#} keeps the schedules of {count} {word} of {} (pid {})",
        app.loaded.file.display(),
        std::process::id()
    ));
    for entry in app.loaded.projects.iter().take(LISTED) {
        let text = match &entry.project {
            Err(_) => format!("{BAD}broken{BAD:#}: see `backupctl config validate`"),
            Ok(project) if !project.enabled => "disabled".to_owned(),
            Ok(project) => match &project.schedule {
                None => "no schedule".to_owned(),
                Some(schedule) => {
                    let memory = app.world.schedules.project(&project.name).await;
                    let next = match memory.ok().and_then(|memory| memory.pause_at(now)) {
                        Some(_) => "paused".to_owned(),
                        None => schedule.next_after(now).map_or_else(
                            || "never again".to_owned(),
                            |at| format!("next {}", notice::local_time(at, &schedule.timezone)),
                        ),
                    };
                    format!("{}, {next}", schedule.describe())
                }
            },
        };
        out.note(format!("  {}: {text}", entry.name));
    }
    if count > LISTED {
        out.note(format!("  {DIM}and {} more: `backupctl schedule list`{DIM:#}", count - LISTED));
    }
    let without = if app.global.http_token.is_none() {
        " (without `http.token` only /health/live answers)"
    } else {
        ""
    };
    out.note(format!("  HTTP on http://{address}{without}"));
    out.note(format!(
        "{DIM}stop it with Ctrl-C or SIGTERM; `backupctl config reload` has it read the configuration \
         again{DIM:#}"
    ));
}

/// SIGHUP: the configuration is read again.
async fn reload_on(
    mut signals: Signal,
    handle: Arc<Handle>,
    manager: Arc<ServiceManager>,
    mut status: String,
) {
    while signals.recv().await.is_some() {
        manager.reloading();
        if let Err(failure) = handle.reload().await {
            status = format!("goes on with the last good configuration: {}", failure.message);
        }
        manager.ready(&status);
    }
}

async fn tell_the_end(out: Out, cancel: Cancel, manager: Arc<ServiceManager>) {
    let why = cancel.cancelled().await;
    manager.stopping();
    out.note(format!("{}: ending; runs that go on are interrupted and recorded", why.name()));
}

/// A line for each thing that happens which people want to know.
async fn tell_events(out: Out, mut events: broadcast::Receiver<DaemonEvent>) {
    loop {
        match events.recv().await {
            Ok(event) => tell_event(&out, &event),
            Err(RecvError::Lagged(missed)) => out.note(format!("{missed} events not shown")),
            Err(RecvError::Closed) => return,
        }
    }
}

fn tell_event(out: &Out, event: &DaemonEvent) {
    let name = event.project.as_deref().unwrap_or("backupctl");
    let text = |key: &str| event.event[key].as_str().unwrap_or_default();
    match text("event") {
        "started" => out.note(format!("{name}: run {} started", text("run_id"))),
        "finished" => out.note(format!("{name}: {}", ended(&event.event["run"]))),
        "queued" => out.note(format!("{name}: a run waits for its turn")),
        "folded" => out.note(format!("{name}: folded into the run that waits")),
        "not_made" => out.note(format!("{name}: no run is made ({})", text("reason"))),
        "missed" => {
            let (count, last) = (&event.event["count"], text("last"));
            out.warn(format!(
                "{name}: missed {count} of its runs, the last at {last}: {}",
                text("why")
            ));
        }
        "recovered" => out.note("recovered what an earlier process had left"),
        "reloaded" => out.note(format!("configuration read: {} projects", event.event["projects"])),
        "reload_failed" => out.warn(format!(
            "the configuration cannot be loaded, the last good one stays: [{}] {}",
            text("code"),
            text("message")
        )),
        _ => {}
    }
}

fn ended(run: &Value) -> String {
    let Ok(run) = BackupRun::deserialize(run) else { return "a run has ended".to_owned() };
    let took = human::duration(run.duration.unwrap_or_default());
    match &run.error {
        None => format!("{GOOD}backup succeeded{GOOD:#} in {took} ({})", run.trigger.as_str()),
        Some(error) => format!("{BAD}backup failed{BAD:#} [{}]: {}", error.code, error.message),
    }
}
