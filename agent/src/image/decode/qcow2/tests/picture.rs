//! Makes qcow2 images and knows what is in them.

use std::io::Write as _;

use flate2::{Compress, FlushCompress};

/// Numbers that look random and are the same each time.
pub(super) struct TestRng(u64);

impl TestRng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        (self.next_u64() >> 11) % limit
    }

    pub(super) fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = usize::try_from(self.below(index as u64 + 1)).unwrap();
            items.swap(index, other);
        }
    }
}

/// How an image is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    pub(super) is_zstd: bool,
    pub(super) has_subclusters: bool,
    pub(super) virtual_size: u64,
    /// Data clusters are in the file in another order than on the disk.
    pub(super) is_shuffled: bool,
    /// Where the tables are.
    pub(super) tables: Tables,
    /// One of so many clusters is compressed; 0: none.
    pub(super) compressed: u64,
    /// The file ends within its last cluster, as far as nothing is lost.
    pub(super) is_cut: bool,
    /// Clusters of the file that nobody uses.
    pub(super) has_garbage: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tables {
    /// As `qemu-img convert` does it.
    First,
    /// L1 first, each L2 table after the clusters that it names.
    LevelTwoLate,
    /// All of them at the end.
    Last,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            version: 3,
            cluster_bits: 16,
            is_zstd: false,
            has_subclusters: false,
            virtual_size: 3 << 20,
            is_shuffled: false,
            tables: Tables::First,
            compressed: 0,
            is_cut: false,
            has_garbage: false,
        }
    }
}

impl Style {
    /// Any style, of a disk of at most `largest` bytes.
    pub(super) fn any(rng: &mut TestRng, largest: u64) -> Self {
        let has_subclusters = rng.is_one_in(4);
        let cluster_bits = if has_subclusters {
            14 + u32::try_from(rng.below(4)).unwrap()
        } else {
            9 + u32::try_from(rng.below(9)).unwrap()
        };
        // Small clusters need many tables.
        let largest = largest.min(2048 << cluster_bits);
        let is_zstd = rng.is_one_in(2);
        Self {
            version: if has_subclusters || is_zstd || !rng.is_one_in(3) {
                3
            } else {
                2
            },
            cluster_bits,
            is_zstd,
            has_subclusters,
            virtual_size: 512 * (1 + rng.below(largest / 512)),
            is_shuffled: rng.is_one_in(2),
            tables: match rng.below(3) {
                0 => Tables::First,
                1 => Tables::LevelTwoLate,
                _ => Tables::Last,
            },
            compressed: [0, 1, 2, 5][usize::try_from(rng.below(4)).unwrap()],
            is_cut: rng.is_one_in(3),
            has_garbage: rng.is_one_in(3),
        }
    }
}

/// An image and the disk that it stands for.
pub(super) struct Picture {
    pub(super) file: Vec<u8>,
    pub(super) disk: Vec<u8>,
    pub(super) level_one: usize,
    /// Offsets of the L2 tables in the file.
    pub(super) level_two: Vec<usize>,
    /// Offsets of the L2 entries that name plain data.
    pub(super) plain: Vec<usize>,
    /// Offsets of the L2 entries that name compressed data.
    pub(super) compressed: Vec<usize>,
}

