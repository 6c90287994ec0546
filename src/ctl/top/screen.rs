//! The screen: the alternate one of the terminal, in raw mode, for as long as a [`Screen`] lives. However the program ends,
//! the terminal is as it was before; after SIGKILL alone it is not.

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::crossterm::{cursor, style};
use ratatui::{Frame, Terminal};
use std::io::{self, BufWriter, Stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// A frame of the largest usual terminal is written at once.
const FRAME_BYTES: usize = 64 << 10;

/// Whether the terminal is ours.
static IS_ENTERED: AtomicBool = AtomicBool::new(false);

pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn enter() -> io::Result<Self> {
        restore_before_a_panic_is_told();
        enter()?;
        let output = BufWriter::with_capacity(FRAME_BYTES, io::stdout());
        // If this fails, the terminal is given back here.
        let terminal = Terminal::new(CrosstermBackend::new(output)).inspect_err(|_| leave())?;
        Ok(Self { terminal })
    }

    /// Draws what has changed, in the size that the terminal has now.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// Takes the terminal again after [`leave`], or after another program has written to it.
    pub(super) fn enter_again(&mut self) -> io::Result<()> {
        leave();
        enter()?;
        self.forget()
    }

    /// Clears the screen, and draws everything the next time.
    ///
    /// Not by `Terminal::clear`: it asks the terminal where its cursor is, and waits for the answer with the reader of crossterm, which
    /// takes keys away and loops without end where the terminal is gone.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    IS_ENTERED.store(true, Ordering::Relaxed);
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide).inspect_err(|_| leave())
}

/// Gives the terminal back, if it is ours. What fails cannot be told to anybody.
pub(super) fn leave() {
    if IS_ENTERED.swap(false, Ordering::Relaxed) {
        let _ = execute!(io::stdout(), style::ResetColor, cursor::Show, DisableBracketedPaste, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// The message of a panic is written to the screen that stays, and not to the one that is left.
fn restore_before_a_panic_is_told() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            tell(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::openpty;
    use nix::sys::termios::tcgetattr;
    use std::fs::File;
    use std::io::Read;
    use std::process::Command;

    #[test]
    fn a_panic_is_told_on_the_screen_that_stays_and_the_terminal_is_as_before() {
        const THIS: &str =
            "ctl::top::screen::tests::a_panic_is_told_on_the_screen_that_stays_and_the_terminal_is_as_before";
        if std::env::var_os("PYRATE_TEST_PANICS").is_some() {
            let mut screen = Screen::enter().unwrap();
            screen.draw(|_| {}).unwrap();
            screen.forget().unwrap();
            panic!("this is told");
        }
        let pty = openpty(None, None).unwrap();
        let mut terminal = File::from(pty.master);
        let before = tcgetattr(&terminal).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", THIS, "--nocapture"]).env("PYRATE_TEST_PANICS", "1").env("RUST_BACKTRACE", "0");
        let output = || pty.slave.try_clone().unwrap();
        let mut child = command.stdin(output()).stdout(output()).stderr(output()).spawn().unwrap();
        drop((command, pty.slave));
        let mut written = Vec::new();
        // The read fails when no program has the terminal open any more.
        let _ = terminal.read_to_end(&mut written);
        assert!(!child.wait().unwrap().success());
        let written = String::from_utf8_lossy(&written);
        let place = |wanted: &str| written.find(wanted).unwrap_or_else(|| panic!("{wanted:?}: {written:?}"));
        assert!(place("\x1b[?1049h") < place("\x1b[?1049l") && place("\x1b[?1049l") < place("this is told"));
        assert!(!written.contains("\x1b[6n"), "the terminal is asked for nothing that it may not answer: {written:?}");
        assert_eq!(tcgetattr(&terminal).unwrap(), before);
    }
}
