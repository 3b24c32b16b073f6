//! One conversation with a client.

use std::io::{Error, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::{ServerConnection, StreamOwned};

use super::{Mail, PATIENCE, Shared, SmtpFault, SmtpStep, SmtpTls};

/// The connection, in the clear or not.
enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    fn tls(socket: TcpStream, shared: &Shared) -> Result<Self> {
        let server = ServerConnection::new(Arc::clone(&shared.config)).map_err(Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(server, socket))))
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Clear(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    fn byte(&mut self) -> Result<Option<u8>> {
        let mut byte = [0];
        let read = match self {
            Self::Clear(socket) => socket.read(&mut byte)?,
            Self::Tls(stream) => stream.read(&mut byte)?,
        };
        Ok((read == 1).then_some(byte[0]))
    }

    /// A line without its end; `None` where there is none any more.
    fn line(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        loop {
            match self.byte()? {
                Some(b'\n') => break,
                Some(byte) => bytes.push(byte),
                None => return Ok(None),
            }
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let bytes = format!("{line}\r\n").into_bytes();
        match self {
            Self::Clear(socket) => socket.write_all(&bytes),
            Self::Tls(stream) => {
                stream.write_all(&bytes)?;
                stream.flush()
            }
        }
    }
}

/// What is known of the client so far.
#[derive(Default)]
struct Guest {
    user: Option<String>,
    from: String,
    to: Vec<String>,
}

/// How a conversation goes on.
enum Next {
    Go,
    End,
}

/// Talks until the client leaves.
pub(super) fn serve(socket: TcpStream, shared: &Shared) -> Result<()> {
    // A client that opens a connection and says nothing must not keep a thread for ever.
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut wire = match shared.tls {
        SmtpTls::Implicit => Wire::tls(socket, shared)?,
        SmtpTls::None | SmtpTls::StartTls => Wire::Clear(socket),
    };
    if matches!(answer(&mut wire, shared, SmtpStep::Greeting, "220 sink ESMTP")?, Next::End) {
        return Ok(());
    }
    let mut guest = Guest::default();
    while let Some(line) = wire.line()? {
        note(&line, &wire, shared);
        if line.eq_ignore_ascii_case("STARTTLS") && offers_tls(&wire, shared) {
            if matches!(answer(&mut wire, shared, SmtpStep::StartTls, "220 go on")?, Next::End) {
                return Ok(());
            }
            let Wire::Clear(socket) = wire else { return Ok(()) };
            wire = Wire::tls(socket, shared)?;
            guest = Guest::default();
            continue;
        }
        if matches!(obey(&line, &mut wire, &mut guest, shared)?, Next::End) {
            return Ok(());
        }
    }
    Ok(())
}

fn offers_tls(wire: &Wire, shared: &Shared) -> bool {
    shared.tls == SmtpTls::StartTls && !wire.is_tls()
}

fn note(line: &str, wire: &Wire, shared: &Shared) {
    let clear = if wire.is_tls() { "" } else { "clear: " };
    let mut words = line.split(' ');
    let shown = match words.next() {
        Some(verb) if verb.eq_ignore_ascii_case("AUTH") => {
            format!("{verb} {}", words.next().unwrap_or_default())
        }
        _ => line.to_owned(),
    };
    shared.state().commands.push(format!("{clear}{shown}"));
}

/// Answers as usual, or as told for this step.
fn answer(wire: &mut Wire, shared: &Shared, step: SmtpStep, usual: &str) -> Result<Next> {
    match fault(shared, step) {
        None => wire.say(usual)?,
        Some(fault) => return fail(wire, shared, &fault),
    }
    Ok(Next::Go)
}

fn fault(shared: &Shared, step: SmtpStep) -> Option<SmtpFault> {
    let mut state = shared.state();
    let once = state.once.iter().position(|(at, _)| *at == step);
    let once = once.and_then(|i| state.once.remove(i));
    once.or_else(|| state.always.iter().find(|(at, _)| *at == step).cloned()).map(|(_, f)| f)
}

fn fail(wire: &mut Wire, shared: &Shared, fault: &SmtpFault) -> Result<Next> {
    match fault {
        SmtpFault::Say(line) => {
            wire.say(line)?;
            return Ok(Next::Go);
        }
        // The second handle keeps the connection open, unless the sink has ended meanwhile.
        SmtpFault::Hang => {
            let mut state = shared.state();
            if !state.ended {
                state.open.push(wire.socket().try_clone()?);
            }
        }
        SmtpFault::Close => wire.socket().shutdown(Shutdown::Both)?,
    }
    Ok(Next::End)
}

fn obey(line: &str, wire: &mut Wire, guest: &mut Guest, shared: &Shared) -> Result<Next> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let login = shared.state().login.clone();
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" | "HELO" => {
            let offer = if offers_tls(wire, shared) {
                "250-STARTTLS\r\n"
            } else if login.is_some() {
                "250-AUTH PLAIN LOGIN\r\n"
            } else {
                ""
            };
            let text = format!("250-sink\r\n{offer}250 8BITMIME");
            answer(wire, shared, SmtpStep::Hello, &text)
        }
        "AUTH" => auth(rest, wire, guest, shared),
        "MAIL" if login.is_some() && guest.user.is_none() => go(wire, "530 5.7.0 log in first"),
        "MAIL" => {
            guest.from = path(rest);
            answer(wire, shared, SmtpStep::Sender, "250 2.1.0 fine")
        }
        "RCPT" => {
            let address = path(rest);
            if shared.state().refused.contains(&address) {
                return go(wire, "550 5.1.1 no such mailbox here");
            }
            guest.to.push(address);
            answer(wire, shared, SmtpStep::Recipient, "250 2.1.5 fine")
        }
        "DATA" if guest.to.is_empty() => go(wire, "503 5.5.1 no recipient"),
        "DATA" => data(wire, guest, shared),
        "NOOP" => go(wire, "250 2.0.0 fine"),
        "RSET" => {
            guest.to.clear();
            go(wire, "250 2.0.0 fine")
        }
        "QUIT" => {
            answer(wire, shared, SmtpStep::Quit, "221 2.0.0 bye")?;
            Ok(Next::End)
        }
        _ => go(wire, "502 5.5.2 not known here"),
    }
}

