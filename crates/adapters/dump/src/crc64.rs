//! The two CRC-64 that dumps carry: ECMA-182 as Go's `hash/crc64` computes it (`MongoDB` archives), and
//! Jones' polynomial as Redis uses it (RDB files).

type Tables = [[u64; 256]; 8];

/// ECMA-182, bits reversed.
static ECMA: Tables = tables(0xC96C_5795_D787_0F42);
/// Jones, bits reversed.
static JONES: Tables = tables(0x95AC_9329_AC4B_C9B5);

/// A checksum in the making.
#[derive(Clone)]
pub(crate) struct Crc64 {
    tables: &'static Tables,
    state: u64,
    /// What the state begins with and is turned by at the end.
    inverted: u64,
}

impl Crc64 {
    /// As `MongoDB` archives carry it.
    pub(crate) fn ecma() -> Self {
        Self { tables: &ECMA, state: u64::MAX, inverted: u64::MAX }
    }

    /// As RDB files carry it.
    pub(crate) fn jones() -> Self {
        Self { tables: &JONES, state: 0, inverted: 0 }
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut taken = [0; 8];
            taken.copy_from_slice(word);
            let x = (self.state ^ u64::from_le_bytes(taken)).to_le_bytes();
            self.state = (0..8).fold(0, |sum, i| sum ^ self.tables[7 - i][usize::from(x[i])]);
        }
        for byte in words.remainder() {
            let index = usize::from(self.state.to_le_bytes()[0] ^ byte);
            self.state = self.tables[0][index] ^ (self.state >> 8);
        }
    }

    /// The checksum of everything taken.
    pub(crate) fn value(&self) -> u64 {
        self.state ^ self.inverted
    }
}

impl std::fmt::Debug for Crc64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crc64({:016x})", self.value())
    }
}

/// `tables[n][b]` is what byte `b` has become when `n` further bytes have passed.
const fn tables(polynomial: u64) -> Tables {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ polynomial } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut byte = 0;
    while byte < 256 {
        let mut n = 1;
        while n < 8 {
            let before = tables[n - 1][byte];
            tables[n][byte] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            n += 1;
        }
        byte += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(mut crc: Crc64, bytes: &[u8]) -> u64 {
        crc.update(bytes);
        crc.value()
    }

    #[test]
    fn the_published_check_values_come_out() {
        // CRC-64/XZ of the catalogue of parametrised CRC algorithms; crc64.c of Redis.
        assert_eq!(of(Crc64::ecma(), b"123456789"), 0x995d_c9bb_df19_39fa);
        assert_eq!(of(Crc64::jones(), b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(of(Crc64::ecma(), b""), 0);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_as_the_whole() {
        let bytes: Vec<u8> = (0..1000_u32).map(|i| (i * 7 % 251) as u8).collect();
        for start in [Crc64::ecma(), Crc64::jones()] {
            let whole = of(start.clone(), &bytes);
            for size in [1, 3, 7, 8, 9, 64, 999] {
                let mut crc = start.clone();
                bytes.chunks(size).for_each(|piece| crc.update(piece));
                assert_eq!(crc.value(), whole, "{size}");
            }
        }
    }
}
