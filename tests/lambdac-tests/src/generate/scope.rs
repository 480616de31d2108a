//! What is in scope of a body.

use super::types::Ty;

/// A variable.
#[derive(Clone, Debug)]
pub struct Local {
    pub name: String,
    pub ty: Ty,
    pub mutable: bool,
}

/// What a body may do.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub locals: Vec<Local>,
    /// Variables of type `T?`; their `ty` is T.
    pub options: Vec<Local>,
    /// Plain `bytes` parameters.
    pub views: Vec<String>,
    /// Inside a loop of this body.
    pub in_loop: bool,
    /// How many loops are around; two are enough.
    pub loops: u32,
    /// May touch state and draw random numbers.
    pub impure: bool,
    /// May read `pkt`.
    pub pkt: bool,
    /// May await: in a plain lambda, outside loops.
    pub awaits: bool,
    /// A lambda's body (reply and drop may stand).
    pub lambda: Option<LambdaScope>,
    /// Inside a match condition: only `req`, `pkt`, constants, tables, pure fns.
    pub condition: bool,
}

/// What a lambda's body may do.
#[derive(Clone, Debug)]
pub struct LambdaScope {
    pub reply: Ty,
    pub stream: bool,
}

impl Scope {
    /// Whether `text::find` or `net::checksum` may stand here: in a loop, or a fn that loops call, their worst case
    /// would soon take a lambda over the limit of steps.
    pub fn may_search(&self) -> bool {
        self.loops == 0 && self.lambda.is_some()
    }

    /// Every readable path of scalars and aggregates: variables and fields of struct variables.
    pub fn paths(&self, structs: &[super::types::StructDef]) -> Vec<(String, Ty)> {
        let mut paths = Vec::new();
        for local in &self.locals {
            push_paths(&mut paths, structs, local.name.clone(), &local.ty, 0);
        }
        paths
    }

    /// Paths that can be assigned.
    pub fn places(&self, structs: &[super::types::StructDef]) -> Vec<(String, Ty)> {
        let mut places = Vec::new();
        for local in self.locals.iter().filter(|local| local.mutable) {
            push_paths(&mut places, structs, local.name.clone(), &local.ty, 0);
        }
        places
    }
}

fn push_paths(
    paths: &mut Vec<(String, Ty)>,
    structs: &[super::types::StructDef],
    name: String,
    ty: &Ty,
    depth: u32,
) {
    if let (Ty::Struct(id), true) = (ty, depth < 3) {
        for (field, ty) in &structs[*id].fields {
            push_paths(paths, structs, format!("{name}.{field}"), ty, depth + 1);
        }
    }
    paths.push((name, ty.clone()));
}
