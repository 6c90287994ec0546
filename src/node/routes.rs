//! Which machine an event, a message, the end of an exchange, and a [`Step`] are for.

use super::Node;
use super::contract::{Action, DialOutcome, Event, NodeConfig, Refusal, ShareChanges};
use super::cx::Step;
use super::cx::exchanges::{Dial, Purpose};
use super::network::Net;
use super::upload::Wanted;
use super::wish::Others;
use crate::audience::Requester;
use crate::control::{CallId, Request};
use crate::id::{ClientId, ExchangeId};
use crate::wire::Message;
use std::net::SocketAddr;

impl Node {
    pub(super) fn on_event(&mut self, event: Event) {
        let Self { cx, network, share, search, upload, download, wish, .. } = self;
        match event {
            Event::Request { exchange, from, message } => self.on_request(exchange, from, message),
            Event::RequestGone { exchange } => self.on_request_gone(exchange),
            Event::RequesterClosed { requester, name, counted } => {
                upload.on_requester_closed(cx, share, requester, name, counted);
            }
            Event::CallBackConnected { exchange } => upload.on_call_back_connected(cx, exchange),
            Event::ResponseEnded { exchange, outcome } => upload.on_response_ended(cx, share, exchange, outcome),
            Event::ResponseProgress { exchange, bytes, held } => {
                upload.on_response_progress(cx, exchange, bytes, held);
            }
            Event::DialEnded { exchange, outcome } => self.on_dial_ended(exchange, outcome),
            Event::SearchReport { peer, report } => search.on_report(&mut Net { cx, network }, peer, &report),
            Event::StreamEnded { peer } => search.on_stream_ended(&mut Net { cx, network }, peer),
            Event::ListBatch { exchange, files } => match cx.exchanges.dial(exchange).map(|dial| dial.purpose) {
                Some(Purpose::Directory(id)) => {
                    download.on_directory_lines(&mut Net { cx, network }, id, exchange, files);
                }
                _ => search.on_list_batch(&mut Net { cx, network }, exchange, files),
            },
            Event::FetchResumed { exchange, bytes } => download.on_fetch_resumed(exchange, bytes),
            Event::FetchHeld { exchange, by_disk } => download.on_fetch_held(cx, exchange, by_disk),
            Event::FetchProgress { exchange, bytes } => download.on_fetch_progress(cx, exchange, bytes),
            Event::TargetProbed { download: id, outcome } => {
                download.on_target_probed(cx, id, outcome);
            }
            Event::DirectoriesMade { download: id, outcome } => {
                download.on_directories_made(&mut Net { cx, network }, id, outcome);
            }
            Event::ManifestGiven { client, manifest } => download.on_manifest_given(client, *manifest),
            Event::ManifestKept { download: id, outcome } => download.on_manifest_kept(cx, id, outcome),
            Event::ManifestRead { download: id, outcome } => {
                download.on_manifest_read(&mut Net { cx, network }, id, outcome);
            }
            Event::PartOpened { download: id, outcome } => download.on_part_opened(cx, id, outcome),
            Event::PartCommitted { download: id, outcome } => {
                download.on_part_committed(cx, id, outcome);
            }
            Event::GroupVerified { exchange, group } => download.on_group_verified(cx, exchange, group),
            Event::GroupWritten { download: id, b3, group, from } => {
                download.on_group_written(cx, id, from, (b3, group));
            }
            Event::PartFailed { download: id, fault } => download.on_part_failed(cx, id, fault),
            Event::PartChecked { download: id, outcome } => download.on_part_checked(cx, id, outcome),
            Event::OrphansFound { files, bytes } => download.orphans = (files, bytes),
            Event::Recorded { download: id, revision, outcome } => {
                if !wish.has(id) {
                    download.on_recorded(cx, id, revision, outcome);
                    return wish.on_download_changed(&mut Others { cx, network, share, search, download }, id);
                }
                wish.on_recorded(&mut Others { cx, network, share, search, download }, id, revision, outcome);
            }
            Event::Hashed { files } => share.on_hashed(cx, files),
            Event::Resolved { host, outcome } => network.on_resolved(cx, &host, outcome),
            Event::Scanned { files } => share.on_scanned(cx, files),
            Event::RecentFiles { files } => share.on_recent_files(cx, files),
            Event::LookedAt { files } => share.on_looked_at(cx, files),
            Event::ScanEnded { report } => share.on_scan_ended(cx, report),
            Event::Call { client, call, request } => self.on_call(client, call, request),
            Event::ClientGone { client } => {
                cx.subscriptions.forget(client);
                self.directory_links.forget_client(client);
                self.download.forget_given(client);
            }
            Event::Reconfigure(config) => self.on_reconfigure(*config),
            Event::Leave => self.on_leave(),
        }
    }