fn put(file: &mut [u8], offset: usize, bytes: &[u8]) {
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// A field of a file.
pub(super) fn set64(file: &mut [u8], offset: usize, value: u64) {
    put(file, offset, &value.to_be_bytes());
}

pub(super) fn set32(file: &mut [u8], offset: usize, value: u32) {
    put(file, offset, &value.to_be_bytes());
}

pub(super) fn get64(file: &[u8], offset: usize) -> u64 {
    u64::from_be_bytes(file[offset..offset + 8].try_into().unwrap())
}

struct Builder {
    style: Style,
    rng: TestRng,
    file: Vec<u8>,
    cluster: usize,
    /// Where compressed clusters may go on.
    tail: Option<usize>,
    picture: Vec<u8>,
    plain: Vec<usize>,
    compressed: Vec<usize>,
}

impl Picture {
    pub(super) fn new(style: Style, seed: u64) -> Self {
        let cluster = 1 << style.cluster_bits;
        let mut builder = Builder {
            style,
            rng: TestRng::new(seed),
            file: vec![0; cluster],
            cluster,
            tail: None,
            picture: vec![0; usize::try_from(style.virtual_size).unwrap()],
            plain: Vec::new(),
            compressed: Vec::new(),
        };
        let width = if style.has_subclusters { 16 } else { 8 };
        let per_table = cluster / width;
        let clusters = builder.picture.len().div_ceil(cluster);
        let tables = clusters.div_ceil(per_table);
        let level_one_clusters = (tables * 8).div_ceil(cluster);

        // The refcount table and a block of it; nobody reads them here, QEMU does.
        let refcounts = builder.allocate();
        let mut level_one = 0;
        let mut level_two = vec![None; tables];
        if style.tables != Tables::Last {
            level_one = builder.file.len();
            for _ in 0..level_one_clusters {
                builder.allocate();
            }
        }
        let mut order: Vec<usize> = (0..clusters).collect();
        if style.is_shuffled {
            builder.rng.shuffle(&mut order);
        }
        let mut entries = vec![[0_u64; 2]; tables * per_table];
        for index in order {
            if style.tables == Tables::First && level_two[index / per_table].is_none() {
                level_two[index / per_table] = Some(builder.allocate());
            }
            entries[index] = builder.cluster(index);
        }
        if style.tables == Tables::Last {
            level_one = builder.file.len();
            for _ in 0..level_one_clusters {
                builder.allocate();
            }
        }
        for (index, place) in level_two.iter_mut().enumerate() {
            let used = entries[index * per_table..][..per_table]
                .iter()
                .any(|entry| *entry != [0; 2]);
            if used && place.is_none() {
                *place = Some(builder.allocate());
            }
        }
        for (index, entry) in entries.iter().enumerate() {
            let Some(table) = level_two[index / per_table] else {
                continue;
            };
            let at = table + index % per_table * width;
            set64(&mut builder.file, at, entry[0]);
            if style.has_subclusters {
                set64(&mut builder.file, at + 8, entry[1]);
            }
            if entry[0] & 1 << 62 != 0 {
                builder.compressed.push(at);
            } else if entry[0] & 0x00ff_ffff_ffff_fe00 != 0 && entry[0] & 1 == 0 {
                builder.plain.push(at);
            }
        }
        for (index, table) in level_two.iter().enumerate() {
            if let Some(table) = table {
                let entry = *table as u64 | 1 << 63;
                set64(&mut builder.file, level_one + index * 8, entry);
            }
        }
        builder.header(level_one, tables, refcounts);
        if style.is_cut {
            // Zeros at the end of the last data cluster are lost, but nothing of a table.
            let tables_end = level_two.iter().flatten().chain([&level_one]).max();
            let least = tables_end.unwrap() + cluster * level_one_clusters;
            let least = least
                .max(builder.tail.unwrap_or(0))
                .max(builder.file.len() - cluster + 1);
            let is_zero = |byte: &u8| *byte == 0;
            while builder.file.len() > least && builder.file.last().is_some_and(is_zero) {
                builder.file.pop();
            }
        }
        Self {
            file: builder.file,
            disk: builder.picture,
            level_one,
            level_two: level_two.into_iter().flatten().collect(),
            plain: builder.plain,
            compressed: builder.compressed,
        }
    }
}

impl Builder {
    fn allocate(&mut self) -> usize {
        let at = self.file.len().next_multiple_of(self.cluster);
        self.file.resize(at + self.cluster, 0);
        at
    }

    fn header(&mut self, level_one: usize, tables: usize, refcounts: usize) {
        let style = self.style;
        let file = &mut self.file;
        put(file, 0, b"QFI\xfb");
        set32(file, 4, style.version);
        set32(file, 20, style.cluster_bits);
        set64(file, 24, style.virtual_size);
        set32(file, 36, u32::try_from(tables).unwrap());
        set64(file, 40, level_one as u64);
        set64(file, 48, refcounts as u64);
        set32(file, 56, 1);
        if style.version == 3 {
            let features = u64::from(style.is_zstd) << 3 | u64::from(style.has_subclusters) << 4;
            set64(file, 72, features);
            set32(file, 96, 4);
            set32(file, 100, 112);
            file[104] = style.is_zstd.into();
            // An extension that nobody knows, and the end of them.
            set32(file, 112, 0x1234_5678);
            set32(file, 116, 3);
        }
    }

    /// Bytes that are random, repeat, or are zeros.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        match self.rng.below(4) {
            0 => (0..length.div_ceil(8))
                .flat_map(|_| self.rng.next_u64().to_le_bytes())
                .take(length)
                .collect(),
            1 => vec![0; length],
            _ => {
                let word = self.rng.next_u64().to_le_bytes();
                let mut bytes: Vec<u8> = word.into_iter().cycle().take(length).collect();
                bytes[length / 2..].fill(0);
                bytes[length - 1] = 1;
                bytes
            }
        }
    }

    fn draw(&mut self, offset: usize, bytes: &[u8]) {
        let end = (offset + bytes.len()).min(self.picture.len());
        if offset < end {
            self.picture[offset..end].copy_from_slice(&bytes[..end - offset]);
        }
    }

    /// Fills a cluster of the disk and answers its entry.
    fn cluster(&mut self, index: usize) -> [u64; 2] {
        if self.style.has_garbage && self.rng.is_one_in(16) {
            let at = self.allocate();
            self.file[at..].fill(0xdd);
        }
        if self.style.compressed > 0
            && self.rng.is_one_in(self.style.compressed)
            && let Some(entry) = self.compress(index)
        {
            return [entry, 0];
        }
        let zeros = if self.style.version == 3 && !self.style.has_subclusters {
            1
        } else {
            0
        };
        match self.rng.below(8) {
            0 | 1 => [0, 0],
            2 => [zeros, 0],
            // Allocated, but zeros: what the file has there does not count.
            3 if zeros == 1 => {
                let at = self.allocate();
                self.file[at..].fill(0xcc);
                [at as u64 | 1 << 63 | 1, 0]
            }
            _ if self.style.has_subclusters => self.subclusters(index),
            _ => {
                let bytes = self.bytes(self.cluster);
                let at = self.allocate();
                put(&mut self.file, at, &bytes);
                self.draw(index * self.cluster, &bytes);
                [at as u64 | 1 << 63, 0]
            }
        }
    }

    fn subclusters(&mut self, index: usize) -> [u64; 2] {
        let at = self.allocate();
        self.file[at..].fill(0xbb);
        let size = self.cluster / 32;
        let data = match self.rng.below(3) {
            0 => 0xffff_ffff,
            1 => self.rng.next_u64() & self.rng.next_u64() & 0xffff_ffff,
            _ => self.rng.next_u64() & 0xffff_ffff,
        };
        let zeros = self.rng.next_u64() & !data & 0xffff_ffff;
        for number in (0..32).filter(|number| data & 1 << number != 0) {
            let bytes = self.bytes(size);
            put(&mut self.file, at + number * size, &bytes);
            self.draw(index * self.cluster + number * size, &bytes);
        }
        [at as u64 | 1 << 63, data | zeros << 32]
    }

    fn compress(&mut self, index: usize) -> Option<u64> {
        let bytes = self.bytes(self.cluster);
        let packed = pack(&bytes, self.style.is_zstd);
        if packed.len() >= self.cluster {
            return None;
        }
        // Behind the last compressed cluster, in the same clusters of the file.
        let at = match self.tail {
            Some(tail)
                if self.file.len() == tail.next_multiple_of(self.cluster)
                    && tail % self.cluster != 0 =>
            {
                if tail + packed.len() > self.file.len() {
                    self.allocate();
                }
                tail
            }
            _ => self.allocate(),
        };
        put(&mut self.file, at, &packed);
        self.tail = Some(at + packed.len());
        self.draw(index * self.cluster, &bytes);
        let sectors = (at + packed.len() - 1) / 512 - at / 512;
        let offset_bits = 62 - (self.style.cluster_bits - 8);
        Some(at as u64 | (sectors as u64) << offset_bits | 1 << 62)
    }
}

/// Compresses a cluster as QEMU does.
pub(super) fn pack(bytes: &[u8], is_zstd: bool) -> Vec<u8> {
    if is_zstd {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.write_all(bytes).unwrap();
        return encoder.finish().unwrap();
    }
    let mut packed = Vec::with_capacity(bytes.len() + 1024);
    Compress::new(flate2::Compression::fast(), false)
        .compress_vec(bytes, &mut packed, FlushCompress::Finish)
        .unwrap();
    packed
}
