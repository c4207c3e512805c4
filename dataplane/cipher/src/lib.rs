//! Protection of a TCP segment: synthetic-IV tag, keystream by stream offset, key contexts.
