//! Values and bytes as a person reads them.

use lambdac_hir::{Type, Value, Workload, decode};

/// More bytes or elements are counted, not shown.
const MAX_SHOWN: usize = 256;

/// Bytes as a literal of the language: `b"text\n\x00"`.
pub fn render_bytes(bytes: &[u8]) -> String {
    let mut text = String::from("b\"");
    for &byte in bytes.iter().take(MAX_SHOWN) {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(byte as char),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    if bytes.len() > MAX_SHOWN {
        text.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    text
}

/// A value as the language would write it.
pub fn render_value(workload: &Workload, ty: &Type, value: &Value) -> String {
    match (ty, value) {
        (Type::Array(elem, _), Value::Array(values)) if **elem == Type::U8 => {
            let bytes: Vec<u8> = values.iter().map(|value| value.as_int() as u8).collect();
            render_bytes(&bytes)
        }
        (Type::Array(elem, _), Value::Array(values)) => {
            let shown = values
                .iter()
                .take(MAX_SHOWN)
                .map(|value| render_value(workload, elem, value));
            let more = if values.len() > MAX_SHOWN { ", …" } else { "" };
            format!("[{}{more}]", shown.collect::<Vec<_>>().join(", "))
        }
        (Type::Struct(id), Value::Struct(values)) => {
            let declared = workload.strukt(*id);
            let fields = declared.fields.iter().zip(values);
            let fields = fields.map(|(f, v)| format!("{}: {}", f.name, render_value(workload, &f.ty, v)));
            format!(
                "{} {{ {} }}",
                declared.name,
                fields.collect::<Vec<_>>().join(", ")
            )
        }
        (Type::Enum(id), Value::Int(word)) => {
            let declared = workload.enumeration(*id);
            let variant = declared.variants.iter().find(|(_, value)| value == word);
            variant.map_or_else(
                || word.to_string(),
                |(name, _)| format!("{}::{name}", declared.name),
            )
        }
        (Type::Int(int), Value::Int(word)) if int.signed => {
            (crate::arith::extend(*int, *word) as i64).to_string()
        }
        (Type::Option(inner), Value::Some(value)) => render_value(workload, inner, value),
        (_, Value::Bytes(bytes)) => render_bytes(bytes),
        (_, Value::Int(word)) => word.to_string(),
        (_, Value::Bool(value)) => value.to_string(),
        (_, Value::None) => "none".to_owned(),
        (_, Value::Unit) => "nothing".to_owned(),
        (_, Value::Array(_) | Value::Struct(_) | Value::Some(_)) => format!("{value:?}"),
    }
}

/// A reply: its bytes, and for a header or an array of wider integers its parts too.
pub fn render_reply(workload: &Workload, ty: Option<&Type>, bytes: &[u8]) -> String {
    let raw = render_bytes(bytes);
    let Some(ty) = ty else { return raw };
    let has_parts = match ty {
        Type::Struct(_) => true,
        Type::Array(elem, _) => **elem != Type::U8,
        _ => false,
    };
    match decode(workload, ty, bytes) {
        Ok(value) if has_parts => format!("{raw} = {}", render_value(workload, ty, &value)),
        _ => raw,
    }
}
