//! Undelivered things in a file, one JSON object a line, until they are delivered.
//!
//! `fallback.jsonl` is only ever appended to, blanked in place, or replaced whole, each under the
//! lock `.lock`, which nobody holds for long. A replay delivers *without* that lock, so that others
//! can append meanwhile, and holds `.replay.lock` instead, so that no other replay runs. Each line is
//! blanked as soon as it is delivered: a process that dies in the middle delivers at most the one
//! entry again that it was just delivering.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use backupctl_application::ports::{
    Clock, FallbackEntry, FallbackWriter, ReplayReport, ReplaySink,
};
use backupctl_domain::notice::stamp;
use backupctl_domain::{ErrorCode, Failure};
use serde::Serialize;
use tracing::{info, warn};

use crate::blocking::{blocking, make_dir, unusable};
use crate::kernel_lock::{LockedFile, is_missing};

const FOLDER: &str = ".fallback-audit";
const FILE: &str = "fallback.jsonl";
const REJECTED: &str = "fallback.rejected.jsonl";
const NEW_FILE: &str = ".fallback.jsonl.partial";
const LOCK: &str = ".lock";
const REPLAY_LOCK: &str = ".replay.lock";

/// After so many failures in a row a place is left in peace for the rest of a replay: a dead server
/// with its time-outs must not keep the backup that waits behind the replay.
const GIVE_UP_AFTER: u32 = 3;

/// The [`FallbackWriter`] of this machine.
pub struct FallbackFile {
    files: Files,
    clock: Arc<dyn Clock>,
}

impl FallbackFile {
    /// Keeps entries in `{base_dir}/.fallback-audit/fallback.jsonl`.
    pub fn new(base_dir: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Self {
        Self { files: Files { dir: base_dir.as_ref().join(FOLDER) }, clock }
    }
}

/// A line as it is written. It is read as a [`FallbackEntry`] alone.
#[derive(Serialize)]
struct Line<'a> {
    written_at: String,
    #[serde(flatten)]
    entry: &'a FallbackEntry,
}

#[async_trait]
impl FallbackWriter for FallbackFile {
    async fn append(&self, entry: &FallbackEntry) -> Result<(), Failure> {
        let line = Line { written_at: stamp(self.clock.now()), entry };
        let text = serde_json::to_string(&line)
            .map_err(|e| Failure::internal(format!("an entry cannot be written as JSON: {e}")))?;
        let files = self.files.clone();
        blocking(move || {
            files.append(&text).map_err(|e| unusable(e, &files.file(), "cannot append to"))
        })
        .await
    }

    async fn replay(&self, sink: &dyn ReplaySink) -> Result<ReplayReport, Failure> {
        let files = self.files.clone();
        if blocking(move || files.pending()).await? == 0 {
            return Ok(ReplayReport::default());
        }
        let files = self.files.clone();
        let Some(mut replay) = blocking(move || Replay::begin(files)).await? else {
            info!("another process replays the fallback file");
            return Ok(ReplayReport::default());
        };
        let mut report = ReplayReport::default();
        let mut failing = Failing::default();
        loop {
            let (back, next) = blocking(move || replay.next()).await?;
            replay = back;
            let Some(line) = next else { break };
            let done = match &line.entry {
                None => {
                    report.rejected += 1;
                    Done::Rejected
                }
                Some(entry) => match failing.deliver(sink, entry).await {
                    Ok(()) => {
                        report.delivered += 1;
                        Done::Delivered
                    }
                    Err(failure) => {
                        report.remains(entry, &failure);
                        Done::Remains
                    }
                },
            };
            replay = blocking(move || replay.settle(&line, done)).await?;
        }
        blocking(move || replay.finish()).await?;
        Ok(report)
    }

    async fn entries(&self) -> Result<Vec<FallbackEntry>, Failure> {
        let files = self.files.clone();
        blocking(move || {
            let mut entries = Vec::new();
            files.each_line(|line| entries.extend(serde_json::from_slice(line).ok()))?;
            Ok(entries)
        })
        .await
    }

