//! What a configuration said when it was good last, kept for the day when it cannot be loaded: a backup
//! that is not made for it must still be recorded, and told to somebody.
//!
//! The file and its `.env` are kept as they are, below the base folder that they name. Where that is, once
//! the configuration cannot be read, says a small file in the usual place for state.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use backupctl_adapter_process::{AtomicFile, Existing, failure_from_io};
use backupctl_domain::Failure;

use crate::FileConfig;
use crate::environment::{Environment, parse_dotenv};
use crate::load::dotenv_of;
use crate::locate::usual_places;

/// Where they are kept, below the base folder. It holds secrets, and is its owner's alone.
const KEPT: &str = ".schedule/last-good";
/// The configuration there.
const FILE: &str = "backupctl.yml";
/// Its variables there.
const DOTENV: &str = ".env";
/// Where the way to them is kept, below the usual place for state.
const WAY: &str = "last-good";

impl FileConfig {
    /// Keeps what the files say now as what was good last. `fingerprint` is that of before they were
    /// loaded: if they have changed since, nobody knows whether they still are good.
    pub fn keep_last_good(&self, base_dir: &Path, fingerprint: u64) -> Result<(), Failure> {
        use backupctl_application::ports::ConfigLoader;
        if self.kept.is_some() {
            return Ok(());
        }
        let file = self.locate()?;
        let text = read(&file)?.unwrap_or_default();
        let dotenv = read(&dotenv_of(&file))?;
        if self.fingerprint() != fingerprint {
            return Ok(());
        }
        let id = id_of(&file);
        let dir = base_dir.join(KEPT).join(&id);
        if let Some(dotenv) = dotenv {
            write(&dir.join(DOTENV), &dotenv)?;
        } else if dir.join(DOTENV).exists() {
            let dotenv = dir.join(DOTENV);
            fs::remove_file(&dotenv).map_err(|e| failure_from_io(e, &dotenv, "cannot remove"))?;
        }
        write(&dir.join(FILE), &text)?;
        // One place is enough, and none is needed where the base folder is found without it.
        let way = base_dir.as_os_str().as_encoded_bytes();
        for place in state_places(&self.environment) {
            if write(&place.join(WAY).join(&id), way).is_ok() {
                break;
            }
        }
        Ok(())
    }

    /// The configuration as it was good last, if that is known. Relative paths mean what they meant.
    pub fn last_good(&self) -> Option<Self> {
        let asked = self.explicit.as_deref();
        let asked = asked.or_else(|| self.environment.get("BACKUPCTL_CONFIG").map(Path::new));
        let files = match (asked, self.locate()) {
            (Some(path), _) => vec![self.environment.cwd.join(path)],
            (None, Ok(file)) => vec![file],
            (None, Err(_)) => usual_places(&self.environment),
        };
        files.into_iter().find_map(|file| self.last_good_of(file))
    }

    fn last_good_of(&self, file: PathBuf) -> Option<Self> {
        let id = id_of(&file);
        let dirs = base_dirs(&self.environment, &file, &id);
        let mut dirs = dirs.into_iter().map(|base| base.join(KEPT).join(&id));
        let dir = dirs.find(|dir| dir.join(FILE).is_file())?;
        let mut environment = self.environment.clone();
        if let Ok(text) = fs::read_to_string(dir.join(DOTENV)) {
            let process = |name: &str| self.environment.get(name);
            for (name, (value, _)) in parse_dotenv(&text, &process).0 {
                if environment.get(&name).is_none() {
                    environment.variables.insert(name, value);
                }
            }
        }
        let kept = Some(dir.join(FILE));
        Some(Self { explicit: Some(file), environment, purpose: self.purpose, kept })
    }
}

/// Where the base folder may be, the surest first.
fn base_dirs(environment: &Environment, file: &Path, id: &str) -> Vec<PathBuf> {
    let states = state_places(environment);
    let ways = states.iter().filter_map(|place| fs::read_to_string(place.join(WAY).join(id)).ok());
    let mut dirs: Vec<PathBuf> = ways.map(PathBuf::from).collect();
    dirs.extend(environment.get("BACKUP_BASE_DIR").map(PathBuf::from));
    let text = fs::read_to_string(file).unwrap_or_default();
    dirs.extend(written_base_dir(&text).map(PathBuf::from));
    // The base folder that is taken where none is given.
    dirs.extend(states);
    dirs.retain(|dir| dir.is_absolute());
    dirs
}

