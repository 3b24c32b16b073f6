//! Real servers and repositories, private to one test: on free ports, in folders under `/tmp`, ended
//! with the value that stands for them, also when the test panics. The machine's own are never used.
//!
//! A program that is not installed ends the test, with the Debian package to install: a test that
//! skips itself proves nothing.

mod child;
mod docker;
mod gpg;
mod http;
mod mariadb;
mod mongo;
mod postgres;
mod redis;
mod restic;
mod smtp;
mod sshd;
mod stick;
mod template;

pub use docker::DockerClient;
pub use gpg::GpgHome;
pub use http::{HttpReceiver, Reply, Request};
pub use mariadb::MariaDb;
pub use mongo::{MongoMode, Mongodump};
pub use postgres::Postgres;
pub use redis::Redis;
pub use restic::Repository;
pub use smtp::{Mail, Part, SmtpFault, SmtpSink, SmtpStep, SmtpTls};
pub use sshd::Sshd;
pub use stick::Stick;

use std::net::TcpListener;

/// A TCP port of 127.0.0.1 on which nothing listens now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("the listener's address").port()
}
