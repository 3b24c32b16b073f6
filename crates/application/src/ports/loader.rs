//! Loading a dump into a database.

use std::path::Path;

use async_trait::async_trait;
use backupctl_domain::Failure;

use super::ToolInfo;
use crate::context::StageContext;

/// How the database to load into stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetState {
    /// The server answers and has no such database; for a file: there is none.
    Missing,
    /// It is there and holds nothing of the user.
    Empty,
    /// It holds something.
    Filled {
        /// A few of its tables and other things, by name, for a message.
        objects: Vec<String>,
    },
}

/// What loading has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tables in the database afterwards; for a whole server, its databases together.
    pub tables: u64,
    /// What was noticed and is no failure.
    pub notes: Vec<String>,
}

/// Loads a proven dump into one database, for `restore --into`.
///
/// Promises: memory does not grow with the data, and no uncompressed copy is written beside the
/// dump; nothing is created or emptied by itself; what the loading program could not do is a failure,
/// never a status that is passed over; where the engine can, a load that fails leaves the database
/// as it was.
#[async_trait]
pub trait DatabaseLoader: Send + Sync {
    /// The loading tool, found. Talks to no server.
    async fn check_tool(&self) -> Result<ToolInfo, Failure>;
    /// Asks the server how the database stands. Changes nothing.
    async fn state(&self, ctx: &StageContext) -> Result<TargetState, Failure>;
    /// Creates the database, which is missing.
    async fn create(&self, ctx: &StageContext) -> Result<(), Failure>;
    /// Loads the file, which is decrypted; `.zst` and `.gz` are decompressed as it is read. With
    /// `replace`, what the dump brings takes the place of what has its name.
    async fn load(
        &self,
        dump: &Path,
        replace: bool,
        ctx: &StageContext,
    ) -> Result<LoadReport, Failure>;
}
