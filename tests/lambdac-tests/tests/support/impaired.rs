//! A path that loses, repeats and reorders datagrams: a relay between a caller and a worker, the same every run.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;

/// Of a hundred datagrams in either direction, so many are lost, so many come twice, and so many after the next one.
const LOST: u64 = 15;
const TWICE: u64 = 15;
const LATE: u64 = 15;
/// How long a datagram waits for a next one before it goes on without.
const PATIENCE: Duration = Duration::from_millis(5);

/// A relay; it ends when it is dropped.
pub struct Relay {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    impaired: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Starts one on the calling thread's namespace.
    pub fn start(to: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        let back = UdpSocket::bind("0.0.0.0:0").expect("there is a free port");
        back.connect(to).expect("there is a way to the worker");
        let address = front.local_addr().expect("it is bound");
        let (stop, impaired) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let caller = Arc::new(std::sync::Mutex::new(None));
        let path = |seed| Path {
            dice: Rng::with_seed(seed),
            late: None,
            stop: stop.clone(),
            impaired: impaired.clone(),
        };
        let (there, here) = (path(1), path(2));
        let (front2, back2, caller2) = (
            front.try_clone().expect("it can be shared"),
            back.try_clone().expect("it can be shared"),
            caller.clone(),
        );
        let threads = vec![
            std::thread::spawn(move || {
                there.run(&front, &mut |datagram, from| {
                    *caller.lock().expect("no panic") = from;
                    // Nobody may listen any more.
                    let _ = back2.send(datagram);
                });
            }),
            std::thread::spawn(move || {
                here.run(&back, &mut |datagram, _| {
                    if let Some(caller) = *caller2.lock().expect("no panic") {
                        let _ = front2.send_to(datagram, caller);
                    }
                });
            }),
        ];
        Self {
            address,
            stop,
            impaired,
            threads,
        }
    }

    /// How many datagrams did not just go through.
    pub fn impaired(&self) -> u64 {
        self.impaired.load(Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

type Datagram = (Vec<u8>, Option<SocketAddr>);

/// One direction.
struct Path {
    dice: Rng,
    late: Option<Datagram>,
    stop: Arc<AtomicBool>,
    impaired: Arc<AtomicU64>,
}

impl Path {
    fn run(mut self, from: &UdpSocket, send: &mut dyn FnMut(&[u8], Option<SocketAddr>)) {
        from.set_read_timeout(Some(PATIENCE))
            .expect("a time limit can be set");
        let mut room = [0; 4096];
        while !self.stop.load(Relaxed) {
            let Ok((len, peer)) = from.recv_from(&mut room) else {
                if let Some((datagram, peer)) = self.late.take() {
                    send(&datagram, peer);
                }
                continue;
            };
            let late = self.late.take();
            let roll = self.dice.u64(..100);
            let times = match roll {
                roll if roll < LOST => 0,
                roll if roll < LOST + TWICE => 2,
                roll if roll < LOST + TWICE + LATE && late.is_none() => {
                    self.late = Some((room[..len].to_vec(), Some(peer)));
                    0
                }
                _ => 1,
            };
            self.impaired.fetch_add(u64::from(times != 1), Relaxed);
            (0..times).for_each(|_| send(&room[..len], Some(peer)));
            if let Some((datagram, peer)) = late {
                send(&datagram, peer);
            }
        }
    }
}
