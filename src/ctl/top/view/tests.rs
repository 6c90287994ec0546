use super::*;
use crate::control::{CallError, Notice, SearchStarted};
use crate::ctl::top::keys::Key;
use crate::ctl::top::model::News;
use crate::ctl::top::model::tests::{at, download, hit, metrics, notice, page, press, upload_page};
use crate::ctl::wording::Remark;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Modifier;
use serde_json::json;

const LOOK: Look = Look { colour: true, width: None, ascii: false };

/// The screen at this size, as lines.
fn lines(model: &mut Model, width: u16, height: u16) -> Vec<String> {
    drawn(model, width, height, LOOK).0
}

/// The screen as lines, and those of them that are highlighted at their beginning.
fn drawn(model: &mut Model, width: u16, height: u16, look: Look) -> (Vec<String>, Vec<usize>) {
    model.arrange();
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, look, at(100))).unwrap();
    let buffer = terminal.backend().buffer();
    let symbols = buffer.content().iter().map(|cell| cell.symbol());
    assert!(symbols.clone().all(|symbol| !symbol.chars().any(char::is_control)), "{width}x{height}");
    let mut lines = Vec::new();
    let mut highlighted = Vec::new();
    for y in 0..height {
        let mut line = String::new();
        let mut x = 0;
        while x < width {
            let symbol = buffer[(x, y)].symbol();
            line += symbol;
            x += u16::try_from(console::measure_text_width(symbol).max(1)).unwrap();
        }
        lines.push(line.trim_end().to_owned());
        if width > 0 && buffer[(0, y)].modifier.contains(Modifier::REVERSED) {
            highlighted.push(usize::from(y));
        }
    }
    (lines, highlighted)
}

/// A node at work, with names of all kinds.
fn busy() -> Model {
    let mut model = Model::new();
    for (second, bytes) in [(1, 0), (2, 4 << 20), (3, 8 << 20)] {
        model.hear(at(second), metrics(bytes));
    }
    let names = [
        "plain.iso",
        "evil\u{1b}[31m\n\u{9b}\u{202e}.txt",
        "日本語のとても長い名前".repeat(9).leak(),
        "e\u{301}\u{301}a.ogg",
    ];
    let rows = (1..).zip(names).map(|(id, name)| download(id, name, "active")).collect();
    model.hear(at(3), page(rows, 0, None));
    let peer = json!({"addr": "[2001:db8::1]:63339", "source": "user", "state": "alive", "last_seen": 1, "p1": true, "neighbour": true});
    model.hear(at(3), News::Peers(serde_json::from_value(json!([peer])).unwrap()));
    model.hear(at(3), notice(json!({"event": "upload_started", "to": "192.0.2.5:5", "name": "sent.iso"})));
    let search = json!({"event": "peer_search", "from": "192.0.2.6:5", "requester": "192.0.2.7:5", "text": "sea \u{7f}shanty", "ttl": 3});
    model.hear(at(95), notice(search));
    model
}

fn shows(lines: &[String], wanted: &[&str]) {
    for wanted in wanted {
        assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted}:\n{}", lines.join("\n"));
    }
}

#[test]
fn a_usual_terminal_shows_the_node_its_rates_its_turns_and_the_transfers_with_sources() {
    let mut model = busy();
    let (lines, highlighted) = drawn(&mut model, 80, 24, LOOK);
    assert_eq!(lines[0], "Pyrate 0.1.0  192.0.2.9:63339  up 3 min 5 s  2 peers  sharing 3 files, 2.0 KiB");
    assert_eq!(lines[1], "Bootstrap boot.example:21168 registered");
    assert!(lines[2].starts_with("Down    4.0 MiB/s") && lines[2].contains("Up      2.0 MiB/s"), "{}", lines[2]);
    assert!(lines[2].ends_with('█'), "{}", lines[2]);
    assert!(lines[3].starts_with("Turns  p50 60 us  p99 250 us  p99.9 1.0 ms  longest 4.3 ms  █▅▃▁"), "{}", lines[3]);
    assert_eq!(lines[4], " Transfers 4  Uploads 1  Peers 1  Searches 1  Hits 0");
    assert!(lines[5].contains("NAME") && lines[5].ends_with("ETA"), "{}", lines[5]);
    assert!(
        lines[6].starts_with("  1  plain.iso")
            && lines[6].ends_with("active      50%    2.0 KiB     512 B/s   1 min 5 s"),
        "{}",
        lines[6]
    );
    shows(&lines, &["evil\\x1b[31", "日本語", "192.0.2.1:2", "e\u{301}\u{301}a.ogg"]);
    let active = lines.iter().position(|line| line.contains("192.0.2.1:2")).unwrap();
    assert!(lines[active + 1].contains("192.0.2.1:1"), "a source that sends is first");
    assert_eq!(highlighted, [4, 6], "the pane and the row that are selected");
    assert!(lines[23].starts_with("q quit"), "{}", lines[23]);
    press(&mut model, &[Key::Down]);
    assert_eq!(drawn(&mut model, 80, 24, LOOK).1, [4, 7]);
}

