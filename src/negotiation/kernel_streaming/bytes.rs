//! Reading and writing of little-endian numbers.

/// Reads numbers one after the other. Past the end it reads zeros: the callers have checked the
/// length.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((array, rest)) => {
                self.0 = rest;
                *array
            }
            None => {
                self.0 = &[];
                [0; N]
            }
        }
    }

    pub(super) fn number(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(super) fn guid(&mut self) -> u128 {
        u128::from_be_bytes(swapped(self.array()))
    }
}

/// Writes numbers one after the other.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn numbers<const N: usize>(&mut self, numbers: [u32; N]) {
        let bytes = numbers.map(u32::to_le_bytes);
        self.0.extend(bytes.as_flattened());
    }

    pub(super) fn guid(&mut self, guid: u128) {
        self.0.extend(swapped(guid.to_be_bytes()));
    }
}

/// Converts a GUID between memory and the order of its text: the first three of its parts are
/// little-endian numbers.
fn swapped(mut guid: [u8; 16]) -> [u8; 16] {
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    guid
}
