//! The same encryption for streams that somebody else reads and writes.

use std::io::{self, Read, Write};
use std::path::Path;

use age::stream::StreamWriter;
use backupctl_adapter_stream::{Envelope, Sealing};
use backupctl_domain::Failure;

use crate::AgeEncryptor;
use crate::crypt;

impl Envelope for AgeEncryptor {
    fn check(&self) -> Result<(), Failure> {
        self.keys.check()
    }

    fn can_open(&self) -> bool {
        self.keys.identity_file.is_some()
    }

    fn seal<'w>(
        &self,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Sealing + Send + 'w>, Failure> {
        let stream = crypt::encryptor(&self.keys)?
            .wrap_output(out)
            .map_err(|e| Failure::internal(format!("the age header was not written: {e}")))?;
        Ok(Box::new(Seal(stream)))
    }

    fn open<'r>(
        &self,
        source: Box<dyn Read + Send + 'r>,
        path: &Path,
    ) -> Result<Box<dyn Read + 'r>, Failure> {
        Ok(Box::new(crypt::opened(&self.keys, source, path)?))
    }

    fn read_failure(&self, error: &io::Error, path: &Path) -> Failure {
        crypt::stream_failure(error, path)
    }
}

struct Seal<'w>(StreamWriter<Box<dyn Write + Send + 'w>>);

impl Write for Seal<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sealing for Seal<'_> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.finish()?.flush()
    }
}
