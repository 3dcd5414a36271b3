//! A web server that takes down what it is told.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// One request.
#[derive(Debug, Clone)]
pub struct Heard {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// See the module.
pub struct Receiver {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    answers: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    /// Listens on the loopback, without TLS.
    pub fn start() -> Receiver {
        Receiver::serve(|stream, take| take(Box::new(stream)))
    }

    /// Listens with a certificate that nobody has signed but itself.
    pub fn with_tls() -> Receiver {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).expect("made");
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate");
        let config = Arc::new(config);
        Receiver::serve(move |stream, take| {
            let connection = rustls::ServerConnection::new(config.clone()).expect("a connection");
            take(Box::new(rustls::StreamOwned::new(connection, stream)));
        })
    }

    fn serve(wrap: impl Fn(TcpStream, &dyn Fn(Box<dyn Stream>)) + Send + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (heard, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let receiver = Receiver { address, heard: heard.clone(), answers: answers.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                wrap(stream, &|stream| one(stream, &heard, &answers));
            }
        });
        receiver
    }

    /// What it was told so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("whole").clone()
    }

    /// What it answers next, in this order; after that `200 OK`. An empty one is a connection that ends without an answer.
    pub fn answers(&self, answers: &[&str]) {
        *self.answers.lock().expect("whole") = answers.iter().map(|answer| (*answer).to_owned()).collect();
    }
}

/// What a request comes over.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn one(stream: Box<dyn Stream>, heard: &Mutex<Vec<Heard>>, answers: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').expect("a header");
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    heard.lock().expect("whole").push(Heard { path, headers, body: String::from_utf8(body).expect("text") });
    let next = {
        let mut answers = answers.lock().expect("whole");
        if answers.is_empty() { "200 OK".to_owned() } else { answers.remove(0) }
    };
    if next.is_empty() {
        return;
    }
    let (status, body) = next.split_once('\n').unwrap_or((&next, "{}"));
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let stream = reader.get_mut();
    let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
}
