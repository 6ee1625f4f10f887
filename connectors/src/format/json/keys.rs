//! `JsonKeys`: what the last row's keys looked like, so that the next row's need not be parsed.

/// Most record types and steps that are remembered, and the longest token.
const SHAPES_MAX: usize = 64;
const STEPS_MAX: usize = 1024;
const TOKEN_BYTES_MAX: usize = 256;

/// What a decoder remembers between rows; one per stream of rows of the same kind.
///
/// Rows of one producer nearly always have the same keys in the same order with the same spacing. Each
/// step from one value to the next is therefore kept as raw bytes, such as `,"price":`. When the next row
/// has the same bytes there, the field is known after one comparison.
#[derive(Debug, Default)]
pub struct JsonKeys {
    shapes: Vec<Shape>,
    /// The records around the one that is being read.
    pub(super) frames: Vec<Frame>,
    /// Where strings with escapes are put together.
    pub(super) scratch: String,
}

/// The steps through the records of one type.
#[derive(Debug)]
struct Shape {
    names: &'static [&'static str],
    steps: Vec<Step>,
}

/// The way from one value to the next.
#[derive(Debug)]
struct Step {
    /// The first 16 bytes of the token and which of them count.
    head: u128,
    mask: u128,
    token: Box<[u8]>,
    field: Option<usize>,
}

/// A record that is being read: the number of its shape and of its next step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    pub(super) shape: usize,
    pub(super) step: usize,
}

impl JsonKeys {
    /// The shape of records with these field names; past the last one where there are too many.
    #[inline(always)]
    pub(super) fn shape(&mut self, names: &'static [&'static str]) -> usize {
        // Most rows are flat: there is one shape.
        match self.shapes.first() {
            Some(first) if std::ptr::eq(first.names, names) => 0,
            _ => self.other_shape(names),
        }
    }

    fn other_shape(&mut self, names: &'static [&'static str]) -> usize {
        let known = self.shapes.iter().position(|shape| std::ptr::eq(shape.names, names));
        known.unwrap_or_else(|| {
            if self.shapes.len() < SHAPES_MAX {
                self.shapes.push(Shape { names, steps: Vec::new() });
                self.shapes.len() - 1
            } else {
                SHAPES_MAX
            }
        })
    }

    /// If `rest` starts with the token of this step: the token's length and the field it leads to.
    #[inline(always)]
    pub(super) fn predicted(&self, frame: Frame, rest: &[u8]) -> Option<(usize, Option<usize>)> {
        let step = self.shapes.get(frame.shape)?.steps.get(frame.step)?;
        let same = match rest.first_chunk::<16>() {
            Some(chunk) => {
                (u128::from_le_bytes(*chunk) ^ step.head) & step.mask == 0
                    && (step.token.len() <= 16 || rest.starts_with(&step.token))
            }
            None => rest.starts_with(&step.token),
        };
        same.then_some((step.token.len(), step.field))
    }

    /// Keeps the token of this step for the next row. `None` stands for a field to pass over.
    pub(super) fn remember(&mut self, frame: Frame, token: &[u8], field: Option<usize>) {
        // What is read ahead must not leave its line unseen.
        if token.contains(&b'\n') {
            return;
        }
        let Some(shape) = self.shapes.get_mut(frame.shape) else { return };
        if frame.step > shape.steps.len() || frame.step >= STEPS_MAX || token.len() > TOKEN_BYTES_MAX {
            return;
        }
        let mut head = [0; 16];
        let mut mask = [0; 16];
        for (index, byte) in token.iter().take(16).enumerate() {
            head[index] = *byte;
            mask[index] = u8::MAX;
        }
        let step = Step {
            head: u128::from_le_bytes(head),
            mask: u128::from_le_bytes(mask),
            token: token.into(),
            field,
        };
        match shape.steps.get_mut(frame.step) {
            Some(known) => *known = step,
            None => shape.steps.push(step),
        }
    }
}
