//! Deadlines in a hierarchical timer wheel.
