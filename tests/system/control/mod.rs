//! The programs as their users have them: the control socket, `pyratectl`, the configuration, signals, files of state.

mod abuse;
mod calls;
mod ctl;
mod hooks;
mod hup;
mod lifecycle;
mod log_lines;
mod logging;
mod metrics;
mod queue;
mod reload;
mod sandbox;
mod searching;
mod socket;
mod state_files;
mod top;
mod tour;
mod unconfigured;
mod wishes;
