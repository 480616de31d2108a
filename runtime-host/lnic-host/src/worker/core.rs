//! What a packet thread does with a request, from its first byte to its reply.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use lnic_wire::{Header, Kind, MAX_FRAGMENT, MAX_MESSAGE, Malformed, Offer, Reassembler, Status};
use tokio::sync::mpsc;

use super::invocation::{StreamEnd, report_trap, run_stream};
use super::outlet::{Outlet, WireOrigin};
use super::services::{Services, answer};
use super::{
    Answered, FALLBACKS, FallbackDone, FallbackJob, Handle, HttpJob, NicPunt, Origin, ReplyTo, Setup,
};
use crate::engine_api::{Answer, Continuation, HOST, Io, Outcome, Packet, Scratch, ServiceCall};
use crate::events::EventLog;
use crate::image::Image;
use crate::metrics::{Ended, Metrics, ThreadMetrics, Writer};
use crate::sys::{Epoll, Peer, RxBatch, now_ns};

/// An invocation that waits for a service.
struct Pending {
    image: Arc<Image>,
    workload: usize,
    origin: Origin,
    started: u64,
    continuation: Continuation,
}

/// A request that is being answered.
struct Request<'i> {
    image: &'i Arc<Image>,
    workload: usize,
    origin: Origin,
    started: u64,
}

/// Where an invocation starts.
enum Entry<'a> {
    Invoke(&'a Packet, &'a [u8]),
    /// At a lambda that the NIC punted to.
    Lambda(usize, &'a Packet, &'a [u8]),
    Resume(Continuation, Answer<'a>),
}

/// A packet thread's state beside its sources of events.
pub(super) struct Core {
    index: usize,
    port: u16,
    handle: Arc<Handle>,
    metrics: Arc<Metrics>,
    events: EventLog,
    pub(super) outlet: Outlet,
    reassembler: Reassembler,
    /// The message that the reassembler has completed.
    whole: Vec<u8>,
    /// Replies that may not fit a packet, and all replies that go to HTTP.
    large_reply: Vec<u8>,
    call: ServiceCall,
    scratch: Scratch,
    services: Services,
    /// The value that a service has answered.
    value: Vec<u8>,
    pending: Vec<Option<Pending>>,
    free: Vec<u32>,
    fallbacks: mpsc::Sender<FallbackJob>,
    fallbacks_out: usize,
    now: u64,
}

impl Core {
    pub(super) fn new(setup: Setup, image: &Arc<Image>) -> io::Result<Core> {
        let Setup { index, metrics, .. } = setup;
        let mut core = Core {
            index,
            port: setup.port,
            handle: setup.handle,
            events: setup.events,
            outlet: Outlet::new(setup.socket, Arc::clone(&metrics), index, setup.trusted),
            reassembler: Reassembler::new(setup.reassembly),
            whole: Vec::new(),
            large_reply: Vec::new(),
            call: ServiceCall::default(),
            scratch: image.engine.scratch(),
            services: Services::new(
                setup.service_ports,
                setup.max_waiting,
                Arc::clone(&metrics),
                index,
            )?,
            value: Vec::with_capacity(crate::memcached::MAX_VALUE),
            pending: std::iter::repeat_with(|| None).take(setup.max_waiting).collect(),
            free: (0..setup.max_waiting as u32).rev().collect(),
            fallbacks: setup.fallbacks,
            fallbacks_out: 0,
            metrics,
            now: now_ns(),
        };
        core.adopt(image);
        Ok(core)
    }

    /// Makes ready for the workloads of `image`.
    pub(super) fn adopt(&mut self, image: &Image) {
        let most = image.engine.workloads().iter().map(|info| info.max_reply).max();
        let len = most.unwrap_or(0).max(MAX_FRAGMENT);
        if self.large_reply.len() < len {
            self.large_reply.resize(len, 0);
        }
        self.services.retire(image);
    }

    fn counters(&self) -> &ThreadMetrics {
        &self.metrics.threads[self.index]
    }

