use super::*;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use nix::unistd::pipe2;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::fd::OwnedFd;
use std::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(20);

fn log_to(output: impl Into<OwnedFd>) -> LogWriter {
    LogWriter::start(file(output), Box::new(|to_stderr, message| format!("({to_stderr}) {message}"))).unwrap()
}

fn file(output: impl Into<OwnedFd>) -> Output {
    Output::File(output.into().into())
}

/// A pipe: where it is read, and where it is written.
fn pipe(flags: OFlag) -> (BufReader<File>, OwnedFd) {
    let (reader, writer) = pipe2(flags | OFlag::O_CLOEXEC).unwrap();
    (BufReader::new(reader.into()), writer)
}

/// A file that is empty, and a second handle to read it.
fn scratch() -> (File, File) {
    let file = tempfile::tempfile().unwrap();
    (file.try_clone().unwrap(), file)
}

/// All that was written to a file.
fn text(mut file: File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// The lines of a pipe, as they come.
fn lines(reader: BufReader<File>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

/// Numbered lines of a hundred bytes.
fn line(number: usize) -> String {
    format!("{number:0>99}")
}

#[test]
fn the_buffer_takes_as_many_bytes_as_it_may_and_counts_the_lines_beyond() {
    let mut queue = Queue::default();
    let fitting = LOG_BUFFER_BYTES_MAX / 100;
    for number in 0..fitting {
        assert!(queue.push(&line(number)), "{number}");
    }
    let rest = LOG_BUFFER_BYTES_MAX - fitting * 100;
    assert!(!queue.push(&"x".repeat(rest)), "no room for its newline");
    assert!(!queue.push(""), "the loss has one place: what follows it in the buffer would stand before it");
    let (_, text, lost) = queue.take();
    assert_eq!((text.len(), lost), (fitting * 100, 2));
    assert!(text.ends_with(format!("{}\n", line(fitting - 1)).as_bytes()));
    assert!(queue.is_empty() && queue.push("there is room again"));
    assert!(!queue.is_empty() && queue.lost == 0);
    // Exactly full.
    let mut queue = Queue::default();
    assert!(queue.push(&"x".repeat(LOG_BUFFER_BYTES_MAX - 1)));
    assert_eq!(queue.text.len(), LOG_BUFFER_BYTES_MAX);
    assert!(!Queue::default().push(&"x".repeat(LOG_BUFFER_BYTES_MAX)));
}

#[test]
fn lines_before_another_output_are_taken_first_and_a_second_one_takes_its_place() {
    let mut queue = Queue::default();
    queue.push("old");
    queue.switch(Output::Stderr);
    queue.push("new");
    queue.switch(file(tempfile::tempfile().unwrap()));
    queue.push("newer");
    queue.push(&"x".repeat(LOG_BUFFER_BYTES_MAX));
    let (output, text, lost) = queue.take();
    assert_eq!((output.is_none(), &*text, lost), (true, "old\n".as_bytes(), 0));
    let (output, text, lost) = queue.take();
    assert!(output.is_some_and(|output| !output.is_stderr()));
    assert_eq!((&*text, lost), ("new\nnewer\n".as_bytes(), 1));
    assert!(queue.is_empty());
}

#[test]
fn nobody_who_logs_waits_for_a_pipe_that_is_not_read_and_what_is_missing_is_told_where_it_is_missing() {
    let (reader, end) = pipe(OFlag::empty());
    let log = log_to(end);
    let count = 30_000;
    (0..count).for_each(|number| log.push(&line(number)));
    assert!(log.lines_lost() > 0);
    log.settle(Duration::from_millis(3 * u64::from(OUTPUT_WAIT_MS)));
    let lines = lines(reader);
    let (mut next, mut lost) = (0, 0);
    while next < count {
        let read = lines.recv_timeout(PATIENCE).expect("each line is there, or told to be missing");
        let told = read.strip_prefix("(false) ").and_then(|told| {
            told.strip_suffix(" log lines lost: the log was not taken in time")?.parse::<usize>().ok()
        });
        match told {
            Some(missing) => (next, lost) = (next + missing, lost + missing),
            None => {
                assert_eq!(read, line(next), "what is missing is told here");
                next += 1;
            }
        }
    }
    assert!((count - lost) * 100 >= LOG_BUFFER_BYTES_MAX, "{lost} lines of {count}");
    assert_eq!((next, log.lines_lost() as usize), (count, lost));
    log.push("on");
    assert_eq!(lines.recv_timeout(PATIENCE).as_deref(), Ok("on"));
}

#[test]
fn all_that_is_logged_is_written_in_order_before_the_end() {
    let (own, other) = scratch();
    let log = log_to(other);
    for number in 0..5_000 {
        log.push(&line(number));
    }
    log.settle(PATIENCE);
    let text = text(own);
    assert!(text.lines().eq((0..5_000).map(line)), "{} lines", text.lines().count());
    assert_eq!(log.lines_lost(), 0);
}

#[test]
fn lines_that_a_pipe_without_reader_does_not_take_are_lost_and_told_to_the_next_output() {
    let (reader, end) = pipe(OFlag::empty());
    let log = log_to(end);
    drop(reader);
    log.push("one");
    log.push("two");
    log.settle(PATIENCE);
    assert_eq!(log.lines_lost(), 2);
    let (own, other) = scratch();
    log.push("three");
    log.switch(file(other));
    log.push("four");
    log.settle(PATIENCE);
    assert_eq!(text(own), "(false) 3 log lines lost: Broken pipe (os error 32)\nfour\n");
}

#[test]
fn an_output_that_takes_nothing_gives_way_to_another_one() {
    let (_reader, end) = pipe(OFlag::empty());
    let log = log_to(end);
    let long = "x".repeat(100_000);
    log.push(&long);
    let (own, other) = scratch();
    log.switch(file(other));
    log.push("on");
    log.settle(PATIENCE);
    assert_eq!(text(own), "(false) 1 log line lost: the log was not taken in time\non\n");
}

/// A terminal, or a pipe that another program has made so.
#[test]
fn an_output_that_never_blocks_loses_nothing_when_it_is_slow() {
    let (reader, end) = pipe(OFlag::empty());
    nix::fcntl::fcntl(&end, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let log = log_to(end);
    (0..3_000).for_each(|number| log.push(&line(number)));
    let read = reader.lines().take(3_000).map(Result::unwrap);
    assert!(read.eq((0..3_000).map(line)));
    assert_eq!(log.lines_lost(), 0);
}

#[test]
fn a_line_that_was_written_in_part_counts_as_lost_and_the_next_one_begins_a_line() {
    let (own, other) = scratch();
    let shared = Arc::new(SharedQueue::default());
    let output = file(other);
    let form: Box<Form> = Box::new(|_, message| message.to_string());
    let mut writer = WriterThread { shared, output, form, lost: 0, cause: None, is_torn: false };
    assert_eq!(writer.put(b"whole\nhal"), 9);
    assert!(writer.is_torn);
    (writer.lost, writer.cause) = (2, Some(Errno::ENOSPC));
    assert!(writer.report_loss());
    assert_eq!(writer.put(b"next\n"), 5);
    assert_eq!(text(own), "whole\nhal\n2 log lines lost: No space left on device (os error 28)\nnext\n");
}

#[test]
fn the_thread_has_a_name_and_takes_no_signal() {
    let (own, other) = scratch();
    let log = log_to(other);
    log.push("it runs");
    log.settle(PATIENCE);
    drop(own);
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let mut statuses = threads.filter_map(|thread| std::fs::read_to_string(thread.join("status")).ok());
    let status = statuses.find(|status| status.starts_with(&format!("Name:\t{THREAD_NAME}\n"))).unwrap();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
    let blocked = u64::from_str_radix(blocked, 16).unwrap();
    let is_blocked = |signal: nix::sys::signal::Signal| blocked & (1 << (signal as i32 - 1)) != 0;
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    assert!([SIGHUP, SIGINT, SIGTERM, SIGXFSZ].into_iter().all(is_blocked), "{status}");
    // This thread takes them still.
    assert!(!SigSet::thread_get_mask().unwrap().contains(SIGTERM));
}
