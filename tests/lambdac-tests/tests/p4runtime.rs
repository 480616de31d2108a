//! P4Runtime against an implementation that is not ours: the Python package finsy, whose messages and service were generated from
//! the specification's own definitions.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lambdac_tests::peers::finsy;
use p4runtime_proto::v1::{
    Action, Entity, FieldMatch, PacketOut, TableAction, TableEntry, Update, entity, field_match,
    table_action, update,
};
use p4runtime_proto::{Controller, Error, Event, Options, bytestring, config, text};
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use socket2::{Domain, Socket, Type};

/// The other end, which leaves nothing compiled in the sources' folder.
fn peer(python: &str) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/p4runtime_peer.py");
    let mut command = Command::new(python);
    command.args(["-B", script]);
    command
}

/// A message with something in every field, one choice of each oneof.
fn filled(descriptor: &MessageDescriptor, choice: usize, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if let Some(oneof) = field.containing_oneof() {
            let fields: Vec<_> = oneof.fields().collect();
            if fields[choice % fields.len()] != field {
                continue;
            }
        }
        let value = || value(&field, choice, depth);
        if field.is_map() {
            let entry = field.kind();
            let entry = entry.as_message().unwrap().clone();
            if let Some(value) = self::value(&entry.map_entry_value_field(), choice, depth) {
                let map = [(MapKey::String("a key".to_owned()), value)];
                message.set_field(&field, Value::Map(map.into_iter().collect()));
            }
        } else if field.is_list() {
            let items = (0..2).filter_map(|_| value());
            message.set_field(&field, Value::List(items.collect()));
        } else if let Some(value) = value() {
            message.set_field(&field, value);
        }
    }
    message
}

/// Something that tells the field from others; none where messages are nested too deep.
fn value(field: &FieldDescriptor, choice: usize, depth: usize) -> Option<Value> {
    let number = field.number();
    Some(match field.kind() {
        Kind::Message(inner) if inner.full_name() == "google.protobuf.Any" => {
            let any = prost_types::Any {
                type_url: "type.googleapis.com/p4.v1.Uint128".to_owned(),
                value: vec![8, number as u8],
            };
            let mut dynamic = DynamicMessage::new(inner);
            dynamic.transcode_from(&any).unwrap();
            Value::Message(dynamic)
        }
        Kind::Message(_) if depth == 0 => return None,
        Kind::Message(inner) => Value::Message(filled(&inner, choice, depth - 1)),
        Kind::Enum(of) => Value::EnumNumber(of.values().last()?.number()),
        Kind::String => Value::String(format!("text {number} \"é\"")),
        Kind::Bytes => Value::Bytes(vec![0, number as u8, 255, b'"'].into()),
        Kind::Bool => Value::Bool(true),
        Kind::Int32 => Value::I32(-(number as i32)),
        Kind::Int64 => Value::I64(i64::MIN + i64::from(number)),
        Kind::Uint32 => Value::U32(u32::MAX - number),
        Kind::Uint64 => Value::U64(u64::MAX - u64::from(number)),
        other => panic!("no value for {other:?}"),
    })
}

#[test]
fn every_message_is_the_specifications_on_the_wire_and_as_text() {
    let Some(python) = finsy() else { return };
    let ours: Vec<MessageDescriptor> = text::messages()
        .filter(|message| !message.is_map_entry() && !message.full_name().starts_with("google.protobuf."))
        .collect();
    assert!(ours.len() > 60, "{}", ours.len());
    // As many choices as the largest oneof has fields.
    for choice in 0..9 {
        let folder = tempfile::tempdir().unwrap();
        for message in &ours {
            let bytes = filled(message, choice, 3).encode_to_vec();
            std::fs::write(folder.path().join(format!("{}.bin", message.full_name())), bytes).unwrap();
        }
        let output = peer(&python).arg("messages").arg(folder.path()).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for message in &ours {
            let file = |suffix: &str| folder.path().join(format!("{}.{suffix}", message.full_name()));
            let name = message.full_name();
            let decoded = |suffix: &str| {
                DynamicMessage::decode(message.clone(), &*std::fs::read(file(suffix)).unwrap())
            };
            let sent = decoded("bin").unwrap();
            // Compared without a debug print: that of a message is endless.
            assert!(decoded("again").unwrap() == sent, "{name}");
            let text = std::fs::read_to_string(file("txt")).unwrap();
            let read = DynamicMessage::parse_text_format(message.clone(), &text);
            assert!(read.unwrap() == sent, "{name}\n{text}");
        }
    }
}

/// A TCP port that nobody else is given while this lives, and where nobody listens but who shares ports, as gRPC's
/// servers do.
struct Reserved(Socket);

impl Reserved {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}

