//! A tool's process: a timeout, and no more of its output than is read.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::{CardError, Result};

/// The most that is read of each of a tool's outputs. Building says most.
pub(super) const MAX_OUTPUT: usize = 4 << 20;
/// The most of it that an error quotes.
const QUOTED: usize = 2000;
/// How often is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(5);
/// How long outputs stay open after the process has ended: children of its may still hold them, and who reads them may
/// have to wait for a core.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs a tool to its end; gives its standard output.
pub(super) fn run(mut command: Command, tool: &str, within: Duration) -> Result<String> {
    // A group of its own, so that what it starts can be stopped with it.
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let start = |source| CardError::Start {
        tool: tool.to_owned(),
        source,
    };
    let mut child = command.spawn().map_err(start)?;
    let outputs = (reader(child.stdout.take()), reader(child.stderr.take()));
    let ended = wait(&mut child, within);
    if !matches!(ended, Ok(Some(_))) {
        stop(&mut child);
    }
    let Some(status) = ended.map_err(start)? else {
        return Err(CardError::TimedOut {
            tool: tool.to_owned(),
            after: within,
        });
    };
    let (out, err) = (taken(&outputs.0, tool)?, taken(&outputs.1, tool)?);
    match status.success() {
        true => Ok(out),
        false => Err(CardError::Failed {
            tool: tool.to_owned(),
            status: status.to_string(),
            text: quoted(if err.trim().is_empty() { &out } else { &err }),
        }),
    }
}

/// Reads an output in a thread of its own, one byte more than is wanted.
fn reader(output: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = output {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read until an error is what there is.
            let _ = output.take(MAX_OUTPUT as u64 + 1).read_to_end(&mut bytes);
            // Nobody listens any more only where the run has failed already.
            let _ = sender.send(bytes);
        });
    }
    receiver
}

fn taken(output: &Receiver<Vec<u8>>, tool: &str) -> Result<String> {
    let bytes = output.recv_timeout(DRAIN).map_err(|_| CardError::TimedOut {
        tool: tool.to_owned(),
        after: DRAIN,
    })?;
    match bytes.len() > MAX_OUTPUT {
        true => Err(CardError::TooLong {
            tool: tool.to_owned(),
            most: MAX_OUTPUT,
        }),
        false => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn wait(child: &mut Child, within: Duration) -> std::io::Result<Option<ExitStatus>> {
    let until = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

/// Ends a process and what it started, and takes its status off the system.
fn stop(child: &mut Child) {
    let group = format!("-{}", child.id());
    // What has ended meanwhile can't be stopped, and need not.
    let _ = Command::new("kill")
        .args(["-KILL", "--", &group])
        .stderr(Stdio::null())
        .status();
    let _ = child.kill();
    let _ = child.wait();
}

/// The end of a text, without what would play with a terminal.
fn quoted(text: &str) -> String {
    let text = text.trim();
    let from = text.char_indices().rev().nth(QUOTED).map_or(0, |(at, _)| at);
    let clean = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text[from..].chars().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, within: Duration) -> Result<String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, "sh", within)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_tool_gives_its_output_or_its_reason() {
        assert_eq!(
            sh("echo good; echo bad >&2", LONG).expect("it ends well"),
            "good\n"
        );
        let failed = sh("echo good; printf 'bad\\033[2J' >&2; exit 7", LONG);
        let text = failed.expect_err("it fails").to_string();
        assert_eq!(text, "sh failed (exit status: 7): bad [2J");
    }

    #[test]
    fn a_tool_that_hangs_is_stopped_with_what_it_started() {
        let begun = Instant::now();
        let hung = sh("sleep 600 & sleep 600", Duration::from_millis(100));
        assert!(matches!(hung, Err(CardError::TimedOut { .. })), "{hung:?}");
        assert!(begun.elapsed() < LONG);
    }

    #[test]
    fn endless_output_is_not_kept() {
        let endless = sh("yes", LONG);
        let text = endless.expect_err("it never ends by itself").to_string();
        assert!(
            text.contains("says more than") || text.contains("failed"),
            "{text}"
        );
    }

    #[test]
    fn a_tool_that_is_not_there_is_named() {
        let text = run(Command::new("/nowhere/tool"), "tool", LONG).expect_err("it is not there");
        assert!(text.to_string().starts_with("tool can't be started"));
    }
}
