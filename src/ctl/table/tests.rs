use super::*;

fn sample() -> Table {
    let mut table = Table::new(&[">ID", "NAME", ">SIZE"]);
    table.push(Tone::Plain, vec!["7".into(), "héllo ✓".into(), "1 B".into()]);
    table.push(Tone::Bad, vec!["1234".into(), "日本".into(), "-".into()]);
    table
}

const PLAIN: Look = Look { colour: false, width: None, ascii: false };
const COLOURED: Look = Look { colour: true, ..PLAIN };

fn at(width: usize) -> Look {
    Look { width: Some(width), ..PLAIN }
}

#[test]
fn columns_align_by_what_the_terminal_shows() {
    assert_eq!(sample().aligned(PLAIN), "  ID  NAME     SIZE\n   7  héllo ✓   1 B\n1234  日本        -\n");
}

#[test]
fn colour_surrounds_whole_lines() {
    assert_eq!(
        sample().aligned(COLOURED),
        "\x1b[1m  ID  NAME     SIZE\x1b[0m\n   7  héllo ✓   1 B\n\x1b[31m1234  日本        -\x1b[0m\n"
    );
}

#[test]
fn rows_that_come_one_by_one_align_where_they_can() {
    let columns = Columns { titles: vec![">ID", "NAME", ">SIZE"], widths: vec![3, 5, 4] };
    let row = |cells: [&str; 3]| columns.row(Tone::Plain, &cells.map(str::to_owned), PLAIN);
    assert_eq!(columns.header(PLAIN), " ID  NAME   SIZE\n");
    assert_eq!(columns.header(COLOURED), "\x1b[1m ID  NAME   SIZE\x1b[0m\n");
    assert_eq!(row(["7", "日本", "1 B"]), "  7  日本    1 B\n");
    assert_eq!(row(["1234", "longer", "-"]), "1234  longer     -\n");
    assert_eq!(row(["1", "", ""]), "  1\n");
}

#[test]
fn a_very_long_cell_is_neither_cut_nor_wrapped_where_no_terminal_is() {
    let mut table = Table::new(&["~NAME", "X"]);
    table.push(Tone::Plain, vec!["n".repeat(15_000), "y".into()]);
    assert!(table.clone().aligned(PLAIN).ends_with(&format!("\n{}  y\n", "n".repeat(15_000))));
}

#[test]
fn a_terminal_cuts_the_widest_of_what_may_be_cut_and_no_more_than_it_must() {
    let mut table = Table::new(&[">ID", "~NAME", "STATE", "~PATH"]);
    table.push(Tone::Plain, vec!["7".into(), "a".repeat(3800), "retrying".into(), "/short".into()]);
    table.push(Tone::Plain, vec!["8".into(), "日本".repeat(30) + ".iso", "done".into(), "/b/".repeat(40)]);
    for width in [60, 80, 200] {
        let text = table.clone().aligned(at(width));
        let widest = text.lines().map(measure_text_width).max().unwrap();
        // A character of two columns may leave one free.
        assert!((width - 1..=width).contains(&widest), "{widest} of {width}: {text}");
        assert!(text.contains("retrying") && text.contains("/short") && text.contains(".iso "), "{text}");
    }
    for width in 1..60 {
        for ascii in [false, true] {
            let text = table.clone().aligned(Look { colour: false, width: Some(width), ascii });
            assert!(text.lines().all(|line| measure_text_width(line) <= width), "{width}: {text}");
            assert_eq!((text.lines().count(), !ascii || !text.contains('…')), (3, true));
        }
    }
    // It fits: nothing is cut.
    let wide = table.clone().aligned(at(5000));
    assert_eq!(wide, table.clone().aligned(PLAIN));
}

