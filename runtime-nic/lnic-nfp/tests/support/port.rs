//! A stand-in for the host's end of a card: what it sends is answered as a test says.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use lambdac_driver::nfp::{Listen, SERVICE_PORTS};
use lnic_ether::PortRow;
use lnic_ether::frame::{self, Endpoint};
use lnic_nfp::card::Port;
use lnic_wire::{Header, Kind, Status};

/// Where the λ header has its status, and what the card says there of what a lambda dropped.
const STATUS: usize = 22;
const DROPPED: u8 = 255;
/// Where the client's address is: behind the longest message.
const CLIENT: usize = lnic_wire::HEADER_LEN + lnic_wire::MAX_FRAGMENT;

/// What the card makes of a request.
pub enum OnCard {
    Reply(Status, Vec<u8>),
    Drop,
    HandUp,
    Silent,
}

type Answer = Box<dyn Fn(&Header, &[u8], u32) -> OnCard + Send>;

/// The stand-in.
pub struct StandInPort {
    listen: Listen,
    loopback: Ipv4Addr,
    answer: Mutex<Answer>,
    back: Mutex<VecDeque<Vec<u8>>>,
    came: Condvar,
    ticks: Mutex<usize>,
    hop: Mutex<[u8; 6]>,
}

/// Each has an address of its own, so that tests don't take each other's ports.
static LAST: AtomicU8 = AtomicU8::new(1);

impl StandInPort {
    pub fn new(listen: Listen) -> Self {
        let process = std::process::id().to_be_bytes();
        let last = LAST.fetch_add(1, Ordering::SeqCst);
        Self {
            listen,
            loopback: Ipv4Addr::new(127, process[2] | 0x80, process[3], last),
            answer: Mutex::new(Box::new(|_, _, _| OnCard::Silent)),
            back: Mutex::default(),
            came: Condvar::new(),
            ticks: Mutex::new(0),
            hop: Mutex::new([2, 0, 0, 0, 0, 7]),
        }
    }

    /// Where the ports are that nobody else gets.
    pub fn loopback(&self) -> Ipv4Addr {
        self.loopback
    }

    /// What the card makes of requests from now on.
    pub fn answer(&self, answer: impl Fn(&Header, &[u8], u32) -> OnCard + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// The next hop from now on.
    pub fn hop(&self, hop: [u8; 6]) {
        *self.hop.lock().unwrap() = hop;
    }

    /// Waits until the card was told so often that time goes by.
    pub fn ticks(&self, wanted: usize, within: Duration) {
        let end = Instant::now() + within;
        while *self.ticks.lock().unwrap() < wanted {
            assert!(Instant::now() < end, "the card's time stands still");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The frame that comes back of a request.
    fn made(&self, sent: &[u8], from: Endpoint, to: Endpoint, datagram: &[u8]) -> Option<Vec<u8>> {
        let (header, payload) = Header::decode(datagram, Kind::Request).unwrap();
        let client = u32::from_be_bytes(datagram[CLIENT..].try_into().unwrap());
        match (self.answer.lock().unwrap())(&header, payload, client) {
            OnCard::Reply(status, bytes) => {
                let reply = header.reply(status, 0, 1, bytes.len() as u16);
                // The packet keeps its length, whatever its headers say.
                let mut frame = frame::request(to, from, &reply, &bytes, 0);
                frame.resize(sent.len(), 0xee);
                Some(frame)
            }
            OnCard::Drop => {
                let mut frame = sent.to_vec();
                frame[frame::DATAGRAM + STATUS] = DROPPED;
                Some(frame)
            }
            OnCard::HandUp => Some(sent.to_vec()),
            OnCard::Silent => None,
        }
    }
}

impl Port for StandInPort {
    fn send(&self, sent: &[u8]) -> io::Result<()> {
        let (from, to, datagram) = frame::read_udp(sent).unwrap();
        let own = (self.listen.mac, Ipv4Addr::from_bits(self.listen.address));
        assert_eq!((to.mac, to.address), own);
        assert_eq!((from.mac, from.address), (own.0, Ipv4Addr::new(192, 0, 0, 8)));
        if to.port == SERVICE_PORTS {
            *self.ticks.lock().unwrap() += 1;
            return Ok(());
        }
        assert_eq!(to.port, self.listen.port);
        if let Some(frame) = self.made(sent, from, to, datagram) {
            self.back.lock().unwrap().push_back(frame);
            self.came.notify_all();
        }
        Ok(())
    }

    fn receive(&self, within: Duration) -> io::Result<Option<Vec<u8>>> {
        let back = self.back.lock().unwrap();
        let (mut back, _) = self
            .came
            .wait_timeout_while(back, within, |back| back.is_empty())
            .unwrap();
        Ok(back.pop_front())
    }

    fn reach(&self, service: &str) -> Result<SocketAddrV4, String> {
        let address: SocketAddrV4 = service.parse().map_err(|_| "has no IPv4 address".to_owned())?;
        match address.ip().is_loopback() {
            true => Err("is on this host".to_owned()),
            false => Ok(address),
        }
    }

    fn hop(&self, service: Ipv4Addr) -> Option<[u8; 6]> {
        assert_eq!(service, Ipv4Addr::new(198, 51, 100, 7));
        Some(*self.hop.lock().unwrap())
    }

    fn reserve(&self, first: u16) -> lnic_ether::Result<PortRow> {
        PortRow::at(self.loopback, first)
    }
}