    /// Reads the clock.
    pub(super) fn tick(&mut self) {
        self.now = now_ns();
    }

    pub(super) fn count_received(&self, datagrams: usize) {
        self.counters().received.add(datagrams as u64, Writer::Sole);
    }

    pub(super) fn flush(&mut self) {
        self.outlet.flush();
    }

    /// Whether invocations wait for a service.
    pub(super) fn is_waiting(&self) -> bool {
        self.free.len() < self.pending.len()
    }

    /// Whether anything that was begun has not ended.
    pub(super) fn is_busy(&self) -> bool {
        self.is_waiting() || self.fallbacks_out > 0
    }

    /// When [`Core::run_timers`] next has something to do.
    pub(super) fn next_timer(&self) -> Option<u64> {
        self.services
            .next_deadline()
            .into_iter()
            .chain(self.reassembler.next_expiry())
            .min()
    }

    /// Takes one datagram off the wire.
    #[inline]
    pub(super) fn on_datagram(&mut self, image: &Arc<Image>, peer: Peer, datagram: &[u8], epoll: &Epoll) {
        let (header, payload) = match Header::decode(datagram, Kind::Request) {
            Ok(decoded) => decoded,
            Err(rule) => return self.malformed(rule),
        };
        let origin = WireOrigin {
            peer,
            header,
            datagram_len: datagram.len(),
        };
        let Some(workload) = image.route(header.workload) else {
            self.counters().no_workload.add(1, Writer::Sole);
            self.outlet.error(&origin, Status::NoWorkload);
            return;
        };
        let info = image.info(workload);
        if let Err(rule) = header.check_fragment_size(info.fragment) {
            return self.malformed(rule);
        }
        let request = Request {
            image,
            workload,
            origin: Origin::Wire(origin),
            started: self.now,
        };
        let (least, most) = header.message_len_bounds(info.fragment);
        if least > MAX_MESSAGE {
            self.begin(&request);
            self.refuse(request, Status::TooLarge);
        } else if info.chunk.is_some() {
            self.begin(&request);
            self.stream_fragment(request, origin, payload);
        } else if most < info.min_request || least > info.max_request {
            self.begin(&request);
            self.refuse(request, Status::BadRequest);
        } else if header.fragments == 1 {
            self.begin(&request);
            self.invoke(request, payload, epoll);
        } else {
            self.fragment(request, origin, payload, epoll);
        }
    }

    fn malformed(&self, rule: Malformed) {
        self.counters().malformed[rule as usize].add(1, Writer::Sole);
    }

    /// Takes a fragment of a message that is run once it is whole.
    fn fragment(&mut self, request: Request<'_>, origin: WireOrigin, payload: &[u8], epoll: &Epoll) {
        let mut whole = std::mem::take(&mut self.whole);
        let source = origin.peer.address();
        let offer = self
            .reassembler
            .offer(self.now, source, &origin.header, payload, &mut whole);
        self.counters().set_reassembly(self.reassembler.stats());
        if offer == Offer::Complete {
            self.begin(&request);
            self.invoke(request, &whole, epoll);
        }
        self.whole = whole;
    }

    /// Answers one fragment of a stream.
    fn stream_fragment(&mut self, request: Request<'_>, origin: WireOrigin, payload: &[u8]) {
        let Request {
            image,
            workload,
            started,
            ..
        } = request;
        let packet = self.packet(&origin);
        let mut io = Io {
            reply: self.outlet.next_payload(),
            call: &mut self.call,
        };
        let end = run_stream(image, &mut self.scratch, workload, &packet, payload, &mut io);
        let status = match end {
            StreamEnd::Reply(len) => self.outlet.reply_in_place(&origin, len, true),
            StreamEnd::Error(status) => self.outlet.error(&origin, status),
            StreamEnd::Trap(trap) => {
                report_trap(
                    &self.events,
                    image,
                    workload,
                    trap,
                    (self.index, Writer::Sole),
                    self.now,
                );
                self.outlet.error(&origin, Status::Trap)
            }
        };
        let target = image.engine.answered_by(&self.scratch);
        self.count_end(target, image, workload, started, Ended::Status(status));
    }

