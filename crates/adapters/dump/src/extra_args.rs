//! What is said of an argument in `database.options.extra_args` that would break the dump or its proof.

use backupctl_domain::{ErrorCode, Failure};

/// The failure for an argument. `shown` is the part of it that may be shown: what follows may be a
/// password.
pub(crate) fn refused(shown: &str, why: &str) -> Failure {
    Failure::new(
        ErrorCode::InvalidConfig,
        format!("`database.options.extra_args` may not hold {shown}: {why}"),
    )
    .with_remedy(format!("remove {shown} from `database.options.extra_args`"))
}