    /// A requester has closed its connection. A manifest that nobody else awaits is not made.
    fn on_request_gone(&mut self, exchange: ExchangeId) {
        let Some(directory) = self.upload.on_request_gone(&mut self.cx, exchange) else { return };
        if !self.upload.awaits_manifest(&directory) && !self.directory_links.awaits_manifest(&directory) {
            self.share.withdraw_manifest(&directory);
        }
    }

    /// A message came in. Exactly one action answers it, at once or when a worker is free.
    fn on_request(&mut self, exchange: ExchangeId, from: SocketAddr, message: Message) {
        let Self { cx, network, share, search, upload, .. } = self;
        if !cx.config.peer {
            return upload.refuse(cx, exchange, Refusal::WrongNode);
        }
        if !cx.is_running() {
            return upload.refuse(cx, exchange, Refusal::Leaving);
        }
        match message {
            Message::DownloadRequest { name } => {
                upload.on_request(cx, share, exchange, from, Wanted::File { to: from, name });
            }
            Message::ListFiles { p1 } => {
                upload.on_request(cx, share, exchange, from, Wanted::List { to: from, attributes: p1 })
            }
            Message::RangeRequest { offset, length, name } if name.is_directory() => {
                upload.on_manifest_request(cx, share, exchange, from, name, Some((offset, length)));
            }
            Message::MetadataRequest { name } if name.is_directory() => {
                upload.on_manifest_request(cx, share, exchange, from, name, None);
            }
            Message::RangeRequest { offset, length, name } => {
                upload.on_request(cx, share, exchange, from, Wanted::Range { to: from, name, offset, length });
            }
            Message::MetadataRequest { name } => {
                upload.on_request(cx, share, exchange, from, Wanted::Metadata { to: from, name })
            }
            Message::Search(message) => {
                cx.out.act(Action::Close { exchange });
                search.on_search(&mut Net { cx, network }, share, exchange, from, message);
            }
            Message::SearchResponse(response) => {
                cx.out.act(Action::Close { exchange });
                search.on_search_response(&mut Net { cx, network }, from, response);
            }
            Message::FirstContact { requester, id } => {
                cx.out.act(Action::AnswerFirstContact { exchange });
                search.on_announced(&mut Net { cx, network }, from, (requester, &id));
            }
            Message::Register { .. }
            | Message::RequestPeerList { .. }
            | Message::Unregister { .. }
            | Message::Keepalive { .. } => upload.refuse(cx, exchange, Refusal::WrongNode),
        }
    }

    fn on_dial_ended(&mut self, exchange: ExchangeId, outcome: DialOutcome) {
        let Self { cx, network, share, search, upload, download, directory_links, .. } = self;
        let Some(Dial { to, purpose }) = cx.forget_dial(exchange) else {
            log::debug!("a connection ended that was given up before");
            return;
        };
        if purpose.is_with_a_peer() {
            network.weigh_peer(cx, to, &outcome);
        }
        match purpose {
            Purpose::Link(link, task) => {
                network.on_link_task_ended(cx, link, task, exchange, outcome);
                cx.out.then(Step::LinkTaskEnded);
            }
            Purpose::Unregister => self.on_unregister_ended(exchange),
            Purpose::CallBack(id) => upload.on_call_back_ended(cx, share, id, exchange, outcome),
            Purpose::Announcement => search.on_announcement_ended(&mut Net { cx, network }, to, &outcome),
            Purpose::Ring(id, open) => search.on_ring_dial_ended(&mut Net { cx, network }, (id, open), to, &outcome),
            Purpose::Seek | Purpose::Wish => {}
            Purpose::Hits(open) => search.on_answer_ended(&mut Net { cx, network }, open),
            Purpose::FirstContact => download.on_contact_dial_ended(&mut Net { cx, network }, to, &outcome),
            Purpose::Newcomer => search.on_newcomer_dial_ended(&mut Net { cx, network }, to, &outcome),
            Purpose::Directory(id) => {
                download.on_directory_dial_ended(&mut Net { cx, network }, id, exchange, outcome);
            }
            Purpose::DirectoryLink => {
                directory_links.on_dial_ended(&mut Net { cx, network }, download, exchange, to, outcome);
            }
            Purpose::List(id) => search.on_list_ended(cx, id, exchange, to, outcome),
            Purpose::Fetch => download.on_fetch_ended(&mut Net { cx, network }, exchange, outcome),
            Purpose::Forward(open) => search.on_forward_ended(&mut Net { cx, network }, to, open, &outcome),
        }
        self.cx.free_worker(exchange);
    }

