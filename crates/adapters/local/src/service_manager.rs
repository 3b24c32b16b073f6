//! Tells the service manager how the daemon stands (the protocol of `sd_notify`): one datagram of
//! `KEY=value` lines to the socket that `NOTIFY_SOCKET` names.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use std::ffi::OsStr;

use tracing::debug;

/// The service manager, if one wants to know.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
}

impl ServiceManager {
    /// The one behind `NOTIFY_SOCKET` (a path, or `@` and an abstract name); nobody for `None`.
    pub fn new(notify_socket: Option<&OsStr>) -> Self {
        let socket = notify_socket.filter(|name| !name.is_empty()).and_then(|name| {
            connect(name).inspect_err(|error| debug!(%error, "nobody at NOTIFY_SOCKET")).ok()
        });
        Self { socket }
    }

    /// The start is through, or a reload is.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// The configuration is being read again; [`ServiceManager::ready`] ends it.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=ending its runs\n");
    }

    fn send(&self, text: &str) {
        // Who does not take it is not our trouble.
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(text.as_bytes())) {
            debug!(%error, "the service manager was not told");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that does not read must not hold the daemon up.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use backupctl_testkit::WorkDir;

    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    #[test]
    fn it_is_told_over_a_path_and_over_an_abstract_name() {
        let work = WorkDir::new();
        let path = work.join("notify");
        let name = format!("backupctl-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        for (socket, name) in
            [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())]
        {
            let manager = ServiceManager::new(Some(&name));
            manager.ready("3 projects");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=3 projects\n");
            manager.reloading();
            assert!(heard(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC="));
            manager.stopping();
            assert!(heard(&socket).starts_with("STOPPING=1\n"));
        }
    }

    #[test]
    fn nobody_there_is_no_error() {
        ServiceManager::new(None).ready("");
        ServiceManager::new(Some(OsStr::new("/nonexistent/notify"))).ready("");
    }
}
