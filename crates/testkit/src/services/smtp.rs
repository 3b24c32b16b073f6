//! A mail server that keeps what it is sent, speaks TLS, and refuses or fails as told.

mod mail;
mod session;

pub use mail::{Mail, Part};

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// How long [`SmtpSink::wait_for`] waits, and how long a silent client is listened to.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the sink secures its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// Not at all.
    None,
    /// By STARTTLS, which it offers and does not ask for.
    StartTls,
    /// By TLS from the first byte.
    Implicit,
}

/// A moment of a conversation at which the sink may do something else than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpStep {
    /// Before its first word.
    Greeting,
    /// After `EHLO`.
    Hello,
    /// After `STARTTLS`.
    StartTls,
    /// After `AUTH`, before anything is checked.
    Auth,
    /// After `MAIL FROM`.
    Sender,
    /// After each `RCPT TO`.
    Recipient,
    /// After `DATA`.
    Data,
    /// After the message has come whole; it is kept only by [`SmtpFault::Close`].
    Message,
    /// After `QUIT`.
    Quit,
}

/// What it does then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SmtpFault {
    /// Says this line, e.g. `421 4.3.2 going down`, and goes on.
    Say(String),
    /// Nothing, ever: the connection stays open until the sink is dropped.
    Hang,
    /// Closes the connection without a word.
    Close,
}

#[derive(Default)]
struct State {
    mails: Vec<Mail>,
    commands: Vec<String>,
    connections: usize,
    login: Option<(String, String)>,
    refused: Vec<String>,
    once: VecDeque<(SmtpStep, SmtpFault)>,
    always: Vec<(SmtpStep, SmtpFault)>,
    open: Vec<TcpStream>,
    ended: bool,
}

struct Shared {
    state: Mutex<State>,
    came: Condvar,
    tls: SmtpTls,
    config: Arc<ServerConfig>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mail server on 127.0.0.1 with a certificate of an authority of its own. It takes every message
/// from everybody unless told otherwise, and ends on drop.
pub struct SmtpSink {
    address: SocketAddr,
    authority: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl SmtpSink {
    /// Starts it on a free port.
    pub fn start(tls: SmtpTls) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("the listener's address");
        let (authority, config) = certified(address.port());
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            came: Condvar::new(),
            tls,
            config: Arc::new(config),
        });
        let inner = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &inner));
        Self { address, authority, shared, acceptor: Some(acceptor) }
    }

    /// Its host, which its certificate names.
    pub fn host(&self) -> String {
        self.address.ip().to_string()
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The authority that signed its certificate, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// From now on a message is taken only after this login, by AUTH PLAIN or AUTH LOGIN. As usual,
    /// none is offered before TLS has begun, where there is TLS.
    pub fn require_login(&self, user: &str, password: &str) {
        self.shared.state().login = Some((user.to_owned(), password.to_owned()));
    }

    /// From now on this recipient is refused with a 550.
    pub fn refuse_recipient(&self, address: &str) {
        self.shared.state().refused.push(address.to_owned());
    }

    /// Does this the next time that step is reached.
    pub fn fail_once(&self, step: SmtpStep, fault: SmtpFault) {
        self.shared.state().once.push_back((step, fault));
    }

    /// Does this each time that step is reached.
    pub fn fail_always(&self, step: SmtpStep, fault: SmtpFault) {
        self.shared.state().always.push((step, fault));
    }

    /// Every message so far.
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.state().mails.clone()
    }

    /// Every command so far, what belongs to a login left out. Those that came in the clear begin
    /// with `clear: `.
    pub fn commands(&self) -> Vec<String> {
        self.shared.state().commands.clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// Waits until there are at least so many messages and returns all; ends the test when they do
    /// not come within 30 s.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Mail> {
        let state = self.shared.state();
        let waited =
            self.shared.came.wait_timeout_while(state, PATIENCE, |s| s.mails.len() < count);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let came = &state.mails;
        assert!(came.len() >= count, "{count} messages were to come, came {came:#?}");
        came.clone()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.ended = true;
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        // Wakes the acceptor, which then sees that it has ended.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.state().ended {
            return;
        }
        let Ok(stream) = stream else { continue };
        shared.state().connections += 1;
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A client that goes away in the middle is none of the sink's business.
            let _ = session::serve(stream, &shared);
        });
    }
}

/// An authority, named by the port, and a server's configuration that it vouches for.
fn certified(port: u16) -> (String, ServerConfig) {
    let made = || -> Result<_, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, format!("sink {port}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate()?;
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        Ok((authority, certificate.der().clone(), key.serialize_der()))
    };
    let (authority, certificate, key) = made().expect("a certificate can be made");
    let key = PrivateKeyDer::try_from(key).expect("a PKCS#8 key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key is the certificate's");
    (authority, config)
}
