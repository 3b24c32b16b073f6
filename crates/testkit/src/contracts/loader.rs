//! A database to load into is created only when told to, filled only from a whole dump, and never
//! overwritten in passing.

use std::path::Path;
use std::sync::Arc;

use backupctl_application::ports::{DatabaseLoader, TargetState};
use backupctl_domain::{ErrorCode, Stage};

use super::{assert_fails, cancelled, context};

/// Holds a loader to its promises. Its target is a database that is missing; `dump` is a good dump
/// with `tables` tables, `broken` one of the same engine that is cut or otherwise not whole.
pub async fn database_loader(
    loader: Arc<dyn DatabaseLoader>,
    dump: &Path,
    broken: &Path,
    tables: u64,
) {
    let ctx = context(Stage::Sync);
    let tool = loader.check_tool().await.unwrap();
    assert!(!tool.name.is_empty() && !tool.version.is_empty(), "{tool:?}");

    assert_eq!(loader.state(&ctx).await.unwrap(), TargetState::Missing);
    let early = loader.load(dump, false, &ctx).await;
    assert_fails(early, ErrorCode::DbNotFound, "loading into a database that is missing");
    let state = loader.state(&ctx).await.unwrap();
    assert_eq!(state, TargetState::Missing, "loading creates nothing by itself");

    loader.create(&ctx).await.unwrap();
    assert_eq!(loader.state(&ctx).await.unwrap(), TargetState::Empty);
    let stopped = loader.load(dump, false, &cancelled(Stage::Sync)).await;
    assert_fails(stopped, ErrorCode::Interrupted, "a cancelled load");
    assert_eq!(loader.state(&ctx).await.unwrap(), TargetState::Empty);

    let failure = loader.load(broken, false, &ctx).await.expect_err("a broken dump was loaded");
    assert!(!failure.message.is_empty() && !failure.remedy.is_empty(), "{failure:?}");
    assert!(!failure.is_transient(), "what is broken stays broken: {failure}");
    let state = loader.state(&ctx).await.unwrap();
    assert_eq!(state, TargetState::Empty, "the whole file is read before anything is loaded");

    let report = loader.load(dump, false, &ctx).await.unwrap();
    assert_eq!(report.tables, tables, "{report:?}");
    let filled = loader.state(&ctx).await.unwrap();
    let TargetState::Filled { objects } = &filled else { panic!("loaded, and yet {filled:?}") };
    assert!(!objects.is_empty());

    let again = loader.load(dump, false, &ctx).await;
    assert_fails(again, ErrorCode::PathNotWritable, "loading over what is there");
    // Whether creating what is there is an error is the engine's to say; it never empties it.
    let _ = loader.create(&ctx).await;
    assert_eq!(loader.state(&ctx).await.unwrap(), filled);
    let report = loader.load(dump, true, &ctx).await.unwrap();
    assert_eq!(report.tables, tables, "{report:?}");
    assert_eq!(loader.state(&ctx).await.unwrap(), filled);
}
