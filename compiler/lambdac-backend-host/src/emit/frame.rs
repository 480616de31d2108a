//! Where aggregates lie: native stack, arena, reply buffer.

use cranelift_codegen::ir::{self, InstBuilder, StackSlot, StackSlotData, StackSlotKind, types};
use cranelift_frontend::Variable;
use lambdac_mir as mir;

use super::func::FnEmitter;
use super::{ARENA_TOTAL, STACK_SLOT, STACK_TOTAL};
use crate::layout::{self, Layout};
use crate::{Error, Result};

/// What a function takes of stack and arena, what it calls included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frame {
    pub(crate) stack: u64,
    pub(crate) arena: u64,
    pub(crate) depth: usize,
}

/// Where a slot lies.
#[derive(Clone, Copy)]
pub(crate) enum Home {
    /// Not used.
    Nowhere,
    /// A scalar in a variable.
    Variable(Variable),
    /// In memory; the length of a byte string in a variable unless the memory must be whole.
    Memory(Memory, Option<Variable>),
}

/// A piece of memory that lasts as long as the function runs.
#[derive(Clone, Copy)]
pub(crate) enum Memory {
    Stack(StackSlot),
    Arena(u64),
    /// The reply buffer, which holds the bytes alone: so many bytes before it the slot would start.
    Reply(u64),
}

impl<'m> FnEmitter<'_, '_, 'm> {
    /// Memory of a layout: on the stack if it is small.
    pub(crate) fn allocate(&mut self, layout: Layout) -> Result<Memory> {
        let size = layout.size.next_multiple_of(16);
        if size <= STACK_SLOT && self.frame.stack + size <= STACK_TOTAL {
            self.frame.stack += size;
            let shift = layout.align.max(8).trailing_zeros() as u8;
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size as u32, shift);
            return Ok(Memory::Stack(self.b.create_sized_stack_slot(data)));
        }
        let offset = self.frame.arena;
        self.frame.arena += size;
        if self.frame.arena > ARENA_TOTAL || self.arena.is_none() {
            return Err(Error::TooLarge {
                what: format!("the frame of {}", self.at),
                bytes: self.frame.arena,
                limit: ARENA_TOTAL,
            });
        }
        Ok(Memory::Arena(offset))
    }

    /// The address of memory.
    pub(crate) fn memory_base(&mut self, memory: Memory) -> (ir::Value, i64) {
        match memory {
            Memory::Stack(slot) => (self.b.ins().stack_addr(types::I64, slot, 0), 0),
            Memory::Arena(offset) => (self.arena.unwrap_or(self.ctx), offset as i64),
            Memory::Reply(header) => (self.reply, -(header as i64)),
        }
    }

    /// Gives each slot its home.
    pub(crate) fn place_slots(&mut self) -> Result<()> {
        let body = self.body;
        for (index, slot) in body.slots.iter().enumerate() {
            let escapes = self.facts.escapes[index];
            let home = match &slot.shape {
                mir::Shape::Scalar(width) if !escapes => {
                    let ty = super::scalar::ty(*width);
                    Home::Variable(self.zeroed_variable(ty))
                }
                shape => {
                    let memory = match slot.storage {
                        // The reply buffer has no place for a length, so there it must be in a variable.
                        mir::Storage::ReplyBuffer if !escapes => Memory::Reply(match shape {
                            mir::Shape::Bytes(_) => layout::BYTES_HEADER,
                            _ => 0,
                        }),
                        mir::Storage::ReplyBuffer | mir::Storage::Frame => {
                            self.allocate(layout::layout(shape)?)?
                        }
                    };
                    let variable = matches!(shape, mir::Shape::Bytes(_)) && !escapes;
                    Home::Memory(memory, variable.then(|| self.zeroed_variable(types::I32)))
                }
            };
            self.homes[index] = home;
        }
        Ok(())
    }

    fn zeroed_variable(&mut self, ty: ir::Type) -> Variable {
        let variable = self.b.declare_var(ty);
        let zero = self.b.ins().iconst(ty, 0);
        self.b.def_var(variable, zero);
        variable
    }
}
