//! `backupctl serve`: the daemon, wired to this machine, its signals and its service manager.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backupctl_adapters::application::World;
use backupctl_adapters::application::context::Cancel;
use backupctl_adapters::application::ports::{ConfigLoader, DaemonControl, DaemonEvent};
use backupctl_adapters::application::use_cases::Daemon;
use backupctl_adapters::application::use_cases::daemon::{Handle, tell_of_config};
use backupctl_adapters::config::{Environment, FileConfig};
use backupctl_adapters::defaults::VERSION;
use backupctl_adapters::domain::{BackupRun, ErrorCode, Failure, Secret, human, notice};
use backupctl_adapters::http;
use backupctl_adapters::local::{ProcessLauncher, ServiceManager, lock_daemon};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::args::Global;
use crate::exit::CommandResult;
use crate::logging::Stderr;
use crate::render::apart::Apart;
use crate::render::{BAD, BOLD, DIM, GOOD, Out};
use crate::wire::{App, keep_reloaded};

/// How many projects are listed at the start.
const LISTED: usize = 20;

/// How long to wait before a place that could not be listened on is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);

/// How long the end waits for its last messages to be read.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out) -> CommandResult {
    let mut app = match App::start_unattended(global, out, Stderr::Apart).await {
        Ok(app) => app,
        Err(unable) => return Err(unable.tell_everybody().await),
    };
    app.ensure_base_dir().await;
    if let Err(failure) = check_listen(&app.global.http_listen) {
        let problem = Some(failure.clone());
        tell_of_config(&app.world, app.config.as_ref(), &app.loaded, problem).await;
        return Err(failure.into());
    }
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

    let events = handle.events();
    let told = Apart::new(app.out.clone())?;
    let status = format!("{} projects", app.loaded.projects.len());
    let http = Http {
        listen: app.global.http_listen.clone(),
        token: app.global.http_token.clone(),
        control: Arc::clone(&handle),
        world: Arc::clone(&app.world),
        config: app.config.clone(),
        cancel: app.cancel.clone(),
    };
    let listening = http.listen().await;
    greet(&app, &told, listening.as_ref().ok().map(|(_, at)| *at)).await;
    let without = listening.as_ref().err().map(|e| format!("{status}; no HTTP: {}", e.message));
    // The daemon reads the configuration for itself, and this one is large.
    app.loaded.projects = Vec::new();
    tokio::spawn(tell_events(told.clone(), events, app.config.clone()));
    tokio::spawn(reload_on(
        reload_signal,
        Arc::clone(&handle),
        Arc::clone(&manager),
        status.clone(),
    ));
    tokio::spawn(tell_the_end(told.clone(), app.cancel.clone(), Arc::clone(&manager)));
    manager.ready(without.as_ref().unwrap_or(&status));
    let http = tokio::spawn(http.serve(listening, Arc::clone(&manager), status));
    let clock = Arc::clone(&app.world.clock);
    let ended = daemon.run(lock).await;
    // Ends by the same word, within a few seconds; at once where the daemon could not begin.
    match &ended {
        Ok(_) => drop(http.await),
        Err(_) => http.abort(),
    }
    // Nobody may be reading.
    tokio::select! {
        () = told.written() => {}
        () = clock.sleep(READ_WITHIN) => {}
    }
    Ok(ended?.exit_status())
}

/// An address that cannot be one, which no waiting makes good.
fn check_listen(listen: &str) -> Result<(), Failure> {
    let parts = listen.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    if parts.is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        return Ok(());
    }
    let message = format!("http.listen: {listen:?} is no address with a port");
    Err(Failure::new(ErrorCode::InvalidConfig, message)
        .with_remedy("write it as `http.listen: 127.0.0.1:3100`"))
}

/// A place that is listened on, where that is, and the token that is asked for there.
type Listening = ((TcpListener, Option<Secret>), SocketAddr);

/// The HTTP interface.
struct Http {
    listen: String,
    token: Option<Secret>,
    control: Arc<Handle>,
    world: Arc<World>,
    config: Arc<FileConfig>,
    cancel: Cancel,
}

impl Http {
    /// Takes the place.
    async fn listen(&self) -> Result<Listening, Failure> {
        let listen = &self.listen;
        let token = match self.token.clone() {
            Some(secret) => Some(self.config.resolve_secret("http.token", secret).await?),
            None => None,
        };
        let cannot = |e: std::io::Error| {
            let message = format!("http.listen: {listen} cannot be listened on: {e}");
            Failure::new(ErrorCode::InvalidConfig, message).with_remedy(
                "set `http.listen` to an address of this machine and a port that nobody has",
            )
        };
        let listener = TcpListener::bind(listen).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(((listener, token), address))
    }

    /// Lets others speak to the daemon until its end. Backups do not depend on it: what keeps it from
    /// serving is told, and tried again.
    async fn serve(
        self,
        mut listening: Result<Listening, Failure>,
        manager: Arc<ServiceManager>,
        status: String,
    ) {
        let mut was_told = false;
        loop {
            let failure = match listening {
                Ok(((listener, token), address)) => {
                    if std::mem::take(&mut was_told) {
                        tracing::info!("HTTP on http://{address}");
                        let event = json!({"event": "http_listening", "address": address});
                        self.control.announce(event);
                        manager.ready(&status);
                    }
                    let (world, config) = (Arc::clone(&self.world), self.config.clone());
                    let control = self.control.clone();
                    let cancel = self.cancel.clone();
                    match http::serve(listener, token, control, world, config, cancel).await {
                        Ok(()) => return,
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            if !std::mem::replace(&mut was_told, true) {
                tracing::error!(error.code = %failure.code, "no HTTP: {}", failure.full_message());
                self.control.announce(json!({
                    "event": "http_failed", "code": failure.code,
                    "message": failure.full_message(), "remedy": failure.remedy,
                }));
            }
            tokio::select! {
                _ = self.cancel.cancelled() => return,
                () = self.world.clock.sleep(LISTEN_AGAIN) => {}
            }
            listening = self.listen().await;
        }
    }
}

/// What it does and how it is stopped, for people.
async fn greet(app: &App, out: &Apart, address: Option<SocketAddr>) {
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
    out.note(match address {
        Some(address) => format!("  HTTP on http://{address}{without}"),
        None => format!("  {BAD}no HTTP{BAD:#} as yet"),
    });
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

async fn tell_the_end(out: Apart, cancel: Cancel, manager: Arc<ServiceManager>) {
    let why = cancel.cancelled().await;
    manager.stopping();
    out.note(format!("{}: ending; runs that go on are interrupted and recorded", why.name()));
}

/// A line for each thing that happens which people want to know.
async fn tell_events(
    out: Apart,
    mut events: broadcast::Receiver<DaemonEvent>,
    config: Arc<FileConfig>,
) {
    loop {
        match events.recv().await {
            Ok(event) => {
                tell_event(&out, &event);
                if event.event["event"] == "reloaded" {
                    keep_reloaded(&config).await;
                }
            }
            Err(RecvError::Lagged(missed)) => out.note(format!("{missed} events not shown")),
            Err(RecvError::Closed) => return,
        }
    }
}

fn tell_event(out: &Apart, event: &DaemonEvent) {
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
        "http_listening" => out.note(format!("HTTP on http://{}", text("address"))),
        "http_failed" => out.warn(format!(
            "no HTTP, tried again every {} seconds; schedules are kept: [{}] {}\n  fix: {}",
            LISTEN_AGAIN.as_secs(),
            text("code"),
            text("message"),
            text("remedy")
        )),
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
