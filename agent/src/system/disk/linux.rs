//! Block devices (direct I/O, exclusive) and plain files (for simulations and tests).

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::{AlignedBuffer, Disk, DiskError, Disks, Geometry, NotADiskReason};

/// udev opens a disk for a moment whenever its table changes; so often we try again.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// Zeros written in one go where the device cannot make them itself.
const ZEROS: usize = 1 << 20;

/// The machine's block devices, and files by their path.
#[derive(Debug, Clone, Copy)]
pub struct LinuxDisks;

impl Disks for LinuxDisks {
    fn open(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        Ok(Box::new(LinuxDisk::open(name, OFlags::EXCL, true)?))
    }

    fn open_shared(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        Ok(Box::new(LinuxDisk::open(name, OFlags::empty(), true)?))
    }

    fn open_to_read(&self, name: &Path) -> Result<Box<dyn Disk>, DiskError> {
        Ok(Box::new(LinuxDisk::open(name, OFlags::empty(), false)?))
    }
}

#[derive(Debug)]
struct LinuxDisk {
    file: File,
    path: PathBuf,
    geometry: Geometry,
    /// A block device: direct I/O, everything in whole sectors.
    is_device: bool,
    /// Cleared when the device says that it cannot zero ranges itself.
    punches: bool,
}

impl LinuxDisk {
    fn open(path: &Path, claim: OFlags, is_writable: bool) -> Result<Self, DiskError> {
        let not_a_disk = |reason: NotADiskReason| DiskError::NotADisk {
            path: path.to_owned(),
            reason,
        };
        let kind = std::fs::metadata(path)
            .map_err(|error| not_a_disk(error.into()))?
            .file_type();
        let is_device = kind.is_block_device();
        if !is_device && !kind.is_file() {
            return Err(not_a_disk(NotADiskReason::OtherFile));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(is_writable);
        if is_device {
            // On a block device O_EXCL without O_CREAT means: nobody else has claimed it,
            // neither a mount nor another owner, also of its partitions.
            let flags = claim | OFlags::DIRECT | OFlags::CLOEXEC;
            options.custom_flags(flags.bits().cast_signed());
        }
        let mut file = retry_busy(|| options.open(path)).map_err(|error| {
            if is_busy(&error) {
                DiskError::Busy {
                    path: path.to_owned(),
                }
            } else {
                not_a_disk(error.into())
            }
        })?;
        let size = file
            .seek(SeekFrom::End(0))
            .map_err(|error| not_a_disk(error.into()))?;
        let sector_size = if is_device {
            rustix::fs::ioctl_blksszget(&file)
                .map_err(|errno| not_a_disk(io::Error::from(errno).into()))?
        } else {
            512
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            geometry: Geometry { size, sector_size },
            is_device,
            punches: true,
        })
    }

