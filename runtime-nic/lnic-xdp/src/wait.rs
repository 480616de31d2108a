//! Lambdas that wait for services, seen from user space: programs in their places, requests and answers as frames.

use std::net::SocketAddrV4;

use lambdac_backend_ebpf::abi::wait;
use lambdac_backend_ebpf::packet;
use lambdac_driver::testing::memcached::Command;
use lnic_ether::frame::{self, Endpoint};

use crate::error::{Error, Result};
use crate::image::Image;
use crate::program::TestRun;

/// Puts the programs for answers and continuations of workloads, by position, where the dispatcher looks for them.
/// Nothing is done for an image in which no lambda waits.
///
/// # Errors
/// If the kernel refuses.
pub fn fill(image: &Image, workloads: &[&str]) -> Result<()> {
    let Some(array) = image.maps().get(wait::RESUMES) else {
        return Ok(());
    };
    array.set_program(0, image.program(wait::ANSWER)?)?;
    for (index, workload) in (wait::FIRST_RESUME..).zip(workloads) {
        if let Some(program) = image.programs().get(&wait::resume_program(workload)) {
            array.set_program(index, program)?;
        }
    }
    Ok(())
}

/// Has answers that nothing in an image waits for go to the image before it.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn link(image: &Image, previous: &Image) -> Result<()> {
    let (Some(array), Some(answer)) = (
        image.maps().get(wait::RESUMES),
        previous.programs().get(wait::ANSWER),
    ) else {
        return Ok(());
    };
    array.set_program(wait::PREVIOUS, answer)
}

/// A request to a service, as a program sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where it comes from: one of our ports.
    pub from: Endpoint,
    /// The service.
    pub to: Endpoint,
    /// memcached's request id.
    pub id: u16,
    /// What it asks.
    pub command: Command,
}

impl Asked {
    /// Reads a frame that goes to one of the services.
    ///
    /// # Errors
    /// In words, what is not as memcached's protocol wants it.
    pub fn read(frame: &[u8]) -> std::result::Result<Self, String> {
        let (from, to, datagram) = frame::read_udp(frame).map_err(|error| error.to_string())?;
        let wrong = || format!("`{}` is no request to a service", datagram.escape_ascii());
        let (head, text) = datagram.split_first_chunk::<8>().ok_or_else(wrong)?;
        let [a, b, 0, 0, 0, 1, 0, 0] = *head else {
            return Err(wrong());
        };
        Ok(Self {
            from,
            to,
            id: u16::from_be_bytes([a, b]),
            command: Command::read(text).ok_or_else(wrong)?,
        })
    }

    /// The service's address.
    pub fn service(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.to.address, self.to.port)
    }

    /// The frame of an answer of one datagram.
    pub fn answer(&self, text: &[u8]) -> Vec<u8> {
        self.answer_as(self.id, text)
    }

    /// The frame of an answer with another id.
    pub fn answer_as(&self, id: u16, text: &[u8]) -> Vec<u8> {
        let mut datagram = id.to_be_bytes().to_vec();
        datagram.extend_from_slice(&[0, 0, 0, 1, 0, 0]);
        datagram.extend_from_slice(text);
        frame::udp(self.to, self.from, &datagram)
    }
}

/// Runs the program for packets that come to one of our ports.
///
/// # Errors
/// If the kernel refuses.
pub fn run_answer(image: &Image, frame: &[u8]) -> Result<TestRun> {
    image.program(lambdac_backend_ebpf::abi::DISPATCH)?.run(frame, 1)
}

/// Ends the wait that a request belongs to, as its timeout would, if it waits still.
///
/// # Errors
/// If the kernel refuses.
pub fn run_expire(image: &Image, id: u16) -> Result<TestRun> {
    let map = image.map(wait::WAITS)?;
    let slot = u32::from(id) & (map.def().max_entries - 1);
    let value = map.lookup(&slot.to_ne_bytes())?;
    let word = value.as_deref().and_then(|value| value.first_chunk::<8>());
    let word = word
        .copied()
        .map(u64::from_le_bytes)
        .ok_or_else(|| Error::Absent {
            what: "slot",
            name: slot.to_string(),
        })?;
    let expire = image.program(wait::EXPIRE)?;
    expire.run(&wait::expire_frame(slot, word), 1)
}

/// Whether a frame that a program sent is a datagram from one of a row of ports.
pub fn is_from(frame: &[u8], ports: wait::Ports) -> bool {
    let at = packet::UDP as usize;
    let port = frame
        .get(at..at + 2)
        .map(|port| u16::from_be_bytes([port[0], port[1]]));
    port.is_some_and(|port| port.wrapping_sub(ports.first) < ports.count)
}