#[test]
fn each_pane_shows_its_rows_and_what_is_said_without_any() {
    let (mut model, mut empty) = (busy(), Model::new());
    for (full, none) in [
        (&["192.0.2.5:5", "sent.iso", "sending", "1 min 37 s"][..], "no peer fetches anything"),
        (&["[2001:db8::1]:63339", "SEARCHED"], "no peer is known"),
        (&["5 s ago", "sea \\x7fshanty", "192.0.2.7:5", "192.0.2.6"], "no search of a peer"),
        (&["/ searches the network"], "/ searches the network"),
    ] {
        press(&mut model, &[Key::Tab]);
        press(&mut empty, &[Key::Tab]);
        shows(&lines(&mut model, 80, 24), full);
        shows(&lines(&mut empty, 80, 24), &[none]);
    }
}

#[test]
fn an_upload_shows_its_rate_where_there_is_room() {
    let mut model = Model::new();
    model.hear(at(90), upload_page(&[(5, "sending")], 1_000, None, 1_060));
    press(&mut model, &[Key::Tab]);
    let usual = lines(&mut model, 80, 24);
    let row = usual.iter().find(|line| line.starts_with("192.0.2.1:5")).unwrap();
    assert!(row.ends_with("sending       2.0 KiB   1.0 KiB/s  1 min 10 s"), "{row}");
    let narrow = lines(&mut model, 45, 24);
    shows(&narrow, &["192.0.2.1:5", "1.0 KiB/s"]);
    assert!(!narrow.iter().any(|line| line.contains("sending")), "{}", narrow.join("\n"));
}

#[test]
fn a_large_terminal_shows_all_panes_beside_each_other() {
    let mut model = busy();
    let lines = lines(&mut model, 200, 60);
    shows(&lines, &["plain.iso", "sent.iso", "[2001:db8::1]:63339", "sea \\x7fshanty", "█████░░░░░  50%", "SOURCES"]);
    assert!(lines.iter().all(|line| console::measure_text_width(line) <= 200));
    assert_eq!(lines.len(), 60);
}

#[test]
fn a_search_a_question_a_remark_and_the_help_have_their_places() {
    let mut model = busy();
    press(&mut model, &[Key::Char('c')]);
    let (asked, highlighted) = drawn(&mut model, 80, 24, LOOK);
    assert!(asked[22].starts_with("Cancel 1 and remove its data? y/n  plain.iso") && highlighted.contains(&22));
    press(&mut model, &[Key::Escape, Key::Char('?')]);
    shows(&lines(&mut model, 80, 24), &["Ctrl-Z                 back to the shell", "any key closes this"]);
    shows(&lines(&mut model, 80, 10), &["q, Ctrl-C              quit"]);
    press(&mut model, &[Key::Char('x'), Key::Char('/')]);
    (0..100).for_each(|n| drop(press(&mut model, &[Key::Char(if n < 99 { 'x' } else { '海' })])));
    let typing = lines(&mut model, 80, 24);
    assert!(typing[22].ends_with("x海") && !typing[22].contains("Search"), "its end: {}", typing[22]);
    press(&mut model, &[Key::Enter]);
    model.hear(at(5), News::SearchStarted { nth: 1, started: SearchStarted { search: 1, whole_names: None } });
    for (id, name) in [(1, &b"found \xff.iso"[..]), (2, b"\x1b[2J")] {
        model.hear(at(5), News::Notice(Notice::Hit { search: 1, hit: hit(id, name) }));
    }
    shows(&lines(&mut model, 80, 24), &["found \\xff.iso", "\\x1b[2J", "searching", "Enter download"]);
    model.hear(at(6), News::Refused(CallError { code: 3, message: "no such hit".into() }));
    assert_eq!(lines(&mut model, 80, 24)[22], "no such hit");
}

