//! How invocations end: the reply's headers, and the port that a packet leaves by.

use lambdac_image::Way;

use super::Lowerer;
use super::stage::{Walk, call_field, func, packet_field};
use crate::ast::{Binary, Expr, Local, LocalKind, Name, Stmt, Type};

impl Lowerer<'_> {
    /// The function that ends an entry's invocations: given a status, it makes the reply and sends packets out.
    pub(super) fn end(&mut self, entry: usize, walk: &mut Walk) -> Name {
        let plumbing = &self.image.plumbing;
        self.end_of(plumbing.reply_of[entry], plumbing.route_of[entry], walk)
    }

    pub(super) fn end_of(&mut self, reply: usize, route: usize, walk: &mut Walk) -> Name {
        if let Some(name) = walk.ends.get(&(reply, route)) {
            return name.clone();
        }
        let replies = self.reply(reply, walk);
        let routes = self.route(route, walk);
        let name = self.names.fresh(&format!("end{}", walk.ends.len()));
        let send = |way: Expr| Stmt::Expr(Expr::Call(routes.clone(), vec![way]));
        let ended = Expr::var("status");
        let sent = ended.clone().binary(Binary::Eq, Expr::var("LNIC_WAIT"));
        let answered = Expr::call("lnic_answered", vec![ended.clone()]).binary(Binary::Ne, Expr::int(0));
        let answer = vec![
            Stmt::Expr(Expr::Call(replies, vec![ended.clone()])),
            send(Expr::int(0)),
        ];
        let mut body = Vec::new();
        let service = call_field("service").binary(Binary::Add, Expr::int(1));
        let other = vec![Stmt::If(answered, answer.clone(), Vec::new())];
        if !self.asks {
            body.extend(other);
        } else {
            body.push(Stmt::If(sent, vec![send(service)], other));
        }
        body.push(Stmt::Return(Some(ended)));
        let mut end = func(name.clone(), String::new(), Vec::new(), body);
        end.params = vec![("status".into(), Type::U32)];
        self.code.push(end);
        walk.ends.insert((reply, route), name.clone());
        name
    }

    /// The function that makes the request's headers the reply's.
    fn reply(&mut self, index: usize, walk: &mut Walk) -> Name {
        if let Some(name) = walk.replies.get(&index) {
            return name.clone();
        }
        let like = self.image.plumbing.replies.get(index);
        let name = self.names.fresh(like.map_or("reply", |reply| &reply.name));
        let mut reply = func(name.clone(), String::new(), swap(), reply_headers());
        reply.result = Type::Void;
        reply.params = vec![("status".into(), Type::U32)];
        self.code.push(reply);
        walk.replies.insert(index, name.clone());
        name
    }

    /// The function that says which port packets of a kind leave by: 0 is the caller's, then the services'.
    fn route(&mut self, index: usize, walk: &mut Walk) -> Name {
        if let Some(name) = walk.routes.get(&index) {
            return name.clone();
        }
        let route = self.image.plumbing.routes.get(index);
        let name = self.names.fresh(route.map_or("route", |route| &route.name));
        let back = Stmt::Assign(packet_field("egress"), packet_field("ingress"));
        let mut chain = vec![back.clone()];
        let services = match self.asks {
            true => self.image.module.services.len(),
            false => 0,
        };
        let all = route.is_some_and(|route| {
            let known = |service| {
                route
                    .entries
                    .contains(&Way::Service(lambdac_mir::ServiceId(service)))
            };
            services > 0 && (0..services as u32).all(known)
        });
        if all {
            // Every way but the caller's is a service's.
            let service = Expr::var("way").binary(Binary::Sub, Expr::int(1));
            let port = Expr::call("lnic_service_port", vec![service]);
            let leave = Stmt::Assign(packet_field("egress"), port);
            let asked = Expr::var("way").binary(Binary::Ne, Expr::int(0));
            chain = vec![Stmt::If(asked, vec![leave], chain)];
        }
        let one_by_one = route.into_iter().flat_map(|route| &route.entries).rev();
        let asks = self.asks;
        for way in one_by_one.filter(|way| !all && (asks || **way == Way::Reply)) {
            let (number, leave) = match way {
                Way::Reply => (0, back.clone()),
                Way::Service(service) => {
                    let port = Expr::call("lnic_service_port", vec![Expr::int(service.0)]);
                    (service.0 + 1, Stmt::Assign(packet_field("egress"), port))
                }
            };
            let same = Expr::var("way").binary(Binary::Eq, Expr::int(number));
            chain = vec![Stmt::If(same, vec![leave], chain)];
        }
        if route.is_none_or(|route| route.entries.is_empty()) {
            chain.insert(0, Stmt::Expr(Expr::Cast(Type::Void, Box::new(Expr::var("way")))));
        }
        let mut func = func(name.clone(), String::new(), Vec::new(), chain);
        func.result = Type::Void;
        func.params = vec![("way".into(), Type::U32)];
        self.code.push(func);
        walk.routes.insert(index, name.clone());
        name
    }
}

/// The variable that swapping needs.
pub(super) fn swap() -> Vec<Local> {
    vec![Local {
        name: "swap".into(),
        kind: LocalKind::Scalar(Type::U32, None),
    }]
}

/// Turns a request's headers into a reply's (`lang-spec/wire.md`).
pub(super) fn reply_headers() -> Vec<Stmt> {
    const SWAPPED: [(&str, &str); 4] = [
        ("eth_dst_hi", "eth_src_hi"),
        ("eth_dst_lo", "eth_src_lo"),
        ("ip_dst", "ip_src"),
        ("udp_dst", "udp_src"),
    ];
    let mut out = Vec::new();
    for (a, b) in SWAPPED {
        out.push(Stmt::Assign(Expr::var("swap"), packet_field(a)));
        out.push(Stmt::Assign(packet_field(a), packet_field(b)));
        out.push(Stmt::Assign(packet_field(b), Expr::var("swap")));
    }
    let payload = call_field("reply_len");
    let wire = |size: u32| payload.clone().binary(Binary::Add, Expr::int(size));
    let set = |name: &str, value: Expr| Stmt::Assign(packet_field(name), value);
    // UDP 8 bytes, the lambda header 24, IPv4 20.
    out.extend([
        set("ip_len", wire(52)),
        set("udp_len", wire(32)),
        set("udp_sum", Expr::int(0)),
        set("kind", Expr::int(1)),
        set("status", Expr::var("status")),
        set("length", payload),
    ]);
    out
}
