//! Services and `await`.

use super::{body, items, whole};

#[test]
fn await_stands_in_let_else_and_if_let() {
    let source = r#"let a = await cache.get(req.rest) else { drop; };
if let b = await cache.set(req.rest, a) { reply b"1"; } else { if cache.failed() { drop; } }
let c = await cache.get(b"k");
await cache.delete(b"k");
let d = (await cache.get(b"k")).len();
drop;"#;
    let expected = r"12:9: error[E0603]: an answer that may be missing needs an `else`
13:1: error[E0603]: `await` stands only in `let v = await … else { … };` and `if let v = await … { }`
14:9: error[E0603]: `await` stands only in `let v = await … else { … };` and `if let v = await … { }`";
    assert_eq!(body(source), expected);
}

#[test]
fn await_stands_neither_in_a_loop_nor_in_a_fn() {
    let source = r#"workload t;
service cache = memcached("127.0.0.1:11211", timeout = 5ms);
fn f() { let a = await cache.get(b"k") else { return; }; }
lambda go() -> bytes<1> { for i in 0..2 { let a = await cache.get(b"k") else { break; }; } drop; }
stream lambda s(c: bytes<4>) -> bytes<4> { let a = await cache.get(c) else { reply c; }; reply c; }
match (req: bytes<4>) { _ => go }
"#;
    let expected = r"3:18: error[E0603]: `await` can't stand here
4:51: error[E0603]: `await` can't stand here
5:52: error[E0603]: `await` can't stand here";
    assert_eq!(whole(source), expected);
}

#[test]
fn failed_stands_in_the_else_of_its_service() {
    let source = r#"if cache.failed() { drop; }
let a = await cache.get(b"k") else { let f = cache.failed(); drop; };
cache.get(b"k");
let b = await cache.put(b"k") else { drop; };
let c = await level.get(b"k") else { drop; };
let d = await cache.get(req.n) else { drop; };
drop;"#;
    let expected = r"10:4: error[E0604]: `failed()` stands only in the `else` of an await of its service
12:1: error[E0605]: `get` is an operation of another machine and needs an `await`
13:21: error[E0605]: memcached has no operation `put`
14:15: error[E0203]: `level` is a state, not a service
15:25: error[E0204]: `get` takes a byte string, not u32";
    assert_eq!(body(source), expected);
}

#[test]
fn services_are_declared_in_full() {
    let source = r#"service a = redis("127.0.0.1:1", timeout = 1s);
service b = memcached("localhost", timeout = 1s);
service c = memcached("127.0.0.1:1");
service d = memcached("127.0.0.1:1", timeout = 0s);
service e = memcached("127.0.0.1:1", timeout = 1s, retries = 2);"#;
    let expected = r#"2:13: error[E0601]: there is no service protocol `redis`
3:23: error[E0602]: "localhost" is no address and port
4:9: error[E0601]: service `c` lacks its timeout
5:48: error[E0601]: a timeout of 0 leaves no time to answer
6:52: error[E0601]: a service has no argument `retries`"#;
    assert_eq!(items(source), expected);
}
