//! Flow keys, sharded session tables, half-connections and the life cycle of a session.