/// The base folder that a file names which is no YAML as a whole.
fn written_base_dir(text: &str) -> Option<&str> {
    let quotes = ['"', '\'', ',', ' '];
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_matches(quotes) == "base_dir").then(|| value.trim().trim_matches(quotes))
    })
}

/// The usual places for state.
fn state_places(environment: &Environment) -> Vec<PathBuf> {
    let own = environment.get("XDG_STATE_HOME").map(PathBuf::from);
    let usual = if environment.euid == 0 {
        Some(PathBuf::from("/var/lib/backupctl"))
    } else {
        environment.xdg("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("backupctl"))
    };
    let own = own.filter(|dir| dir.is_absolute()).map(|dir| dir.join("backupctl"));
    let mut places: Vec<PathBuf> = own.into_iter().chain(usual).collect();
    places.dedup();
    places
}

/// The name that a configuration's path stands for (FNV-1a, 128 bits: the same in every version).
fn id_of(file: &Path) -> String {
    let folder = file.parent().and_then(|folder| folder.canonicalize().ok());
    let file = match (folder, file.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => file.to_owned(),
    };
    let start = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let hash = file.as_os_str().as_encoded_bytes().iter().fold(start, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!("{hash:032x}")
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failure_from_io(e, path, "cannot read")),
    }
}

/// Writes the file whole or not at all, unless it says so already.
fn write(path: &Path, text: &[u8]) -> Result<(), Failure> {
    if fs::read(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    let failed = |e: std::io::Error| failure_from_io(e, path, "cannot write");
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    let file = AtomicFile::create(path, Existing::Replace)?;
    file.handle().write_all(text).map_err(failed)?;
    file.commit().map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use backupctl_application::ports::ConfigLoader;

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        config: FileConfig,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment {
            cwd: dir.path().to_owned(),
            home: Some(dir.path().join("home")),
            euid: 1000,
            ..Environment::default()
        };
        let config = FileConfig::new(Some("etc/backupctl.yml".into()), environment);
        let place = Place { dir, config };
        fs::create_dir(place.at("etc")).unwrap();
        place
    }

    impl Place {
        fn at(&self, path: &str) -> PathBuf {
            self.dir.path().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            fs::write(self.at(path), text).unwrap();
        }

        fn keep(&self) {
            let fingerprint = self.config.fingerprint();
            self.config.keep_last_good(&self.at("base"), fingerprint).unwrap();
        }
    }

    const GOOD: &str = "timezone: ${ZONE}\nlog: {dir: logs}\nprojects: []\n";

    #[tokio::test]
    async fn what_was_good_last_is_found_again_whatever_becomes_of_the_file() {
        let p = place();
        assert!(p.config.last_good().is_none());
        p.write("etc/backupctl.yml", GOOD);
        p.write("etc/.env", "ZONE=Asia/Tokyo\n");
        p.keep();
        for broken in [Some("projects: ["), Some("base_dir: [7]\nprojects: []"), None] {
            match broken {
                Some(text) => p.write("etc/backupctl.yml", text),
                None => fs::remove_file(p.at("etc/backupctl.yml")).unwrap(),
            }
            let _ = fs::remove_file(p.at("etc/.env"));
            let loaded = p.config.last_good().unwrap().load().await.unwrap();
            let global = loaded.global.unwrap();
            assert_eq!(global.timezone.iana_name(), Some("Asia/Tokyo"));
            assert_eq!(global.log.dir, Some(p.at("etc/logs")), "relative to where the file was");
        }
    }

    #[test]
    fn it_is_its_owners_alone_and_a_base_folder_that_is_still_readable_needs_no_way() {
        let p = place();
        p.write("etc/backupctl.yml", GOOD);
        p.keep();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let kept = p.at("base").join(KEPT);
        let dir = fs::read_dir(&kept).unwrap().next().unwrap().unwrap().path();
        assert_eq!((mode(&kept), mode(&dir), mode(&dir.join(FILE))), (0o700, 0o700, 0o600));
        fs::remove_dir_all(p.at("home")).unwrap();
        assert!(p.config.last_good().is_none());
        let base = p.at("base");
        p.write("etc/backupctl.yml", &format!("  \"base_dir\": \"{}\",\nx: [", base.display()));
        assert!(p.config.last_good().is_some());
    }

    #[test]
    fn what_has_changed_since_it_was_loaded_is_not_kept() {
        let p = place();
        p.write("etc/backupctl.yml", GOOD);
        let fingerprint = p.config.fingerprint();
        p.write("etc/backupctl.yml", "projects: [");
        p.config.keep_last_good(&p.at("base"), fingerprint).unwrap();
        assert!(p.config.last_good().is_none());
    }
}