    fn check(&self, offset: u64, length: u64) -> Result<(), DiskError> {
        let end = offset.saturating_add(length);
        if end > self.geometry.size {
            return Err(DiskError::BeyondEnd {
                path: self.path.clone(),
                size: self.geometry.size,
                end,
            });
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, offset: u64) -> impl Fn(io::Error) -> DiskError + use<> {
        let path = self.path.clone();
        move |source| DiskError::Io {
            action,
            path: path.clone(),
            offset,
            source,
        }
    }

    /// The whole sectors that hold a range: where they start, and their bytes in all.
    fn sectors(&self, offset: u64, length: usize) -> (u64, usize) {
        let sector = u64::from(self.geometry.sector_size);
        let start = offset - offset % sector;
        let end = (offset + length as u64).next_multiple_of(sector);
        // The span is at most two sectors longer than a slice in memory.
        (start, usize::try_from(end - start).unwrap_or(usize::MAX))
    }

    /// Whether direct I/O takes these bytes as they are.
    fn is_direct(&self, offset: u64, data: &[u8]) -> bool {
        !self.is_device
            || (self.sectors(offset, data.len()) == (offset, data.len())
                && AlignedBuffer::is_aligned(data))
    }

    /// Zeros the whole sectors of a range by `make` and writes what is left at its ends.
    /// `false`: the range has no whole sector, or `make` says that it cannot.
    fn zero_sectors(
        &mut self,
        offset: u64,
        length: u64,
        make: impl Fn(&mut Self, u64, u64) -> Result<bool, DiskError>,
    ) -> Result<bool, DiskError> {
        self.check(offset, length)?;
        let sector = u64::from(self.geometry.sector_size);
        let end = offset + length;
        let (first, last) = (
            offset.next_multiple_of(sector),
            (offset + length) / sector * sector,
        );
        if first >= last || !make(self, first, last - first)? {
            return Ok(false);
        }
        if offset < first {
            self.write_at(offset, &vec![0; length_in_memory(first - offset)])?;
        }
        if last < end {
            self.write_at(last, &vec![0; length_in_memory(end - last)])?;
        }
        Ok(true)
    }

    /// Lets the device make the zeros. `false`: it cannot.
    fn punch_sectors(&mut self, offset: u64, length: u64) -> Result<bool, DiskError> {
        if !self.punches {
            return Ok(false);
        }
        // On a block device the kernel promises zeros or refuses: it never falls back to
        // writing, and never merely discards.
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, offset, length) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.punches = false;
                Ok(false)
            }
            Err(error) => Err(self.failed("zero", offset)(error.into())),
        }
    }

    /// Lets the kernel write the zeros. `false`: it cannot.
    fn zero_out_sectors(&mut self, offset: u64, length: u64) -> Result<bool, DiskError> {
        if !self.is_device {
            return Ok(false);
        }
        match kernel::zero_out(&self.file, offset, length) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOTTY) => Ok(false),
            Err(error) => Err(self.failed("zero", offset)(error.into())),
        }
    }
}

impl Disk for LinuxDisk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.check(offset, buffer.len() as u64)?;
        let failed = self.failed("read", offset);
        if self.is_direct(offset, buffer) {
            return self.file.read_exact_at(buffer, offset).map_err(failed);
        }
        let (start, length) = self.sectors(offset, buffer.len());
        let mut bounce = AlignedBuffer::new(length);
        self.file
            .read_exact_at(&mut bounce, start)
            .map_err(failed)?;
        let skip = length_in_memory(offset - start);
        buffer.copy_from_slice(&bounce[skip..skip + buffer.len()]);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.check(offset, data.len() as u64)?;
        let failed = self.failed("write", offset);
        if self.is_direct(offset, data) {
            return self.file.write_all_at(data, offset).map_err(failed);
        }
        let (start, length) = self.sectors(offset, data.len());
        let mut bounce = AlignedBuffer::new(length);
        if (start, length) != (offset, data.len()) {
            self.file
                .read_exact_at(&mut bounce, start)
                .map_err(&failed)?;
        }
        let skip = length_in_memory(offset - start);
        bounce[skip..skip + data.len()].copy_from_slice(data);
        self.file.write_all_at(&bounce, start).map_err(failed)
    }

    fn zero(&mut self, offset: u64, length: u64) -> Result<(), DiskError> {
        if self.zero_sectors(offset, length, Self::punch_sectors)?
            || self.zero_sectors(offset, length, Self::zero_out_sectors)?
        {
            return Ok(());
        }
        let zeros = AlignedBuffer::new(ZEROS);
        let mut at = offset;
        while at < offset + length {
            let count = length_in_memory(offset + length - at).min(ZEROS);
            self.write_at(at, &zeros[..count])?;
            at += count as u64;
        }
        Ok(())
    }

    fn punch(&mut self, offset: u64, length: u64) -> Result<bool, DiskError> {
        self.zero_sectors(offset, length, Self::punch_sectors)
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.file.sync_all().map_err(self.failed("flush", 0))
    }

    fn twin(&self) -> Option<Box<dyn Disk>> {
        // Writes to a file wait for each other in the kernel.
        let file = self.is_device.then(|| self.file.try_clone())?;
        Some(Box::new(Self {
            file: file.ok()?,
            path: self.path.clone(),
            ..*self
        }))
    }

    fn reread_table(&mut self) -> Result<(), DiskError> {
        if !self.is_device {
            return Ok(());
        }
        let reread = || kernel::reread_partitions(&self.file).map_err(io::Error::from);
        match retry_busy(reread) {
            Ok(()) => Ok(()),
            // A partition, or a device that cannot be partitioned.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
            Err(error) if is_busy(&error) => Err(DiskError::Busy {
                path: self.path.clone(),
            }),
            Err(error) => Err(self.failed("re-read the partition table of", 0)(error)),
        }
    }
}

fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::BUSY.raw_os_error())
}

fn retry_busy<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..BUSY_TRIES {
        match attempt() {
            Err(error) if is_busy(&error) => std::thread::sleep(BUSY_PAUSE),
            result => return result,
        }
    }
    attempt()
}

/// A length that is bounded by the size of something in memory.
fn length_in_memory(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// The two requests that rustix has no function for.
mod kernel {
    use std::fs::File;

    use rustix::io::Errno;
    use rustix::ioctl::{self, NoArg, Setter, opcode};

    /// `BLKZEROOUT` of `linux/fs.h`: zeros a range, by writing if it must.
    const BLKZEROOUT: ioctl::Opcode = opcode::none(0x12, 127);
    /// `BLKRRPART` of `linux/fs.h`: reads the partition table again.
    const BLKRRPART: ioctl::Opcode = opcode::none(0x12, 95);

    #[expect(unsafe_code, reason = "an ioctl without a safe wrapper")]
    pub(super) fn zero_out(device: &File, offset: u64, length: u64) -> Result<(), Errno> {
        // SAFETY: BLKZEROOUT reads two u64, start and length, from the pointer it is given
        // and nothing else; the setter holds them for the time of the call.
        unsafe {
            let request = Setter::<BLKZEROOUT, [u64; 2]>::new([offset, length]);
            ioctl::ioctl(device, request)
        }
    }

    #[expect(unsafe_code, reason = "an ioctl without a safe wrapper")]
    pub(super) fn reread_partitions(device: &File) -> Result<(), Errno> {
        // SAFETY: BLKRRPART takes no argument and touches no memory of ours.
        unsafe { ioctl::ioctl(device, NoArg::<BLKRRPART>::new()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(size: u64) -> (tempfile::TempDir, Box<dyn Disk>, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        File::create(&path).unwrap().set_len(size).unwrap();
        let disk = LinuxDisks.open(&path).unwrap();
        (dir, disk, path)
    }

    #[test]
    fn what_is_written_is_read_and_zeroing_is_exact() {
        let (_dir, mut disk, path) = disk(4 << 20);
        assert_eq!(
            disk.geometry(),
            Geometry {
                size: 4 << 20,
                sector_size: 512
            }
        );
        disk.write_at(0, &vec![0xAA; 4 << 20]).unwrap();
        disk.zero(100, 2_000_000).unwrap();
        disk.sync().unwrap();
        let bytes = std::fs::read(path).unwrap();
        let zeros: Vec<usize> = (0..bytes.len()).filter(|i| bytes[*i] == 0).collect();
        assert_eq!(
            (zeros.len(), zeros[0], zeros[zeros.len() - 1]),
            (2_000_000, 100, 2_000_099)
        );
        let mut around = [1; 4];
        disk.read_at(98, &mut around).unwrap();
        assert_eq!(around, [0xAA, 0xAA, 0, 0]);
    }

    #[test]
    fn what_is_opened_to_be_read_cannot_be_written() {
        let (_dir, mut disk, path) = disk(4096);
        disk.write_at(0, &[7; 4096]).unwrap();
        let mut reader = LinuxDisks.open_to_read(&path).unwrap();
        let mut found = [0; 4096];
        reader.read_at(0, &mut found).unwrap();
        assert_eq!(found, [7; 4096]);
        assert!(reader.write_at(0, &[1; 512]).is_err());
        assert_eq!(std::fs::read(path).unwrap(), [7; 4096]);
    }

    #[test]
    fn nothing_is_accessed_beyond_the_end() {
        let (_dir, mut disk, _) = disk(1024);
        for result in [
            disk.write_at(1000, &[0; 25]),
            disk.zero(0, 1025),
            disk.read_at(u64::MAX, &mut [0]),
        ] {
            assert!(matches!(result, Err(DiskError::BeyondEnd { .. })));
        }
    }

    #[test]
    fn a_directory_or_nothing_at_all_is_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().to_owned(), dir.path().join("missing")] {
            assert!(matches!(
                LinuxDisks.open(&path),
                Err(DiskError::NotADisk { .. })
            ));
        }
    }
}
