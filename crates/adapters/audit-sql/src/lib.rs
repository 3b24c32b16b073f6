//! Keeps run records in SQLite or PostgreSQL.
