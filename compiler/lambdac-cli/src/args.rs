//! The command line as plain data. Parsing does nothing else; `cmd` acts on it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Compiles match + lambda workloads, tests them, and serves them.
#[derive(Debug, Parser)]
#[command(
    name = "lambdac",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  lambdac new hello && lambdac test hello      a first workload and its tests
  lambdac run hello                            compile and serve it on 127.0.0.1:4369
  lambdac invoke hello --data world            one request to it
  lambdac explain E0203                        what an error code means")]
pub struct Cli {
    /// How diagnostics are written.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub message_format: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// `--message-format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// With the source, for people.
    Human,
    /// One JSON object a line.
    Json,
    /// One line each.
    Short,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a workload with a test, and what faas-cli needs to deploy it.
    New(New),
    /// Report what is wrong with programs.
    Check(Check),
    /// Run `test` items on each target.
    Test(Test),
    /// Write a bundle, or print a stage of the compiler.
    Build(Build),
    /// Count what the image of all workloads takes, before and after each pass.
    Size(Size),
    /// Compile and serve until stopped.
    Run(Run),
    /// Send one request over the λ wire and print the reply.
    Invoke(Invoke),
    /// Measure throughput and latency over the λ wire.
    Bench(Bench),
    /// Read the state of a running worker.
    State(State),
    /// Print the page of an error code.
    Explain(Explain),
    /// List the known targets, or print a device's description.
    Targets(Targets),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Write the man pages.
    Man(Man),
}

/// Programs to compile.
#[derive(Clone, Debug, Args)]
pub struct Sources {
    /// `.lnic` files, or directories that are searched for them.
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
}

/// What changes the compiler's work.
#[derive(Clone, Debug, Default, Args)]
pub struct Passes {
    /// Leave a pass out (may be given several times).
    #[arg(long, value_name = "NAME")]
    pub no_pass: Vec<String>,
    /// Print the MIR after a pass, or after each (`all`), to stderr.
    #[arg(long, value_name = "PASS")]
    pub dump_after: Option<String>,
}

/// `lambdac new`
#[derive(Debug, Args)]
pub struct New {
    /// Name of the workload: a lower-case word; also the folder that is made.
    pub name: String,
}

/// `lambdac check`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lambdac check kv.lnic
  lambdac check --message-format json src/ > diagnostics.jsonl")]
pub struct Check {
    /// Programs.
    #[command(flatten)]
    pub sources: Sources,
}

/// `lambdac test`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lambdac test examples
  lambdac test kv.lnic --target interp --filter 'comes back'
  lambdac test src --profile branches.json      for `lambdac size --profile`")]
pub struct Test {
    /// Programs.
    #[command(flatten)]
    pub sources: Sources,
    /// Targets, separated by commas (default: all that can run here).
    #[arg(long, value_delimiter = ',', value_name = "TARGET")]
    pub target: Vec<String>,
    /// Only tests whose `workload: name` contains this.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Write how often the tests take each branch, for `lambdac size --profile`.
    #[arg(long, value_name = "OUT.json")]
    pub profile: Option<PathBuf>,
    /// Passes.
    #[command(flatten)]
    pub passes: Passes,
}

/// `lambdac build`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lambdac build examples --target host -o out
  lambdac build kv.lnic --target xdp,host -o kv.tar
  lambdac build kv.lnic --emit mir
  lambdac build kv.lnic --emit mir --no-pass inline --dump-after cse")]
pub struct Build {
    /// Programs.
    #[command(flatten)]
    pub sources: Sources,
    /// Targets, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "TARGET", default_value = "host")]
    pub target: Vec<String>,
    /// Where the bundle goes: a folder, or a file that ends in `.tar`.
    #[arg(short, long, value_name = "DIR", required_unless_present = "emit")]
    pub output: Option<PathBuf>,
    /// Print stages instead, separated by commas.
    #[arg(long, value_delimiter = ',', value_enum, value_name = "STAGE")]
    pub emit: Vec<Stage>,
    /// Passes.
    #[command(flatten)]
    pub passes: Passes,
}

/// `--emit`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// What was written.
    Ast,
    /// Names resolved, types checked.
    Hir,
    /// After all passes.
    Mir,
    /// Cranelift IR of the host code.
    Clif,
    /// P4_16 for the reference switch.
    P4,
    /// Micro-C for the NFP.
    Microc,
    /// eBPF of the NIC's programs, with the source lines.
    Bpf,
}

