//! The burst pipeline and the pinned workers.
