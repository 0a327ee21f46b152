//! A client of OTLP over HTTP whose manners a test chooses: it sends one span after the other
//! for as long as the server is there. Good manners are the default.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

/// How it behaves.
#[derive(Clone, Copy)]
pub(crate) struct Manners {
    pub(crate) retries: fn(u16) -> bool,
    pub(crate) retries_what_broke: bool,
    pub(crate) retries_partial_success: bool,
    pub(crate) retries_large_answers: bool,
    pub(crate) heeds_retry_after: bool,
    pub(crate) backs_off: bool,
    pub(crate) has_jitter: bool,
    pub(crate) keeps_connections: bool,
    pub(crate) follows_redirects_by_get: bool,
    pub(crate) sends_empty_requests: bool,
    pub(crate) headers: &'static str,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            retries: |status| matches!(status, 429 | 502 | 503 | 504),
            retries_what_broke: true,
            retries_partial_success: false,
            retries_large_answers: false,
            heeds_retry_after: true,
            backs_off: true,
            has_jitter: true,
            keeps_connections: true,
            follows_redirects_by_get: false,
            sends_empty_requests: false,
            headers: "content-type: application/x-protobuf\r\nuser-agent: test/1.0\r\n",
        }
    }
}

/// How long it waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);
const LARGEST_ANSWER: usize = 4 << 20;
const FIRST_DELAY: f64 = 0.05;

/// What came of an attempt.
enum Outcome {
    Done,
    Again(Option<Duration>),
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    /// `None` where it is too large.
    body: Option<Vec<u8>>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Sends in the background until it is dropped.
pub(crate) struct Sender {
    stopped: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sender {
    pub(crate) fn start(server: SocketAddr, manners: Manners) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let mut client = Client {
            server,
            manners,
            connection: None,
            stopped: Arc::clone(&stopped),
        };
        let thread = Some(thread::spawn(move || client.run()));
        Self { stopped, thread }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

struct Client {
    server: SocketAddr,
    manners: Manners,
    connection: Option<BufReader<TcpStream>>,
    stopped: Arc<AtomicBool>,
}

impl Client {
    fn run(&mut self) {
        while !self.stopped.load(Ordering::Relaxed) {
            self.deliver(&span());
            if self.manners.sends_empty_requests {
                self.exchange("POST", "/v1/traces", b"").ok();
            }
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn deliver(&mut self, body: &[u8]) {
        // Either way it goes on for a few seconds.
        let attempts = if self.manners.backs_off { 7 } else { 60 };
        for attempt in 0..attempts {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let Outcome::Again(wish) = self.attempt(body) else {
                return;
            };
            let grown = if self.manners.backs_off {
                f64::from(1_u32 << attempt)
            } else {
                1.0
            };
            let jitter = if self.manners.has_jitter {
                rand::random_range(0.6..1.4)
            } else {
                1.0
            };
            let own = Duration::from_secs_f64(FIRST_DELAY * grown * jitter);
            thread::park_timeout(own.max(wish.unwrap_or_default()));
        }
    }

    fn attempt(&mut self, body: &[u8]) -> Outcome {
        let manners = self.manners;
        let Ok(answer) = self.exchange("POST", "/v1/traces", body) else {
            self.connection = None;
            return match manners.retries_what_broke {
                true => Outcome::Again(None),
                false => Outcome::Done,
            };
        };
        if let (Some(place), true) = (answer.header("location"), manners.follows_redirects_by_get) {
            let place = place.to_owned();
            self.exchange("GET", &place, b"").ok();
            return Outcome::Done;
        }
        let Some(body) = &answer.body else {
            return match manners.retries_large_answers {
                true => Outcome::Again(None),
                false => Outcome::Done,
            };
        };
        let is_partial = answer.status == 200 && body.starts_with(b"\x0a") && body.len() > 3;
        if (manners.retries)(answer.status) || is_partial && manners.retries_partial_success {
            let wish = answer.header("retry-after").and_then(read_delay);
            return Outcome::Again(wish.filter(|_| manners.heeds_retry_after));
        }
        Outcome::Done
    }

    fn exchange(&mut self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Answer> {
        let Manners {
            headers,
            keeps_connections,
            ..
        } = self.manners;
        let mut connection = match self.connection.take() {
            Some(connection) if keeps_connections => connection,
            _ => {
                let stream = TcpStream::connect(self.server)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                BufReader::new(stream)
            }
        };
        let length = body.len();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        connection.get_mut().write_all(&request)?;
        let answer = read_answer(&mut connection)?;
        if answer.body.is_some() {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

fn read_answer(connection: &mut BufReader<TcpStream>) -> std::io::Result<Answer> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<_> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        headers,
        body: None,
    };
    let length: usize = match answer.header("content-length") {
        Some(length) => length.parse().unwrap(),
        None => 0,
    };
    if length <= LARGEST_ANSWER {
        let mut body = vec![0; length];
        connection.read_exact(&mut body)?;
        answer.body = Some(body);
    }
    Ok(answer)
}

fn read_delay(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(SystemTime::now()).ok()
}

/// A request with one span that no other is like.
fn span() -> Vec<u8> {
    let (trace, id): ([u8; 16], [u8; 8]) = (rand::random(), rand::random());
    let mut span = b"\x0a\x10".to_vec();
    span.extend(trace);
    span.extend(b"\x12\x08");
    span.extend(id);
    // Inside a scope, a resource, and the request, each shorter than 128 bytes.
    [0x12, 0x12, 0x0a].into_iter().fold(span, |inner, tag| {
        let mut outer = vec![tag, u8::try_from(inner.len()).unwrap()];
        outer.extend(inner);
        outer
    })
}