/// `lambdac size`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lambdac size examples --target nfp
  lambdac size src --format html > size.html
  lambdac size src --format json > size.json
  lambdac size src --baseline size.json --limit 2%    exit 1 if it grew by more than 2 %, or lost a lambda
  lambdac size src --no-pass lambda-coalescing
  curl -s worker:8081/metrics > rates; lambdac size src --rates rates --profile branches.json")]
pub struct Size {
    /// Programs.
    #[command(flatten)]
    pub sources: Sources,
    /// The device: a target's name, or the path of a description.
    #[arg(long, value_name = "TARGET", default_value = "nfp")]
    pub target: String,
    /// How the numbers are written.
    #[arg(long, value_enum, default_value_t = SizeFormat::Table)]
    pub format: SizeFormat,
    /// Requests a second by workload: lines of a name and a number, a JSON object, or what a worker's `/metrics` says
    /// (default: all alike).
    #[arg(long, value_name = "FILE")]
    pub rates: Option<PathBuf>,
    /// What branches are weighed by: what `lambdac test --profile` wrote (default: all evenly).
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Compare with what an earlier run wrote as JSON.
    #[arg(long, value_name = "OLD.json")]
    pub baseline: Option<PathBuf>,
    /// Fail if the image's words grew by more than this (default: 0%); a lambda that left the NIC for the host, or a new
    /// one that it has no room for, fails too.
    #[arg(long, value_name = "P%", requires = "baseline", value_parser = percent)]
    pub limit: Option<f64>,
    /// Passes.
    #[command(flatten)]
    pub passes: Passes,
}

/// `--format` of `size`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SizeFormat {
    /// For people.
    Table,
    /// For scripts.
    Json,
    /// A page for a browser.
    Html,
}

/// `lambdac run`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  lambdac run examples/lambda-nic
  lambdac run kv.lnic --service kv.cache=10.0.0.7:11211 --param kv.ttl=30s
  lambdac run src --listen 0.0.0.0:4369 --trusted 192.0.2.0/24 --watch
  lambdac run src --nic xdp:eth0               answered in the driver of eth0, the rest by this process
  lambdac run src --nic bmv2:127.0.0.1:9559    answered by a P4 switch, the rest by this process
  lambdac run src --nic nfp:0                  answered by a Netronome card, built and loaded by its own tools

A param is also taken from the environment: LNIC_PARAM_<WORKLOAD>_<NAME>, in upper case.")]
pub struct Run {
    /// Programs.
    #[command(flatten)]
    pub sources: Sources,
    /// Where the λ wire is served, over UDP [default: 127.0.0.1:4369, with --nic port 4369 of the interface's address].
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// A NIC in front: xdp:IFACE, or xdp:IFACE,skb for one whose driver has no XDP; bmv2:HOST:PORT[,device=N] for a
    /// switch that speaks P4Runtime there; nfp:CARD for a Netronome card.
    #[arg(long, value_name = "NIC", value_parser = nic)]
    pub nic: Option<Nic>,
    /// Where HTTP is served.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8081")]
    pub http: SocketAddr,
    /// Set a param: WORKLOAD.NAME=VALUE.
    #[arg(long, value_name = "W.NAME=V")]
    pub param: Vec<String>,
    /// Where a service is: WORKLOAD.NAME=ADDR:PORT.
    #[arg(long, value_name = "W.NAME=ADDR:PORT")]
    pub service: Vec<String>,
    /// A source prefix whose requests may get replies of any size (replaces loopback and the private ranges).
    #[arg(long, value_name = "PREFIX")]
    pub trusted: Vec<String>,
    /// Where a workload's `punt;` goes: WORKLOAD=URL.
    #[arg(long, value_name = "W=URL")]
    pub fallback: Vec<String>,
    /// A proxy prefix whose X-Forwarded-For is believed.
    #[arg(long, value_name = "PREFIX")]
    pub trusted_proxy: Vec<String>,
    /// Worker threads (default: one per core).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Recompile when a source changes; state whose type did not change is kept.
    #[arg(long)]
    pub watch: bool,
    /// Passes.
    #[command(flatten)]
    pub passes: Passes,
}

/// Where a worker is.
#[derive(Clone, Debug, Args)]
pub struct Worker {
    /// Its λ wire.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4369")]
    pub to: SocketAddr,
    /// Its HTTP, where names are looked up (default: the wire's own port, then port 8081 at its address).
    #[arg(long, value_name = "ADDR:PORT", env = "LNIC_HTTP")]
    pub http: Option<SocketAddr>,
}

