//! Secrets from files and commands, read when they are needed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use backupctl_application::ports::ConfigLoader;
use backupctl_domain::{ErrorCode, Failure, Secret};

use crate::{Site, restic};

async fn resolved(site: &Site) -> Result<String, Failure> {
    let project = site.loader().resolve_secrets(site.only().await).await?;
    assert!(project.secrets().iter().all(|secret| secret.expose().is_ok()));
    Ok(restic(&project).password.expose().unwrap().to_owned())
}

fn with(form: &str) -> Site {
    Site::new(&format!("projects:\n  - name: p\n    restic: {{repository: /r, {form}}}\n"))
}

#[tokio::test]
async fn a_file_gives_its_first_line() {
    let site = with("password_file: secrets/pw");
    site.file("secrets/pw", "geheim \r\nmore\n");
    assert_eq!(resolved(&site).await.unwrap(), "geheim ");
    assert_eq!(site.warnings().await, "");
    let path = site.path().join("secrets/pw");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = site.warnings().await;
    assert!(
        warnings.contains("restic.password_file: secrets/pw can be read by everybody"),
        "{warnings}"
    );

    fs::write(&path, "\n").unwrap();
    let failure = resolved(&site).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidConfig);
    assert!(failure.message.contains("`restic.password`"), "{failure}");
    fs::remove_file(&path).unwrap();
    assert!(site.warnings().await.contains("does not exist"));
    assert!(resolved(&site).await.unwrap_err().message.contains("secrets/pw"));
}

#[tokio::test]
async fn systemds_credentials_come_first() {
    let site = with("password_file: pw");
    site.file("pw", "beside");
    site.file("cred/pw", "credential");
    assert_eq!(resolved(&site).await.unwrap(), "beside");
    let folder = site.path().join("cred").to_str().unwrap().to_owned();
    assert_eq!(resolved(&site.var("CREDENTIALS_DIRECTORY", &folder)).await.unwrap(), "credential");
}

#[tokio::test]
async fn a_command_prints_it() {
    assert_eq!(
        resolved(&with("password_command: 'printf \"geheim\\nmore\"'")).await.unwrap(),
        "geheim"
    );
    let failure = resolved(&with("password_command: 'echo geheim; echo no geheim >&2; exit 3'"))
        .await
        .unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidConfig);
    assert!(failure.message.contains("restic.password_command"), "{failure}");
    assert!(failure.message.contains("exit status 3"), "{failure}");
    assert!(!failure.full_message().contains("geheim"), "{}", failure.full_message());
    let failure = resolved(&with("password_command: 'true'")).await.unwrap_err();
    assert!(failure.message.contains("printed nothing"), "{failure}");
}

#[tokio::test]
async fn a_variable_in_a_command_is_in_no_argument() {
    // Prints what everybody can read of the shell, then the secret.
    let site = with("password_command: 'tr \"\\0\" \" \" < /proc/$$/cmdline; echo \" ${TOKEN}\"'");
    let shown = resolved(&site.var("TOKEN", "geheim")).await.unwrap();
    assert!(shown.contains("sh -c eval") && shown.ends_with("geheim"), "{shown}");
    assert_eq!(shown.matches("geheim").count(), 1, "{shown}");
    let left = with("password_command: 'env | grep -c ^BACKUPCTL_SECRET || true'");
    assert_eq!(resolved(&left).await.unwrap(), "0");
}

#[tokio::test]
async fn variables_have_the_forms_too() {
    let site = Site::new("projects:\n  - name: p\n    restic: {repository: /r}\n");
    site.file("pw", "geheim");
    assert_eq!(resolved(&site.var("RESTIC_PASSWORD_FILE", "pw")).await.unwrap(), "geheim");
}

#[tokio::test]
async fn all_of_a_projects_secrets_are_resolved() {
    let site = Site::new(
        "uptime_kuma_base_url: https://k\nprojects:\n  - name: p\n    database: {type: redis, \
         password_command: echo a}\n    restic: {repository: /r, password_command: echo b, env: \
         {X_command: echo c}}\n    notification:\n      - {type: slack, config: \
         {webhook_url_command: echo d}}\n      - {type: webhook, config: {url_command: echo e, \
         secret_command: echo f}}\n      - {type: email, config: {smtp_host: h, to: a@x, from: b@x, \
         password_command: echo g}}\n    monitor: {type: uptime-kuma, config: {push_token_command: \
         echo h}}\n",
    );
    assert_eq!(resolved(&site).await.unwrap(), "b");
    let project = site.loader().resolve_secrets(site.only().await).await.unwrap();
    assert_eq!(project.secrets().len(), 8);
}

#[tokio::test]
async fn the_audit_password_goes_into_its_url() {
    let site = Site::new("audit: {url: 'postgres://u@h/d', password_file: pw}\nprojects: []\n");
    site.file("pw", "p:w\n");
    let url = site.load().await.global.unwrap().audit_url;
    assert_eq!(url.expose().unwrap(), "postgres://u:p%3Aw@h/d");
    fs::remove_file(site.path().join("pw")).unwrap();
    assert!(site.issues().await.contains("audit.password: the secret of `audit.password`"));
    let site = Site::new("audit: {url_file: url}\nprojects: []\n");
    site.file("url", "postgres://u:p@h/d");
    let secret = site.load().await.global.unwrap().audit_url;
    assert!(matches!(secret, Secret::File(_)));
    let secret = site.loader().resolve_secret("audit.url", secret).await.unwrap();
    assert_eq!(secret.expose().unwrap(), "postgres://u:p@h/d");
}
