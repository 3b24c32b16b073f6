//! The files of schedules: the contract, and one that somebody has broken.

use std::sync::Arc;

use backupctl_testkit::{WorkDir, contracts};

use super::*;

#[tokio::test]
async fn the_contract_holds() {
    let work = WorkDir::new();
    contracts::schedule_store(|| Arc::new(ScheduleFiles::new(&work.join("base")))).await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_put_aside() {
    let work = WorkDir::new();
    let store = ScheduleFiles::new(&work.dir("base"));
    let file = work.file("base/.schedule/shop.json", "{\"pause\": half");
    let shop = ProjectName::new("shop").unwrap();
    assert_eq!(store.project(&shop).await.unwrap(), ScheduleMemory::default());
    assert!(!file.exists());
    let aside = fs::read_to_string(work.join("base/.schedule/shop.json.rejected")).unwrap();
    assert_eq!(aside, "{\"pause\": half");
}