    /// Takes a request that HTTP has handed over, and counted as begun.
    pub(super) fn on_job(&mut self, job: HttpJob, epoll: &Epoll) {
        let HttpJob {
            image,
            workload,
            mut packet,
            request: body,
            answer,
        } = job;
        let started = packet.now;
        packet.now = self.now;
        let request = Request {
            image: &image,
            workload,
            origin: Origin::Http(answer),
            started,
        };
        if image.info(workload).awaits && self.free.is_empty() {
            return self.refuse(request, Status::Overloaded);
        }
        let outcome = self.step(&request, Entry::Invoke(&packet, &body));
        self.settle(request, outcome, Some(&body), epoll);
    }

    /// Takes a request that a NIC handed up. The caller gets its reply from this thread's socket.
    pub(super) fn on_punt(&mut self, punt: &NicPunt, epoll: &Epoll) {
        let (header, message) = match Header::decode(&punt.datagram, Kind::Request) {
            Ok(decoded) => decoded,
            Err(rule) => return self.malformed(rule),
        };
        let origin = WireOrigin {
            peer: punt.peer,
            header,
            datagram_len: punt.datagram.len(),
        };
        let request = Request {
            image: &punt.image,
            workload: punt.workload,
            origin: Origin::Wire(origin),
            started: self.now,
        };
        self.begin(&request);
        let outcome = match punt.lambda {
            None => Outcome::Punt,
            Some(lambda) => {
                let packet = self.packet(&origin);
                self.step(&request, Entry::Lambda(lambda, &packet, message))
            }
        };
        self.settle(request, outcome, Some(message), epoll);
    }

    /// Takes a fallback's answer to a caller on the wire.
    pub(super) fn on_fallback_done(&mut self, done: FallbackDone) {
        self.fallbacks_out = self.fallbacks_out.saturating_sub(1);
        let status = match &done.result {
            Ok(body) => self.outlet.reply(&done.origin, body),
            Err(status) => self.outlet.error(&done.origin, *status),
        };
        let ended = Ended::Status(status);
        self.count_end(HOST, &done.image, done.workload, done.started, ended);
    }

    /// Takes what has come to a service client's socket.
    pub(super) fn on_service(&mut self, client: u32, socket: u16, rx: &mut RxBatch, epoll: &Epoll) {
        let received = self.services.receive(client, socket, rx);
        for at in 0..received {
            let mut value = std::mem::take(&mut self.value);
            if let Some((token, accepted)) = self.services.accept((client, socket), rx, at, &mut value) {
                self.resume(token, answer(accepted, &value), epoll);
            }
            self.value = value;
        }
    }

    /// Ends what has waited too long.
    pub(super) fn run_timers(&mut self, epoll: &Epoll) {
        if self.is_waiting() {
            while let Some(token) = self.services.expire(self.now) {
                self.resume(token, Answer::Failed, epoll);
            }
        }
        if self.reassembler.waiting() > 0 {
            self.reassembler.expire(self.now);
            self.counters().set_reassembly(self.reassembler.stats());
        }
    }

    /// Runs a whole message.
    #[inline]
    fn invoke(&mut self, request: Request<'_>, message: &[u8], epoll: &Epoll) {
        if request.image.info(request.workload).awaits && self.free.is_empty() {
            return self.refuse(request, Status::Overloaded);
        }
        let Origin::Wire(origin) = &request.origin else {
            return;
        };
        let packet = self.packet(origin);
        let outcome = self.step(&request, Entry::Invoke(&packet, message));
        self.settle(request, outcome, Some(message), epoll);
    }