/// The switch of `p4runtime_peer.py`.
struct Switch {
    process: Child,
    address: String,
    _port: Reserved,
}

impl Switch {
    fn start(python: &str) -> Self {
        let port = Reserved::new();
        let address = port.address();
        let mut process = peer(python)
            .args(["serve", &address.port().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Self {
            process,
            address: address.to_string(),
            _port: port,
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn options(election: u128) -> Options {
    Options {
        device: 3,
        election,
        ..Options::default()
    }
}

fn insert(table: u32, key: u128) -> Update {
    let exact = field_match::Exact {
        value: bytestring(key),
    };
    let entry = TableEntry {
        table_id: table,
        r#match: vec![FieldMatch {
            field_id: 1,
            field_match_type: Some(field_match::FieldMatchType::Exact(exact)),
        }],
        action: Some(TableAction {
            r#type: Some(table_action::Type::Action(Action {
                action_id: 5,
                params: Vec::new(),
            })),
        }),
        ..TableEntry::default()
    };
    Update {
        r#type: update::Type::Insert.into(),
        entity: Some(Entity {
            entity: Some(entity::Entity::TableEntry(entry)),
        }),
    }
}

#[tokio::test]
async fn a_switch_takes_program_entries_and_packets_and_gives_them_back() {
    let Some(python) = finsy() else { return };
    let switch = Switch::start(&python);
    let (mut controller, mut events) = Controller::connect(&switch.address, options(11)).await.unwrap();
    assert_eq!(controller.pipeline().await.unwrap(), None);
    let info = config::P4Info::default();
    let refused = controller
        .set_pipeline(info.clone(), Vec::new(), 1)
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "the switch refuses the program: no program");
    controller
        .set_pipeline(info, b"program".to_vec(), 0x1234)
        .await
        .unwrap();
    assert_eq!(controller.pipeline().await.unwrap(), Some(0x1234));
    // More than one call's worth, of which two are wrong.
    let mut updates: Vec<Update> = (0..2500).map(|key| insert(1, key)).collect();
    updates[7] = insert(70, 7);
    updates[2007] = insert(71, 7);
    let Err(Error::Call { updates: refused, .. }) = controller.write(updates).await else {
        panic!("nothing was refused");
    };
    let refused: Vec<(usize, &str)> = refused.iter().map(|one| (one.index, &*one.reason)).collect();
    assert_eq!(refused, [(7, "no table 70"), (2007, "no table 71")]);
    let all = Entity {
        entity: Some(entity::Entity::TableEntry(TableEntry::default())),
    };
    let entities = controller.read(vec![all]).await.unwrap();
    assert_eq!(entities.len(), 2498);
    assert_eq!(Some(&entities[0]), insert(1, 0).entity.as_ref());
    let packet = PacketOut {
        payload: b"payload".to_vec(),
        metadata: Vec::new(),
    };
    controller.send(packet).await.unwrap();
    let Some(Event::Packet(packet)) = events.next().await else {
        panic!("no packet came");
    };
    assert_eq!(packet.payload, b"payload");
    let digest = PacketOut {
        payload: b"digest".to_vec(),
        metadata: Vec::new(),
    };
    controller.send(digest).await.unwrap();
    let Some(Event::Digest(list)) = events.next().await else {
        panic!("no digest came");
    };
    controller.acknowledge(&list).await.unwrap();
    let Some(Event::Packet(packet)) = events.next().await else {
        panic!("no acknowledgement was seen");
    };
    assert_eq!((packet.payload, events.lost()), (b"7 8".to_vec(), 0));
    drop(switch);
    let Some(Event::Closed(_)) = events.next().await else {
        panic!("the end was not told");
    };
    assert_eq!(events.next().await, None);
    assert!(matches!(controller.pipeline().await, Err(Error::Call { .. })));
}

#[tokio::test]
async fn who_is_not_the_primary_is_told_so() {
    let Some(python) = finsy() else { return };
    let switch = Switch::start(&python);
    let error = Controller::connect(&switch.address, options(9))
        .await
        .unwrap_err();
    let said = "another controller is the primary of device 3, with election number 10";
    assert_eq!(error.to_string(), said);
}

#[tokio::test]
async fn where_no_switch_is_that_is_said() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    // It accepts connections and never answers.
    let silent = Options {
        timeout: Duration::from_millis(200),
        ..options(1)
    };
    let error = Controller::connect(&address, silent.clone()).await.unwrap_err();
    assert!(error.to_string().contains("no answer in 200ms"), "{error}");
    let refusing = Reserved::new();
    let error = Controller::connect(&refusing.address().to_string(), options(1))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    for wrong in ["", "host", ":9559", "host:port", "a b:1"] {
        let error = Controller::connect(wrong, silent.clone()).await.unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{wrong}: {error}");
    }
}
