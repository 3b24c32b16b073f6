//! The port: each call looks first whether the right disk is there.

use std::time::Instant;

use async_trait::async_trait;
use backupctl_adapter_process::with_link_targets;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{
    PruneReport, RemoteStorage, RestoreReport, RestoreRequest, Snapshot, StoreRequest,
    StoredSnapshot, VerifyReport,
};
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::sync::SyncPart;
use backupctl_domain::{Failure, SnapshotId};

use tracing::debug;

use crate::Archive;
use crate::failure::{taken_out, visible, write_failure};
use crate::store::survive_large_files;

#[async_trait]
impl RemoteStorage for Archive {
    async fn store(
        &self,
        request: &StoreRequest,
        ctx: &StageContext,
    ) -> Result<StoredSnapshot, Failure> {
        ctx.cancel.check()?;
        survive_large_files()?;
        let system = self.mounted().await?;
        let inner = &self.inner;
        inner.check_writable(&system)?;
        let dump = request.part.dump.as_ref().map_or(0, |(_, bytes)| *bytes);
        inner.check_room(&system, &inner.memory.read(), dump)?;
        let (folder, made) = self.blocking(ctx, |inner, _| inner.make_folder()).await?;
        // The disk may have gone between the look and the folder, which is on the one below then.
        let still = self.mounted().await;
        if still.as_ref().ok().map(|now| &now.mount_point) != Some(&system.mount_point) {
            if made {
                let _ = std::fs::remove_dir(folder.path());
            }
            return Err(still.err().unwrap_or_else(|| taken_out(folder.path())));
        }
        let folder = folder.on(visible(&system.device));
        let mut request = request.clone();
        request.part.assets = with_link_targets(&request.part.assets);
        let begin = Instant::now();
        let work =
            self.blocking(ctx, move |inner, watch| inner.store(&request, &folder, &system, watch));
        let stored = work.await?;
        debug!(
            target: "backupctl::archive",
            bytes = stored.info.bytes_added,
            wall_ms = begin.elapsed().as_millis(),
            "archive written"
        );
        Ok(stored)
    }

    async fn prove(
        &self,
        stored: &StoredSnapshot,
        part: &SyncPart,
        ctx: &StageContext,
    ) -> Result<(), Failure> {
        self.mounted().await?;
        let (stored, part) = (stored.clone(), part.clone());
        self.blocking(ctx, move |inner, watch| inner.prove(&stored, &part, &watch)).await
    }

    async fn prune(&self, keep: &KeepPolicy, ctx: &StageContext) -> Result<PruneReport, Failure> {
        let system = self.mounted().await?;
        let keep = keep.clone();
        self.blocking(ctx, move |inner, watch| inner.prune(&keep, &system, &watch)).await
    }

    async fn snapshots(&self, ctx: &StageContext) -> Result<Vec<Snapshot>, Failure> {
        self.mounted().await?;
        self.blocking(ctx, |inner, watch| inner.snapshots(&watch)).await
    }

    async fn restore(
        &self,
        request: &RestoreRequest,
        ctx: &StageContext,
    ) -> Result<RestoreReport, Failure> {
        self.mounted().await?;
        let request = request.clone();
        self.blocking(ctx, move |inner, watch| inner.restore(&request, &watch)).await
    }

    async fn verify(
        &self,
        snapshot: &SnapshotId,
        ctx: &StageContext,
    ) -> Result<VerifyReport, Failure> {
        self.mounted().await?;
        let id = snapshot.clone();
        self.blocking(ctx, move |inner, watch| inner.verify(&id, &watch)).await
    }

    async fn unlock_stale(&self, ctx: &StageContext) -> Result<bool, Failure> {
        let system = self.mounted().await?;
        self.blocking(ctx, move |inner, watch| {
            watch.check()?;
            let Some(folder) = inner.open_folder()? else { return Ok(false) };
            let failed = |e| write_failure(e, &folder, visible(&system.device));
            let (_, leftovers) = folder.list(&inner.settings.project).map_err(failed)?;
            folder.clear(&leftovers).map_err(failed)
        })
        .await
    }
}
