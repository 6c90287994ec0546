//! The texts of manifests that clients read page by page. A text that was shown must not change while it is read: it is kept until
//! its last page, or until others displace it.

use crate::control::{ManifestReply, RawText};
use crate::id::{ClientId, ContentHash};
use crate::node::limits::{MANIFEST_PAGE_BYTES, MANIFESTS_READ_MAX};
use std::collections::VecDeque;
use std::rc::Rc;

/// The oldest first; one for each client.
#[derive(Default)]
pub(super) struct ManifestPages {
    kept: VecDeque<Kept>,
}

struct Kept {
    client: ClientId,
    b3: ContentHash,
    text: Rc<Vec<u8>>,
}

impl ManifestPages {
    /// The first page of a text, whose others are kept.
    pub(super) fn begin(&mut self, client: ClientId, b3: ContentHash, text: Rc<Vec<u8>>) -> ManifestReply {
        self.forget(client);
        let first = page(b3, &text, 0);
        if first.next.is_some() {
            if self.kept.len() >= MANIFESTS_READ_MAX {
                self.kept.pop_front();
            }
            self.kept.push_back(Kept { client, b3, text });
        }
        first
    }

    /// A further page, if it is kept.
    pub(super) fn go_on(&mut self, client: ClientId, b3: ContentHash, after: u64) -> Option<ManifestReply> {
        let kept = self.kept.iter().find(|kept| kept.client == client && kept.b3 == b3)?;
        let after = usize::try_from(after).ok().filter(|after| *after < kept.text.len())?;
        let next = page(b3, &kept.text, after);
        if next.next.is_none() {
            self.forget(client);
        }
        Some(next)
    }

    pub(super) fn forget(&mut self, client: ClientId) {
        self.kept.retain(|kept| kept.client != client);
    }
}

/// Whole lines, so that no character is cut.
fn page(b3: ContentHash, text: &[u8], from: usize) -> ManifestReply {
    let rest = &text[from..];
    let bytes = match rest.get(..MANIFEST_PAGE_BYTES) {
        Some(most) => most.iter().rposition(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1),
        None => rest.len(),
    };
    let next = (bytes < rest.len()).then_some((from + bytes) as u64);
    ManifestReply { b3: b3.to_string(), size: text.len() as u64, text: RawText::new(&rest[..bytes]), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: usize) -> Rc<Vec<u8>> {
        Rc::new("a line of the manifest, as long as many are\n".repeat(lines).into_bytes())
    }

    #[test]
    fn pages_are_whole_lines_and_together_the_text() {
        let (mut pages, client, b3) = (ManifestPages::default(), ClientId(1), ContentHash([7; 32]));
        for lines in [1, 1_500, 10_000] {
            let text = text(lines);
            let mut page = pages.begin(client, b3, Rc::clone(&text));
            let mut read = page.text.as_bytes().to_vec();
            while let Some(next) = page.next {
                assert!(read.ends_with(b"\n") && next == read.len() as u64);
                page = pages.go_on(client, b3, next).unwrap();
                assert!(page.text.as_bytes().len() <= MANIFEST_PAGE_BYTES);
                read.extend_from_slice(page.text.as_bytes());
            }
            assert_eq!((read, page.size), (text.to_vec(), text.len() as u64));
            assert!(pages.kept.is_empty(), "nothing is kept behind the last page");
        }
    }

    #[test]
    fn a_page_that_is_not_kept_is_none() {
        let (mut pages, b3) = (ManifestPages::default(), ContentHash([7; 32]));
        assert_eq!(pages.go_on(ClientId(1), b3, 44), None);
        for client in 0..=MANIFESTS_READ_MAX as u64 {
            pages.begin(ClientId(client), b3, text(5_000));
        }
        assert_eq!(pages.go_on(ClientId(0), b3, 44), None, "the oldest gives way");
        assert!(pages.go_on(ClientId(1), b3, 44).is_some());
        for (b3, after) in [(ContentHash([8; 32]), 44), (b3, u64::MAX), (b3, 220_000)] {
            assert_eq!(pages.go_on(ClientId(1), b3, after), None);
        }
        pages.forget(ClientId(1));
        assert_eq!(pages.go_on(ClientId(1), b3, 44), None);
    }
}
