//! E-mail over SMTP.
//!
//! The conversation is held step by step, not by lettre's transport: so a refusal names the step and
//! the address, and a message that was taken stays delivered whatever comes after it.

mod message;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::ports::{Clock, Notifier};
use backupctl_domain::project::{EmailChannel, SmtpSecurity};
use backupctl_domain::{ErrorCode, Failure, Notice, Redactor, Secret};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};

use self::message::Addresses;
use crate::tries::{TIMEOUT, innermost, twice};

/// How long a server may take to say goodbye; nothing depends on it any more.
const GOODBYE: Duration = Duration::from_secs(1);

/// The longest part of a server's reply that is quoted, in characters.
const REPLY_LIMIT: usize = 300;

const REACH: &str = "check that `notification.config.smtp_host` and `smtp_port` name a mail server \
                     that is up, and that `smtp_security` is what it offers there";
const SECURE: &str = "set `notification.config.smtp_security` to what the server offers, or have \
                      STARTTLS switched on there";
const TRUST: &str = "set `notification.config.smtp_host` to the name in the server's certificate, \
                     and add the authority that signed it to those of this system";
const LOGIN: &str = "correct `notification.config.user` and `notification.config.password`";
const SENDER: &str = "correct `notification.config.from`, or let this user send as it";
const RECIPIENT: &str = "correct `notification.config.to`, or have the server accept the address";
const CONTENT: &str = "ask the owner of the mail server why it does not take the message";

/// Mails notices, one message to all recipients.
pub struct Email {
    host: String,
    port: u16,
    security: SmtpSecurity,
    addresses: Result<Addresses, Problem>,
    login: Option<(String, Secret)>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    roots: Vec<Certificate>,
}

/// What went wrong, and what to do about it.
#[derive(Debug, Clone)]
struct Problem {
    why: String,
    fix: &'static str,
}

fn problem(why: impl Into<String>, fix: &'static str) -> Problem {
    Problem { why: why.into(), fix }
}

impl Email {
    /// Makes one. Settings that cannot be used are told by `check` and by each delivery.
    ///
    /// # Errors
    ///
    /// `INTERNAL` where the password was not resolved before.
    pub fn new(channel: &EmailChannel, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        if let Some(password) = &channel.password {
            password.expose()?;
        }
        Ok(Self {
            host: channel.host.trim().to_owned(),
            port: channel.port,
            security: channel.security,
            addresses: usable(channel),
            login: channel.user.clone().zip(channel.password.clone()),
            clock,
            timeout: TIMEOUT,
            roots: Vec::new(),
        })
    }

    /// The same with another time limit for each try; 10 s unless told otherwise.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same, trusting this authority (PEM) beside those of the system.
    ///
    /// # Errors
    ///
    /// `INVALID_CONFIG` where that is no certificate.
    pub fn with_authority(mut self, pem: &[u8]) -> Result<Self, Failure> {
        let certificate = Certificate::from_pem(pem).map_err(|e| {
            let why = format!("the authority is no PEM certificate: {}", innermost(&e));
            Failure::new(ErrorCode::InvalidConfig, why)
        })?;
        self.roots.push(certificate);
        Ok(self)
    }

    fn addresses(&self) -> Result<&Addresses, Failure> {
        self.addresses.as_ref().map_err(|p| {
            let message = format!("e-mail: {}", p.why);
            Failure::new(ErrorCode::NotifyFailed, message).with_remedy(p.fix).permanent()
        })
    }

    /// What the server's certificate is checked by; `None` without TLS. Reads the system's
    /// authorities.
    fn tls(&self) -> Result<Option<TlsParameters>, Problem> {
        if self.security == SmtpSecurity::None {
            return Ok(None);
        }
        let mut builder = TlsParameters::builder(self.host.clone());
        for root in &self.roots {
            builder = builder.add_root_certificate(root.clone());
        }
        let tls = builder
            .build()
            .map_err(|e| problem(format!("TLS cannot be set up: {}", innermost(&e)), TRUST))?;
        Ok(Some(tls))
    }

