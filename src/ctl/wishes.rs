//! `wish`, `wishes` and `unwish`: searches that repeat.

use super::Session;
use super::args::{Unwish, Wish, Wishes};
use super::found::remark_on;
use super::output::remark;
use super::query::{all_hits, pages};
use super::text;
use super::values::{BytesArg, as_shown, is_ids};
use super::wording::Remark;
use crate::control::{CallError, ExitCode, RawText, Request, SearchStarted, UnwishedReply, WishRow, WishesReply};

/// `wish`: makes one.
pub(super) fn wish(session: &mut Session, wish: &Wish) -> Result<ExitCode, CallError> {
    let text = RawText::new(as_shown(joined(&wish.text, b" ")));
    let row: WishRow = session.call(&Request::Wish { text, download: wish.download, limit: wish.limit })?;
    if let Some(why) = row.whole_names {
        remark(Remark::WholeNames { words: text::name(row.text.as_bytes()), why });
    }
    session.output.show(&row)?;
    Ok(ExitCode::Done)
}

/// `wishes`: a table of all, or the hits of one.
pub(super) fn wishes(session: &mut Session, asked: &Wishes) -> Result<ExitCode, CallError> {
    match asked.id {
        Some(id) => hits(session, id),
        None => {
            let rows = all_wishes(session)?;
            session.output.show_or_remark(&rows, Remark::NoWish)?;
            Ok(ExitCode::Done)
        }
    }
}

fn hits(session: &mut Session, id: u32) -> Result<ExitCode, CallError> {
    let shown: SearchStarted = session.call(&Request::WishHits { id })?;
    let (hits, truncated) = all_hits(session, Some(shown.search))?;
    session.output.show(&hits[..])?;
    if hits.is_empty() {
        if session.output.is_text() {
            remark(Remark::NothingForWish(id));
        }
        return Ok(ExitCode::NotFound);
    }
    remark_on(session, &hits, truncated, true);
    Ok(ExitCode::Done)
}

pub(super) fn all_wishes(session: &mut Session) -> Result<Vec<WishRow>, CallError> {
    pages(session, 0, |after| Request::Wishes { after }, |page: WishesReply| (page.wishes, page.next))
}

/// `unwish`: ends some.
pub(super) fn unwish(session: &mut Session, unwish: &Unwish) -> Result<ExitCode, CallError> {
    let are_ids = unwish.which.iter().all(|word| str::from_utf8(&word.0).is_ok_and(is_ids));
    let between: &[u8] = if are_ids { b"," } else { b" " };
    let which = RawText::new(as_shown(joined(&unwish.which, between)));
    let done: UnwishedReply = session.call(&Request::Unwish { which })?;
    if done.unwished.is_empty() && session.output.is_text() {
        remark(Remark::NoWish);
    }
    session.output.show(&done)?;
    Ok(ExitCode::Done)
}

fn joined(words: &[BytesArg], between: &[u8]) -> Vec<u8> {
    words.iter().map(|word| &word.0[..]).collect::<Vec<_>>().join(between)
}
