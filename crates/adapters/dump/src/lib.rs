//! Dumps databases in one streaming pass.
//!
//! A dumper reads its engine's own dump, compresses, hashes and writes it as it comes, and proves
//! the file afterwards: memory does not grow with the data. What every engine shares is in
//! [`stream`]; an engine's folder holds only what is its own.

mod blocking;
mod crc64;
mod detail;
mod extra_args;
mod mongodb;
mod mysql;
mod percent;
mod postgres;
mod redis;
mod secret_file;
mod sqlite;
mod stream;
mod unpack;
mod verify;

pub use mongodb::MongodbDumper;
pub use mysql::{MysqlDumper, MysqlLoader};
pub use postgres::{PostgresDumper, PostgresLoader};
pub use redis::RedisDumper;
pub use sqlite::{SqliteDumper, SqliteLoader};
pub use unpack::FileUnpacker;