    /// Carries out what the machines have left to each other.
    pub(super) fn run_steps(&mut self) {
        let Self { cx, network, share, search, upload, download, wish, directory_links, .. } = self;
        while let Some(step) = cx.out.next_step() {
            match step {
                Step::Listed { is_whole } => {
                    wish.on_peers_listed(cx);
                    download.seek_among_newcomers(&mut Net { cx, network });
                    search.on_newcomers_listed(&mut Net { cx, network }, is_whole);
                }
                Step::LinkTaskEnded => search.on_link_task_ended(&mut Net { cx, network }),
                Step::SpeechChanged { peer, before, after } => download.on_speech_changed(cx, peer, before, after),
                Step::Found { found, sought } => download.on_found(&mut Net { cx, network }, &found, sought),
                Step::FindOwn { download: id, b3 } => {
                    if let Some(original) = share.library().seen_by(Requester::Anybody).file_of_content(b3) {
                        download.copy_own(cx, id, original);
                    }
                }
                Step::Seek { download: id, texts, is_stuck } => {
                    let asked =
                        texts.into_iter().map(|text| search.seek_sources(&mut Net { cx, network }, id, text)).max();
                    download.on_sought(cx, id, asked.unwrap_or(0), is_stuck);
                }
                Step::WishAnswered { wish: id, found } => {
                    wish.on_answer(&mut Others { cx, network, share, search, download }, id, &found);
                }
                Step::DownloadOver { id } => {
                    search.end_seeks(id);
                    if let Some(name) = download.saved_at(id).and_then(|path| cx.config.shared_name(path)) {
                        share.on_file_saved(cx, &name);
                    }
                    wish.on_download_changed(&mut Others { cx, network, share, search, download }, id);
                }
                Step::Send { exchange, to, messages, connect_max } => {
                    network.send(cx, exchange, to, messages, connect_max);
                }
                Step::Granted { exchange } => upload.on_granted(cx, share, exchange),
                Step::ManifestMade { name, outcome } => {
                    upload.on_manifest_made(cx, &name, outcome);
                    directory_links.on_manifest_made(&mut Net { cx, network }, share, &name, outcome);
                }
                Step::RequestDropped { exchange } => upload.drop_request(cx, exchange),
                Step::HitsDropped { open } => search.on_answer_ended(&mut Net { cx, network }, open),
            }
        }
    }

    fn on_call(&mut self, client: ClientId, call: CallId, request: Request) {
        let outcome = self.calls().on_call(client, &call, request);
        // The answer shows what the call has led to, and leaves before the notices of that.
        self.run_steps();
        if let Some(outcome) = outcome {
            self.download.reply(&mut self.cx, client, call, outcome);
        }
    }

    /// Takes a new configuration, but for what takes a restart: the listener, and whether this is a peer at all.
    fn on_reconfigure(&mut self, config: NodeConfig) {
        let Self { cx, network, share, search, upload, download, .. } = self;
        if !cx.is_running() {
            return;
        }
        let old = std::mem::replace(&mut cx.config, config);
        cx.config.listen = old.listen;
        cx.config.peer = old.peer;
        let changes = ShareChanges::between(&old.shares, &cx.config.shares);
        if cx.config.audiences != old.audiences || !changes.is_empty() {
            let before = share.library().audiences().clone();
            share.set_audiences(cx.config.audiences.clone());
            share.on_shares_changed(cx, &changes);
            upload.on_audiences_changed(cx, share, &before);
            search.on_audiences_changed(&mut Net { cx, network }, share, &before);
        }
        network.reconsider_peers(cx);
        network.arrange_links(cx);
        if cx.config.local_addrs != old.local_addrs {
            network.renew_links(cx);
        }
        if cx.config.keepalive_refresh != old.keepalive_refresh {
            network.rearm_keepalives(cx);
        }
        if cx.config.filemonitor_refresh != old.filemonitor_refresh {
            share.rearm_rescan(cx);
        }
        upload.give_turns(cx);
        cx.start_queued();
        download.start_downloads(cx);
    }
}
