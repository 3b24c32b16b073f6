//! What `backupctl restic` adds to restic itself.

use anyhow::Result;
use serde_json::json;

use super::Size;
use super::report::{Goal, Report};
use super::world::{World, cost, median};

pub(super) fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    println!("restic by way of backupctl ({} rounds)", size.many);
    let config = world.project("through", "postgres", &json!({}))?;
    let repository = config.with_file_name("repository");
    let (mut bare, mut ours) = (vec![], vec![]);
    for round in 0..=size.many {
        let without = cost(world.restic(&repository).arg("version"))?.wall * 1000.0;
        let mut through = world.call(&config);
        through.args(["restic", "through", "version"]);
        let with = cost(&mut through)?.wall * 1000.0;
        // The first of each fills caches.
        if round > 0 {
            bare.push(without);
            ours.push(with);
        }
    }
    // A command that opens no repository: that takes much longer than what is looked for.
    let added: Vec<f64> = ours.iter().zip(&bare).map(|(with, without)| with - without).collect();
    report.figure(
        "passthrough_ms",
        "`backupctl restic PROJECT version`: wall time beyond `restic version`",
        &added,
        "ms",
        Goal::AtMost(20.0),
    );
    println!("  {:.1} ms, {:.1} ms by way of backupctl", median(&bare), median(&ours));
    Ok(())
}