/// A request's bytes.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub struct Payload {
    /// As text.
    #[arg(long, value_name = "TEXT")]
    pub data: Option<String>,
    /// In hexadecimal.
    #[arg(long, value_name = "HEX")]
    pub hex: Option<String>,
    /// From a file (`-` is standard input).
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `lambdac invoke`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lambdac invoke web --data 'GET /'
  lambdac invoke grayscale --file picture.rgba > picture.gray")]
pub struct Invoke {
    /// The workload.
    pub name: String,
    /// The worker.
    #[command(flatten)]
    pub worker: Worker,
    /// The request (default: empty).
    #[command(flatten)]
    pub payload: Payload,
    /// Give up after this long.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub timeout: Duration,
    /// Say on stderr how long it took.
    #[arg(long)]
    pub timing: bool,
}

/// `lambdac bench`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lambdac bench web -c 64 -d 10s --data 'GET /'       closed loop
  lambdac bench web --rate 50000 -d 10s               open loop")]
pub struct Bench {
    /// The workload.
    pub name: String,
    /// The worker.
    #[command(flatten)]
    pub worker: Worker,
    /// The request (default: empty).
    #[command(flatten)]
    pub payload: Payload,
    /// Requests in flight, without --rate.
    #[arg(short = 'c', long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub connections: u32,
    /// Stop after so many requests, after a second of warm-up that does not count.
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration")]
    pub requests: Option<u64>,
    /// Stop after this long, after a second of warm-up that does not count.
    #[arg(short = 'd', long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Open loop: so many requests a second, whatever comes back; latency counts from when each was due.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub rate: Option<u64>,
    /// How the result is written.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub format: Output,
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// `lambdac state`
#[derive(Debug, Args)]
pub struct State {
    /// Get or dump.
    #[command(subcommand)]
    pub command: StateCommand,
}

/// What to read.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    /// Read one object, or an element of one: W.OBJECT, W.OBJECT[INDEX].
    Get(StateRead),
    /// Read all objects of a workload, or one whole: W, W.OBJECT.
    Dump(StateRead),
}

/// A place of state.
#[derive(Debug, Args)]
pub struct StateRead {
    /// W, W.OBJECT or W.OBJECT[INDEX].
    #[arg(value_name = "PLACE")]
    pub place: String,
    /// The worker's HTTP.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8081",
        env = "LNIC_HTTP"
    )]
    pub http: SocketAddr,
}

/// `lambdac explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// Such as E0203; without it all codes are listed.
    pub code: Option<String>,
}

/// `lambdac targets`
#[derive(Debug, Args)]
pub struct Targets {
    /// A device, by name or by the path of its description: its description with the sources of its numbers.
    pub name: Option<String>,
    /// How they are written.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub format: Output,
}

/// `lambdac completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// `lambdac man`
#[derive(Debug, Args)]
pub struct Man {
    /// Folder that the pages go to.
    #[arg(short, long, value_name = "DIR", default_value = "man")]
    pub output: PathBuf,
}

/// `--nic`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nic {
    /// `xdp:IFACE[,skb]`
    Xdp(lnic_xdp::Device),
    /// `bmv2:HOST:PORT[,device=N]`
    Bmv2(lnic_bmv2::Device),
    /// `nfp:CARD`
    Nfp(lnic_nfp::card::Device),
}

fn nic(text: &str) -> Result<Nic, String> {
    match text.split_once(':') {
        Some(("xdp", device)) => {
            let device: Result<_, lnic_xdp::DeviceError> = device.parse();
            device.map(Nic::Xdp).map_err(|error| error.to_string())
        }
        Some(("bmv2", device)) => {
            let device: Result<_, lnic_bmv2::DeviceError> = device.parse();
            device.map(Nic::Bmv2).map_err(|error| error.to_string())
        }
        Some(("nfp", card)) => {
            let device: Result<_, lnic_nfp::card::DeviceError> = card.parse();
            device.map(Nic::Nfp).map_err(|error| error.to_string())
        }
        _ => Err("the form is xdp:IFACE, xdp:IFACE,skb, bmv2:HOST:PORT[,device=N] or nfp:CARD".to_owned()),
    }
}

/// `10s`, `250ms`, `2m`; at most an hour.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| "write a number and a unit, such as 10s".to_owned())?;
    let duration = match unit {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => return Err("the unit is one of us, ms, s, m".into()),
    };
    if duration.is_zero() || duration > Duration::from_secs(3600) {
        return Err("from 1us to 60m".into());
    }
    Ok(duration)
}

/// `2%`, `0.5 %` or `2`.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim_end();
    match number.parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("write a number of per cent, such as 2%".into()),
    }
}
