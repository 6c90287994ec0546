//! Opening, scanning and writing files.
