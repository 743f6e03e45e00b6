//! Stub, filled in by its part.
