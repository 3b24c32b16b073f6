//! The files that `backupctl init` writes: a configuration that works once its paths are right.

/// A commented starter configuration with one project of this name.
pub fn starter_config(project: &str) -> String {
    format!(
        r#"# What backupctl backs up. Check it with `backupctl config validate`; every key is explained in
# docs/reference/configuration.md, or by an editor with the output of `backupctl config schema`.
projects:
  - name: {project}
    # cron: "0 2 * * *"                   # when you run it: `backupctl status` then tells if it is overdue
    database:
      type: sqlite
      path: ./app.sqlite                  # your database; relative paths count from this file
      # type: postgres                    # more in docs/reference/configuration.md
      # host: localhost
      # name: app
      # user: backup
      # password: ${{APP_DB_PASSWORD}}       # from .env; or password_file, password_command
    assets:
      paths: []                           # folders beside the database, e.g. [./uploads]
    restic:
      repository: ./restic-repository     # better: on another machine, as below
      # repository: sftp:user@host:backups/{project}
      # password: the one in .env (RESTIC_PASSWORD) unless it is given here
    # archive:                            # instead of restic: one encrypted file a run, on a stick
    #   path: /mnt/usb
    # destinations: [{{restic: {{repository: ./a}}}}, {{archive: {{path: /mnt/usb}}}}] # instead: several
    retention:
      local_days: 7
      keep_last: 3                        # or a second run of a day would replace the first
      keep_daily: 7
      keep_weekly: 4
      keep_monthly: 6
    # encryption:                         # of the dump, before restic sees it; of all in an archive
    #   enabled: true
    #   type: age
    #   recipient: age1...
    # notification:
    #   type: webhook                     # or: slack, email
    #   config:
    #     url: https://example.com/backup-events
    # monitor:                            # with `uptime_kuma_base_url: https://...` at the top
    #   type: uptime-kuma
    #   config:
    #     push_token: ${{KUMA_TOKEN}}
"#
    )
}

/// The `.env` file beside it, with this repository password. To be written with mode 0600.
pub fn starter_env(password: &str) -> String {
    let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "# Secrets for backupctl.yml. Keep a copy of the password elsewhere: without it no backup can \
         be read.\nRESTIC_PASSWORD=\"{quoted}\"\n# APP_DB_PASSWORD=\n"
    )
}
