//! `top`: the live view.
//!
//! | file | owns |
//! |---|---|
//! | `model` | what is known, selected and typed; changes by what the daemon says and by keys |
//! | `view` | the model as people see it, at any size |
//! | `keys`, `signals`, `screen` | the terminal: what it sends, what it signals, and that it is given back |
//! | `link` | the calls to the daemon that wait for their answers |
//!
//! This file has the loop, which waits for the terminal, signals, the daemon and the time at once. It asks the daemon for
//! little, once a second at most: pages of bounded length, one at a time, and never again what is not answered yet. Events
//! bring the rest. Unless the user does something, the screen is drawn twice a second at most. A daemon that is gone is waited
//! for.

mod keys;
mod link;
mod model;
mod screen;
mod signals;
mod view;

use super::Session;
use super::clock::Stopwatch;
use super::command_line::Form;
use super::download::request;
use super::output::{Output, no_cursor};
use super::wording::{Failure, NoScreen, Remark};
use crate::control::{CallError, ExitCode, RawText, Request, Selector};
use keys::Keys;
use link::{Came, Link, Purpose};
use model::{Ask, Model, News, Pane};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use polling::{Event, Poller};
use screen::Screen;
use signals::Signals;
use std::io::{self, IsTerminal};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Between two requests for the figures and the uploads, and between two attempts to find a daemon again.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two pages of downloads, of which events bring the changes.
const TICKS_OF_PAGES: u64 = 2;

/// Ticks between two requests for the peers: while they are looked at, and otherwise.
const TICKS_OF_PEERS: [u64; 2] = [2, 10];

/// Least time between two drawings that no key asked for.
const DRAW_INTERVAL: Duration = Duration::from_millis(500);

/// How long the rest of a key's bytes may take, also over a slow line.
const KEY_MAX: Duration = Duration::from_millis(50);

/// An answer that takes longer is late.
const ANSWER_LATE: Duration = Duration::from_secs(5);

/// A daemon that is there accepts at once.
const REOPEN_MAX: Duration = Duration::from_millis(100);

/// What is received before the keys are looked at again.
const RECEIVED_PER_TURN_MAX: usize = 512;

const TERMINAL: usize = 0;
const SIGNALS: usize = 1;
const SOCKET: usize = 2;

/// Refuses to begin where nothing can be drawn.
pub(super) fn check(form: Form) -> Result<(), CallError> {
    let why = match form {
        Form::Json => Some(NoScreen::Form("--json")),
        Form::Terse => Some(NoScreen::Form("--terse")),
        Form::Text if !io::stdin().is_terminal() => Some(NoScreen::NotATerminal("input")),
        Form::Text if !io::stdout().is_terminal() => Some(NoScreen::NotATerminal("output")),
        Form::Text => no_cursor(),
    };
    why.map_or(Ok(()), |why| Err(Failure::NoScreen(why).into()))
}

/// Shows the daemon until the user has seen enough. Where it is gone then, that is the outcome.
pub(super) fn top(session: &mut Session) -> Result<ExitCode, CallError> {
    let watching = |error: io::Error| Failure::CannotWatch { error: error.to_string() };
    let signals = Signals::watch().map_err(watching)?;
    let poller = Poller::new().map_err(watching)?;
    let fds = [(io::stdin().as_raw_fd(), TERMINAL), (signals.as_raw_fd(), SIGNALS)];
    for (fd, key) in fds.into_iter().chain([(session.connection.socket().as_raw_fd(), SOCKET)]) {
        poller.add(fd, Event::none(key)).map_err(watching)?;
    }
    let screen = Screen::enter().map_err(cannot_draw)?;
    let mut top = Top {
        output: session.output,
        session,
        poller,
        signals,
        screen,
        keys: Keys::default(),
        link: Link::default(),
        model: Model::new(),
        watch: Stopwatch::start(),
        ticks: 0,
        next_tick: Duration::ZERO,
        page_after: 0,
        drawn_at: None,
        draw: Draw::Now,
        keys_until: None,
    };
    top.begin();
    let end = top.run();
    let Top { screen, signals, model, .. } = top;
    drop(screen);
    match end? {
        End::Signal(signal) => {
            signals.obey(signal);
            Ok(ExitCode::Other)
        }
        End::Quit => model.gone.map_or(Ok(ExitCode::Done), Err),
    }
}

fn cannot_draw(error: io::Error) -> CallError {
    Failure::CannotDraw { error: error.to_string() }.into()
}

/// When the screen is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Draw {
    /// Nothing has changed.
    Never,
    /// Something has, that the user does not wait for.
    Soon,
    Now,
}

enum End {
    Quit,
    /// This signal is to end us.
    Signal(Signal),
}

