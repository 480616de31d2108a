//! Streams on the NFP: what the plugin has to know to cut packets into chunks.
//!
//! `lnic_stream` says of a packet's workload how large its chunks are (0: it is no stream), and `lnic_empty` answers a
//! message without bytes where chunks may be empty. The chunks go through the stage one by one (`lnic_plugin.h`).

use super::Lowerer;
use super::stage::{Walk, call_field, func, status};
use crate::ast::{Case, Expr, Stmt, Type};
use crate::dialect::Dialect;
use crate::stream::Stream;

impl Lowerer<'_> {
    /// The streams that run here, by workload: the first of its entries, and what is known.
    fn native_streams(&self) -> Vec<(u32, usize, Stream)> {
        let workloads = self.image.workloads.iter().enumerate();
        let native = workloads.filter_map(|(index, workload)| {
            let stream = Stream::of(self.image, index)?;
            let mut entries = self.image.entries.iter();
            let entry = entries.position(|entry| {
                let lambda = &self.image.module.lambdas[entry.lambda.index()];
                entry.workload == index && entry.on_host.is_none() && lambda.stream
            })?;
            Some((workload.id, entry, stream))
        });
        native.collect()
    }

    /// Whether a stream runs here.
    pub fn has_streams(&self) -> bool {
        !self.native_streams().is_empty()
    }

    /// What the plugin asks of streams.
    pub(super) fn streams(&mut self, walk: &mut Walk) {
        let streams = self.native_streams();
        if self.dialect != Dialect::MicroC || streams.is_empty() {
            return;
        }
        let set = |name: &str, value: u32| Stmt::Assign(call_field(name), Expr::int(value));
        let known = streams.iter().map(|(id, _, stream)| Case {
            labels: vec![Expr::int(*id)],
            body: vec![
                set("chunk", stream.chunk.max),
                set("fragment", stream.fragment),
                set("chunk_reply", stream.reply),
                set("chunk_empty", u32::from(stream.chunk.min == 0)),
                Stmt::Break,
            ],
        });
        let body = vec![
            set("chunk", 0),
            Stmt::Switch(call_field("workload"), known.collect()),
        ];
        let comment = "How messages are cut.".to_owned();
        let mut stream = func("lnic_stream".into(), comment, Vec::new(), body);
        stream.result = Type::Void;
        stream.exported = true;
        let mut cases = Vec::new();
        for (id, entry, _) in &streams {
            let end = self.end(*entry, walk);
            let reply = Expr::Call(end, vec![Expr::var("LNIC_REPLY")]);
            cases.push(Case {
                labels: vec![Expr::int(*id)],
                body: vec![Stmt::Return(Some(reply))],
            });
        }
        let body = vec![
            Stmt::Switch(call_field("workload"), cases),
            status("LNIC_BAD_REQUEST"),
        ];
        let comment = "A message without chunks.".to_owned();
        let mut empty = func("lnic_empty".into(), comment, Vec::new(), body);
        empty.exported = true;
        self.code.extend([stream, empty]);
    }
}
