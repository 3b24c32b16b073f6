//! An HTTP endpoint that keeps what it is sent and answers as told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long [`HttpReceiver::wait_for`] waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, its percent escapes and plus signs undone.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| unescaped(key) == name).map(|(_, value)| unescaped(value))
    }
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, decoded) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// This status and body.
    Status(u16, String),
    /// This status, these headers and this body, e.g. for a redirection.
    Full(u16, Vec<(String, String)>, String),
    /// Nothing, ever: the connection stays open until the receiver is dropped.
    Hang,
    /// The connection is closed without an answer.
    Close,
}

impl Reply {
    /// This status with an empty body.
    pub fn status(status: u16) -> Self {
        Self::Status(status, String::new())
    }
}

struct State {
    requests: Vec<Request>,
    queue: VecDeque<Reply>,
    otherwise: Reply,
    open: Vec<TcpStream>,
    ended: bool,
}

struct Shared {
    state: Mutex<State>,
    came: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server on 127.0.0.1 that takes every request, answers 200 unless told otherwise, and ends on
/// drop.
pub struct HttpReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl HttpReceiver {
    /// Starts it on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("the listener's address");
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                requests: Vec::new(),
                queue: VecDeque::new(),
                otherwise: Reply::Status(200, "{\"ok\":true}".to_owned()),
                open: Vec::new(),
                ended: false,
            }),
            came: Condvar::new(),
        });
        let inner = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &inner));
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// `http://127.0.0.1:{port}`, without a final slash.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The base URL with this path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url())
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The next request that has no reply yet gets this one.
    pub fn reply_once(&self, reply: Reply) {
        self.shared.state().queue.push_back(reply);
    }

    /// Every request without a reply of its own gets this one.
    pub fn reply_always(&self, reply: Reply) {
        self.shared.state().otherwise = reply;
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// Waits until there are at least so many requests and returns all; ends the test when they do
    /// not come within 30 s.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Request> {
        let state = self.shared.state();
        let waited =
            self.shared.came.wait_timeout_while(state, PATIENCE, |s| s.requests.len() < count);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let came = &state.requests;
        assert!(came.len() >= count, "{count} requests were to come, came {came:#?}");
        came.clone()
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        self.shared.state().requests.clear();
    }
}

impl Drop for HttpReceiver {
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
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let _ = serve(stream, &shared);
        });
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    // A client that opens a connection and says nothing must not keep a thread for ever.
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let Some(request) = read_request(&mut reader, &mut stream)? else { return Ok(()) };
    let reply = {
        let mut state = shared.state();
        let reply = state.queue.pop_front().unwrap_or_else(|| state.otherwise.clone());
        state.requests.push(request);
        if reply == Reply::Hang {
            state.open.push(stream.try_clone()?);
        }
        shared.came.notify_all();
        reply
    };
    let (status, headers, body) = match reply {
        Reply::Status(status, body) => (status, Vec::new(), body),
        Reply::Full(status, headers, body) => (status, headers, body),
        // `open` holds the connection.
        Reply::Hang => return Ok(()),
        Reply::Close => return stream.shutdown(Shutdown::Both),
    };
    write!(stream, "HTTP/1.1 {status} Told\r\nconnection: close\r\n")?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "content-length: {}\r\n\r\n{body}", body.len())?;
    stream.flush()
}

fn read_request(
    reader: &mut BufReader<TcpStream>,
    stream: &mut TcpStream,
) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let mut request = Request { method, target, headers, body: Vec::new() };
    if request.header("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if request.header("transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16);
            let size = size.map_err(|e| std::io::Error::other(e.to_string()))?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            request.body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = request.header("content-length").and_then(|l| l.parse().ok()) {
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
    }
    Ok(Some(request))
}
