//! Shares that are for others than before, or not there any more: hits on their way.

use super::SearchMachine;
use crate::audience::Audiences;
use crate::id::ExchangeId;
use crate::node::contract::Action;
use crate::node::cx::exchanges::Purpose;
use crate::node::ids::OpenId;
use crate::node::network::Net;
use crate::node::share::ShareMachine;

impl SearchMachine {
    /// The audiences of the share have changed. `before`: what they were. Hits that are not sent yet are dropped, if their requester
    /// sees less than before. Answers that are still being looked for have what it sees when they are complete.
    pub(in crate::node) fn on_audiences_changed(&mut self, net: &mut Net, share: &ShareMachine, before: &Audiences) {
        let library = share.library();
        let loses = |peer| before.lose(library.audiences(), peer, |share| library.has_share(share));
        let hits = net.cx.exchanges.open().filter_map(|(exchange, dial)| match dial.purpose {
            Purpose::Hits(open) if loses(dial.to.ip()) => Some((exchange, open)),
            _ => None,
        });
        let hits: Vec<(ExchangeId, Option<OpenId>)> = hits.collect();
        for (exchange, open) in hits {
            if net.cx.withdraw(exchange) {
                net.cx.forget_dial(exchange);
                self.on_answer_ended(net, open);
            } else {
                net.cx.out.act(Action::Abort { exchange });
            }
        }
    }
}
