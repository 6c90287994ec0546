//! The calls of control clients, each answered exactly once. Calls all other machines.

mod calls;

use super::Counters;
use super::cx::Cx;
use super::download::DownloadMachine;
use super::network::NetworkMachine;
use super::search::SearchMachine;
use super::share::ShareMachine;
use super::upload::UploadMachine;

/// What a call may use: all of the node.
pub(super) struct Calls<'a> {
    pub(super) cx: &'a mut Cx,
    pub(super) network: &'a mut NetworkMachine,
    pub(super) share: &'a mut ShareMachine,
    pub(super) search: &'a mut SearchMachine,
    pub(super) upload: &'a UploadMachine,
    pub(super) download: &'a mut DownloadMachine,
    pub(super) counters: Counters,
}