    async fn deliver(
        &self,
        tls: Option<&TlsParameters>,
        addresses: &Addresses,
        message: &[u8],
    ) -> Result<(), Problem> {
        let conversation = async {
            let mut server = self.connect(tls, addresses).await?;
            let taken = self.hand_over(&mut server, addresses, message).await;
            Ok((server, taken))
        };
        self.converse(conversation).await
    }

    /// Connects and logs in, and no more.
    async fn greet(
        &self,
        tls: Option<&TlsParameters>,
        addresses: &Addresses,
    ) -> Result<(), Problem> {
        let conversation = async {
            let mut server = self.connect(tls, addresses).await?;
            let taken = self.log_in(&mut server).await;
            Ok((server, taken))
        };
        self.converse(conversation).await
    }

    /// Holds a conversation within the time limit, and says goodbye.
    async fn converse(
        &self,
        conversation: impl Future<Output = Result<(AsyncSmtpConnection, Result<(), Problem>), Problem>>,
    ) -> Result<(), Problem> {
        let (mut server, taken) =
            tokio::time::timeout(self.timeout, conversation).await.map_err(|_| {
                problem(format!("no answer within {} s", self.timeout.as_secs_f32()), REACH)
            })??;
        let _ = tokio::time::timeout(GOODBYE, server.quit()).await;
        taken
    }

    fn failed(&self, Problem { why, fix }: Problem) -> Failure {
        let message = format!("smtp {}:{}: {why}", self.host, self.port);
        Failure::new(ErrorCode::NotifyFailed, message).with_remedy(fix)
    }

    /// A connection that is secured as configured, or none: nothing goes out in the clear instead.
    async fn connect(
        &self,
        tls: Option<&TlsParameters>,
        addresses: &Addresses,
    ) -> Result<AsyncSmtpConnection, Problem> {
        let name = hello(addresses);
        let wrapper = tls.filter(|_| self.security == SmtpSecurity::Tls).cloned();
        let server = (self.host.as_str(), self.port);
        let mut server = AsyncSmtpConnection::connect_tokio1(server, None, &name, wrapper, None)
            .await
            .map_err(|e| self.refused("connection", &e, REACH))?;
        if let (SmtpSecurity::StartTls, Some(tls)) = (self.security, tls) {
            if !server.can_starttls() {
                return Err(problem(
                    "STARTTLS is not offered, and nothing is sent without",
                    SECURE,
                ));
            }
            let upgraded = server.starttls(tls.clone(), &name).await;
            upgraded.map_err(|e| self.refused("STARTTLS", &e, SECURE))?;
        }
        Ok(server)
    }

    async fn log_in(&self, server: &mut AsyncSmtpConnection) -> Result<(), Problem> {
        let Some((user, password)) = &self.login else { return Ok(()) };
        let password = password.expose().map_err(|e| problem(e.message, LOGIN))?;
        let credentials = Credentials::new(user.clone(), password.to_owned());
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        if server.server_info().get_auth_mechanism(&mechanisms).is_none() {
            return Err(problem("neither AUTH PLAIN nor AUTH LOGIN is offered", LOGIN));
        }
        let accepted = server.auth(&mechanisms, &credentials).await;
        accepted.map_err(|e| self.refused(&format!("login as {user}"), &e, LOGIN))?;
        Ok(())
    }

