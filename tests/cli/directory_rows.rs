//! What is told of downloads of directories.

use super::fake::{Talk, download, run, with};
use serde_json::json;

#[test]
fn a_file_of_a_directory_is_shown_by_its_id_and_unknown_ids_name_the_way_on() {
    let directory = |talk: &mut Talk| {
        let part = json!({"manifest": null, "files": 1, "files_done": 0, "files_missing": 0, "missing": []});
        let row = with(download(53, "d/", "active", 0), json!({ "directory": part }));
        talk.answer("downloads", json!({"downloads": [row], "next": null}));
        let params = talk.expect("directory_files");
        assert_eq!(params, json!({"id": 53, "after": 0}));
        let member = with(download(54, "d/a.bin", "retrying", 0), json!({"part_of": 53}));
        talk.reply(json!({"downloads": [member], "next": null}));
    };
    let shown = run(&["downloads", "54"], directory);
    assert!(shown.code == 0 && shown.out.starts_with("54  d/a.bin\n"), "{shown:?}");
    let unknown = "no such id: 7; `pyratectl downloads` shows those that are, `pyratectl history` those that are over";
    run(&["downloads", "7"], directory).says(3, unknown);
    run(&["link", "--downloads", "7"], directory).says(3, unknown);
}

#[test]
fn what_the_peer_did_not_share_yet_of_a_directory_is_told() {
    let directory = |id: u32, state: &str, pending: u64| {
        let part = json!({
            "manifest": null, "files": 3, "files_done": 3, "files_missing": 0, "missing": [], "files_pending": pending
        });
        with(download(id, "d/", state, 2048), json!({"size": 2048, "path": "/t/d", "directory": part}))
    };
    let shown = run(&["downloads"], move |talk| {
        let rows = [directory(1, "done", 0), directory(2, "done", 1), directory(3, "done", 2)];
        talk.answer("downloads", json!({"downloads": rows, "next": null}));
    });
    let ends = [
        "  /t/d",
        "/t/d; without 1 file that the peer did not share yet",
        "/t/d; without 2 files that the peer did not share yet",
    ];
    for (line, end) in shown.out.lines().skip(1).zip(ends) {
        assert!(line.ends_with(end), "{shown:?}");
    }
    let details = run(&["downloads", "2"], move |talk| {
        talk.answer("downloads", json!({"downloads": [directory(2, "done", 1)], "next": null}));
        talk.answer("directory_files", json!({"downloads": [], "next": null}));
    });
    assert!(details.out.contains("3 of 3 files, 1 not shared yet\n"), "{details:?}");
    assert!(details.out.contains("Remark  /t/d; without 1 file"), "{details:?}");
}

#[test]
fn of_a_directory_it_is_told_what_is_known_of_its_files_and_which_stay() {
    let directory = |id: u32, state: &str, (files, done): (u64, u64)| {
        let part = json!({"manifest": null, "files": files, "files_done": done, "files_missing": 0, "missing": []});
        with(download(id, "d/", state, 2048), json!({"size": 2048, "directory": part}))
    };
    let shown = run(&["downloads"], move |talk| {
        let rows = [directory(1, "active", (0, 0)), directory(2, "failed", (3, 2)), directory(3, "done", (3, 3))];
        talk.answer("downloads", json!({"downloads": rows, "next": null}));
    });
    let lines: Vec<&str> = shown.out.lines().collect();
    assert!(lines[1].ends_with("its files are not known yet"), "{shown:?}");
    assert!(lines[2].contains(" 99% ") && lines[3].contains("100%"), "{shown:?}");
    run(&["cancel", "7-9"], move |talk| {
        let rows = [(7, 0), (8, 1), (9, 24)].map(|(id, done)| directory(id, "cancelled", (30, done)));
        talk.answer("cancel", json!({"downloads": rows, "next": null}));
    })
    .gives(
        0,
        "7 cancelled: d/; its data is removed\n\
         8 cancelled: d/; the file that was done stays, and all else is removed\n\
         9 cancelled: d/; the 24 files that were done stay, and all else is removed\n",
    );
}
