//! The state of a workload: what outlives invocations and code.

use std::sync::Arc;

use lambdac_backend_host::layout;
use lambdac_mir::{Data, KeyPart, Module, ObjectKind, Shape};

use crate::entries::{Entries, Policy, Sizes};
use crate::error::{Error, Result};
use crate::sign::Signs;
use crate::table::Table;
use crate::words::Words;

/// One object of a workload.
pub struct ObjectState {
    name: Arc<str>,
    decl: Arc<str>,
    kind: ObjectKind,
    signs: Signs,
    data: ObjectData,
}

pub(crate) enum ObjectData {
    /// A value or counters.
    Cells(Words),
    Entries(Box<Entries>),
    Table(Box<Table>),
}

impl ObjectState {
    fn new(workload: &str, object: &lambdac_mir::Object) -> Result<Self> {
        let fail = |reason: String| Error::Object {
            workload: workload.into(),
            object: object.name.to_string(),
            reason,
        };
        let signs = signs(object);
        let data = make(&object.kind, &signs).map_err(fail)?;
        Ok(Self {
            signs,
            name: object.name.clone(),
            decl: object.decl.clone(),
            kind: object.kind.clone(),
            data,
        })
    }

    /// Whether the state of this object can serve as that of a new declaration.
    fn serves(&self, object: &lambdac_mir::Object) -> bool {
        if self.name != object.name || self.decl != object.decl {
            return false;
        }
        match (&self.kind, &object.kind) {
            // What a value starts with matters only to one that starts.
            (ObjectKind::Value { shape: old, .. }, ObjectKind::Value { shape: new, .. }) => old == new,
            (old, new) => old == new,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    pub fn kind(&self) -> &ObjectKind {
        &self.kind
    }

    /// The signs of its integers.
    pub(crate) fn signs(&self) -> &Signs {
        &self.signs
    }

    pub(crate) fn data(&self) -> &ObjectData {
        &self.data
    }

    /// The table that it is.
    pub fn table(&self) -> Option<&Table> {
        match &self.data {
            ObjectData::Table(table) => Some(table),
            ObjectData::Cells(_) | ObjectData::Entries(_) => None,
        }
    }

    /// What generated code gets: cells, or what the runtime's functions take.
    fn base(&self) -> *mut u8 {
        match &self.data {
            ObjectData::Cells(words) => words.base(),
            ObjectData::Entries(entries) => std::ptr::from_ref::<Entries>(entries).cast_mut().cast(),
            ObjectData::Table(table) => std::ptr::from_ref::<Table>(table).cast_mut().cast(),
        }
    }
}

/// The most bytes that the entries of one object may take.
const MAX_ENTRIES_BYTES: u64 = 8 << 30;

fn signs(object: &lambdac_mir::Object) -> Signs {
    let key: &[KeyPart] = match &object.kind {
        ObjectKind::Lru { key, .. } | ObjectKind::Map { key, .. } | ObjectKind::Table { key, .. } => key,
        ObjectKind::Value { .. } | ObjectKind::Counter { .. } => &[],
    };
    Signs::of(&object.decl, key)
}

fn make(kind: &ObjectKind, signs: &Signs) -> std::result::Result<ObjectData, String> {
    let text = |error: lambdac_backend_host::Error| error.to_string();
    Ok(match kind {
        ObjectKind::Value { shape, init } => {
            let bytes = layout::encoded(shape, init).map_err(text)?;
            let words = Words::for_bytes(bytes.len());
            words.fill(&bytes);
            ObjectData::Cells(words)
        }
        ObjectKind::Counter { count, .. } => ObjectData::Cells(Words::zeroed((*count).max(1) as usize)),
        ObjectKind::Lru {
            key,
            value,
            capacity,
            ttl,
        } => {
            let sizes = sizes(key, value, *capacity)?;
            ObjectData::Entries(Entries::new(Policy::Lru { ttl: *ttl }, sizes).into())
        }
        ObjectKind::Map { key, value, capacity } => {
            let sizes = sizes(key, value, *capacity)?;
            ObjectData::Entries(Entries::new(Policy::Map, sizes).into())
        }
        ObjectKind::Table {
            kind,
            key,
            value,
            capacity,
            entries,
        } => {
            layout::key_bytes(key).map_err(text)?;
            let table = Table::new(*kind, key, value, *capacity, entries, signs);
            ObjectData::Table(table.map_err(|error| error.to_string())?.into())
        }
    })
}

fn sizes(key: &[lambdac_mir::KeyPart], value: &Shape, capacity: u32) -> std::result::Result<Sizes, String> {
    let key = layout::key_bytes(key).map_err(|error| error.to_string())?;
    let size = layout::layout(value).map_err(|error| error.to_string())?.size;
    let bytes = (key + size + 64).saturating_mul(capacity.into());
    if bytes > MAX_ENTRIES_BYTES {
        return Err(format!(
            "its entries need {bytes} bytes, at most {MAX_ENTRIES_BYTES} can be had"
        ));
    }
    Ok(Sizes {
        key: key as usize,
        value: size as usize,
        bytes: matches!(value, Shape::Bytes(_)),
        mask: match value {
            Shape::Scalar(width) => layout::mask(*width),
            _ => u64::MAX,
        },
        capacity,
    })
}

/// All objects of a workload, in the module's order.
pub struct Objects {
    list: Vec<Arc<ObjectState>>,
    /// What generated code gets for each.
    bases: Box<[*mut u8]>,
}

// SAFETY: `bases` points into `list`, whose objects are only read and written atomically or through `Sync` types.
unsafe impl Send for Objects {}
// SAFETY: as above.
unsafe impl Sync for Objects {}

impl Objects {
    /// The objects of a module: those of `previous` whose declaration is unchanged, the others anew. A table is kept
    /// with what the control plane made of it as long as its inline entries are unchanged too.
    ///
    /// # Errors
    /// [`Error::Object`] where one cannot be made.
    pub fn new(module: &Module, previous: Option<&Self>) -> Result<Self> {
        let mut list = Vec::with_capacity(module.objects.len());
        for object in &module.objects {
            let kept = previous.and_then(|previous| previous.list.iter().find(|old| old.serves(object)));
            list.push(match kept {
                Some(old) => old.clone(),
                None => ObjectState::new(&module.name, object)?.into(),
            });
        }
        let bases = list.iter().map(|object| object.base()).collect();
        Ok(Self { list, bases })
    }

    /// The objects.
    pub fn list(&self) -> &[Arc<ObjectState>] {
        &self.list
    }

    /// The object of a name.
    pub fn find(&self, name: &str) -> Option<&ObjectState> {
        self.list
            .iter()
            .find(|object| object.name() == name)
            .map(|object| &**object)
    }

    pub(crate) fn bases(&self) -> *const *mut u8 {
        self.bases.as_ptr()
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.list.iter().map(|object| object.name()))
            .finish()
    }
}

/// Reads a value of kind value or counter, cell by cell.
pub(crate) fn read_cells(words: &Words, shape: &Shape) -> Option<Data> {
    let size = layout::layout(shape).ok()?.size as usize;
    layout::decode(shape, &words.bytes(size)).ok()
}
