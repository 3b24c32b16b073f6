//! Streams come out as they went in, and an error reaches whoever can tell it.

use std::io::{self, Read, Write};
use std::thread;

use backupctl_domain::project::{Algorithm, Compression};

use super::*;

/// Rows of text that compress like rows of text.
fn text(bytes: usize) -> Vec<u8> {
    let rows = (0_u32..).map(|n| format!("row {} of some words {}\n", n.wrapping_mul(7919), n / 3));
    rows.flat_map(String::into_bytes).take(bytes).collect()
}

fn packed(data: &[u8], compression: Compression, cutting: Cutting) -> Vec<u8> {
    let mut out = Vec::new();
    let mut compressor = Compressor::new(Some(compression), cutting).unwrap();
    for piece in data.chunks(100_000) {
        compressor.push(piece, &mut out).unwrap();
    }
    compressor.finish(&mut out).unwrap();
    out
}

#[test]
fn evenly_cut_streams_come_back_block_by_block() {
    let data = text(9_000_000);
    for (algorithm, packing) in [(Algorithm::Zstd, Packing::Zstd), (Algorithm::Gzip, Packing::Gzip)]
    {
        let compression = Compression { algorithm, level: 3 };
        let even = packed(&data, compression, Cutting::Evenly);
        assert!(even != packed(&data, compression, Cutting::ByContent));
        let mut back = Vec::new();
        Decoder::new(&even[..], packing).unwrap().read_to_end(&mut back).unwrap();
        assert!(back == data);
    }
}

#[test]
fn what_is_read_ahead_comes_in_order_and_an_error_comes_last() {
    let data = text(3_000_000);
    let read = |fails: bool| {
        thread::scope(|scope| {
            let data = &data;
            let mut reader = read_ahead(scope, "test", move |blocks| {
                blocks.copy(&mut &data[..])?;
                if fails { Err(io::Error::other("no more")) } else { Ok(()) }
            })
            .unwrap();
            let mut back = Vec::new();
            (reader.read_to_end(&mut back).map_err(|e| e.to_string()), back)
        })
    };
    assert!(read(false) == (Ok(data.len()), data.clone()));
    assert!(read(true) == (Err("no more".to_owned()), data.clone()));
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_work() {
    thread::scope(|scope| {
        let mut reader =
            read_ahead(scope, "test", |blocks| blocks.copy(&mut io::repeat(7))).unwrap();
        reader.read_exact(&mut [0; 10]).unwrap();
    });
}

struct Full(usize);

impl BlockSink for Full {
    type Done = usize;

    fn block(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0 += bytes.len();
        if self.0 > 3 * BUFFER { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn finish(self) -> io::Result<usize> {
        Ok(self.0)
    }
}

#[test]
fn a_pipe_tells_what_stopped_its_writer() {
    thread::scope(|scope| {
        let mut pipe = Pipe::start(scope, Full(0));
        pipe.write_all(&[1; 1000]).unwrap();
        assert_eq!(pipe.finish().unwrap(), 1000);
        let mut pipe = Pipe::start(scope, Full(0));
        assert!(pipe.write_all(&vec![1; 20 * BUFFER]).is_err());
        assert_eq!(pipe.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    });
}
