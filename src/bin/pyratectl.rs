//! `pyratectl`: talks to the Pyrate daemon of this machine.

fn main() -> std::process::ExitCode {
    pyrate::ctl::main()
}
