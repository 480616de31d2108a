//! Small workloads that do what the examples don't: trap, punt, log, wait for long, and tell the facts about a packet.

use tempfile::TempDir;

const SLICER: &str = "workload slicer;

lambda cut(req: [u8; 1]) -> bytes<1> {
    let text = b\"\\x00\";
    let at = req[0] as u32;
    reply text[at..at + 1];
}
";

const UPWARD: &str = "workload upward;

lambda upward(req: bytes<64>) -> bytes<64> {
    punt;
}
";

const TALKER: &str = "workload talker;

lambda talker(req: [u8; 1]) -> [u8; 1] {
    log(b\"said\", req[0]);
    reply req;
}
";

const PATIENT: &str = "workload patient;

service cache = memcached(\"127.0.0.1:11211\", timeout = 60s);

lambda patient(key: bytes<64>) -> bytes<1024> {
    let value = await cache.get(key) else {
        reply b\"nothing\";
    };
    reply value;
}
";

const WHOAMI: &str = "workload whoami;

header Facts { src_ip: u32, src_port: u16, dst_port: u16, port: u16, request_id: u64 }

lambda whoami(req: bytes<1>) -> Facts {
    reply Facts {
        src_ip: pkt.src_ip,
        src_port: pkt.src_port,
        dst_port: pkt.dst_port,
        port: pkt.port,
        request_id: pkt.request_id,
    };
}
";

/// The workloads in a folder of their own.
pub struct Programs {
    dir: TempDir,
}

impl Programs {
    /// Writes them.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("slicer", SLICER),
            ("upward", UPWARD),
            ("talker", TALKER),
            ("patient", PATIENT),
            ("whoami", WHOAMI),
        ] {
            std::fs::write(dir.path().join(format!("{name}.lnic")), text).unwrap();
        }
        Self { dir }
    }

    /// Path of all of them.
    pub fn all(&self) -> String {
        self.dir.path().display().to_string()
    }
}
