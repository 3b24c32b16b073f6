//! One database in `pg_dump`'s custom format.

use std::io;
use std::path::Path;
use std::time::Duration;

use backupctl_adapter_process::{AtomicFile, Existing, Output, ProcessError};
use backupctl_application::context::StageContext;
use backupctl_application::ports::{DumpRequest, DumpedFile, VerifyRequest};
use backupctl_domain::manifest::{Completeness, Contents};
use backupctl_domain::project::Engine;
use backupctl_domain::{ErrorCode, Failure};

use super::args::ExtraArgs;
use super::compare::{Shown, remarks};
use super::program::{Programs, major_of, version_of};
use super::toc::{TocReader, TocState, contents_of_list};
use super::{Format, PostgresDumper, session, stderr};
use crate::blocking;
use crate::stream::{Decoder, Packing, Watch, Written, into_failure, pump};
use crate::verify::read_through;

/// How much `pg_restore --list` may print.
const LIST_LIMIT: usize = 16 << 20;

impl PostgresDumper {
    /// Dumps the database.
    pub(super) async fn dump_archive(
        &self,
        extra: &ExtraArgs,
        request: &DumpRequest,
        ctx: &StageContext,
    ) -> Result<DumpedFile, Failure> {
        let database = &self.client.database;
        let session = session::Session::open(&self.client, ctx).await?;
        let programs = self.client.programs(&session.server_version, ctx).await?;
        let mut shown = Shown::read(session, &database.options, extra, ctx).await?;
        let (output, written, toc) =
            self.stream(&programs, extra, shown.snapshot.as_deref(), request, ctx).await?;
        self.check_end(&output, &written)?;

        let mut warnings = remarks(extra, &shown.unmatched);
        let (state, mut contents, version) = toc.finish();
        if let TocState::Unreadable(why) = state {
            tracing::debug!(reason = %why, "reading the archive's contents by pg_restore --list");
            let packing = Packing::of(written.file.target());
            contents = self.list(&programs, written.file.partial(), packing, ctx).await?;
        }
        let completeness = shown.compare(&contents, false, &database.options, ctx).await?;
        if completeness == Completeness::NothingInDatabase {
            let place = &shown.session.place;
            warnings.push(format!("database {place} holds no tables: the dump is empty"));
        }
        shown.session.close().await;
        let tool_version = match version.as_deref().and_then(version_of) {
            Some(version) => version.to_owned(),
            None => self.client.ask_version(&programs.dump, ctx).await?,
        };
        let tool = format!("pg_dump {tool_version}");
        written.commit(Engine::Postgres, tool, completeness, warnings, ctx).await
    }

    /// Has `pg_restore` read all of it.
    pub(super) async fn verify_archive(
        &self,
        request: &VerifyRequest,
        ctx: &StageContext,
    ) -> Result<(), Failure> {
        let installed = self.client.installed()?;
        let made_by = version_of(&request.info.tool_version).and_then(major_of).unwrap_or_default();
        let programs = installed.at_least(made_by).unwrap_or(&installed.default);
        let tool = self.client.tool(&programs.restore).arg("--file=/dev/null");
        let output = read_through(tool, request, ctx).await?;
        if output.success() { Ok(()) } else { Err(unreadable(&output)) }
    }

    /// Runs `pg_dump` into the partial file.
    async fn stream(
        &self,
        programs: &Programs,
        extra: &ExtraArgs,
        snapshot: Option<&str>,
        request: &DumpRequest,
        ctx: &StageContext,
    ) -> Result<(Output, Written, TocReader), Failure> {
        let file = AtomicFile::create(&self.path(request), Existing::Refuse)?;
        let target = file.target().to_owned();
        let (tool, pass_file) = Self::dump_tool(
            &self.client,
            programs,
            Format::Custom,
            &extra.dump,
            snapshot,
            request,
        )?;
        let tool = tool.timeout(request.timeout);
        let (compression, max_bytes) = (request.compression, request.max_bytes);
        let mut watch = Watch::new(ctx);
        let mut toc = TocReader::new();
        let ran = tool.run_reading(ctx, move |stdout| {
            let tap = |chunk: &[u8]| toc.feed(chunk);
            let written = pump(stdout, file, compression, max_bytes, &mut watch, tap)?;
            Ok((written, toc))
        });
        let ran = ran.await;
        drop(pass_file);
        match ran {
            Ok((output, (written, toc))) => Ok((output, written, toc)),
            Err(ProcessError::Pipe(error, _)) => Err(into_failure(error, &target)),
            Err(ProcessError::TimedOut { limit, stderr, .. }) => {
                Err(blocking::timed_out("pg_dump", limit).with_detail(stderr::tail(&stderr)))
            }
            Err(other) => Err(other.into_failure(ErrorCode::DumpTimeout)),
        }
    }

    fn check_end(&self, output: &Output, written: &Written) -> Result<(), Failure> {
        let place = session::place(&self.client.database);
        if !output.success() {
            return Err(stderr::dump_failure(&output.status_text(), &output.stderr, &place));
        }
        if written.raw_bytes == 0 {
            return Err(super::wrote_nothing(&place, output));
        }
        Ok(())
    }

    /// The names in an archive whose format our own reader does not know.
    async fn list(
        &self,
        programs: &Programs,
        path: &Path,
        packing: Packing,
        ctx: &StageContext,
    ) -> Result<Contents, Failure> {
        let path = path.to_owned();
        let tool = self
            .client
            .tool(&programs.restore)
            .arg("--list")
            .capture_limit(LIST_LIMIT)
            .timeout(Some(Duration::from_mins(10)));
        let (output, _) = tool
            .run_writing(ctx, move |stdin| {
                // It reads no further than the table of contents and closes the pipe.
                let mut decoder = Decoder::new(std::fs::File::open(path)?, packing)?;
                io::copy(&mut decoder, &mut { stdin })
            })
            .await
            .map_err(|e| e.into_failure(ErrorCode::DumpTimeout))?;
        if !output.success() {
            return Err(unreadable(&output));
        }
        Ok(contents_of_list(&String::from_utf8_lossy(&output.stdout)))
    }
}

fn unreadable(output: &Output) -> Failure {
    Failure::new(
        ErrorCode::DumpCorrupt,
        format!("pg_restore cannot read the dump ({})", output.status_text()),
    )
    .with_detail(output.last_lines(10))
    .with_remedy(
        "run the backup again; if it happens twice, compare the versions of pg_dump and pg_restore",
    )
}
