//! `pyratectl`.

fn main() {}