fn go(wire: &mut Wire, line: &str) -> Result<Next> {
    wire.say(line)?;
    Ok(Next::Go)
}

/// What stands between angle brackets.
fn path(text: &str) -> String {
    let inner = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(path, _)| path.to_owned())
}

fn auth(rest: &str, wire: &mut Wire, guest: &mut Guest, shared: &Shared) -> Result<Next> {
    if let Some(fault) = fault(shared, SmtpStep::Auth) {
        return fail(wire, shared, &fault);
    }
    let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
    let given = if mechanism.eq_ignore_ascii_case("PLAIN") {
        let text = if initial.is_empty() { ask(wire, "")? } else { decoded(initial) };
        let mut fields = text.split('\0').skip(1).map(str::to_owned);
        fields.next().zip(fields.next())
    } else if mechanism.eq_ignore_ascii_case("LOGIN") {
        Some((ask(wire, "Username:")?, ask(wire, "Password:")?))
    } else {
        return go(wire, "504 5.5.4 not known here");
    };
    if given.is_some() && given == shared.state().login {
        guest.user = given.map(|(user, _)| user);
        return go(wire, "235 2.7.0 welcome");
    }
    // As unkind servers do: it quotes what it was given.
    let quoted = given.map(|(_, password)| password).unwrap_or_default();
    go(wire, &format!("535 5.7.8 wrong credentials {initial} {quoted}"))
}

fn ask(wire: &mut Wire, question: &str) -> Result<String> {
    wire.say(&format!("334 {}", BASE64_STANDARD.encode(question)))?;
    Ok(decoded(&wire.line()?.unwrap_or_default()))
}

fn decoded(text: &str) -> String {
    let bytes = BASE64_STANDARD.decode(text.trim()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn data(wire: &mut Wire, guest: &mut Guest, shared: &Shared) -> Result<Next> {
    if let Some(fault) = fault(shared, SmtpStep::Data) {
        return fail(wire, shared, &fault);
    }
    wire.say("354 go on")?;
    let mut lines = Vec::new();
    loop {
        let Some(line) = wire.line()? else { return Ok(Next::End) };
        if line == "." {
            break;
        }
        lines.push(line.strip_prefix('.').map_or(line.clone(), str::to_owned));
    }
    let mail = Mail {
        from: std::mem::take(&mut guest.from),
        to: std::mem::take(&mut guest.to),
        user: guest.user.clone(),
        encrypted: wire.is_tls(),
        text: lines.join("\n"),
    };
    let fault = fault(shared, SmtpStep::Message);
    if matches!(fault, None | Some(SmtpFault::Close)) {
        shared.state().mails.push(mail);
        shared.came.notify_all();
    }
    match fault {
        None => go(wire, "250 2.0.0 taken"),
        Some(fault) => fail(wire, shared, &fault),
    }
}
