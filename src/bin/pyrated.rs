//! `pyrated`.

fn main() {}
