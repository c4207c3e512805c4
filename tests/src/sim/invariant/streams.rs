//! Octets arrive in order and as they were sent, or the connection is aborted. Owns what each
//! stream was to carry and what has come of it.

use std::collections::BTreeMap;

use super::Finding;
use crate::sim::pattern::{self, BLOCK};

const ORDER: &str = "octets arrive in order and equal";
const WHOLE: &str = "a clean end comes after the last octet";
const ONE_READER: &str = "a stream has one reader";

/// What one end has written.
struct Writer {
    written: u64,
    is_closed: bool,
    /// The host may send an offset again with other octets.
    two_forms: bool,
}

/// All streams of a run.
#[derive(Default)]
pub(in crate::sim) struct Streams {
    writers: BTreeMap<u32, Writer>,
    readers: BTreeMap<u32, u64>,
    made: u32,
    octets: u64,
}

/// What one end has read of its stream.
#[derive(Default)]
pub(in crate::sim) struct Reader {
    /// Which reader this is, once it reads.
    name: u64,
    id: Option<u32>,
    read: u64,
    first: Vec<u8>,
}

impl Streams {
    /// A new stream; its number.
    pub(in crate::sim) fn open(&mut self, two_forms: bool) -> u32 {
        self.made += 1;
        self.writers.insert(self.made, Writer { written: 0, is_closed: false, two_forms });
        self.made
    }

    /// The host has taken so many octets more.
    pub(in crate::sim) fn wrote(&mut self, id: u32, octets: usize) {
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.written += octets as u64;
        }
    }

    /// The writer has said that this was all.
    pub(in crate::sim) fn close(&mut self, id: u32) {
        if let Some(writer) = self.writers.get_mut(&id) {
            writer.is_closed = true;
        }
    }

    /// Octets delivered so far, all streams together.
    pub(in crate::sim) fn octets(&self) -> u64 {
        self.octets
    }

    /// Octets were delivered to a reader, which is told apart from others by `name`.
    pub(in crate::sim) fn deliver(
        &mut self,
        reader: &mut Reader,
        name: u64,
        bytes: &[u8],
    ) -> Result<(), Finding> {
        reader.name = name;
        self.octets += bytes.len() as u64;
        for byte in bytes {
            self.octet(reader, *byte)?;
        }
        Ok(())
    }

    /// The reader came to the end of its stream.
    pub(in crate::sim) fn finish(&self, reader: &Reader) -> Result<(), Finding> {
        let Some(id) = reader.id else {
            // Fewer octets than a block: the number of the stream is not known.
            let fits = self.writers.values().any(|w| w.is_closed && w.written == reader.read);
            return match fits {
                true => Ok(()),
                false => Err((WHOLE, format!("no stream ends after {} octets", reader.read))),
            };
        };
        match self.writers.get(&id) {
            Some(writer) if writer.is_closed && writer.written == reader.read => Ok(()),
            Some(writer) => {
                let (read, written) = (reader.read, writer.written);
                Err((WHOLE, format!("stream {id} ends after {read} of {written} octets")))
            }
            None => Err((ORDER, format!("stream {id} was never written"))),
        }
    }

    fn octet(&mut self, reader: &mut Reader, byte: u8) -> Result<(), Finding> {
        let offset = reader.read;
        reader.read += 1;
        let Some(id) = reader.id else {
            reader.first.push(byte);
            // The canary stands first, whatever the stream.
            let known = pattern::CANARY.get(offset as usize);
            if known.is_some_and(|known| *known != byte) {
                return Err((ORDER, format!("a stream begins with {:02x?}", reader.first)));
            }
            return if reader.first.len() == BLOCK { self.recognise(reader) } else { Ok(()) };
        };
        let writer = self.writers.get(&id);
        let two_forms = writer.is_some_and(|writer| writer.two_forms);
        let right = pattern::octet(id, offset, false) == byte
            || (two_forms && pattern::octet(id, offset, true) == byte);
        if !right {
            return Err((ORDER, format!("stream {id}, offset {offset}: {byte:#04x}")));
        }
        match writer {
            Some(writer) if offset < writer.written => Ok(()),
            _ => Err((ORDER, format!("stream {id}, offset {offset} was never written"))),
        }
    }

    fn recognise(&mut self, reader: &mut Reader) -> Result<(), Finding> {
        let mut first = [0; BLOCK];
        first.copy_from_slice(&reader.first);
        let id = pattern::stream_of(&first).filter(|id| self.writers.contains_key(id));
        let Some(id) = id else {
            return Err((ORDER, format!("a stream begins with {first:02x?}")));
        };
        let owner = *self.readers.entry(id).or_insert(reader.name);
        if owner != reader.name {
            return Err((ONE_READER, format!("stream {id} came to two connections")));
        }
        reader.id = Some(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(streams: &mut Streams, length: usize) -> (u32, Vec<u8>) {
        let id = streams.open(false);
        let mut bytes = vec![0; length];
        pattern::fill(id, 0, false, &mut bytes);
        streams.wrote(id, length);
        (id, bytes)
    }

    #[test]
    fn what_comes_as_it_was_sent_is_right() {
        let mut streams = Streams::default();
        let (id, bytes) = stream(&mut streams, 100);
        let mut reader = Reader::default();
        streams.deliver(&mut reader, 1, &bytes[..50]).unwrap();
        streams.deliver(&mut reader, 1, &bytes[50..]).unwrap();
        assert!(streams.finish(&reader).is_err(), "not closed yet");
        streams.close(id);
        assert_eq!(streams.finish(&reader), Ok(()));
    }

    #[test]
    fn what_is_lost_changed_doubled_or_invented_is_found() {
        let wrong = |change: fn(&mut Vec<u8>)| {
            let mut streams = Streams::default();
            let (id, mut bytes) = stream(&mut streams, 100);
            streams.close(id);
            change(&mut bytes);
            let mut reader = Reader::default();
            let came = streams.deliver(&mut reader, 1, &bytes);
            came.and_then(|()| streams.finish(&reader)).is_err()
        };
        assert!(!wrong(|_| {}));
        assert!(wrong(|bytes| bytes.truncate(99)));
        assert!(wrong(|bytes| bytes[70] ^= 1));
        assert!(wrong(|bytes| {
            bytes.remove(40);
        }));
        assert!(wrong(|bytes| bytes.push(0)));
        assert!(wrong(|bytes| bytes[3] = 0));
    }

    #[test]
    fn two_readers_of_one_stream_are_found() {
        let mut streams = Streams::default();
        let (_, bytes) = stream(&mut streams, 32);
        streams.deliver(&mut Reader::default(), 1, &bytes).unwrap();
        let second = streams.deliver(&mut Reader::default(), 2, &bytes);
        assert_eq!(second.unwrap_err().0, ONE_READER);
    }
}
