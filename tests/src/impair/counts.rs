//! What the box did, so that a test can show that the path really was impaired. Owns the names in JSON.

use serde_json::{Map, Value};

/// Of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames taken in.
    pub frames: u64,
    /// Their octets.
    pub bytes: u64,
    /// Lost.
    pub lost: u64,
    /// Let others overtake.
    pub reordered: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Kept for a time.
    pub delayed: u64,
    /// Changed, with a checksum that says so.
    pub corrupted: u64,
    /// Changed, with a checksum made right again.
    pub forged: u64,
    /// Marked as having met congestion.
    pub marked: u64,
    /// Segments cut in two.
    pub split: u64,
    /// Segments that lost an option.
    pub stripped: u64,
    /// Packets that did not fit, answered by an ICMP error.
    pub too_big: u64,
    /// Segments whose sequence numbers were rewritten.
    pub shifted: u64,
    /// Packets whose ports were rewritten.
    pub translated: u64,
    /// Frames that the kernel did not take for sending.
    pub unsent: u64,
}

impl Counts {
    /// As a JSON object, one member for each field.
    pub fn to_json(&self) -> Value {
        let rows = [
            ("frames", self.frames),
            ("bytes", self.bytes),
            ("lost", self.lost),
            ("reordered", self.reordered),
            ("duplicated", self.duplicated),
            ("delayed", self.delayed),
            ("corrupted", self.corrupted),
            ("forged", self.forged),
            ("marked", self.marked),
            ("split", self.split),
            ("stripped", self.stripped),
            ("too_big", self.too_big),
            ("shifted", self.shifted),
            ("translated", self.translated),
            ("unsent", self.unsent),
        ];
        let members = rows.map(|(name, count)| (name.to_owned(), Value::from(count)));
        Value::Object(Map::from_iter(members))
    }
}
