//! restic's cache of one repository on this machine: how big it is, and removing it.
//!
//! restic keeps one folder per repository, named by the repository's id, below a base folder that it
//! tags as a cache by the rules of <https://bford.info/cachedir/>. Nothing is removed that does not
//! look exactly like that: a wrong `cache_dir` must never cost anybody a file.

use std::fs;
use std::io;
use std::path::Path;

use backupctl_adapter_process::failure_from_io;
use backupctl_application::ports::RepositoryCache;
use backupctl_domain::{ErrorCode, Failure};

use crate::walk;

/// The tag of a cache folder, and what it begins with.
const TAG: &str = "CACHEDIR.TAG";
const SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// What restic keeps in the folder of a repository; `version` is always there.
const ENTRIES: [&str; 6] = ["version", "data", "index", "snapshots", "keys", "locks"];

/// Whether this is a repository's whole id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The failure of a repository whose id is none.
pub(crate) fn no_id(id: &str) -> Failure {
    Failure::new(ErrorCode::RepoCorrupt, format!("{id:?} is not the id of a repository"))
}

/// Counts what is cached; nothing where there is no folder.
pub(crate) fn measure(folder: &Path) -> Result<RepositoryCache, Failure> {
    let count = match walk::count(folder, None) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => walk::Count::default(),
        count => count.map_err(|e| failure_from_io(e, folder, "cannot read the cache"))?,
    };
    Ok(RepositoryCache { path: folder.to_owned(), files: count.files, bytes: count.bytes })
}

/// Removes the folder and tells what was in it.
pub(crate) fn remove(folder: &Path) -> Result<RepositoryCache, Failure> {
    let cannot = |e| failure_from_io(e, folder, "cannot remove the cache");
    match folder.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return measure(folder),
        Err(error) => return Err(cannot(error)),
        Ok(meta) if !meta.is_dir() => return Err(no_cache(folder, "it is not a folder")),
        Ok(_) => {}
    }
    prove(folder)?;
    let removed = measure(folder)?;
    fs::remove_dir_all(folder).map_err(cannot)?;
    Ok(removed)
}

/// That a folder is what restic makes, and nothing else.
fn prove(folder: &Path) -> Result<(), Failure> {
    let tagged = |dir: &Path| fs::read(dir.join(TAG)).is_ok_and(|tag| tag.starts_with(SIGNATURE));
    if !folder.parent().is_some_and(tagged) && !tagged(folder) {
        return Err(no_cache(folder, &format!("no {TAG} says that it is one")));
    }
    let entries =
        fs::read_dir(folder).map_err(|e| failure_from_io(e, folder, "cannot read the cache"))?;
    for entry in entries {
        let entry = entry.map_err(|e| failure_from_io(e, folder, "cannot read the cache"))?;
        let name = entry.file_name();
        if !ENTRIES.iter().chain(&[TAG]).any(|known| name == *known) {
            return Err(no_cache(
                folder,
                &format!("restic does not keep {} in one", name.to_string_lossy()),
            ));
        }
    }
    Ok(())
}

fn no_cache(folder: &Path, why: &str) -> Failure {
    Failure::new(
        ErrorCode::InvalidConfig,
        format!("{} is not removed, it is no cache of restic: {why}", folder.display()),
    )
    .with_remedy("look what is there, and let `restic.cache_dir` name a folder for restic alone")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const ID: &str = "58b376b0f45a7bfd8d24e92d5f48c097b7e1725c197582ab941d7f7e1b6286ee";

    fn cache(base: &Path) -> PathBuf {
        let folder = base.join(ID);
        fs::create_dir_all(folder.join("index/5a")).unwrap();
        fs::write(folder.join("version"), "1").unwrap();
        fs::write(folder.join("index/5a/x"), "12345").unwrap();
        folder
    }

    #[test]
    fn a_cache_is_measured_and_removed_and_its_neighbours_stay() {
        let base = tempfile::tempdir().unwrap();
        let folder = cache(base.path());
        fs::write(base.path().join(TAG), SIGNATURE).unwrap();
        fs::create_dir(base.path().join("other")).unwrap();
        let expected = RepositoryCache { path: folder.clone(), files: 2, bytes: 6 };
        assert_eq!(measure(&folder).unwrap(), expected);
        assert_eq!(remove(&folder).unwrap(), expected);
        assert!(!folder.exists() && base.path().join("other").exists());
        let nothing = RepositoryCache { path: folder.clone(), ..RepositoryCache::default() };
        assert_eq!(remove(&folder).unwrap(), nothing);
        assert_eq!(measure(&folder).unwrap(), nothing);
    }

    #[test]
    fn what_is_not_shown_to_be_a_cache_stays() {
        let base = tempfile::tempdir().unwrap();
        let folder = cache(base.path());
        let refused = |what: &str| {
            let failure = remove(&folder).unwrap_err();
            assert_eq!(failure.code, ErrorCode::InvalidConfig, "{what}");
            assert!(folder.join("version").exists(), "{what}");
        };
        refused("no tag");
        fs::write(base.path().join(TAG), "something else").unwrap();
        refused("another tag");
        fs::write(base.path().join(TAG), SIGNATURE).unwrap();
        fs::write(folder.join("thesis.txt"), "years of work").unwrap();
        refused("a foreign file");

        let elsewhere = base.path().join("elsewhere");
        fs::rename(&folder, &elsewhere).unwrap();
        fs::remove_file(elsewhere.join("thesis.txt")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
        refused("a link");
    }

    #[test]
    fn an_id_is_64_small_hexadecimal_digits() {
        assert!(is_id(ID));
        for wrong in ["", "58b376b0", &ID.to_uppercase(), &format!("{}/", &ID[1..])] {
            assert!(!is_id(wrong), "{wrong}");
        }
    }
}
