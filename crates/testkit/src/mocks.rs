//! Ports of which a test says that they must not be called, with mockall.
//!
//! A mock that expects nothing ends the test at any call, whatever the adapter would have done with
//! it. That is all they are for: behaviour is tested on the stateful [`fakes`](crate::fakes).

use async_trait::async_trait;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{
    AuditLog, AuditState, FailureCount, HookCall, HookExecutor, HookOutput, Notifier, PruneReport,
    RemoteStorage, RepositoryAdmin, RepositoryInfo, RestoreReport, RestoreRequest, RunQuery,
    Snapshot, StoreRequest, StoredSnapshot, ToolInfo, VerifyReport,
};
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::sync::SyncPart;
use backupctl_domain::{BackupRun, Failure, Notice, ProjectName, RunId, SnapshotId, Stage};

mockall::mock! {
    /// A [`RemoteStorage`].
    pub Storage {}

    #[async_trait]
    impl RemoteStorage for Storage {
        async fn store(
            &self,
            request: &StoreRequest,
            ctx: &StageContext,
        ) -> Result<StoredSnapshot, Failure>;
        async fn prove(
            &self,
            stored: &StoredSnapshot,
            part: &SyncPart,
            ctx: &StageContext,
        ) -> Result<(), Failure>;
        async fn prune(
            &self,
            keep: &KeepPolicy,
            ctx: &StageContext,
        ) -> Result<PruneReport, Failure>;
        async fn snapshots(&self, ctx: &StageContext) -> Result<Vec<Snapshot>, Failure>;
        async fn restore(
            &self,
            request: &RestoreRequest,
            ctx: &StageContext,
        ) -> Result<RestoreReport, Failure>;
        async fn verify(
            &self,
            snapshot: &SnapshotId,
            ctx: &StageContext,
        ) -> Result<VerifyReport, Failure>;
        async fn unlock_stale(&self, ctx: &StageContext) -> Result<bool, Failure>;
    }
}

mockall::mock! {
    /// A [`RepositoryAdmin`].
    pub Admin {}

    #[async_trait]
    impl RepositoryAdmin for Admin {
        fn creates_by_itself(&self) -> bool;
        async fn check_tool(&self) -> Result<Option<ToolInfo>, Failure>;
        async fn check(&self, ctx: &StageContext) -> Result<RepositoryInfo, Failure>;
        async fn init(&self, ctx: &StageContext) -> Result<(RepositoryInfo, bool), Failure>;
        async fn forget(&self, snapshot: &SnapshotId, ctx: &StageContext) -> Result<(), Failure>;
        async fn check_access(&self) -> Result<Option<String>, Failure>;
        fn project(&self) -> &ProjectName;
    }
}

mockall::mock! {
    /// A [`Notifier`].
    pub Notifier {}

    #[async_trait]
    impl Notifier for Notifier {
        async fn notify(&self, notice: &Notice) -> Result<(), Failure>;
        async fn check(&self) -> Result<(), Failure>;
        async fn reach(&self) -> Result<(), Failure>;
    }
}

mockall::mock! {
    /// A [`HookExecutor`].
    pub Hooks {}

    #[async_trait]
    impl HookExecutor for Hooks {
        async fn execute(&self, call: &HookCall, ctx: &StageContext) -> Result<HookOutput, Failure>;
    }
}

mockall::mock! {
    /// An [`AuditLog`].
    pub Audit {}

    #[async_trait]
    impl AuditLog for Audit {
        async fn start_run(&self, run: &BackupRun) -> Result<(), Failure>;
        async fn track_progress(&self, id: RunId, stage: Stage) -> Result<(), Failure>;
        async fn finish_run(&self, run: &BackupRun) -> Result<(), Failure>;
        async fn find_runs(&self, query: &RunQuery) -> Result<Vec<BackupRun>, Failure>;
        async fn latest_runs(&self) -> Result<Vec<BackupRun>, Failure>;
        async fn count_failures(&self) -> Result<Vec<FailureCount>, Failure>;
        async fn check(&self) -> Result<AuditState, Failure>;
        async fn delete_run(&self, id: RunId) -> Result<bool, Failure>;
    }
}
