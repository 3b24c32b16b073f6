//! Loads the configuration: files, environment, secrets.
