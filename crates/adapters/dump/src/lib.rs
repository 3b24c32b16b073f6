//! Dumps databases in one streaming pass.