    /// Goes on with the invocation that waits in slot `token`.
    fn resume(&mut self, token: u32, answer: Answer<'_>, epoll: &Epoll) {
        let Some(Pending {
            image,
            workload,
            origin,
            started,
            continuation,
        }) = self.pending[token as usize].take()
        else {
            return;
        };
        self.free.push(token);
        let request = Request {
            image: &image,
            workload,
            origin,
            started,
        };
        let outcome = self.step(&request, Entry::Resume(continuation, answer));
        self.settle(request, outcome, None, epoll);
    }

    /// Runs up to the next await or the end. The reply is in the place that
    /// [`Core::replies_in_place`] says.
    #[inline]
    fn step(&mut self, request: &Request<'_>, entry: Entry<'_>) -> Outcome {
        let reply = if replies_in_place(request) {
            self.outlet.next_payload()
        } else {
            &mut self.large_reply[..]
        };
        let mut io = Io {
            reply,
            call: &mut self.call,
        };
        let engine = &request.image.engine;
        match entry {
            Entry::Invoke(packet, message) => {
                engine.invoke(&mut self.scratch, request.workload, packet, message, &mut io)
            }
            Entry::Lambda(lambda, packet, message) => {
                let workload = request.workload;
                engine.invoke_lambda(&mut self.scratch, (workload, lambda), packet, message, &mut io)
            }
            Entry::Resume(continuation, answer) => {
                engine.resume(&mut self.scratch, continuation, answer, self.now, &mut io)
            }
        }
    }

    /// Does what an outcome asks for. `message` is the request, where nothing was awaited yet.
    #[inline]
    fn settle(&mut self, request: Request<'_>, outcome: Outcome, message: Option<&[u8]>, epoll: &Epoll) {
        match outcome {
            Outcome::Reply(len) => self.reply(request, len),
            Outcome::Drop => self.end(request, Ended::Dropped),
            Outcome::BadRequest => self.end(request, Ended::Status(Status::BadRequest)),
            Outcome::Refused(status) => self.end(request, Ended::Status(status)),
            Outcome::Trap(trap) => {
                let place = (self.index, Writer::Sole);
                report_trap(
                    &self.events,
                    request.image,
                    request.workload,
                    trap,
                    place,
                    self.now,
                );
                self.end(request, Ended::Status(Status::Trap));
            }
            Outcome::Punt => self.punt(request, message),
            Outcome::Await(continuation) => self.wait(request, continuation, epoll),
        }
    }

    /// Sends the service call of an await and keeps the invocation until the answer.
    fn wait(&mut self, request: Request<'_>, mut continuation: Continuation, epoll: &Epoll) {
        let Some(token) = self.free.pop() else {
            return self.refuse(request, Status::Overloaded);
        };
        loop {
            let address = request.image.services.get(self.call.service).copied();
            let sent = address
                .is_some_and(|address| self.services.send(address, token, &self.call, self.now, epoll));
            if sent {
                let Request {
                    image,
                    workload,
                    origin,
                    started,
                } = request;
                let pending = Pending {
                    image: Arc::clone(image),
                    workload,
                    origin,
                    started,
                    continuation,
                };
                self.pending[token as usize] = Some(pending);
                return;
            }
            match self.step(&request, Entry::Resume(continuation, Answer::Failed)) {
                Outcome::Await(next) => continuation = next,
                outcome => {
                    self.free.push(token);
                    return self.settle(request, outcome, None, epoll);
                }
            }
        }
    }

    /// Hands a request to its workload's fallback.
    fn punt(&mut self, request: Request<'_>, message: Option<&[u8]>) {
        let (Some(url), Some(message)) = (request.image.fallback(request.workload), message) else {
            return self.refuse(request, Status::Punted);
        };
        if self.fallbacks_out == FALLBACKS {
            return self.refuse(request, Status::Overloaded);
        }
        let Ok(permit) = self.fallbacks.clone().try_reserve_owned() else {
            return self.refuse(request, Status::Overloaded);
        };
        let Request {
            image,
            workload,
            origin,
            started,
        } = request;
        let reply_to = match origin {
            Origin::Wire(origin) => {
                self.fallbacks_out += 1;
                ReplyTo::Worker(Arc::clone(&self.handle), origin)
            }
            Origin::Http(answer) => ReplyTo::Http(answer),
        };
        let body = Bytes::copy_from_slice(message);
        permit.send(FallbackJob {
            url: Arc::clone(url),
            body,
            image: Arc::clone(image),
            workload,
            started,
            reply_to,
        });
    }

