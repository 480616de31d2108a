//! A controller's end of the service.
//!
//! A switch obeys one controller at a time, the primary: the one whose election number is the highest of those that have
//! a stream open. [`Controller::connect`] opens the stream and waits to hear that it is the primary; if the stream ends, or
//! another controller takes over, [`Events`] says so, and calls that change something are refused by the switch.
//!
//! One task owns the stream. What comes in waits in a queue of bounded length; who doesn't read it loses packets, which
//! are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::config::P4Info;
use crate::rpc;
use crate::v1::p4_runtime_client::P4RuntimeClient;
use crate::v1::stream_message_request::Update as Request;
use crate::v1::stream_message_response::Update as Response;
use crate::v1::{
    self, CapabilitiesRequest, DigestList, Entity, ForwardingPipelineConfig,
    GetForwardingPipelineConfigRequest, MasterArbitrationUpdate, PacketIn, PacketOut, ReadRequest,
    SetForwardingPipelineConfigRequest, StreamMessageRequest, StreamMessageResponse, Uint128, Update,
    WriteRequest,
};

/// Largest message either way, in bytes: a program and its description.
pub const MAX_MESSAGE: usize = 64 << 20;
/// Most updates in a call; more are sent in several. A refusal has an entry for each in a trailer, and of these gRPC's
/// implementations take 8 KiB.
pub const MAX_UPDATES: usize = 64;
/// Most entities that a read gives.
pub const MAX_ENTITIES: usize = 1 << 20;
/// Messages of the switch that wait to be read.
const QUEUE: usize = 1024;
/// Messages to the switch that wait to be sent.
const OUT_QUEUE: usize = 256;

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// The switch's device, by the number that it was started with.
    pub device: u64,
    /// The election number: the highest is the primary. Not 0.
    pub election: u128,
    /// Longest time for connecting, for arbitration, and for a call.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            device: 0,
            election: 1,
            timeout: Duration::from_secs(5),
        }
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no address in the text.
    #[error("`{address}` is no address of a switch: HOST:PORT is expected")]
    Address {
        /// The text.
        address: String,
    },
    /// Nobody answers there, or not in time.
    #[error("no P4Runtime switch at {address}: {reason}")]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// Another controller is the primary.
    #[error("another controller is the primary of device {device}, with election number {primary}")]
    NotPrimary {
        /// The device.
        device: u64,
        /// The primary's election number; 0 if the switch doesn't say.
        primary: u128,
    },
    /// The switch doesn't speak a version that we know.
    #[error("the switch speaks version {version} of P4Runtime; 1 is known here")]
    Version {
        /// The version that it told.
        version: String,
    },
    /// The stream has ended.
    #[error("the switch has closed the stream: {reason}")]
    Closed {
        /// Why.
        reason: String,
    },
    /// It refused a call.
    #[error("the switch refuses {call}: {reason}")]
    Call {
        /// The call.
        call: &'static str,
        /// gRPC's code for it.
        code: Code,
        /// Its words.
        reason: String,
        /// Updates that it refused.
        updates: Vec<Refused>,
    },
    /// It gave more than is read.
    #[error("the switch gives more than {MAX_ENTITIES} entities")]
    TooMany,
}

/// An update that a switch refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place among those of the call.
    pub index: usize,
    /// gRPC's code for it.
    pub code: Code,
    /// The switch's words.
    pub reason: String,
}

/// What a switch tells by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A packet for the controller.
    Packet(PacketIn),
    /// A list of digests; whoever has dealt with it says so ([`Controller::acknowledge`]).
    Digest(DigestList),
    /// Whether this controller is the primary now.
    Primary(bool),
    /// A message of ours was refused.
    Refused(String),
    /// The stream has ended: nothing comes any more.
    Closed(String),
}

/// Where events come out.
#[derive(Debug)]
pub struct Events {
    queue: mpsc::Receiver<Event>,
    lost: Arc<AtomicU64>,
}

impl Events {
    /// The next event; none after [`Event::Closed`].
    pub async fn next(&mut self) -> Option<Event> {
        self.queue.recv().await
    }

