//! Fuzzer bytes as a script: small numbers, choices and pieces, in order. Behind its end all numbers are
//! zero and all pieces empty, so every input is a script.

/// A cursor over the octets of an input.
#[derive(Clone, Copy)]
pub(super) struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    pub(super) fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// A place in something of `bound` places; 0 where there is none.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.u8()) % bound.max(1)
    }

    pub(super) fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.below(N)]
    }

    /// At most `len` octets.
    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (piece, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        piece
    }

    /// A piece with its length (16 bits) in front.
    pub(super) fn piece(&mut self) -> &'a [u8] {
        let len = usize::from(self.u16());
        self.take(len)
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// `bytes` with a few octets changed as the script says.
    pub(super) fn mutate(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.below(4) + 1 {
            let at = usize::from(self.u16());
            let with = self.u8();
            if !bytes.is_empty() {
                let len = bytes.len();
                bytes[at % len] ^= with;
            }
        }
    }
}
