//! A client that shows every byte: requests can be wrong, and answers are not interpreted.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::SOON;

/// A request that is being put together.
pub(crate) struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { head: format!("{method} {target} HTTP/1.1\r\nhost: test\r\n"), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        for part in [name, ": ", value, "\r\n"] {
            self.head.push_str(part);
        }
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// A body with its length, of no type.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("content-length", &length)
    }

    pub(crate) fn json(self, body: &str) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// Sends it and reads the answer to the end of the connection.
    pub(crate) async fn send(self, address: SocketAddr) -> Answer {
        let mut stream = self.header("connection", "close").open(address).await;
        tokio::time::timeout(SOON, stream.rest()).await.unwrap();
        stream.answer
    }

    /// Sends it and reads the head of the answer.
    pub(crate) async fn open(self, address: SocketAddr) -> Stream {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(self.head.as_bytes()).await.unwrap();
        socket.write_all(b"\r\n").await.unwrap();
        // A server that refuses a body may have closed before it has read it.
        let _ = socket.write_all(&self.body).await;
        let mut socket = BufReader::new(socket);
        let head = tokio::time::timeout(SOON, read_head(&mut socket)).await.unwrap();
        Stream { answer: Answer::parse(&head), socket }
    }
}

async fn read_head(socket: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        let read = socket.read_line(&mut line).await.unwrap();
        if read == 0 || line == "\r\n" {
            return head;
        }
        head += &line;
    }
}

/// An answer whose body is still coming.
pub(crate) struct Stream {
    pub(crate) answer: Answer,
    socket: BufReader<TcpStream>,
}

impl Stream {
    /// Everything up to the end.
    pub(crate) async fn rest(&mut self) {
        // The end may come as a reset, where the server did not read all that it was sent.
        let _ = self.socket.read_to_end(&mut self.answer.body).await;
        if self.answer.header("transfer-encoding") == Some("chunked") {
            self.answer.body = unchunked(&self.answer.body);
        }
    }

    /// The next event of a stream of events, its lines joined; `None` at the end.
    pub(crate) async fn event(&mut self) -> Option<String> {
        let mut event = String::new();
        let read = async {
            loop {
                let mut line = String::new();
                if self.socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return false;
                }
                let text = line.trim_end_matches(['\r', '\n']);
                // The sizes of chunks, and the empty lines behind them.
                if line.ends_with("\r\n") {
                    if text == "0" {
                        return false;
                    }
                    continue;
                }
                if text.is_empty() && !event.is_empty() {
                    return true;
                }
                event += text;
                event.push('\n');
            }
        };
        let whole = tokio::time::timeout(SOON, read).await.unwrap();
        whole.then_some(event)
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let data = &rest[end + 2..];
        whole.extend_from_slice(&data[..size.min(data.len())]);
        rest = data.get(size + 2..).unwrap_or_default();
    }
    whole
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(head: &str) -> Self {
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            status: status.unwrap_or(0),
            headers: headers.map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The error that it is, by status, code and message.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let body = self.json();
        let text = |key: &str| body["error"][key].as_str().unwrap().to_owned();
        let keys: Vec<&str> =
            body["error"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "message", "stage", "remedy"]);
        assert!(!text("remedy").is_empty());
        (self.status, text("code"), text("message"))
    }
}