    async fn pending(&self) -> Result<usize, Failure> {
        let files = self.files.clone();
        blocking(move || files.pending()).await
    }
}

/// Which places have failed how often in a row, and how.
#[derive(Default)]
struct Failing(HashMap<String, (u32, Failure)>);

impl Failing {
    async fn deliver(
        &mut self,
        sink: &dyn ReplaySink,
        entry: &FallbackEntry,
    ) -> Result<(), Failure> {
        let place = match entry {
            FallbackEntry::Audit { .. } => "audit".to_owned(),
            FallbackEntry::Notification { project, channel, index, .. } => {
                format!("{project} {channel} {index}")
            }
            FallbackEntry::GlobalNotification { channel, index, .. } => {
                // No project's name has a blank.
                format!("{channel} {index}")
            }
        };
        if let Some((times, failure)) = self.0.get(&place)
            && *times >= GIVE_UP_AFTER
        {
            return Err(failure.clone());
        }
        match sink.deliver(entry).await {
            Ok(()) => {
                self.0.remove(&place);
                Ok(())
            }
            Err(failure) => {
                // Only what a dead place says of every entry counts, not what is wrong with one.
                if failure.is_transient() || failure.code == ErrorCode::AuditUnavailable {
                    let times = self.0.get(&place).map_or(0, |(times, _)| *times);
                    self.0.insert(place, (times + 1, failure.clone()));
                }
                Err(failure)
            }
        }
    }
}

/// The files, and what is done to them in one go.
#[derive(Debug, Clone)]
struct Files {
    dir: PathBuf,
}

impl Files {
    fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    fn lock(&self) -> io::Result<LockedFile> {
        let locked = LockedFile::wait(&self.dir.join(LOCK), || true)?;
        locked.ok_or_else(|| io::Error::other("the lock was not waited for"))
    }

    fn append(&self, text: &str) -> io::Result<()> {
        make_dir(&self.dir)?;
        let _locked = self.lock()?;
        append_line(&self.file(), text.as_bytes())
    }

