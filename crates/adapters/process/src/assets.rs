//! What an asset path stands for, where it is a symbolic link.
//!
//! Here because every storage has to take it so: who names a link as an asset means what is behind it.

use std::path::{Path, PathBuf};

/// These paths, and behind each that is a symbolic link what it leads to, once. The link itself stays:
/// a restore brings it back too.
pub fn with_link_targets(assets: &[PathBuf]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::with_capacity(assets.len());
    for asset in assets {
        paths.push(asset.clone());
        if let Some(real) = target_of(asset)
            && !paths.contains(&real)
            && !assets.contains(&real)
        {
            paths.push(real);
        }
    }
    paths
}

fn target_of(asset: &Path) -> Option<PathBuf> {
    asset.symlink_metadata().ok().filter(std::fs::Metadata::is_symlink)?;
    asset.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_a_link_leads_to_is_meant_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (real, link, plain) = (root.join("releases/1"), root.join("current"), root.join("etc"));
        std::fs::create_dir_all(&real).unwrap();
        std::fs::create_dir(&plain).unwrap();
        symlink(&real, &link).unwrap();
        symlink("/nowhere", root.join("dangling")).unwrap();
        let dangling = root.join("dangling");
        let given = [plain.clone(), link.clone(), dangling.clone()];
        let expected = [plain.clone(), link.clone(), real.clone(), dangling];
        assert_eq!(with_link_targets(&given), expected);
        let both = [link, real, plain];
        assert_eq!(with_link_targets(&both), both);
    }
}
