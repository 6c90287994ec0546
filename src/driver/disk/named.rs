//! Further shares beside the one without a name.

use crate::name::FileName;
use crate::node::contract::ShareNamed;
use crate::store::{FollowedLinks, ShareRoot};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) name: FileName,
    /// `None`: it waits for the next start.
    pub(super) path: Option<PathBuf>,
    /// If they are followed.
    pub(super) links: Option<Arc<FollowedLinks>>,
}

impl Named {
    pub(super) fn new(share: ShareNamed) -> Self {
        let ShareNamed { name, path, follow_symlinks } = share;
        Self { name, path, links: follow_symlinks.then(Arc::default) }
    }

    /// The same share, if it is among these: what is known of its links stays known.
    pub(super) fn kept(share: ShareNamed, known: &[Self]) -> Self {
        let is_same = |known: &&Self| {
            known.name == share.name && known.path == share.path && known.links.is_some() == share.follow_symlinks
        };
        known.iter().find(is_same).cloned().unwrap_or_else(|| Self::new(share))
    }

    /// The roots of shares, which may not be there.
    pub(super) fn roots(named: &[Self]) -> Vec<(FileName, Arc<ShareRoot>)> {
        let root = |share: &Self| {
            let root = ShareRoot::at(share.path.as_ref()?).following(share.links.clone());
            Some((share.name.clone(), Arc::new(root)))
        };
        named.iter().filter_map(root).collect()
    }
}
