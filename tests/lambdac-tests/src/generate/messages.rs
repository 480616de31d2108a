//! Message types, and requests that fit them.

use super::Request;
use super::items::Generator;
use super::types::{EnumDef, StructDef, Ty, U8};

/// Bits of a type on the wire, without a last `bytes` field.
fn wire_bits(enums: &[EnumDef], ty: &Ty) -> u32 {
    match ty {
        Ty::Bool => 1,
        Ty::Int(bits, _) => u32::from(*bits),
        Ty::Enum(id) => u32::from(enums[*id].bits),
        Ty::Array(elem, n) => wire_bits(enums, elem) * n,
        Ty::Bytes(_) | Ty::Struct(_) => 0,
    }
}

impl Generator {
    /// A header whose first field is `op: u8`, which matches look at.
    pub fn header(&mut self, prefix: &str) -> Ty {
        self.used("header");
        let name = self.name(prefix);
        let mut fields = vec![("op".to_owned(), U8)];
        let count = self.c.below(4);
        for i in 0..count {
            let ty = match self.c.below(6) {
                0 => {
                    self.used("bool field");
                    Ty::Bool
                }
                1 => {
                    self.used("array field");
                    Ty::Array(
                        Box::new(Ty::Int(*self.c.pick(&[8, 16, 12, 3]), false)),
                        self.c.range(1, 4),
                    )
                }
                2 if !self.enums.is_empty() => {
                    self.used("enum field");
                    Ty::Enum(0)
                }
                3 => Ty::Int(*self.c.pick(&[8, 16, 32, 64]), true),
                _ => {
                    self.used("fields across bytes");
                    Ty::Int(self.c.range(1, 64) as u8, false)
                }
            };
            fields.push((format!("h{i}"), ty));
        }
        let bits: u32 = fields.iter().map(|(_, ty)| wire_bits(&self.enums, ty)).sum();
        if !bits.is_multiple_of(8) {
            fields.push(("filler".to_owned(), Ty::Int((8 - bits % 8) as u8, false)));
        }
        if self.c.chance(50) {
            self.used("bytes field");
            fields.push(("rest".to_owned(), Ty::Bytes(*self.c.pick(&[8, 32]))));
        }
        let text: Vec<String> = fields
            .clone()
            .iter()
            .map(|(name, ty)| format!("{name}: {}", self.ty_text(ty)))
            .collect();
        self.out
            .push_str(&format!("header {name} {{ {} }}\n", text.join(", ")));
        self.structs.push(StructDef {
            name,
            header: true,
            fields,
        });
        Ty::Struct(self.structs.len() - 1)
    }

    /// Fewest and most bytes of messages of a type.
    pub fn message_size(&self, ty: &Ty) -> (u32, u32) {
        match ty {
            Ty::Bytes(n) => (0, *n),
            Ty::Struct(id) => {
                let fields = &self.structs[*id].fields;
                let fixed = fields
                    .iter()
                    .map(|(_, ty)| wire_bits(&self.enums, ty))
                    .sum::<u32>()
                    / 8;
                match fields.last() {
                    Some((_, Ty::Bytes(n))) => (fixed, fixed + n),
                    _ => (fixed, fixed),
                }
            }
            _ => {
                let bytes = wire_bits(&self.enums, ty) / 8;
                (bytes, bytes)
            }
        }
    }

    /// Requests for a type: most fit it, the first byte is often one that a match looks for.
    pub fn requests(&mut self, ty: &Ty, ops: &[u8]) -> Vec<Request> {
        let (min, max) = self.message_size(ty);
        let count = self.c.range(6, 10);
        let mut requests: Vec<Request> = (0..count).map(|i| self.request(min, max, ops, i)).collect();
        // The clock never goes back.
        let mut clock = 0;
        for request in &mut requests {
            clock = request.now.max(clock);
            request.now = clock;
        }
        requests
    }

    fn request(&mut self, min: u32, max: u32, ops: &[u8], number: u32) -> Request {
        let fits = !self.c.chance(10);
        let len = match (fits, self.c.below(4)) {
            (false, 0) if min > 0 => self.c.below(min),
            (false, _) => max + self.c.range(1, 3),
            (true, 0) => min,
            (true, 1) => max,
            (true, _) => self.c.range(min, max),
        };
        let mut bytes: Vec<u8> = (0..len).map(|_| self.request_byte()).collect();
        if let (Some(first), false) = (bytes.first_mut(), ops.is_empty()) {
            *first = ops[number as usize % ops.len()];
        }
        Request {
            fits: (min..=max).contains(&len),
            bytes,
            src_ip: *self.c.pick(&[0x0a00_0001, 0x0a01_0203, 0xc0a8_0001, 0]),
            src_port: self.c.number(16) as u16,
            dst_port: 4369,
            port: self.c.below(3) as u16,
            request_id: self.c.number(64),
            now: 1_000_000_000 * u64::from(1 + number * self.c.below(3)),
            random: self.c.chance(20).then(|| self.c.number(32) as u32),
        }
    }

    fn request_byte(&mut self) -> u8 {
        match self.c.below(5) {
            0 => 0,
            1 => self.c.below(8) as u8,
            2 => b'a' + self.c.below(26) as u8,
            3 => b'0' + self.c.below(10) as u8,
            _ => self.c.below(256) as u8,
        }
    }
}