struct Top<'a> {
    session: &'a mut Session,
    output: Output,
    poller: Poller,
    signals: Signals,
    screen: Screen,
    keys: Keys,
    link: Link,
    model: Model,
    watch: Stopwatch,
    ticks: u64,
    next_tick: Duration,
    /// The next page of downloads begins after this one.
    page_after: u32,
    drawn_at: Option<Duration>,
    draw: Draw,
    /// When the bytes of a key that are there are all of it.
    keys_until: Option<Duration>,
}

impl Top<'_> {
    fn run(&mut self) -> Result<End, CallError> {
        let mut is_more = false;
        loop {
            let now = self.watch.elapsed();
            if now >= self.next_tick {
                self.next_tick = now + TICK;
                self.tick(now);
            }
            if self.draw_at().is_some_and(|at| at <= now) {
                self.draw(now)?;
            }
            let ready = self.wait(is_more)?;
            while let Some(signal) = self.signals.next() {
                if let Some(end) = self.on_signal(signal)? {
                    return Ok(end);
                }
            }
            if let Some(end) = self.read_keys(ready.contains(&TERMINAL))? {
                return Ok(end);
            }
            is_more = self.receive()?;
        }
    }

    /// When to draw, if anything has changed.
    fn draw_at(&self) -> Option<Duration> {
        match self.draw {
            Draw::Never => None,
            Draw::Soon => Some(self.drawn_at.map_or(Duration::ZERO, |at| at + DRAW_INTERVAL)),
            Draw::Now => Some(Duration::ZERO),
        }
    }

    fn draw(&mut self, now: Duration) -> Result<(), CallError> {
        self.model.arrange();
        self.model.silent_for = self.late(now);
        let (model, look) = (&self.model, self.output.look());
        self.screen.draw(|frame| view::draw(frame, model, look, now)).map_err(cannot_draw)?;
        (self.drawn_at, self.draw) = (Some(now), Draw::Never);
        Ok(())
    }

    /// Waits for something to do; gives what is ready.
    fn wait(&mut self, is_more: bool) -> Result<Vec<usize>, CallError> {
        let now = self.watch.elapsed();
        let until = [Some(self.next_tick), self.draw_at(), self.keys_until].into_iter().flatten().min();
        let left = until.unwrap_or(self.next_tick).saturating_sub(now);
        let mut events = Vec::new();
        let mut waited = || -> io::Result<()> {
            self.poller.modify(io::stdin().as_raw_fd(), Event::readable(TERMINAL))?;
            self.poller.modify(self.signals.as_raw_fd(), Event::readable(SIGNALS))?;
            if self.model.gone.is_none() {
                self.poller.modify(self.session.connection.socket().as_raw_fd(), Event::readable(SOCKET))?;
            }
            self.poller.wait(&mut events, Some(if is_more { Duration::ZERO } else { left })).map(drop)
        };
        match waited() {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(Failure::CannotWait { error: error.to_string() }.into())
            }
            _ => Ok(events.into_iter().map(|event| event.key).collect()),
        }
    }

    fn on_signal(&mut self, signal: Signal) -> Result<Option<End>, CallError> {
        match signal {
            Signal::SIGINT => return Ok(Some(End::Quit)),
            Signal::SIGWINCH => self.draw = Draw::Now,
            Signal::SIGTSTP => {
                screen::leave();
                self.signals.obey(Signal::SIGTSTP);
                self.take_screen_again()?;
            }
            // After SIGSTOP, of which nothing could be seen before.
            Signal::SIGCONT => self.take_screen_again()?,
            _ => return Ok(Some(End::Signal(signal))),
        }
        Ok(None)
    }

    fn take_screen_again(&mut self) -> Result<(), CallError> {
        self.draw = Draw::Now;
        self.screen.enter_again().map_err(cannot_draw)
    }

    fn read_keys(&mut self, is_ready: bool) -> Result<Option<End>, CallError> {
        if is_ready {
            let mut bytes = [0; 1024];
            match nix::unistd::read(io::stdin(), &mut bytes) {
                // The terminal is gone.
                Ok(0) | Err(nix::Error::EIO) => return Ok(Some(End::Quit)),
                Ok(count) => self.keys.push(&bytes[..count]),
                Err(nix::Error::EINTR | nix::Error::EAGAIN) => {}
                Err(error) => return Err(cannot_draw(error.into())),
            }
        }
        let now = self.watch.elapsed();
        while let Some(key) = self.keys.next() {
            if let Some(end) = self.on_key(now, key)? {
                return Ok(Some(end));
            }
        }
        if self.keys_until.is_some_and(|until| until <= now)
            && let Some(key) = self.keys.settle()
            && let Some(end) = self.on_key(now, key)?
        {
            return Ok(Some(end));
        }
        let until = if is_ready { None } else { self.keys_until };
        self.keys_until = self.keys.is_partial().then(|| until.unwrap_or(now + KEY_MAX));
        Ok(None)
    }

    fn on_key(&mut self, now: Duration, key: keys::Key) -> Result<Option<End>, CallError> {
        self.draw = Draw::Now;
        let pane = self.model.pane;
        match self.model.on_key(key) {
            None => {}
            Some(Ask::Quit) => return Ok(Some(End::Quit)),
            // To all of this job, as the terminal does: it comes back as a signal. Where nobody would continue the job, the
            // system does not stop it.
            Some(Ask::Suspend) => drop(kill(Pid::from_raw(0), Signal::SIGTSTP)),
            Some(Ask::Redraw) => self.screen.forget().map_err(cannot_draw)?,
            Some(Ask::Search { nth, text }) => {
                let request = Request::Search { text: RawText::new(text), max: None, ttl: None };
                self.ask(now, &request, Purpose::Search { nth });
            }
            Some(Ask::Order(order, id)) => self.ask(now, &request(order, id.to_string()), Purpose::Order(order)),
            Some(Ask::Download(id)) => {
                let what = vec![Selector::Hits(id.to_string())];
                self.ask(now, &Request::Download { what, output: None }, Purpose::Wish);
            }
        }
        if self.model.pane == Pane::Peers && pane != Pane::Peers {
            self.ask(now, &Request::Peers, Purpose::Peers);
        }
        Ok(None)
    }
}

