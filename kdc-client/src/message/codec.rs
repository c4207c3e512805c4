//! Length-prefixed fields: the one shape of every body.
//!
//! Owns reading and writing of `u16 length ‖ octets`; knows no message.

use crate::identity::IdError;

/// Why bytes are not a message. Closed: each is a counted reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Longer than 1200 octets.
    #[error("longer than 1200 octets")]
    TooLong,
    /// Ends inside a header or field.
    #[error("ends inside a header or field")]
    Truncated,
    /// Octets follow the last field.
    #[error("octets follow the last field")]
    Trailing,
    /// Not protocol version 1.
    #[error("not protocol version 1")]
    Version,
    /// A type that does not exist here.
    #[error("unknown type of message")]
    Type,
    /// A reason that does not exist.
    #[error("unknown reason")]
    Reason,
    /// Not part 0 of 1: numbered parts are not in use.
    #[error("numbered parts are not supported")]
    Parts,
    /// A field has the wrong length or a value that is not allowed.
    #[error("field '{0}' has a wrong length or value")]
    Field(&'static str),
    /// An identifier or service is not valid.
    #[error("invalid identifier: {0}")]
    Id(#[from] IdError),
}

/// Appends one field. Bodies are bounded far below 64 KiB by their types.
pub(crate) fn put_field(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("invariant: fields are shorter than a message");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Reads fields in order.
pub(crate) struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(all: &'a [u8]) -> Reader<'a> {
        Reader { all, at: 0 }
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], MessageError> {
        let end = self.at.checked_add(length).ok_or(MessageError::Truncated)?;
        let bytes = self.all.get(self.at..end).ok_or(MessageError::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], MessageError> {
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("invariant: bytes(N) returns N octets"))
    }

    pub(crate) fn field(&mut self) -> Result<&'a [u8], MessageError> {
        let length = u16::from_be_bytes(self.array()?);
        self.bytes(usize::from(length))
    }

    pub(crate) fn field_array<const N: usize>(
        &mut self,
        name: &'static str,
    ) -> Result<[u8; N], MessageError> {
        self.field()?.try_into().map_err(|_| MessageError::Field(name))
    }

    /// A place that is kept for later and must be absent today.
    pub(crate) fn reserved(&mut self, name: &'static str) -> Result<(), MessageError> {
        if self.field()?.is_empty() { Ok(()) } else { Err(MessageError::Field(name)) }
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.all.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn finish(self) -> Result<(), MessageError> {
        if self.rest().is_empty() { Ok(()) } else { Err(MessageError::Trailing) }
    }
}
