//! Further shares beside the one without a name.

use crate::driver::host::ShareNamed;
use crate::name::FileName;
use crate::store::{FollowedLinks, ShareRoot};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: FileName,
    pub(super) path: PathBuf,
    /// If they are followed.
    pub(super) links: Option<Arc<FollowedLinks>>,
}

impl Named {
    pub(super) fn new(share: ShareNamed) -> Self {
        let ShareNamed { name, path, follow_symlinks } = share;
        Self { name, path, links: follow_symlinks.then(Arc::default) }
    }

    /// The roots of shares, which may not be there.
    pub(super) fn roots(named: &[Self]) -> Vec<(FileName, Arc<ShareRoot>)> {
        let root = |share: &Self| Arc::new(ShareRoot::at(&share.path).following(share.links.clone()));
        named.iter().map(|share| (share.name.clone(), root(share))).collect()
    }
}