/// The daemon.
impl Top<'_> {
    /// What a new connection begins with. Events come first, so that nothing is missed.
    fn begin(&mut self) {
        let now = self.watch.elapsed();
        self.page_after = 0;
        self.ask(now, &Request::Events, Purpose::Events);
        self.ask(now, &Request::Peers, Purpose::Peers);
    }

    fn tick(&mut self, now: Duration) {
        if self.model.gone.is_some() && !self.find_again(now) {
            return;
        }
        self.ask(now, &Request::Metrics, Purpose::Metrics);
        let after = self.model.uploads.after();
        self.ask(now, &Request::Uploads { after }, Purpose::Uploads);
        if self.ticks.is_multiple_of(TICKS_OF_PAGES) {
            let after = self.page_after;
            self.ask(now, &Request::Downloads { after }, Purpose::Page(after));
        }
        let ticks_of_peers = TICKS_OF_PEERS[usize::from(self.model.pane != Pane::Peers)];
        if self.ticks % ticks_of_peers == ticks_of_peers - 1 {
            self.ask(now, &Request::Peers, Purpose::Peers);
        }
        self.ticks += 1;
        // Nothing comes that would have it drawn.
        if self.late(now).is_some() {
            self.draw = self.draw.max(Draw::Soon);
        }
    }

    /// How long the daemon has owed an answer, if that is long.
    fn late(&self, now: Duration) -> Option<Duration> {
        self.link.waits_since().map(|since| now.saturating_sub(since)).filter(|late| *late >= ANSWER_LATE)
    }

    /// Whether there is a daemon again.
    fn find_again(&mut self, now: Duration) -> bool {
        let Ok(connection) = self.session.connection.reopened(REOPEN_MAX) else { return false };
        if self.poller.add(connection.socket().as_raw_fd(), Event::none(SOCKET)).is_err() {
            return false;
        }
        self.session.connection = connection;
        self.link = Link::default();
        self.hear(now, News::Back);
        self.begin();
        self.model.gone.is_none()
    }

    fn ask(&mut self, now: Duration, call: &Request, purpose: Purpose) {
        if self.model.gone.is_some() {
            self.model.remark = purpose.is_of_user().then(|| Remark::GoneMeanwhile.to_string());
            return;
        }
        if let Err(error) = self.link.ask(&mut self.session.connection, now, call, purpose) {
            self.lose(now, error);
        }
    }

    /// Takes what the daemon has sent. Tells whether there is more.
    fn receive(&mut self) -> Result<bool, CallError> {
        let now = self.watch.elapsed();
        for _ in 0..RECEIVED_PER_TURN_MAX {
            if self.model.gone.is_some() {
                return Ok(false);
            }
            match self.link.receive(&mut self.session.connection) {
                Ok(None) => return Ok(false),
                Ok(Some(Came::Other)) => {}
                Ok(Some(Came::Unfit(error))) => return Err(error),
                Ok(Some(Came::News(news))) => self.hear(now, news),
                Ok(Some(Came::ForUser(news))) => {
                    self.hear(now, news);
                    self.draw = Draw::Now;
                }
                Err(error) => self.lose(now, error),
            }
        }
        Ok(true)
    }

    fn hear(&mut self, now: Duration, news: News) {
        if let News::Page { after, page } = &news {
            self.page_after = page.next.filter(|next| next > after).unwrap_or(0);
        }
        self.model.hear(now, news);
        self.draw = self.draw.max(Draw::Soon);
    }

    fn lose(&mut self, now: Duration, error: CallError) {
        // What is closed is not polled either.
        let _ = self.poller.delete(self.session.connection.socket().as_raw_fd());
        self.hear(now, News::Gone(error));
    }
}
