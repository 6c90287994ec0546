//! Shares that are for others than before, or not there any more: what is being sent to peers that they are not for is broken off, and
//! what waits is refused.

use super::UploadMachine;
use super::accounting::{Kind, Uploads, Wanted};
use crate::audience::Audiences;
use crate::fault::Refusal;
use crate::id::ExchangeId;
use crate::node::contract::Action;
use crate::node::cx::Cx;
use crate::node::share::ShareMachine;
use std::net::SocketAddr;

impl UploadMachine {
    /// The audiences of the share have changed. `before`: what they were.
    pub(in crate::node) fn on_audiences_changed(&mut self, cx: &mut Cx, share: &ShareMachine, before: &Audiences) {
        let is_hidden = |to: SocketAddr, name: &[u8]| !share.library().seen_by(to).admits(name);
        let now_hidden = |exchange: &ExchangeId| self.uploads.is_sending(*exchange, is_hidden);
        let library = share.library();
        let loses = |peer| before.lose(library.audiences(), peer, |share| library.has_share(share));
        let lists = self.uploads.lists.iter().filter(|(_, to)| loses(to.ip()));
        let lists = lists.map(|(exchange, _)| *exchange);
        let hidden: Vec<ExchangeId> = self.uploads.exchanges().filter(now_hidden).chain(lists).collect();
        hidden.into_iter().for_each(|exchange| cx.out.act(Action::Abort { exchange }));
        self.give_up_call_backs(cx, is_hidden);
        self.refuse_hidden(cx, is_hidden);
    }

    /// Requests that wait, for a manifest, a turn or a worker, are refused as for a name that nothing has: what they wait for would
    /// refuse them with a reason that tells otherwise.
    fn refuse_hidden(&mut self, cx: &mut Cx, is_hidden: impl Fn(SocketAddr, &[u8]) -> bool) {
        let wanted = self.uploads.wanted.iter();
        let hidden = wanted.filter(|(_, (_, wanted))| wanted.named().is_some_and(|(to, name)| is_hidden(to, name)));
        let hidden: Vec<ExchangeId> = hidden.map(|(exchange, _)| *exchange).collect();
        for exchange in hidden {
            let waits_here = self.manifests.withdraw(exchange).is_some() || self.withdraw_from_turns(cx, exchange);
            // One that has just got a worker is looked up again at once.
            if waits_here || cx.withdraw(exchange) {
                self.refuse(cx, exchange, Refusal::NoSuchFile);
            }
        }
    }
}

impl Wanted {
    /// What a request names, and who asks.
    fn named(&self) -> Option<(SocketAddr, &[u8])> {
        match self {
            Self::File { to, name }
            | Self::Range { to, name, .. }
            | Self::Metadata { to, name }
            | Self::Manifest { to, name, .. } => Some((*to, name.as_bytes())),
            Self::List { .. } | Self::CallBack { .. } => None,
        }
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
