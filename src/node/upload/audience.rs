//! Shares that are for others than before: what is being sent to peers that they are not for any more is broken off.

use super::UploadMachine;
use super::accounting::{Kind, Uploads};
use crate::audience::Audiences;
use crate::id::ExchangeId;
use crate::node::contract::Action;
use crate::node::cx::Cx;
use crate::node::share::ShareMachine;
use std::net::SocketAddr;

impl UploadMachine {
    /// The audiences of the share have changed. `before`: what they were. Requests that wait are looked up when it is their turn.
    pub(in crate::node) fn on_audiences_changed(&mut self, cx: &mut Cx, share: &ShareMachine, before: &Audiences) {
        let is_hidden = |to: SocketAddr, name: &[u8]| !share.library().seen_by(to).admits(name);
        let now_hidden = |exchange: &ExchangeId| self.uploads.is_sending(*exchange, is_hidden);
        let lists = self.uploads.lists.iter().filter(|(_, to)| before.lose(&cx.config.audiences, to.ip()));
        let lists = lists.map(|(exchange, _)| *exchange);
        let hidden: Vec<ExchangeId> = self.uploads.exchanges().filter(now_hidden).chain(lists).collect();
        hidden.into_iter().for_each(|exchange| cx.out.act(Action::Abort { exchange }));
        self.give_up_call_backs(cx, is_hidden);
    }
}

impl Uploads {
    /// Whether this connection sends something for which `fits` holds.
    fn is_sending(&self, exchange: ExchangeId, fits: impl Fn(SocketAddr, &[u8]) -> bool) -> bool {
        match self.rows.get(&exchange).map(|upload| &upload.kind) {
            Some(Kind::File { to, name, .. } | Kind::Metadata { to, name }) => fits(*to, name.as_bytes()),
            Some(Kind::Range { run }) => self.runs.get(run).is_some_and(|run| fits(run.to, run.name.as_bytes())),
            None => false,
        }
    }
}
