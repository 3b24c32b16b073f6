//! The same over a private ssh server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use backupctl_adapter_restic::Restic;
use backupctl_application::ports::{RemoteStorage, RepositoryAdmin};
use backupctl_domain::ErrorCode;
use backupctl_domain::destination::{HostKeyCheck, SshTarget};
use backupctl_domain::retention::KeepPolicy;
use backupctl_testkit::services::Sshd;

use crate::world::{World, ctx, request};

fn ssh(server: &Sshd) -> SshTarget {
    SshTarget {
        host: server.host().to_owned(),
        user: Some(server.user().to_owned()),
        port: server.port(),
        key_path: Some(server.key_path()),
        known_hosts_path: Some(server.known_hosts_path()),
        host_key_check: HostKeyCheck::Strict,
    }
}

fn over(server: &Sshd, world: &World, change: impl FnOnce(&mut SshTarget)) -> Arc<Restic> {
    let mut ssh = ssh(server);
    change(&mut ssh);
    let path = world.repo();
    world.restic_with(|target| {
        target.repository = format!("sftp:{}@{}:{}", server.user(), server.host(), path.display());
        target.ssh = Some(ssh);
    })
}

#[tokio::test]
async fn a_whole_run_over_sftp_with_spaces_in_its_paths() {
    let server = Sshd::start();
    let world = World::new();
    let folder = world.path("my keys");
    fs::create_dir(&folder).unwrap();
    let (key, known) = (folder.join("the key"), folder.join("known hosts"));
    fs::copy(server.key_path(), &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(server.known_hosts_path(), &known).unwrap();
    let restic = over(&server, &world, |ssh| {
        ssh.key_path = Some(key);
        ssh.known_hosts_path = Some(known);
    });
    let access = restic.check_access().await.unwrap().unwrap();
    assert!(access.starts_with("OpenSSH") && access.ends_with("/the key"), "{access}");
    let part = world.part(Some(world.dump("d.dump", "dump")));
    let stored = restic.store(&request(part.clone()), &ctx()).await.unwrap();
    restic.prove(&stored, &part, &ctx()).await.unwrap();
    let keep = KeepPolicy { last: 1, ..KeepPolicy::default() };
    restic.prune(&keep, &ctx()).await.unwrap();
    // A repository that somebody else has made is asked for its id, once.
    assert_eq!(world.calls(), ["version", "snapshots", "backup", "cat", "ls", "forget"]);
    restic.store(&request(part), &ctx()).await.unwrap();
    restic.prune(&keep, &ctx()).await.unwrap();
    assert_eq!(world.calls(), ["backup", "forget"]);
    assert_eq!(restic.snapshots(&ctx()).await.unwrap().len(), 1);
    assert!(restic.check(&ctx()).await.unwrap().location.starts_with("sftp:"));
}

#[tokio::test]
async fn what_ssh_refuses_is_told_by_its_code() {
    let mut server = Sshd::start();
    let world = World::new();
    let code = async |restic: Arc<Restic>| restic.check(&ctx()).await.unwrap_err().code;

    let key = server.wrong_key_path();
    // The words of ssh are lost now and then; the code is the same each time.
    for _ in 0..5 {
        let wrong = over(&server, &world, |ssh| ssh.key_path = Some(key.clone()));
        assert_eq!(code(wrong).await, ErrorCode::SshPermissionDenied);
    }
    for file in [server.empty_known_hosts_path(), server.wrong_known_hosts_path()] {
        let unknown = over(&server, &world, |ssh| ssh.known_hosts_path = Some(file));
        assert_eq!(code(unknown).await, ErrorCode::SshHostKeyUnknown);
    }
    let open = world.path("open-key");
    fs::copy(server.key_path(), &open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let readable = over(&server, &world, |ssh| ssh.key_path = Some(open));
    assert_eq!(code(readable).await, ErrorCode::SshKeyPermissions);
    let gone = over(&server, &world, |ssh| ssh.key_path = Some(PathBuf::from("/no/such/key")));
    assert_eq!(code(gone).await, ErrorCode::SshKeyPermissions);

    let missing = world.restic_with(|target| {
        target.repository = server.repository("nope");
        target.ssh = Some(ssh(&server));
    });
    assert_eq!(code(missing).await, ErrorCode::RepoNotInitialized);

    server.stop();
    assert_eq!(code(over(&server, &world, |_| {})).await, ErrorCode::SshConnectionRefused);
}

#[tokio::test]
async fn a_new_host_key_is_written_down_where_that_is_wanted() {
    let server = Sshd::start();
    let world = World::new();
    let known = world.path("known_hosts");
    let restic = over(&server, &world, |ssh| {
        ssh.host_key_check = HostKeyCheck::AcceptNew;
        ssh.known_hosts_path = Some(known.clone());
    });
    restic.check(&ctx()).await.unwrap();
    assert!(fs::read_to_string(known).unwrap().contains("ssh-ed25519"));
}