    async fn hand_over(
        &self,
        server: &mut AsyncSmtpConnection,
        addresses: &Addresses,
        message: &[u8],
    ) -> Result<(), Problem> {
        self.log_in(server).await?;
        let Addresses { from, to } = addresses;
        let mut options = Vec::new();
        if !to.iter().chain([from]).all(|m| AsRef::<str>::as_ref(&m.email).is_ascii()) {
            if !server.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(problem("only addresses in ASCII are taken", RECIPIENT));
            }
            options.push(MailParameter::SmtpUtfEight);
        }
        let accepted = server.command(Mail::new(Some(from.email.clone()), options)).await;
        accepted.map_err(|e| self.refused(&format!("sender {}", from.email), &e, SENDER))?;
        let mut refused = Vec::new();
        for mailbox in to {
            let Err(e) = server.command(Rcpt::new(mailbox.email.clone(), Vec::new())).await else {
                continue;
            };
            let what = format!("recipient {}", mailbox.email);
            refused.push(self.refused(&what, &e, RECIPIENT).why);
            if e.status().is_none() {
                break;
            }
        }
        // All or nobody: a message that went to some would come to them again with the next try.
        if !refused.is_empty() {
            return Err(problem(refused.join("; "), RECIPIENT));
        }
        server.command(Data).await.map_err(|e| self.refused("message", &e, CONTENT))?;
        server.message(message).await.map_err(|e| self.refused("message", &e, CONTENT))?;
        Ok(())
    }

    /// What the server said to a step, or what ended the connection there.
    fn refused(&self, step: &str, error: &Error, fix: &'static str) -> Problem {
        let text = innermost(error);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text: String = self.redactor().redact(&text).chars().take(REPLY_LIMIT).collect();
        if let Some(code) = error.status() {
            return problem(format!("{step}: {code} {text}").trim_end(), fix);
        }
        // rustls' words for every reason to distrust a server.
        if text.contains("peer certificate") {
            return problem(format!("{step}: {text}"), TRUST);
        }
        if error.is_response() && text == "incomplete response" {
            return problem(format!("{step}: closed by the server"), REACH);
        }
        problem(format!("{step}: {text}"), REACH)
    }

    /// Knows the password, also in the forms in which it is sent and might be quoted.
    fn redactor(&self) -> Redactor {
        let Some((user, password)) = &self.login else { return Redactor::default() };
        let Ok(password) = password.expose() else { return Redactor::default() };
        Redactor::new([
            password.to_owned(),
            BASE64_STANDARD.encode(password),
            BASE64_STANDARD.encode(format!("\0{user}\0{password}")),
        ])
    }
}

#[async_trait]
impl Notifier for Email {
    async fn notify(&self, notice: &Notice) -> Result<(), Failure> {
        let addresses = self.addresses()?;
        let message = message::compose(notice, addresses, self.clock.now())
            .map_err(|e| Failure::internal(format!("an e-mail cannot be written: {e}")))?;
        let sent = match self.tls() {
            Ok(tls) => {
                let tls = tls.as_ref();
                let sent = twice(self.clock.as_ref(), || self.deliver(tls, addresses, &message));
                sent.await.map_err(|p| problem(format!("{} (2 tries)", p.why), p.fix))
            }
            Err(problem) => Err(problem),
        };
        sent.map_err(|problem| self.failed(problem))
    }

    async fn check(&self) -> Result<(), Failure> {
        self.addresses().map(drop)
    }

    async fn reach(&self) -> Result<(), Failure> {
        let addresses = self.addresses()?;
        let greeted = match self.tls() {
            Ok(tls) => self.greet(tls.as_ref(), addresses).await,
            Err(problem) => Err(problem),
        };
        greeted.map_err(|problem| self.failed(problem))
    }
}

/// The addresses of a channel that can be used, or what is wrong with it.
fn usable(channel: &EmailChannel) -> Result<Addresses, Problem> {
    if channel.host.trim().is_empty() {
        let why = "no server is named";
        return Err(problem(why, "set `notification.config.smtp_host` to the mail server"));
    }
    let mailbox = |key: &str, text: &str, fix| {
        let parsed = text.trim().parse::<Mailbox>();
        parsed.map_err(|e| problem(format!("`{key}: {text}` is no address: {e}"), fix))
    };
    let fix = "set `notification.config.from` to an address like `Backup <backup@example.org>`";
    let from = mailbox("from", &channel.from, fix)?;
    let fix = "set `notification.config.to` to an address or a list of addresses";
    let to = channel.to.iter().map(|to| mailbox("to", to, fix)).collect::<Result<Vec<_>, _>>()?;
    if to.is_empty() {
        return Err(problem("there is no recipient", fix));
    }
    // A user alone is no login: some name it for the sender's sake.
    if channel.user.is_none() && channel.password.is_some() {
        let fix = "set `notification.config.user` as well, or remove `password`";
        return Err(problem("there is a password and no user", fix));
    }
    Ok(Addresses { from, to })
}

/// The name that the server is greeted with: this host's where it has a whole one, else the sender's
/// domain. Large providers turn away `localhost` and bare addresses.
fn hello(addresses: &Addresses) -> ClientId {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let whole = host.contains('.') && host.is_ascii();
    ClientId::Domain(if whole { host } else { addresses.from.email.domain().to_owned() })
}
