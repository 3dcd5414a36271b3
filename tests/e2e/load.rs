//! Requests that go on and on, and an honest count of those that failed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

/// Clients that keep their connection, and clients that open one for every request.
const KEEPING: usize = 3;
const CLOSING: usize = 3;
/// Between two requests of one client.
const PACE: Duration = Duration::from_millis(40);
/// What takes longer has failed.
const LIMIT: Duration = Duration::from_secs(10);

/// Load on one address, until it is ended.
pub struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<Mutex<Count>>,
    clients: Vec<JoinHandle<()>>,
}

/// What became of the requests.
#[derive(Debug, Default, Clone)]
pub struct Count {
    pub sent: u64,
    /// When, since the load began, and why.
    pub failed: Vec<(Duration, String)>,
    pub slowest: Duration,
    /// Who answered: the `version` in the answer, or its first line.
    pub answers: BTreeMap<String, u64>,
}

impl Load {
    /// Begins; the address must answer already.
    pub fn on(address: &str) -> Load {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Count::default())));
        let began = Instant::now();
        let clients = (0..KEEPING + CLOSING)
            .map(|number| {
                let client = Client {
                    address: address.to_owned(),
                    keeps: number < KEEPING,
                    stop: stop.clone(),
                    count: count.clone(),
                    began,
                };
                tokio::spawn(client.work())
            })
            .collect();
        Load { stop, count, clients }
    }

    pub fn so_far(&self) -> Count {
        self.count.lock().unwrap().clone()
    }

    /// Ends it; what is in flight is waited for and counted too.
    pub async fn end(mut self) -> Count {
        self.stop.store(true, Ordering::Relaxed);
        for client in std::mem::take(&mut self.clients) {
            client.await.expect("a client of the load");
        }
        self.so_far()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Count {
    /// Panics unless every one of at least so many requests was answered well.
    pub fn assert_none_lost(&self, at_least: u64) {
        let shown: Vec<String> =
            self.failed.iter().take(10).map(|(at, why)| format!("{:.2}s: {why}", at.as_secs_f64())).collect();
        assert!(
            self.failed.is_empty(),
            "{} of {} requests failed, the first:\n  {}",
            self.failed.len(),
            self.sent,
            shown.join("\n  ")
        );
        assert!(self.sent >= at_least, "only {} requests were sent: too few to tell anything", self.sent);
        eprintln!(
            "{} requests, none failed, the slowest {:.2}s; {:?}",
            self.sent,
            self.slowest.as_secs_f64(),
            self.answers
        );
    }
}

struct Client {
    address: String,
    keeps: bool,
    stop: Arc<AtomicBool>,
    count: Arc<Mutex<Count>>,
    began: Instant,
}

impl Client {
    async fn work(self) {
        let mut connection = None;
        while !self.stop.load(Ordering::Relaxed) {
            let at = Instant::now();
            let outcome = match tokio::time::timeout(LIMIT, self.request(&mut connection)).await {
                Ok(outcome) => outcome,
                Err(_) => Err("no answer in 10 s".to_owned()),
            };
            {
                let mut count = self.count.lock().unwrap();
                count.sent += 1;
                count.slowest = count.slowest.max(at.elapsed());
                match outcome {
                    Ok(answer) => *count.answers.entry(answer).or_default() += 1,
                    Err(why) => {
                        let kind = if self.keeps { "kept connection" } else { "new connection" };
                        count.failed.push((self.began.elapsed(), format!("{kind}: {why}")));
                        connection = None;
                    }
                }
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn request(&self, connection: &mut Option<TcpStream>) -> Result<String, String> {
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect(&self.address).await.map_err(|error| format!("connecting: {error}"))?,
        };
        let then = if self.keeps { "keep-alive" } else { "close" };
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: {then}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.map_err(|error| format!("sending: {error}"))?;
        let mut bytes = Vec::new();
        let head = loop {
            let at = bytes.len();
            bytes.resize(at + 4096, 0);
            let read = stream.read(&mut bytes[at..]).await.map_err(|error| format!("receiving: {error}"))?;
            bytes.truncate(at + read);
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if read == 0 {
                return Err(format!("closed after {} bytes of an answer", bytes.len()));
            }
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let header = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        let length = header("content-length:").and_then(|length| length.parse::<usize>().ok());
        while length.is_none_or(|length| bytes.len() < head + length) {
            let mut more = [0; 4096];
            match stream.read(&mut more).await.map_err(|error| format!("receiving: {error}"))? {
                0 if length.is_none() => break,
                0 => return Err("closed in the middle of the body".into()),
                read => bytes.extend_from_slice(&more[..read]),
            }
        }
        let body = String::from_utf8_lossy(&bytes[head..]).into_owned();
        if !text.starts_with("http/1.1 200") {
            return Err(format!("{}: {}", text.lines().next().unwrap_or(""), body.trim()));
        }
        // What the server wants closed is not used again; that is no failure.
        let closing = header("connection:").is_some_and(|value| value.contains("close"));
        if self.keeps && !closing && length.is_some() {
            *connection = Some(stream);
        }
        let version = serde_json::from_str::<serde_json::Value>(&body)
            .ok()
            .and_then(|body| body["version"].as_str().map(str::to_owned));
        Ok(version.unwrap_or_else(|| body.lines().next().unwrap_or("").chars().take(40).collect()))
    }
}
