//! What the worker asks of whatever runs the lambdas.
//!
//! An [`Engine`] is one loaded image: a fixed set of workloads with their code and their state.
//! The worker swaps engines as a whole; a [`Continuation`] keeps what it needs of its own engine
//! alive, so code stays loaded until the last invocation that waits in it has ended.

use std::any::Any;
use std::net::SocketAddr;
use std::time::Duration;

use lnic_wire::Status;

/// Who answers where no NIC does, as `X-Lambda-Target` names it.
pub(crate) const HOST: &str = "host";

/// Memory that invocations on one thread use, made by [`Engine::scratch`].
///
/// A scratch may be handed to another engine of the same type after a swap; the engine replaces
/// it where it doesn't fit.
pub type Scratch = Box<dyn Any + Send>;

/// A lambda that waits for a service's answer. Only the engine that made it looks inside.
pub type Continuation = Box<dyn Any + Send>;

/// What the worker knows of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkloadInfo {
    /// Its name.
    pub name: String,
    /// Its id on the wire: dense index in the low half, tag of the name in the high half.
    pub id: u32,
    /// Type of the request, for people.
    pub request: String,
    /// Type of the reply, for people.
    pub reply: String,
    /// Its lambdas, in the order that [`Trap::lambda`] counts.
    pub lambdas: Vec<String>,
    /// Fewest bytes in a request that any lambda accepts, as reached by the match.
    pub min_request: usize,
    /// Most bytes in a request that any lambda accepts, as reached by the match.
    pub max_request: usize,
    /// Most bytes in a reply; for a stream, in the reply to one chunk.
    pub max_reply: usize,
    /// Bytes in a chunk, where the workload's lambdas are stream lambdas.
    pub chunk: Option<usize>,
    /// Payload bytes of all packets of a message but the last.
    pub fragment: u16,
    /// Whether an invocation can wait for a service.
    pub awaits: bool,
}

/// A service that an image's lambdas call. Today all are memcached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceInfo {
    /// `WORKLOAD.SERVICE`, the name by which a deploy overrides the address.
    pub name: String,
    /// `ADDR:PORT` as the source has it.
    pub address: String,
    /// How long to wait for an answer.
    pub timeout: Duration,
}

/// The facts about a request beside its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packet {
    /// IPv4 source, 0 where unknown or IPv6.
    pub src_ip: u32,
    /// UDP source port.
    pub src_port: u16,
    /// UDP destination port.
    pub dst_port: u16,
    /// Ingress port of the NIC; 0 on the host.
    pub port: u16,
    /// The caller's number for the request.
    pub request_id: u64,
    /// Nanoseconds on the worker's monotonic clock.
    pub now: u64,
}

/// What a service is asked to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServiceOp {
    /// Read a value.
    #[default]
    Get,
    /// Store a value.
    Set,
    /// Remove a value.
    Delete,
}

/// A request to a service. One per thread is used again and again: an engine that returns
/// [`Outcome::Await`] has cleared and filled it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceCall {
    /// Index into [`Engine::services`].
    pub service: usize,
    /// The operation.
    pub op: ServiceOp,
    /// The key, unchecked.
    pub key: Vec<u8>,
    /// The value to set; empty for other operations.
    pub value: Vec<u8>,
}

/// What came of a service call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The value of a get.
    Value(&'a [u8]),
    /// The set or delete was done.
    Done,
    /// No such key, or the store was refused.
    Missing,
    /// No answer that could be used: `failed()` is true.
    Failed,
}

/// Why a lambda trapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TrapCause {
    /// An index outside the length.
    Index,
    /// A slice outside the length, or with its ends crossed.
    Slice,
    /// A push or append past the capacity.
    Capacity,
    /// A byte string too long for `as bytes<N>`.
    Cast,
    /// A byte string too long for `pad`.
    Pad,
    /// A loop past its `max`.
    LoopBound,
}

impl TrapCause {
    /// Every cause, in declaration order: `ALL[c as usize] == c`.
    pub const ALL: [TrapCause; 6] = [
        TrapCause::Index,
        TrapCause::Slice,
        TrapCause::Capacity,
        TrapCause::Cast,
        TrapCause::Pad,
        TrapCause::LoopBound,
    ];

    /// The name used in logs and metric labels.
    pub fn name(self) -> &'static str {
        match self {
            TrapCause::Index => "index",
            TrapCause::Slice => "slice",
            TrapCause::Capacity => "capacity",
            TrapCause::Cast => "cast",
            TrapCause::Pad => "pad",
            TrapCause::LoopBound => "loop_bound",
        }
    }
}

