//! Writes one archive.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Mutex, PoisonError};
use std::thread;

use backupctl_adapter_stream::{BlockSink, Pipe, Watch};
use backupctl_application::ports::{FileSystem, StoreRequest, StoredSnapshot};
use backupctl_domain::archive_name::Packed as Packing;
use backupctl_domain::notice::stamp;
use backupctl_domain::retention::Proof;
use backupctl_domain::{
    ArchiveInfo, ArchiveName, DestinationName, ErrorCode, Failure, SnapshotInfo,
};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::Inner;
use crate::exclude::Exclude;
use crate::failure::{path_failure, taken_out, visible, write_failure};
use crate::folder::{Folder, Found, Leftover, PartWriter, Partials, Written};
use crate::list::id_of;
use crate::manifest::{FORM, Head, Opening};
use crate::memory::Known;
use crate::outlet::Outlet;
use crate::pack::{Packed, Sources, pack};

/// From now on a file that has become too large is an error, and not the end of the process.
pub(crate) fn survive_large_files() -> Result<(), Failure> {
    // Listening replaces the signal's default action, also after nobody listens any more.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))
        .map(drop)
        .map_err(|e| Failure::internal(format!("the signal SIGXFSZ cannot be caught: {e}")))
}

impl Inner {
    /// Opens the folder, made where it is missing; tells whether it was made.
    pub(crate) fn make_folder(&self) -> Result<(Folder, bool), Failure> {
        let path = &self.settings.target.path;
        let made = match path.try_exists() {
            Ok(there) => !there,
            Err(e) => return Err(path_failure(&e, path)),
        };
        if made {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|e| path_failure(&e, path))?;
        }
        Ok((Folder::open(path).map_err(|e| path_failure(&e, path))?, made))
    }

    /// Stores what is asked for in an archive of its own.
    pub(crate) fn store(
        &self,
        request: &StoreRequest,
        folder: &Folder,
        system: &FileSystem,
        mut watch: Watch,
    ) -> Result<StoredSnapshot, Failure> {
        watch.check()?;
        let settings = &self.settings;
        let exclude = Exclude::new(&request.exclude)?;
        let device = visible(&system.device);
        let failed = |e| write_failure(e, folder, device);
        let (found, leftovers) = folder.list(&settings.project).map_err(failed)?;
        folder.clear(&leftovers).map_err(failed)?;
        let name = self.free_name(request, folder, &found, &leftovers)?;
        let part = &request.part;
        let sources = Sources {
            dump: part.dump.as_ref().map(|(path, bytes)| (path.as_path(), *bytes)),
            assets: &part.assets,
            exclude: &exclude,
            own: folder.identity(),
        };
        let partials = Partials::new(folder, &name, settings.target.split_size.is_some());
        let (packed, written) =
            self.write(request, &sources, system, &partials, folder, &mut watch)?;
        watch.check()?;
        watch.report();
        // The rename happens in the folder that was opened, wherever that is by now.
        if !folder.is_there() {
            return Err(taken_out(folder.path()));
        }
        partials.commit().map_err(failed)?;
        if !folder.is_there() {
            return Err(taken_out(folder.path()));
        }
        partials.keep();
        self.remember(request, &name, system, &written);
        let info = SnapshotInfo {
            id: id_of(&name)?,
            tags: part.tag_texts(),
            bytes_added: written.bytes,
            files_new: packed.files,
            files_changed: 0,
            files_unmodified: 0,
            destination: DestinationName::new(settings.destination.as_str()).ok(),
            archive: Some(ArchiveInfo {
                file: folder.path().join(name.to_string()).to_string_lossy().into_owned(),
                bytes: written.bytes,
                parts: written.parts,
                checksum: written.checksum,
            }),
        };
        let Packed { files, unread, notes } = packed;
        Ok(StoredSnapshot { info, unread, files_total: files, notes })
    }

    fn write(
        &self,
        request: &StoreRequest,
        sources: &Sources<'_>,
        system: &FileSystem,
        partials: &Partials<'_>,
        folder: &Folder,
        watch: &mut Watch,
    ) -> Result<(Packed, Written), Failure> {
        let (opening, head) = self.description(request);
        let scratch = self.scratch()?;
        let limits = self.limits(system);
        let device = visible(&system.device);
        let written = Mutex::new(None);
        let packed: io::Result<Packed> = thread::scope(|scope| {
            let writer = PartWriter::new(folder, partials, limits);
            let pipe = Pipe::start(scope, Recorded { writer, outcome: &written });
            let (compression, envelope) =
                (self.settings.compression, self.settings.envelope.as_deref());
            let mut outlet =
                Outlet::new(scope, compression, envelope, pipe).map_err(io::Error::other)?;
            let packed = pack(sources, &opening, head, &scratch, &mut outlet, watch)?;
            outlet.finish()?;
            Ok(packed)
        });
        let written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
        // A stop, or a dump that is not readable, is told before what it has done to the writer;
        // anything else that failed, failed because of the disk.
        match (packed.map_err(io::Error::downcast::<Failure>), written) {
            (Ok(packed), Some(Ok(written))) => Ok((packed, written)),
            (Err(Ok(failure)), _) => Err(failure),
            (_, Some(Err(error))) => Err(write_failure(error, folder, device)),
            (Err(Err(error)), _) => {
                Err(Failure::internal(format!("the archive was not packed: {error}")))
            }
            (Ok(_), None) => Err(Failure::internal("the writing thread stopped without a reason")),
        }
    }

    fn description(&self, request: &StoreRequest) -> (Opening, Head) {
        let settings = &self.settings;
        let dump = request.part.dump.as_ref().and_then(|(path, _)| path.file_name());
        let opening = Opening {
            backupctl: FORM,
            project: settings.project.as_str().to_owned(),
            run_id: request.run.to_string(),
            started_at: stamp(request.started_at),
            dump: dump.map(|name| name.to_string_lossy().into_owned()),
            assets: request.part.assets.clone(),
        };
        let head = Head {
            backupctl_manifest: FORM,
            project: opening.project.clone(),
            run_id: opening.run_id.clone(),
            started_at: opening.started_at.clone(),
            host: settings.host.clone(),
            version: settings.version.clone(),
            dump: request.dump.clone(),
            unread: Vec::new(),
            absent: Vec::new(),
        };
        (opening, head)
    }

    /// The archive's name: of the run's start, or of the next second that no archive has.
    fn free_name(
        &self,
        request: &StoreRequest,
        folder: &Folder,
        found: &[Found],
        leftovers: &[Leftover],
    ) -> Result<ArchiveName, Failure> {
        let settings = &self.settings;
        let mut name = ArchiveName {
            project: settings.project.clone(),
            time: request.started_at.to_zoned(settings.timezone.clone()).datetime(),
            algorithm: settings.compression.map(Packing::from),
            encrypted: settings.envelope.is_some(),
        };
        name.time = name.time.with().subsec_nanosecond(0).build().unwrap_or(name.time);
        for _ in 0..3600 {
            let taken = found.iter().any(|found| found.name.time == name.time)
                || leftovers
                    .iter()
                    .any(|left| left.name.time == name.time && folder.holds(&left.file));
            if !taken {
                return Ok(name);
            }
            name = name.next();
        }
        let message = format!("no name is free for an archive of {}", name.time);
        Err(Failure::new(ErrorCode::PathNotWritable, message)
            .with_remedy("move away what has the names, and set the machine's clock right"))
    }

    fn remember(
        &self,
        request: &StoreRequest,
        name: &ArchiveName,
        system: &FileSystem,
        written: &Written,
    ) {
        let part = &request.part;
        let dump = part.dump.as_ref().and_then(|(path, bytes)| {
            Some((path.file_name()?.to_string_lossy().into_owned(), *bytes))
        });
        let known = Known {
            bytes: written.bytes,
            parts: written.parts,
            checksum: written.checksum.clone(),
            proof: Proof::Unproven,
            proven_at: None,
            run: request.run.to_string(),
            host: self.settings.host.clone(),
            dump,
            assets: part.assets.clone(),
        };
        self.memory.update(|memory| {
            memory.mount_point = Some(system.mount_point.clone());
            memory.device = Some(system.device.clone());
            memory.last_bytes = Some(written.bytes);
            memory.last_name = Some(name.to_string());
            memory.archives.insert(name.to_string(), known);
        });
    }
}

/// Keeps what became of the writing, wherever on the way the error gets lost.
struct Recorded<'f> {
    writer: PartWriter<'f>,
    outcome: &'f Mutex<Option<io::Result<Written>>>,
}

impl Recorded<'_> {
    fn record(outcome: &Mutex<Option<io::Result<Written>>>, result: io::Result<Written>) {
        *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

impl BlockSink for Recorded<'_> {
    type Done = ();

    fn block(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.block(bytes).map_err(|error| {
            Self::record(self.outcome, Err(error));
            io::ErrorKind::BrokenPipe.into()
        })
    }

    fn finish(self) -> io::Result<()> {
        Self::record(self.outcome, self.writer.finish());
        Ok(())
    }
}
