//! What users order of wishes: to make one, to end some, to see them and what they have found.

use super::remembering::Answering;
use super::state::Wish;
use super::{Others, WishMachine};
use crate::control::{CallId, IdForm, KnownIds, Problem, RawText, SearchStarted, WishRow, parse_ids_with_all};
use crate::id::{ClientId, TransferId};
use crate::name::has_control;
use crate::node::answer::Answer;
use crate::node::cx::Cx;
use crate::node::limits::{WISH_FOUND_MAX, WISH_TEXT_BYTES_MAX, WISHES_MAX};
use crate::node::search::query_of_user;
use crate::wire::{Attributes, Listed};
use std::collections::BTreeSet;

impl WishMachine {
    /// Makes a wish. It is answered when it is on the disk.
    pub(in crate::node) fn call_wish(
        &mut self,
        others: &mut Others,
        asker: (ClientId, &CallId),
        text: &RawText,
        (download, limit): (bool, Option<u32>),
    ) -> Result<(), Problem> {
        let text = text.as_bytes().trim_ascii();
        if text.is_empty() || text.len() > WISH_TEXT_BYTES_MAX || has_control(text) {
            return Err(Problem::NotWishable(WISH_TEXT_BYTES_MAX));
        }
        let query = query_of_user(text)?;
        if query.plain().is_some_and(<[u8]>::is_empty) {
            return Err(Problem::NoWordToSearch);
        }
        if query.finds_nothing() {
            return Err(Problem::TooShortForType);
        }
        if limit.is_some_and(|limit| !(1..=WISH_FOUND_MAX).contains(&(limit as usize))) {
            return Err(Problem::BadWishLimit(WISH_FOUND_MAX));
        }
        if let Some((id, wish)) = self.wishes.iter().find(|(_, wish)| wish.query.finds_as(&query) && !wish.is_ending) {
            return Err(Problem::WishedAlready { id: id.0, text: wish.text.clone() });
        }
        if self.wishes.len() >= WISHES_MAX {
            return Err(Problem::TooManyWishes(WISHES_MAX));
        }
        let id = others.download.downloads.next_id().ok_or(Problem::NoIdLeft)?;
        // With `download`, the default limit is one content.
        let limit = limit.or(download.then_some(1));
        let since = others.cx.wall.epoch_s(others.cx.now);
        self.wishes.insert(id, Wish::new(RawText::new(text), query, since, (download, limit)));
        self.save(others.cx, id);
        self.answer_when_recorded(others.cx, asker, Answering::Row(id), BTreeSet::from([id]));
        Ok(())
    }

    /// Ends wishes: by their ids, or one by its text. It is answered when their records are gone.
    pub(in crate::node) fn call_unwish(
        &mut self,
        cx: &mut Cx,
        asker: (ClientId, &CallId),
        which: &RawText,
    ) -> Result<(), Problem> {
        let ids = self.read_wishes(which)?;
        for id in &ids {
            let Some(wish) = self.wishes.get_mut(id) else { continue };
            if !std::mem::replace(&mut wish.is_ending, true) {
                self.remembering.unsaved.remove(id);
                self.save(cx, *id);
            }
        }
        let left: BTreeSet<_> = ids.iter().copied().collect();
        self.answer_when_recorded(cx, asker, Answering::Unwished(ids), left);
        Ok(())
    }

    /// Ids, as users type them, or the text of a wish.
    fn read_wishes(&self, which: &RawText) -> Result<Vec<TransferId>, Problem> {
        let there = || self.wishes.iter().filter(|(_, wish)| !wish.is_ending);
        let known: KnownIds = there().map(|(id, _)| id.0).collect();
        let all = there().map(|(id, _)| id.0);
        let read = str::from_utf8(which.as_bytes())
            .map_err(|_| Problem::NoSuchWish { which: which.clone() })
            .and_then(|ids| parse_ids_with_all(ids, IdForm::Whole, &known, all).map_err(Problem::of_wishes));
        let text = which.as_bytes().trim_ascii();
        match read {
            Ok(ids) => Ok(ids.into_iter().map(TransferId).collect()),
            Err(problem) => match there().find(|(_, wish)| wish.text.as_bytes() == text) {
                Some((id, _)) => Ok(vec![*id]),
                // Whoever typed a range or an id is told what is wrong with it.
                None if text.iter().all(|byte| byte.is_ascii_digit() || b",-".contains(byte)) => Err(problem),
                None => Err(Problem::NoSuchWish { which: which.clone() }),
            },
        }
    }

    /// Makes what a wish has found hits, which have ids for `download`.
    pub(in crate::node) fn call_wish_hits(&mut self, others: &mut Others, id: u32) -> Result<SearchStarted, Problem> {
        let wish = self.wishes.get_mut(&TransferId(id)).filter(|wish| !wish.is_ending);
        let wish = wish.ok_or_else(|| Problem::NoSuchWish { which: RawText::new(id.to_string()) })?;
        let answers = wish.found.iter().map(|file| Answer {
            file: Listed {
                name: file.name.clone(),
                attributes: Some(Attributes { size: file.size, b3: file.b3, more: false }),
            },
            responder: file.peer,
            from: file.peer,
        });
        let search = others.search.show_wish(others.cx, wish.shown_as, &wish.text, answers);
        wish.shown_as = Some(search);
        Ok(SearchStarted { search: search.0, whole_names: None })
    }

    pub(super) fn row(&self, cx: &Cx, id: TransferId) -> Option<Box<WishRow>> {
        let next = self.next_asks(cx.now).get(&id).copied();
        Some(Box::new(self.wishes.get(&id)?.row(cx, id, next)))
    }

    /// The rows of wishes after an id.
    pub(in crate::node) fn rows_after(&self, cx: &Cx, after: u32) -> impl Iterator<Item = (u32, WishRow)> {
        let next = self.next_asks(cx.now);
        let first = after.checked_add(1).map(TransferId);
        let wishes = first.map(|first| self.wishes.range(first..)).into_iter().flatten();
        let there = wishes.filter(|(_, wish)| !wish.is_ending);
        there.map(move |(id, wish)| (id.0, wish.row(cx, *id, next.get(id).copied())))
    }
}