/// Where and why a lambda trapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trap {
    /// Index into [`WorkloadInfo::lambdas`].
    pub lambda: usize,
    /// Line of the source, from 1.
    pub line: u32,
    /// The reason.
    pub cause: TrapCause,
}

/// How an invocation, or its part up to the next await, ended.
pub enum Outcome {
    /// So many bytes of the reply buffer are the reply.
    Reply(usize),
    /// No answer.
    Drop,
    /// To the workload's configured fallback. A `punt name` is resolved inside the engine.
    Punt,
    /// The request does not fit what the lambda, or the match, accepts.
    BadRequest,
    /// The lambda trapped.
    Trap(Trap),
    /// The lambda waits for the service call in [`Io::call`].
    Await(Continuation),
    /// Another core ran it, which has counted and reported how it ended: with this error.
    Refused(Status),
}

/// Where an invocation writes.
pub struct Io<'a> {
    /// The reply, at least [`WorkloadInfo::max_reply`] bytes. Its old content means nothing.
    pub reply: &'a mut [u8],
    /// The service call, where the outcome is [`Outcome::Await`].
    pub call: &'a mut ServiceCall,
}

/// Why a read or write of state or tables was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No object, index or table of that name.
    #[error("{0}")]
    NotFound(String),
    /// The entries do not fit the table.
    #[error("{0}")]
    Invalid(String),
}

/// One loaded image. Methods run on many threads at once.
pub trait Engine: Send + Sync + 'static {
    /// The workloads; every `workload` below is an index into this.
    fn workloads(&self) -> &[WorkloadInfo];

    /// The services that the lambdas call.
    fn services(&self) -> &[ServiceInfo];

    /// Memory for the invocations of one thread.
    fn scratch(&self) -> Scratch;

    /// Whether invocations, and what is asked about state and tables, may wait for another machine. Who has other things
    /// to do then lets somebody else do them meanwhile.
    fn may_wait(&self) -> bool {
        false
    }

    /// Runs the workload's match and lambda on a request, or on one chunk of a stream.
    fn invoke(
        &self,
        scratch: &mut Scratch,
        workload: usize,
        packet: &Packet,
        request: &[u8],
        io: &mut Io<'_>,
    ) -> Outcome;

    /// Runs one lambda on a request that a NIC handed to it by name. Only engines that have a NIC in front of them are
    /// asked.
    fn invoke_lambda(
        &self,
        _scratch: &mut Scratch,
        (_workload, _lambda): (usize, usize),
        _packet: &Packet,
        _request: &[u8],
        _io: &mut Io<'_>,
    ) -> Outcome {
        Outcome::Refused(Status::Punted)
    }

    /// Who ran the last invocation that used this memory, as `X-Lambda-Target` names it.
    fn answered_by(&self, _scratch: &Scratch) -> &'static str {
        HOST
    }

    /// Runs on from an await. `now` is the clock's new value for the lambda.
    fn resume(
        &self,
        scratch: &mut Scratch,
        continuation: Continuation,
        answer: Answer<'_>,
        now: u64,
        io: &mut Io<'_>,
    ) -> Outcome;

    /// State as JSON: all objects of a workload, one object, or one element of it.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`].
    fn state(
        &self,
        workload: usize,
        object: Option<&str>,
        index: Option<&str>,
    ) -> Result<serde_json::Value, ControlError>;

    /// The entries of a table.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`].
    fn table(&self, workload: usize, table: &str) -> Result<serde_json::Value, ControlError>;

    /// Replaces all entries of a table at once.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`], or [`ControlError::Invalid`] with the table unchanged.
    fn set_table(
        &self,
        workload: usize,
        table: &str,
        entries: &serde_json::Value,
    ) -> Result<(), ControlError>;

    /// Removes the entries with the keys listed, or all entries where `keys` is none.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`], or [`ControlError::Invalid`] with the table unchanged.
    fn delete_entries(
        &self,
        workload: usize,
        table: &str,
        keys: Option<&serde_json::Value>,
    ) -> Result<(), ControlError>;
}

/// Resolves the address of a service: `ADDR:PORT` or `HOST:PORT`.
pub(crate) fn resolve(address: &str) -> std::io::Result<SocketAddr> {
    use std::net::ToSocketAddrs;
    address.to_socket_addrs()?.next().ok_or_else(|| {
        std::io::Error::new(
            std::io::ErrorKind::AddrNotAvailable,
            format!("{address} has no address"),
        )
    })
}