#[test]
fn a_row_on_its_own_is_as_wide_as_the_others_and_the_terminal() {
    let columns = |width| Columns::fitted(vec![">ID", "~NAME", ">SIZE"], vec![3, 10, 4], at(width));
    let row = |name: &str, width| columns(width).row(Tone::Plain, &["7".into(), name.into(), "1 B".into()], at(width));
    assert_eq!(row(&"x".repeat(50), 31), format!("  7  {}…{}   1 B\n", "x".repeat(10), "x".repeat(9)));
    assert_eq!(row("short", 31), format!("  7  short{}   1 B\n", " ".repeat(15)));
    for width in 1..40 {
        for line in [row(&"x".repeat(50), width), columns(width).header(at(width))] {
            assert!(measure_text_width(line.trim_end()) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn of_rows_that_are_written_before_all_are_known_a_column_is_cut_only_where_the_whole_does_not_fit() {
    let widths = |name: usize, width: usize| {
        Columns::fitted(vec!["/NAME", ">SIZE", "~AUDIENCE"], vec![name, 10, 60], at(width)).widths
    };
    assert_eq!(widths(30, 200), [126, 10, 60]);
    assert_eq!(widths(30, 104), [30, 10, 60]);
    assert_eq!(widths(30, 100), [30, 10, 56]);
    assert_eq!(widths(30, 60), [26, 10, 20]);
    assert_eq!(widths(30, 40), [16, 10, 20]);
    // Names to come may be longer.
    assert_eq!(widths(5, 79), [20, 10, 45]);
    let mut table = Table::new(&["/NAME", "~AUDIENCE"]);
    table.push(Tone::Plain, vec!["a".into(), "10.0.0.0/8 192.168.0.0/16 fd00::/8".into()]);
    let columns = table.columns(&[], at(80));
    assert!(table.rows_in(&columns, at(80)).ends_with("  10.0.0.0/8 192.168.0.0/16 fd00::/8\n"));
}

#[test]
fn both_ends_of_what_is_cut_remain() {
    let cut = |text, width| cut(text, width, PLAIN).into_owned();
    assert_eq!(cut("a long name.iso", 15), "a long name.iso");
    assert_eq!(cut("a long name.iso", 10), "a lon….iso");
    assert_eq!(cut("日本日本日本", 8), "日本…本");
    assert_eq!((cut("abc", 1), cut("abc", 0)), ("…".into(), String::new()));
    assert_eq!(cut("", 0), "");
    let ascii = Look { ascii: true, ..PLAIN };
    assert_eq!(super::cut("a long name.iso", 11, ascii), "a lo....iso");
    assert_eq!((super::cut("abcde", 4, ascii), super::cut("abcde", 2, ascii)), ("a...".into(), "..".into()));
}

#[test]
fn rows_that_differ_look_different_where_they_are_cut() {
    let series = |middle: &str, end: &str| format!("A series of a very long name, {middle} and its episode {end}");
    for (names, width) in [
        ([series("one", "y 19.mkv"), series("one", "y 20.mkv"), series("one", "y 21.mkv")], 16),
        ([series("one", "y.mkv"), series("two", "y.mkv"), series("six", "y.mkv")], 20),
        ([series("one", "20.mkv"), series("two", "20.mkv"), series("two", "21.mkv")], 16),
    ] {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let cut = cut_column(&names, width, "~", PLAIN);
        let distinct: BTreeSet<_> = cut.iter().collect();
        assert_eq!(distinct.len(), 3, "{cut:?}");
        assert!(cut.iter().all(|cell| measure_text_width(cell) <= width), "{cut:?}");
    }
    let same = ["n".repeat(40), "n".repeat(40)];
    let cut = cut_column(&[&same[0], &same[1]], 11, "~", PLAIN);
    assert_eq!(cut[0], cut[1]);
}

#[test]
fn a_column_that_says_nothing_may_be_left_out() {
    let mut table = sample();
    table.leave_out(&["NAME", ">SIZE"], "-");
    assert_eq!(table, sample());
    table.rows[0].1[2] = "-".into();
    table.leave_out(&["NAME", ">SIZE"], "-");
    assert_eq!(table.separated(), ">ID\tNAME\n7\théllo ✓\n1234\t日本\n");
}

#[test]
fn nothing_is_nothing_for_people_and_a_header_for_programs() {
    let table = Table::new(&["id", "name"]);
    assert_eq!(table.clone().aligned(COLOURED), "");
    assert_eq!(table.separated(), "id\tname\n");
}

#[test]
fn directories_are_left_out_before_anything_else_is_cut() {
    let mut table = Table::new(&["/NAME", "MID", ">SIZE", "~REMARK"]);
    let row = |name: &str, remark: &str| vec![name.into(), "-".into(), "5 B".into(), remark.into()];
    table.push(Tone::Plain, row("music/the beatles/abbey road/01 come together.ogg", "none of these"));
    table.push(Tone::Plain, row("short.ogg", "-"));
    let first = |width: usize| table.clone().aligned(at(width)).lines().nth(1).unwrap().to_owned();
    assert_eq!(first(80), "music/the beatles/abbey road/01 come together.ogg  -     5 B  none of these");
    assert_eq!(first(70), "…/abbey road/01 come together.ogg  -     5 B  none of these");
    assert_eq!(first(55), "…/01 come together.ogg  -     5 B  none of these");
    // Then a column that says nothing, and only then the middle of names.
    assert_eq!(first(46), "…/01 come together.ogg   5 B  none of these");
    assert_eq!(first(40), "01 come t…ether.ogg   5 B  none of these");
    for width in 1..90 {
        let text = table.clone().aligned(at(width));
        assert!(text.lines().all(|line| measure_text_width(line) <= width), "{width}: {text}");
    }
}

#[test]
fn paths_that_differ_in_directories_alone_look_different() {
    let paths = ["a long directory/sub/x.iso", "b long directory/sub/x.iso", "b long directory/sub/y.iso"];
    let cut = cut_column(&paths, 14, "/NAME", PLAIN);
    assert_eq!(cut.iter().collect::<BTreeSet<_>>().len(), 3, "{cut:?}");
    assert_eq!(cut[2], "…/sub/y.iso");
}
