//! What happens when a deadline has come.

use super::Node;
use super::cx::NodeTimer;
use super::network::Net;
use super::wish::Others;

impl Node {
    pub(super) fn on_timer(&mut self, timer: NodeTimer) {
        let Self { cx, network, share, search, upload, download, wish, .. } = self;
        if !cx.is_running() && timer != NodeTimer::LeaveDeadline {
            return;
        }
        match timer {
            NodeTimer::Link(link) => network.on_link_timer(cx, link),
            NodeTimer::Refresh(link) => {
                network.on_refresh_timer(cx, link);
                search.announce_if_no_searches_come(&mut Net { cx, network });
            }
            NodeTimer::RememberPeers => network.remember_peers(cx),
            NodeTimer::ExpirePeers => network.on_expire_peers(cx),
            NodeTimer::Ring(id) => search.on_ring_timer(&mut Net { cx, network }, id),
            NodeTimer::SearchPart(open) => search.on_part_timer(&mut Net { cx, network }, open),
            NodeTimer::ForgetSearches => search.on_forget_timer(cx),
            NodeTimer::Forward(neighbour) => search.on_forward_timer(&mut Net { cx, network }, neighbour),
            NodeTimer::CommandWaited { exchange } => upload.on_command_waited(cx, exchange),
            NodeTimer::Displace => {
                let of_turns = upload.shares_of_turns(cx);
                cx.on_displace_timer(of_turns, upload.waiting_for_turns());
            }
            NodeTimer::CallBack(id) => upload.call_back(cx, id),
            NodeTimer::CallBackOverdue(id) => upload.on_call_back_overdue(cx, id),
            NodeTimer::TurnWaited { exchange } => upload.on_turn_waited(cx, exchange),
            NodeTimer::RangesIdle(run) => upload.on_run_idle(cx, run),
            NodeTimer::Retry(id) => download.on_retry_timer(cx, id),
            NodeTimer::Directory(id) => download.on_directory_timer(cx, id),
            NodeTimer::MemberSearch => download.on_member_search_timer(cx),
            NodeTimer::Look(id) => download.downloads.mark_dirty(id),
            NodeTimer::Probe(id) => download.probe_disk(cx, id),
            NodeTimer::Pace => download.on_pace_timer(cx),
            NodeTimer::HashAgain => share.on_hash_again(cx),
            NodeTimer::RecordOverdue(answer) => download.on_record_overdue(cx, answer),
            NodeTimer::WishAsk => wish.on_ask_timer(&mut Others { cx, network, share, search, download }),
            NodeTimer::WishSave => wish.on_save_timer(cx),
            NodeTimer::WishOverdue(answer) => wish.on_overdue(cx, answer),
            NodeTimer::Rescan => share.start_scan(cx),
            NodeTimer::LookAtRecent => share.look_at_recent(cx),
            NodeTimer::LinesLeftOut(subject) => cx.log_left_out(subject),
            NodeTimer::LeaveDeadline => self.leave(),
        }
    }
}