    fn each_line(&self, mut on_line: impl FnMut(&[u8])) -> Result<(), Failure> {
        let path = self.file();
        let mut read = || -> io::Result<()> {
            let mut reader = BufReader::new(File::open(&path)?);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line)? > 0 {
                if !is_blank(&line) {
                    on_line(&line);
                }
                line.clear();
            }
            Ok(())
        };
        match read() {
            Err(e) if !is_missing(&e) => Err(unusable(e, &path, "cannot read")),
            _ => Ok(()),
        }
    }

    fn pending(&self) -> Result<usize, Failure> {
        let mut count = 0;
        self.each_line(|_| count += 1)?;
        Ok(count)
    }

    /// Replaces the file by its lines that are not blank, and removes it when there are none.
    fn compact(&self) -> io::Result<()> {
        let _locked = self.lock()?;
        let (path, new) = (self.file(), self.dir.join(NEW_FILE));
        let mut reader = BufReader::new(File::open(&path)?);
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut writer = BufWriter::new(file);
        let (mut line, mut kept) = (Vec::new(), false);
        while reader.read_until(b'\n', &mut line)? > 0 {
            if !is_blank(&line) {
                kept = true;
                writer.write_all(&line)?;
            }
            line.clear();
        }
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        if kept {
            file.sync_all()?;
            fs::rename(&new, &path)?;
        } else {
            fs::remove_file(&path)?;
            fs::remove_file(&new)?;
        }
        File::open(&self.dir)?.sync_all()
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// Appends a line and sees to it that it is on disk. The caller holds the lock.
fn append_line(path: &Path, text: &[u8]) -> io::Result<()> {
    let is_new = !path.exists();
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut line = Vec::with_capacity(text.len() + 2);
    let end = file.seek(SeekFrom::End(0))?;
    let mut last = [b'\n'];
    if end > 0 {
        file.read_exact_at(&mut last, end - 1)?;
    }
    if last != [b'\n'] {
        // What a process that died has left unfinished must not spoil this line too.
        line.push(b'\n');
    }
    line.extend_from_slice(text);
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_data()?;
    if is_new && let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// A line in a replay.
struct Found {
    at: u64,
    text: Vec<u8>,
    /// `None` for one that cannot be read.
    entry: Option<FallbackEntry>,
}

/// What a replay has done with a line.
#[derive(Clone, Copy)]
enum Done {
    Delivered,
    Rejected,
    Remains,
}

/// A replay under way; no other one runs meanwhile.
struct Replay {
    files: Files,
    reader: BufReader<File>,
    at: u64,
    /// Lines from here on came after the beginning and wait for the next replay.
    end: u64,
    has_blanks: bool,
    _alone: LockedFile,
}

impl Replay {
    /// `None` where another one is under way.
    fn begin(files: Files) -> Result<Option<Self>, Failure> {
        let path = files.file();
        let open = || -> io::Result<Option<Self>> {
            let Some(alone) = LockedFile::try_take(&files.dir.join(REPLAY_LOCK))? else {
                return Ok(None);
            };
            // Under the lock no line is half written, unless by a process that died.
            let locked = files.lock()?;
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let end = file.metadata()?.len();
            drop(locked);
            let reader = BufReader::new(file);
            Ok(Some(Self { files, reader, at: 0, end, has_blanks: false, _alone: alone }))
        };
        match open() {
            // Another replay has just delivered everything.
            Err(e) if is_missing(&e) => Ok(None),
            result => result.map_err(|e| unusable(e, &path, "cannot replay")),
        }
    }

    /// The next line that is not blank.
    fn next(mut self) -> Result<(Self, Option<Found>), Failure> {
        let path = self.files.file();
        let found = self.read_next().map_err(|e| unusable(e, &path, "cannot read"))?;
        Ok((self, found))
    }

    fn read_next(&mut self) -> io::Result<Option<Found>> {
        while self.at < self.end {
            let at = self.at;
            let mut text = Vec::new();
            let read = self.reader.read_until(b'\n', &mut text)?;
            if read == 0 {
                break;
            }
            self.at += read as u64;
            if is_blank(&text) {
                self.has_blanks = true;
                continue;
            }
            let entry = serde_json::from_slice(&text).ok();
            return Ok(Some(Found { at, text, entry }));
        }
        Ok(None)
    }

    /// Takes a line out of the file that is delivered or cannot be read.
    fn settle(mut self, line: &Found, done: Done) -> Result<Self, Failure> {
        let path = self.files.file();
        let result = match done {
            Done::Remains => Ok(()),
            Done::Delivered => self.blank(line),
            Done::Rejected => self.reject(line).and_then(|()| self.blank(line)),
        };
        result.map_err(|e| unusable(e, &path, "cannot take a line out of"))?;
        Ok(self)
    }

    fn reject(&self, line: &Found) -> io::Result<()> {
        let path = self.files.dir.join(REJECTED);
        warn!(
            offset = line.at,
            "a line of the fallback file cannot be read; moved to {}",
            path.display()
        );
        append_line(&path, line.text.strip_suffix(b"\n").unwrap_or(&line.text))
    }

    /// Overwrites a line with spaces, its end excepted. Whoever appends does so behind the end that
    /// the file has, and only a replay replaces the file, so the place is still the line's.
    fn blank(&mut self, line: &Found) -> io::Result<()> {
        let _locked = self.files.lock()?;
        let length = line.text.strip_suffix(b"\n").unwrap_or(&line.text).len();
        let file = self.reader.get_ref();
        file.write_all_at(&vec![b' '; length], line.at)?;
        self.has_blanks = true;
        file.sync_data()
    }

    fn finish(self) -> Result<(), Failure> {
        if !self.has_blanks {
            return Ok(());
        }
        let path = self.files.file();
        self.files.compact().map_err(|e| unusable(e, &path, "cannot rewrite"))
    }
}
