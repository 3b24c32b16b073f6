//! The files: accepted by systemd, confined, compared, and taken away again.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use backupctl_adapter_systemd::UnitFolder;
use backupctl_application::ports::{FileState, Need, UnitFiles, UnitMode, Writes};
use backupctl_domain::schedule::CatchUp;
use backupctl_testkit::WorkDir;

use super::{command, plan, schedule};

/// The most that `systemd-analyze security` may find exposed, of 10.
const EXPOSED: f64 = 3.0;

#[tokio::test]
async fn systemd_accepts_every_unit_and_finds_it_confined() {
    for mode in [UnitMode::Serve, UnitMode::Timers] {
        let work = WorkDir::new();
        let root = work.dir("root");
        let folder = UnitFolder::new(&root);
        let plan = plan(&work, mode);
        let files = folder.render(&plan).unwrap();
        folder.write(&files).await.unwrap();
        for file in files.iter().filter(|file| file.is_unit()) {
            let place = root.join(file.path.strip_prefix("/").unwrap());
            let place = if file.name().contains("@.") {
                // A template is checked by an instance.
                let instance = place.with_file_name("backupctl-failure@x.service");
                fs::copy(&place, &instance).unwrap();
                instance
            } else {
                place
            };
            let checked = command("systemd-analyze").arg("verify").arg(&place).output().unwrap();
            let said = String::from_utf8_lossy(&checked.stderr);
            // What it says of other units of this machine is not ours.
            let ours: Vec<&str> = said
                .lines()
                .filter(|line| line.contains("backupctl") && !line.contains("man:backupctl"))
                .filter(|line| !line.contains("man backupctl"))
                .collect();
            assert!(ours.is_empty(), "{}: {ours:#?}\n{}", file.name(), file.text);
            if file.is_timer() {
                continue;
            }
            let looked = command("systemd-analyze")
                .args(["security", "--offline=yes", "--no-pager"])
                .arg(&place)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&looked.stdout);
            let line = said.lines().find(|line| line.contains("Overall exposure level")).unwrap();
            let exposure = line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
            println!("{}: {line}", file.name());
            assert!(exposure.unwrap() < EXPOSED, "{said}");
        }
    }
}

#[tokio::test]
async fn what_is_written_says_what_backups_need() {
    let work = WorkDir::new();
    let folder = UnitFolder::new(work.dir("root"));
    let plan = plan(&work, UnitMode::Timers);
    let files = folder.render(&plan).unwrap();
    let text = |name: &str| {
        let file = files.iter().find(|file| file.name() == name);
        file.unwrap_or_else(|| panic!("no {name}")).text.clone()
    };
    let service = text("backupctl-shop.service");
    let at = |name: &str| work.join(name).display().to_string();
    for line in [
        format!("ExecStart=/bin/sh --config {} run shop --scheduled", at("etc/backupctl.yml")),
        format!("ReadWritePaths={}", at("base")),
        format!("ReadWritePaths=\"-{}\"", at("my repo")),
        format!("ReadWritePaths=-{}", at("hooks")),
        format!("RequiresMountsFor={}", at("base")),
        format!("Environment=XDG_CACHE_HOME={}/.cache", at("base")),
        "Environment=PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        "OnFailure=backupctl-failure@%n.service".to_owned(),
        "ExecStartPost=-+/bin/sh /etc/backupctl/systemd/failure.sh --well %n".to_owned(),
        "Wants=mnt-usb\\x2dstick.mount".to_owned(),
        "ProtectSystem=strict".to_owned(),
        // The test's folder is below /tmp, and everything else is there too.
        "PrivateTmp=no".to_owned(),
        "ProtectHome=yes".to_owned(),
    ] {
        assert!(service.lines().any(|l| l == line), "{line} is not in {service}");
    }
    assert!(service.contains(&format!(":{}", at("secrets/restic"))), "{service}");
    let timer = text("backupctl-shop.timer");
    assert!(timer.contains("OnCalendar=*-*-* 02:30:00 Europe/Berlin\n"), "{timer}");
    assert!(timer.contains("Persistent=true\nAccuracySec=1s\n"), "{timer}");
    assert!(!files.iter().any(|file| file.name() == "backupctl.service"));
}

