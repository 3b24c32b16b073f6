//! A stand-in for Docker's client, where there is no Docker: it takes `docker exec` as the client
//! does, says what the client says, and runs the program on this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::WorkDir;

/// As `docker exec`: the program gets the variables named by `-e` and no other, and goes on when the
/// client is ended.
const CLIENT: &str = r#"#!/bin/sh
here=${0%/*}
printf '%s\n' "$@" >> "$here/args"
if [ "$1" != exec ]; then
    echo "docker: '$1' is not a docker command." >&2
    exit 1
fi
shift
keep=" PATH "
while :; do
    case $1 in
        -i) shift ;;
        -e) keep="$keep$2 "; shift 2 ;;
        *) break ;;
    esac
done
name=$1
shift
case $name in
    gone) echo "Error response from daemon: No such container: gone" >&2; exit 1 ;;
    stopped) echo "Error response from daemon: container 5b3c is not running" >&2; exit 1 ;;
    dead) echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?" >&2; exit 1 ;;
    denied) echo "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock" >&2; exit 1 ;;
esac
for variable in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
    case $keep in *" $variable "*) ;; *) unset "$variable" ;; esac
done
if [ -f "$here/inside" ]; then PATH=$(cat "$here/inside"); fi
if ! command -v "$1" > /dev/null; then
    echo "OCI runtime exec failed: exec failed: unable to start container process: exec: \"$1\": executable file not found in \$PATH: unknown"
    exit 127
fi
exec /usr/bin/setsid -w "$@"
"#;

/// A folder with an executable `docker`, gone on drop.
///
/// Every name is that of a running container but `gone`, `stopped`, `dead` (the daemon does not
/// answer) and `denied` (this user may not ask it).
#[derive(Debug)]
pub struct DockerClient {
    work: WorkDir,
}

impl Default for DockerClient {
    fn default() -> Self {
        Self::new()
    }
}

impl DockerClient {
    /// Makes it. Containers have the programs of this machine.
    pub fn new() -> Self {
        let work = WorkDir::new();
        let client = work.file("docker", CLIENT);
        fs::set_permissions(client, fs::Permissions::from_mode(0o755)).expect("a mode");
        Self { work }
    }

    /// Gives containers only the programs of this PATH.
    pub fn set_inside(&self, path: &str) {
        self.work.file("inside", path);
    }

    /// What the client was given, by every call so far, one argument a line.
    pub fn args(&self) -> String {
        fs::read_to_string(self.dir().join("args")).unwrap_or_default()
    }

    /// The folder that the client is in.
    pub fn dir(&self) -> &Path {
        self.work.path()
    }

    /// A PATH that leads to the stand-in, and to the system's programs otherwise.
    pub fn path(&self) -> String {
        format!("{}:/usr/local/bin:/usr/bin:/bin", self.dir().display())
    }
}
