use super::*;

/// The frames of these pushes, the last of which is followed by `end`.
fn frames(pushes: &[&[u8]], end: End) -> Vec<Result<Vec<u8>, WireError>> {
    let mut framer = Framer::new();
    let mut frames = Vec::new();
    for push in pushes {
        framer.push(push);
        frames.extend(std::iter::from_fn(|| framer.next_frame(End::More)));
    }
    frames.extend(std::iter::from_fn(|| framer.next_frame(end)));
    assert!(frames.iter().all(|frame| frame.as_ref().is_err() || framer.pending() <= MESSAGE_BYTES_MAX));
    frames
}

fn ok(frames: &[&str]) -> Vec<Result<Vec<u8>, WireError>> {
    frames.iter().map(|frame| Ok(frame.as_bytes().to_vec())).collect()
}

#[test]
fn a_message_ends_at_newline_fin_or_silence() {
    type Row = (&'static [&'static [u8]], End, &'static [&'static str]);
    let table: [Row; 12] = [
        (&[b"5:"], End::More, &[]),
        (&[b"5:"], End::Fin, &["5:"]),
        (&[b"5:"], End::Silence, &["5:"]),
        (&[b"5:\n"], End::More, &["5:"]),
        (&[b"5", b":", b"\r\n"], End::More, &["5:\r"]),
        (&[], End::Fin, &[]),
        (&[], End::Silence, &[]),
        (&[b"\n"], End::More, &[""]),
        (&[b"6:a\n6:b\n6:c"], End::More, &["6:a", "6:b"]),
        (&[b"6:a\n6:b\n6:c"], End::Fin, &["6:a", "6:b", "6:c"]),
        // In a stream a pause does not end a message.
        (&[b"6:a\n6:b"], End::Silence, &["6:a"]),
        // Bytes that an old program appends to its newline are no second message.
        (&[b"0:1\n\0", b"\r\n\n"], End::Fin, &["0:1"]),
    ];
    for (pushes, end, expected) in table {
        assert_eq!(frames(pushes, end), ok(expected), "{pushes:?} {end:?}");
    }
}

#[test]
fn silence_ends_the_connections_only_message() {
    let mut framer = Framer::new();
    assert!(!framer.silence_ends());
    framer.push(b"4:slow");
    assert!(framer.silence_ends());
    assert_eq!(framer.next_frame(End::Silence), Some(Ok(b"4:slow".to_vec())));
    framer.push(b" client\n");
    assert_eq!(framer.next_frame(End::Fin), None);
    assert_eq!(framer.pending(), 0);
    assert!(!framer.silence_ends());
}

#[test]
fn silence_does_not_end_a_message_within_a_stream() {
    let mut framer = Framer::new();
    framer.push(b"6:a\n6:");
    assert_eq!(framer.next_frame(End::More), Some(Ok(b"6:a".to_vec())));
    assert!(framer.is_stream() && !framer.silence_ends());
    assert_eq!(framer.next_frame(End::Silence), None);
    assert_eq!(framer.pending(), 2);
    framer.push(b"b\n");
    assert_eq!(framer.next_frame(End::Silence), Some(Ok(b"6:b".to_vec())));
}

#[test]
fn the_limit_is_the_same_however_the_bytes_come() {
    let full = vec![b'x'; MESSAGE_BYTES_MAX];
    let over = vec![b'x'; MESSAGE_BYTES_MAX + 1];
    for end in [End::Fin, End::Silence] {
        assert_eq!(frames(&[&full], end), [Ok(full.clone())]);
        assert_eq!(frames(&[&over], end), [Err(WireError::TooLong)]);
    }
    assert_eq!(frames(&[&full, b"\n"], End::More), [Ok(full.clone())]);
    assert_eq!(frames(&[&over, b"\n"], End::More), [Err(WireError::TooLong)]);
    assert_eq!(frames(&[&[&over[..], b"\n5:\n"].concat()], End::Fin), [Err(WireError::TooLong)]);
    // In a stream the limit is per message.
    let stream = [&full[..], b"\n", &full, b"\n"].concat();
    assert_eq!(frames(&[&stream], End::Fin), [Ok(full.clone()), Ok(full)]);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn byte_by_byte_equals_all_at_once(
        bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(0), Just(b'5'), any::<u8>()], 0..60),
        padding in prop_oneof![Just(0), MESSAGE_BYTES_MAX - 60..MESSAGE_BYTES_MAX + 60],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        end in prop_oneof![Just(End::More), Just(End::Fin), Just(End::Silence)],
    ) {
        let bytes = [vec![b'x'; padding], bytes].concat();
        let whole = frames(&[&bytes], end);
        prop_assert_eq!(&frames(&bytes.chunks(1).collect::<Vec<_>>(), end), &whole);

        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(frames(&pieces, end), whole);
    }

    #[test]
    fn a_stream_of_messages_is_framed_as_it_was_sent(messages in prop::collection::vec(message(), 0..6)) {
        let mut stream = Vec::new();
        for message in &messages {
            stream.extend(message.encode());
            stream.push(b'\n');
        }
        let decoded: Vec<Message> =
            frames(&[&stream], End::Fin).into_iter().map(|frame| decode(&frame.unwrap()).unwrap()).collect();
        prop_assert_eq!(decoded, messages);
    }
}