    /// Packets and digests that found the queue full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A controller with a stream to a switch.
#[derive(Clone, Debug)]
pub struct Controller {
    client: P4RuntimeClient<Channel>,
    out: mpsc::Sender<StreamMessageRequest>,
    options: Options,
}

impl Controller {
    /// Connects to the switch at `HOST:PORT` and becomes its primary.
    ///
    /// # Errors
    /// If there is none, it is of another version, or another controller is its primary.
    pub async fn connect(address: &str, options: Options) -> Result<(Self, Events), Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .ok()
            .filter(|_| {
                address
                    .rsplit_once(':')
                    .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            })
            .ok_or_else(|| Error::Address {
                address: address.to_owned(),
            })?
            .connect_timeout(options.timeout);
        let unreachable = |reason: String| Error::Unreachable {
            address: address.to_owned(),
            reason,
        };
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| unreachable(cause(&error)))?;
        let mut client = P4RuntimeClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        check_version(&mut client, &options).await?;
        let (out, requests) = mpsc::channel(OUT_QUEUE);
        let hello = Request::Arbitration(MasterArbitrationUpdate {
            device_id: options.device,
            election_id: Some(election(options.election)),
            ..MasterArbitrationUpdate::default()
        });
        let hello = StreamMessageRequest { update: Some(hello) };
        out.send(hello)
            .await
            .map_err(|_| unreachable("the stream is closed".to_owned()))?;
        // A switch may answer the call with its first message only, so both are waited for in the task.
        let stream = client.clone();
        let (first, primary) = oneshot::channel();
        let (queue, events) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let listener = Listener {
            queue,
            lost: lost.clone(),
            first: Some(first),
        };
        tokio::spawn(listener.run(stream, requests));
        let answer = tokio::time::timeout(options.timeout, primary).await;
        let arbitration = answer
            .map_err(|_| unreachable("it does not answer the arbitration".to_owned()))?
            .unwrap_or_else(|_| Err(Status::cancelled("the stream is closed")))
            .map_err(|status| match status.code() {
                Code::Unavailable | Code::Cancelled => unreachable(words(&status)),
                code => Error::Call {
                    call: "arbitration",
                    code,
                    reason: words(&status),
                    updates: Vec::new(),
                },
            })?;
        if !is_primary(&arbitration) {
            return Err(Error::NotPrimary {
                device: options.device,
                primary: arbitration
                    .election_id
                    .map_or(0, |id| u128::from(id.high) << 64 | u128::from(id.low)),
            });
        }
        let controller = Self { client, out, options };
        Ok((controller, Events { queue: events, lost }))
    }

    /// Gives the switch a program: its description, and what the switch's compiler made of it. `cookie` is a number by
    /// which it is known again.
    ///
    /// # Errors
    /// If the switch refuses, or doesn't answer in time.
    pub async fn set_pipeline(&mut self, info: P4Info, program: Vec<u8>, cookie: u64) -> Result<(), Error> {
        use v1::set_forwarding_pipeline_config_request::Action;
        let request = SetForwardingPipelineConfigRequest {
            device_id: self.options.device,
            election_id: Some(election(self.options.election)),
            action: Action::VerifyAndCommit.into(),
            config: Some(ForwardingPipelineConfig {
                p4info: Some(info),
                p4_device_config: program,
                cookie: Some(v1::forwarding_pipeline_config::Cookie { cookie }),
            }),
            ..SetForwardingPipelineConfigRequest::default()
        };
        let (timeout, call) = (self.options.timeout, "the program");
        within(timeout, call, self.client.set_forwarding_pipeline_config(request)).await?;
        Ok(())
    }

    /// The cookie of the program that the switch runs; none if it runs none.
    ///
    /// # Errors
    /// If the switch refuses, or doesn't answer in time.
    pub async fn pipeline(&mut self) -> Result<Option<u64>, Error> {
        use v1::get_forwarding_pipeline_config_request::ResponseType;
        let request = GetForwardingPipelineConfigRequest {
            device_id: self.options.device,
            response_type: ResponseType::CookieOnly.into(),
        };
        let call = self.client.get_forwarding_pipeline_config(request);
        match within(self.options.timeout, "to tell its program", call).await {
            Ok(answer) => Ok(answer
                .config
                .and_then(|config| config.cookie)
                .map(|cookie| cookie.cookie)),
            Err(Error::Call {
                code: Code::FailedPrecondition,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes entries, in order. Of those that the switch refuses the others are still made.
    ///
    /// # Errors
    /// What the switch refuses, by its place.
    pub async fn write(&mut self, updates: Vec<Update>) -> Result<(), Error> {
        let mut refused = Vec::new();
        let mut failure = None;
        for (batch, first) in updates.chunks(MAX_UPDATES).zip((0..).step_by(MAX_UPDATES)) {
            let request = WriteRequest {
                device_id: self.options.device,
                election_id: Some(election(self.options.election)),
                updates: batch.to_vec(),
                ..WriteRequest::default()
            };
            match within(self.options.timeout, "entries", self.client.write(request)).await {
                Ok(_) => {}
                Err(Error::Call {
                    code,
                    reason,
                    updates,
                    ..
                }) if !updates.is_empty() => {
                    refused.extend(updates.into_iter().map(|refused| Refused {
                        index: first + refused.index,
                        ..refused
                    }));
                    failure.get_or_insert((code, reason));
                }
                Err(error) => return Err(error),
            }
        }
        match failure {
            None => Ok(()),
            Some((code, reason)) => Err(Error::Call {
                call: "entries",
                code,
                reason,
                updates: refused,
            }),
        }
    }

    /// Reads entities; a field of a wish that is not set stands for all.
    ///
    /// # Errors
    /// If the switch refuses, gives too many, or doesn't answer in time.
    pub async fn read(&mut self, wishes: Vec<Entity>) -> Result<Vec<Entity>, Error> {
        let request = ReadRequest {
            device_id: self.options.device,
            entities: wishes,
            ..ReadRequest::default()
        };
        let timeout = self.options.timeout;
        let mut answers = within(timeout, "to be read", self.client.read(request)).await?;
        let mut entities = Vec::new();
        loop {
            let next = async { answers.message().await.map(tonic::Response::new) };
            let Some(answer) = within(timeout, "to be read", next).await? else {
                return Ok(entities);
            };
            entities.extend(answer.entities);
            if entities.len() > MAX_ENTITIES {
                return Err(Error::TooMany);
            }
        }
    }

    /// Sends a packet through the switch.
    ///
    /// # Errors
    /// If the stream has ended.
    pub async fn send(&self, packet: PacketOut) -> Result<(), Error> {
        self.tell(Request::Packet(packet)).await
    }

    /// Tells the switch that a list of digests was dealt with.
    ///
    /// # Errors
    /// If the stream has ended.
    pub async fn acknowledge(&self, list: &DigestList) -> Result<(), Error> {
        self.tell(Request::DigestAck(v1::DigestListAck {
            digest_id: list.digest_id,
            list_id: list.list_id,
        }))
        .await
    }

    async fn tell(&self, update: Request) -> Result<(), Error> {
        let message = StreamMessageRequest { update: Some(update) };
        let closed = |reason: &str| Error::Closed {
            reason: reason.to_owned(),
        };
        match tokio::time::timeout(self.options.timeout, self.out.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(closed("it is gone")),
            Err(_) => Err(closed("it takes nothing any more")),
        }
    }
}

/// Asks for the version where the switch can tell it; not all can.
async fn check_version(client: &mut P4RuntimeClient<Channel>, options: &Options) -> Result<(), Error> {
    let request = CapabilitiesRequest {
        device_id: options.device,
    };
    let version = match within(
        options.timeout,
        "to tell its version",
        client.capabilities(request),
    )
    .await
    {
        Ok(answer) => answer.p4runtime_api_version,
        Err(Error::Call {
            code: Code::Unimplemented,
            ..
        }) => return Ok(()),
        Err(error) => return Err(error),
    };
    match version.split('.').next() {
        Some("1" | "") => Ok(()),
        _ => Err(Error::Version { version }),
    }
}

/// The task that owns the stream.
struct Listener {
    queue: mpsc::Sender<Event>,
    lost: Arc<AtomicU64>,
    /// Who waits for the answer to the arbitration.
    first: Option<oneshot::Sender<Result<MasterArbitrationUpdate, Status>>>,
}

impl Listener {
    async fn run(
        mut self,
        mut client: P4RuntimeClient<Channel>,
        requests: mpsc::Receiver<StreamMessageRequest>,
    ) {
        let status = match client.stream_channel(ReceiverStream::new(requests)).await {
            Err(status) => status,
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(message)) => self.take(message),
                        Ok(None) => break Status::cancelled("the switch has ended it"),
                        Err(status) => break status,
                    }
                }
            }
        };
        match self.first.take() {
            Some(first) => _ = first.send(Err(status)),
            // The end is told whoever reads late; nobody may be there.
            None => _ = self.queue.send(Event::Closed(words(&status))).await,
        }
    }

    fn take(&mut self, message: StreamMessageResponse) {
        let event = match message.update {
            Some(Response::Arbitration(arbitration)) => match self.first.take() {
                Some(first) => {
                    // Who waited may have given up.
                    _ = first.send(Ok(arbitration));
                    return;
                }
                None => Event::Primary(is_primary(&arbitration)),
            },
            Some(Response::Packet(packet)) => Event::Packet(packet),
            Some(Response::Digest(list)) => Event::Digest(list),
            Some(Response::Error(error)) => Event::Refused(error.message),
            Some(Response::IdleTimeoutNotification(_)) | None => return,
        };
        if self.queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn is_primary(arbitration: &MasterArbitrationUpdate) -> bool {
    arbitration
        .status
        .as_ref()
        .is_none_or(|status| status.code == Code::Ok as i32)
}

fn election(number: u128) -> Uint128 {
    Uint128 {
        high: (number >> 64) as u64,
        low: number as u64,
    }
}

/// Waits for a call's answer for a time.
async fn within<T>(
    timeout: Duration,
    call: &'static str,
    answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Error> {
    let answer = tokio::time::timeout(timeout, answer).await;
    let answer =
        answer.unwrap_or_else(|_| Err(Status::deadline_exceeded(format!("no answer in {timeout:?}"))));
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| Error::Call {
            call,
            code: status.code(),
            reason: words(&status),
            updates: refused(&status),
        })
}

fn words(status: &Status) -> String {
    match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    }
}

/// The updates that a write's status tells of: one detail for each update, in order (specification, section 12.3).
fn refused(status: &Status) -> Vec<Refused> {
    let Ok(told) = rpc::Status::decode(status.details()) else {
        return Vec::new();
    };
    let errors = told.details.iter().map(|any| v1::Error::decode(&*any.value));
    let refused = errors.enumerate().filter_map(|(index, error)| {
        let error = error.ok().filter(|error| error.canonical_code != 0)?;
        Some(Refused {
            index,
            code: Code::from_i32(error.canonical_code),
            reason: error.message,
        })
    });
    refused.collect()
}

/// The innermost reason of an error: gRPC's own words say only that the transport failed.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