#[test]
fn nothing_that_is_told_is_cut_on_a_usual_terminal() {
    let mut model = busy();
    let first = lines(&mut model, 80, 24);
    assert!(first[3].contains("longest 4.3 ms") && !first[3].contains("from"), "{}", first[3]);
    assert!(lines(&mut model, 120, 24)[3].ends_with("from under 64 us to over 1.0 ms"));
    // Who has a long address does without the number of bytes.
    let narrow = lines(&mut model, 74, 24);
    assert_eq!(narrow[0], "Pyrate 0.1.0  192.0.2.9:63339  up 3 min 5 s  2 peers  sharing 3 files");
    model.remark = Some(Remark::NothingToCancel { download: 4711 }.to_string());
    shows(&lines(&mut model, 80, 24), &["`pyratectl forget 4711`"]);
    press(&mut model, &[Key::Char('?')]);
    let help = lines(&mut model, 80, 24);
    for (keys, meaning) in KEYS {
        shows(&help, &[&format!("  {keys:<23}{meaning}")]);
    }
}

#[test]
fn a_daemon_that_is_gone_or_silent_is_told_in_the_first_line() {
    let mut model = busy();
    model.silent_for = Some(at(7));
    assert_eq!(lines(&mut model, 80, 24)[0], "The daemon has not answered for 7 s");
    model.silent_for = None;
    model.hear(at(9), News::Gone(CallError { code: 69, message: "it hung up".into() }));
    assert_eq!(lines(&mut model, 80, 24)[0], "The daemon is gone; waiting for it: it hung up");
    shows(&lines(&mut model, 80, 24), &["plain.iso"]);
    let long = "no daemon answers at /home/anne/.local/state/pyrate/control.sock (nothing listens), /run/pyrate/control.sock (no such socket); \
                start one with `pyrated`, or `systemctl start pyrated`";
    model.hear(at(9), News::Gone(CallError { code: 69, message: long.into() }));
    assert_eq!(
        lines(&mut model, 80, 24)[..4],
        [
            "The daemon is gone; waiting for it: no daemon answers at",
            "  /home/anne/.local/state/pyrate/control.sock (nothing listens),",
            "  /run/pyrate/control.sock (no such socket); start one with `pyrated`, or",
            "  `systemctl start pyrated`",
        ]
    );
    model.hear(at(10), News::Back);
    assert!(lines(&mut model, 80, 24)[0].starts_with("Pyrate"));
}

#[test]
fn no_size_is_too_small_and_a_small_one_shows_what_matters_most() {
    let mut model = busy();
    let small = lines(&mut model, 20, 5);
    assert!(small[0].starts_with("Pyrate 0.1.0  192.0."), "{small:?}");
    assert!(small[1].starts_with(" Transfers 4"), "{small:?}");
    assert!(small[2].contains("NAME") && small[3].starts_with("  1  plain.iso"), "{small:?}");
    let ascii = Look { ascii: true, colour: false, width: None };
    for mode in [Mode::Watching, Mode::Help, Mode::Typing("日本".repeat(50)), Mode::Confirming(2)] {
        for pane in Pane::ALL {
            (model.mode, model.pane) = (mode.clone(), pane);
            for width in [0, 1, 2, 3, 7, 19, 20, 39, 41, 79, 100, 139, 140, 141, 500] {
                for height in [0, 1, 2, 3, 4, 5, 6, 10, 15, 35, 36, 37, 100] {
                    drawn(&mut model, width, height, LOOK);
                    drawn(&mut model, width, height, ascii);
                }
            }
        }
    }
}

#[test]
fn what_is_drawn_is_ascii_where_the_locale_is() {
    let mut model = busy();
    model.hear(at(3), page(vec![download(1, &"n".repeat(300), "active")], 0, None));
    for (width, height) in [(80, 24), (200, 60)] {
        let (lines, _) = drawn(&mut model, width, height, Look { ascii: true, colour: false, width: None });
        assert!(lines.iter().all(|line| line.is_ascii()), "{}", lines.join("\n"));
        shows(&lines, &["nn...nn", "#"]);
    }
}

#[test]
fn the_selected_row_is_on_the_screen_however_many_there_are() {
    let mut model = Model::new();
    model.hear(at(0), page((1..=5_000).map(|id| download(id, "a", "active")).collect(), 0, None));
    for (keys, shown) in [(&[Key::End][..], "5000  a"), (&[Key::PageUp], "4990  a"), (&[Key::Home], "  1  a")] {
        press(&mut model, keys);
        let (lines, highlighted) = drawn(&mut model, 80, 24, LOOK);
        let row = *highlighted.last().unwrap();
        assert!(lines[row].trim_start().starts_with(shown.trim_start()), "{}", lines.join("\n"));
    }
}