    /// Answers with the first `len` bytes of the reply buffer.
    #[inline]
    fn reply(&mut self, request: Request<'_>, len: usize) {
        let in_place = replies_in_place(&request);
        let Request {
            image,
            workload,
            origin,
            started,
        } = request;
        let target = image.engine.answered_by(&self.scratch);
        let status = match origin {
            Origin::Wire(origin) if in_place => {
                self.outlet.reply_in_place(&origin, len.min(MAX_FRAGMENT), false)
            }
            Origin::Wire(origin) => self.outlet.reply(&origin, &self.large_reply[..len]),
            Origin::Http(answer) => {
                let body = Bytes::copy_from_slice(&self.large_reply[..len]);
                let ended = Ended::Status(Status::Ok);
                // Before the caller hears of it.
                self.count_end(target, image, workload, started, ended);
                // The caller may have gone; then nobody wants the answer.
                _ = answer.send(Answered { ended, body, target });
                return;
            }
        };
        self.count_end(target, image, workload, started, Ended::Status(status));
    }

    /// Answers with an error status without running anything.
    fn refuse(&mut self, request: Request<'_>, status: Status) {
        self.end_by(HOST, request, Ended::Status(status));
    }

    /// Ends a request that was run, without a payload.
    fn end(&mut self, request: Request<'_>, ended: Ended) {
        let target = request.image.engine.answered_by(&self.scratch);
        self.end_by(target, request, ended);
    }

    /// Ends a request without a payload; `target` has run it, if anyone.
    fn end_by(&mut self, target: &'static str, request: Request<'_>, ended: Ended) {
        let Request {
            image,
            workload,
            origin,
            started,
        } = request;
        match (origin, ended) {
            (Origin::Wire(origin), Ended::Status(status)) => _ = self.outlet.error(&origin, status),
            (Origin::Wire(_), Ended::Dropped) => {}
            (Origin::Http(answer), ended) => {
                self.count_end(target, image, workload, started, ended);
                _ = answer.send(Answered {
                    ended,
                    body: Bytes::new(),
                    target,
                });
                return;
            }
        }
        self.count_end(target, image, workload, started, ended);
    }

    #[inline]
    fn begin(&self, request: &Request<'_>) {
        request
            .image
            .metrics(request.workload)
            .shard(self.index)
            .start(Writer::Sole);
    }

    /// Counts a request's end. What the NIC has run, by a test run from here, it has counted.
    #[inline]
    fn count_end(&mut self, target: &str, image: &Image, workload: usize, started: u64, ended: Ended) {
        self.tick();
        let shard = image.metrics(workload).shard(self.index);
        if target == HOST {
            shard.end(ended, self.now.saturating_sub(started), Writer::Sole);
        } else {
            shard.hand_over(Writer::Sole);
        }
    }

    #[inline]
    fn packet(&self, origin: &WireOrigin) -> Packet {
        let source = origin.peer.address();
        let src_ip = match source.ip() {
            std::net::IpAddr::V4(v4) => v4.to_bits(),
            std::net::IpAddr::V6(_) => 0,
        };
        Packet {
            src_ip,
            src_port: source.port(),
            dst_port: self.port,
            port: 0,
            request_id: origin.header.request,
            now: self.now,
        }
    }
}

/// Whether a request's reply is written straight into the packet that carries it.
#[inline]
fn replies_in_place(request: &Request<'_>) -> bool {
    matches!(request.origin, Origin::Wire(_))
        && request.image.info(request.workload).max_reply <= MAX_FRAGMENT
}