#[tokio::test]
async fn a_disk_is_named_by_its_mount_point_and_not_required_where_the_run_goes_on() {
    let work = WorkDir::new();
    let folder = UnitFolder::new(work.dir("root"));
    let mut plan = plan(&work, UnitMode::Timers);
    plan.options.mounts.extend(["/home".into(), "/mnt".into()]);
    let archives = |path: &str, need, on_a_disk| Writes {
        path: path.into(),
        what: "the archives",
        need,
        on_a_disk,
    };
    plan.projects[0].needs.writes = vec![
        archives("/mnt/usb-stick/backups/shop", Need::Optional, true),
        archives("/mnt/usb-stick/more", Need::Required, true),
        archives("/media/later/backups", Need::OneOfSeveral, true),
        archives("/home/me/backups", Need::Required, true),
        archives("/mnt/usb-stick/any", Need::Required, false),
    ];
    let files = folder.render(&plan).unwrap();
    let service = files.iter().find(|file| file.name() == "backupctl-shop.service").unwrap();
    let of = |key: &str| {
        let lines = service.text.lines().filter_map(|line| line.strip_prefix(key));
        lines.filter(|value| !value.contains(work.path().to_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(
        of("ReadWritePaths="),
        ["-/mnt/usb-stick", "-/media/later/backups", "-/home/me/backups", "-/mnt/usb-stick/any"]
    );
    assert_eq!(
        of("RequiresMountsFor="),
        ["/mnt/usb-stick/more", "/home/me/backups", "/mnt/usb-stick/any"]
    );
}

#[tokio::test]
async fn a_timer_makes_up_for_what_was_missed_as_the_schedule_says() {
    let work = WorkDir::new();
    let folder = UnitFolder::new(work.dir("root"));
    let mut plan = plan(&work, UnitMode::Timers);
    for (catch_up, expected) in [
        (CatchUp::WithinGrace, "Persistent=true"),
        (CatchUp::Always, "Persistent=true"),
        (CatchUp::Never, "Persistent=false"),
    ] {
        plan.projects[0].schedule.as_mut().unwrap().catch_up = catch_up;
        let files = folder.render(&plan).unwrap();
        let timer = files.iter().find(|file| file.name() == "backupctl-shop.timer").unwrap();
        let said: Vec<&str> =
            timer.text.lines().filter(|line| line.starts_with("Persistent=")).collect();
        assert_eq!(said, [expected], "{catch_up:?}");
    }
}

#[tokio::test]
async fn the_daemon_comes_back_whoever_ended_it_and_its_end_for_good_is_told() {
    let work = WorkDir::new();
    let folder = UnitFolder::new(work.dir("root"));
    let files = folder.render(&plan(&work, UnitMode::Serve)).unwrap();
    let daemon = &files.iter().find(|file| file.name() == "backupctl.service").unwrap().text;
    let seconds = |key: &str| {
        let value = daemon.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let (number, unit) = value.split_at(value.find(char::is_alphabetic).unwrap_or(value.len()));
        number.parse::<u32>().unwrap() * if unit == "min" { 60 } else { 1 }
    };
    // A stray SIGTERM is a clean end (exit status 143), which `on-failure` would let be.
    assert!(daemon.lines().any(|line| line == "Restart=always"), "{daemon}");
    assert!(daemon.contains("OnFailure=backupctl-failure@%n.service\n"), "{daemon}");
    // `OnFailure=` comes with the last start within the limit: also one that hangs must get there.
    let starts = seconds("StartLimitBurst=");
    let longest = starts * (seconds("TimeoutStartSec=") + seconds("RestartSec="));
    assert!(seconds("StartLimitIntervalSec=") > longest, "{daemon}");
}

#[tokio::test]
async fn a_file_that_is_stale_edited_or_foreign_is_told() {
    let work = WorkDir::new();
    let root = work.dir("root");
    let folder = UnitFolder::new(&root);
    let mut plan = plan(&work, UnitMode::Timers);
    let files = folder.render(&plan).unwrap();
    let of = |states: &[FileState], name: &str| {
        let at = files.iter().position(|file| file.name() == name).unwrap();
        states[at].clone()
    };
    let states = folder.compare(&files).await.unwrap();
    assert!(states.iter().all(|state| *state == FileState::Missing));
    assert_eq!(folder.options().await.unwrap(), None);

    folder.write(&files).await.unwrap();
    let states = folder.compare(&files).await.unwrap();
    assert!(states.iter().all(|state| *state == FileState::Same), "{states:?}");
    assert_eq!(folder.options().await.unwrap().as_ref(), Some(&plan.options));
    let services = folder.services().await.unwrap();
    let shop = services.iter().find(|unit| unit.name == "backupctl-shop.service").unwrap();
    assert_eq!(shop.config.as_ref(), Some(&plan.config));
    assert_eq!(shop.path.as_ref(), Some(&plan.options.path));
    let writes = shop.read_write.as_ref().unwrap();
    assert!(writes.contains(&work.join("my repo")), "{writes:?}");

    plan.projects[0].schedule = Some(schedule("0 4 * * *", "UTC"));
    plan.program = "/opt/backupctl".into();
    let wanted = folder.render(&plan).unwrap();
    let states = folder.compare(&wanted).await.unwrap();
    let FileState::Stale(what) = of(&states, "backupctl-shop.timer") else { panic!("{states:?}") };
    assert!(what[0].starts_with("OnCalendar is `*-*-* 02:30:00 Europe/Berlin`"), "{what:?}");
    let FileState::Stale(what) = of(&states, "backupctl-shop.service") else {
        panic!("{states:?}")
    };
    assert!(what[0].starts_with("ExecStart is `/bin/sh --config"), "{what:?}");

    let unit = root.join("etc/systemd/system/backupctl-shop.service");
    let edited = fs::read_to_string(&unit).unwrap().replace("UMask=0077", "UMask=0000");
    fs::write(&unit, edited).unwrap();
    fs::write(root.join("etc/systemd/system/backupctl-watch.timer"), "[Timer]\n").unwrap();
    let script = root.join("etc/backupctl/systemd/failure.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let states = folder.compare(&files).await.unwrap();
    assert_eq!(
        of(&states, "backupctl-shop.service"),
        FileState::Edited(vec!["UMask is `0000`, would be `0077`".to_owned()])
    );
    assert_eq!(of(&states, "backupctl-watch.timer"), FileState::Foreign);
    assert_eq!(
        of(&states, "failure.sh"),
        FileState::Stale(vec!["mode 0755, would be 0700".to_owned()])
    );
}

#[tokio::test]
async fn removing_takes_what_is_ours_and_nothing_else() {
    let work = WorkDir::new();
    let root = work.dir("root");
    let folder = UnitFolder::new(&root);
    let files = folder.render(&plan(&work, UnitMode::Timers)).unwrap();
    let foreign = work.file("root/etc/systemd/system/backupctl-mine.service", "[Service]\n");
    folder.write(&files).await.unwrap();
    let enabled: Vec<_> = files.iter().filter(|file| file.enabled).cloned().collect();
    folder.link(&enabled).await.unwrap();
    folder.link(&enabled).await.unwrap();
    assert!(folder.is_linked(&enabled[0]).await.unwrap());

    let ours = folder.ours().await.unwrap();
    assert_eq!(ours.len(), files.len());
    folder.remove(&ours).await.unwrap();

    assert_eq!(folder.ours().await.unwrap(), Vec::<std::path::PathBuf>::new());
    assert!(!folder.is_linked(&enabled[0]).await.unwrap());
    assert!(foreign.exists());
    assert!(!root.join("etc/backupctl/systemd").exists());
}
