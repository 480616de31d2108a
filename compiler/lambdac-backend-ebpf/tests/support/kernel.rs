//! An object loaded by `bpftool`, which is libbpf's own loader; everything is unpinned at the end.

use std::path::PathBuf;
use std::process::{Command, Output};

use lambdac_backend_ebpf::abi::{self, COUNTER_SLOTS, Config};

use super::packet;

/// A loaded object.
pub struct Kernel {
    /// Held for its files; holds a mounted BPF file system.
    dir: tempfile::TempDir,
}

/// What a program did with a packet.
#[derive(Debug)]
pub struct Run {
    pub action: u32,
    pub frame: Vec<u8>,
}

/// Runs a command that must succeed.
pub fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {args:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

impl Kernel {
    /// Loads all programs of an object, sets the configuration and fills the program array with `_w_…` in order.
    pub fn load(elf: &[u8], workloads: &[&str]) -> Kernel {
        let kernel = Kernel {
            // libbpf changes the dots of the whole path.
            dir: tempfile::Builder::new().prefix("ebpf").tempdir().unwrap(),
        };
        let object = kernel.path("image.bpf.o");
        std::fs::write(&object, elf).unwrap();
        std::fs::create_dir(kernel.path("fs")).unwrap();
        let fs = kernel.path("fs");
        run("mount", &["-t", "bpf", "bpf", text(&fs)]);
        let (programs, maps) = (fs.join("programs"), fs.join("maps"));
        let args = [
            "prog",
            "loadall",
            text(&object),
            text(&programs),
            "pinmaps",
            text(&maps),
        ];
        run("bpftool", &args);
        for (position, name) in workloads.iter().enumerate() {
            let program = programs.join(abi::workload_program(name));
            kernel.update(
                abi::PROGRAMS,
                &(position as u32).to_le_bytes(),
                &["pinned", text(&program)],
            );
        }
        kernel
    }

    /// Sets the configuration that goes with [`packet`].
    pub fn configure(&self) {
        let config = Config {
            on: true,
            mac: packet::MAC,
            address: packet::ADDRESS,
            port: packet::PORT,
            broadcast: Some(packet::BROADCAST),
        };
        self.set(abi::CONFIG, &[0; 4], &config.encode());
    }

    /// Puts an entry into a map.
    pub fn set(&self, map: &str, key: &[u8], value: &[u8]) {
        let value = decimal(value);
        self.update(map, key, &value.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn update(&self, map: &str, key: &[u8], value: &[&str]) {
        let (map, key) = (self.map(map), decimal(key));
        let mut args = vec!["map", "update", "pinned", text(&map), "key"];
        args.extend(key.iter().map(String::as_str));
        args.push("value");
        args.extend(value);
        run("bpftool", &args);
    }

    /// Runs a program on a packet.
    pub fn run(&self, program: &str, frame: &[u8]) -> Run {
        let (input, output) = (self.path("in"), self.path("out"));
        std::fs::write(&input, frame).unwrap();
        let program = self.path("fs/programs").join(program);
        let mut args = vec!["prog", "run", "pinned", text(&program), "data_in", text(&input)];
        args.extend(["data_out", text(&output), "repeat", "1"]);
        let said = String::from_utf8(run("bpftool", &args).stdout).unwrap();
        let action = said.split("Return value: ").nth(1).unwrap();
        let action = action.split(',').next().unwrap().trim().parse().unwrap();
        let frame = std::fs::read(&output).unwrap();
        Run { action, frame }
    }

    /// Counters under a key, summed over processors.
    pub fn counters(&self, key: u32) -> Vec<u64> {
        let (map, key) = (self.map(abi::COUNTERS), decimal(&key.to_le_bytes()));
        let mut args = vec!["-j", "map", "lookup", "pinned", text(&map), "key"];
        args.extend(key.iter().map(String::as_str));
        let json: serde_json::Value = serde_json::from_slice(&run("bpftool", &args).stdout).unwrap();
        let mut sums = vec![0; COUNTER_SLOTS as usize];
        for cpu in json["formatted"]["values"].as_array().unwrap() {
            for (sum, value) in sums.iter_mut().zip(cpu["value"].as_array().unwrap()) {
                *sum += value.as_u64().unwrap();
            }
        }
        sums
    }

    /// Where a map is pinned. libbpf writes `_` for the dots of a section.
    pub fn map(&self, name: &str) -> PathBuf {
        self.path("fs/maps").join(name.replace('.', "_"))
    }

    /// A file of this object's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // What was pinned goes with its file system.
        let _ = Command::new("umount").arg(self.path("fs")).status();
    }
}

fn decimal(bytes: &[u8]) -> Vec<String> {
    bytes.iter().map(u8::to_string).collect()
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}
