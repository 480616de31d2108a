//! A service of a test's own, and a workload that waits for it.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use lambdac_tests::peers::netns::{CLIENT, Net, Side};

use super::inside::inside;

/// A service in the client's namespace that has every key, with the key, reversed, as its value, and stores everything.
/// While it is silent it keeps its answers to itself, and sends them afterwards.
pub struct Service {
    /// Whether it keeps its answers.
    pub silent: Arc<AtomicBool>,
    /// Requests that came.
    pub asked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts it.
    pub fn start(net: &Net) -> Self {
        let socket = inside(net, Side::Client, || UdpSocket::bind((CLIENT, 11211)).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (silent, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let asked = Arc::new(AtomicU64::new(0));
        let (quiet, over, seen) = (silent.clone(), stop.clone(), asked.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            let mut kept = Vec::new();
            while !over.load(SeqCst) {
                if let Ok((len, from)) = socket.recv_from(&mut buffer)
                    && let Some(answer) = answer(&buffer[..len])
                {
                    seen.fetch_add(1, SeqCst);
                    kept.push((answer, from));
                }
                if quiet.load(SeqCst) {
                    continue;
                }
                for (answer, from) in kept.drain(..) {
                    // The second one finds nothing that waits.
                    for _ in 0..2 {
                        socket.send_to(&answer, from).unwrap();
                    }
                }
            }
        });
        Self {
            silent,
            asked,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The answer to a datagram; none to what is no whole get or set.
fn answer(datagram: &[u8]) -> Option<Vec<u8>> {
    let (head, text) = datagram.split_first_chunk::<8>()?;
    if let Some(rest) = text.strip_prefix(b"set key 0 0 ") {
        let (len, rest) = rest.split_at(rest.iter().position(|&byte| byte == b'\r')?);
        let len: usize = std::str::from_utf8(len).ok()?.parse().ok()?;
        let value = rest.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")?;
        let whole = value.len() == len && value.iter().zip(0u8..=255).all(|(&byte, at)| byte == at);
        return whole.then(|| [&head[..], b"STORED\r\n"].concat());
    }
    let key = text.strip_prefix(b"get ")?.strip_suffix(b"\r\n")?;
    let value: Vec<u8> = key.iter().rev().copied().collect();
    let line = format!("VALUE {} 0 {}\r\n", key.escape_ascii(), value.len());
    Some([&head[..], line.as_bytes(), &value, b"\r\nEND\r\n"].concat())
}

/// The workload; what it says where the await fails tells versions apart.
pub fn source(timeout: &str, failed: &str) -> String {
    format!(
        "workload waits;
service cache = memcached(\"{CLIENT}:11211\", timeout = {timeout});
state asked: counter;
lambda waits(key: bytes<32>) -> bytes<64> {{
    asked.add(1);
    let mut out: bytes<64>;
    out.append(key);
    out.push(b'/');
    let value = await cache.get(key) else {{
        out.append(if cache.failed() {{ b\"{failed}\" }} else {{ b\"missing\" }});
        reply out;
    }};
    out.append(value as bytes<32>);
    reply out;
}}
"
    )
}
