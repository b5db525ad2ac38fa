//! The kernel's log, record by record.
//!
//! Each reader has a place of its own in the kernel's ring of records. Records are numbered from
//! the start of the machine; those that were overwritten are missing in the numbers.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::path_prefix::PathPrefix;

/// Where the kernel offers its records.
const DEVICE: &str = "/dev/kmsg";

/// More than any record has: the kernel's own limit is less than 4 KiB.
const MAX_RECORD_BYTES: usize = 8 * 1024;

/// A record of the kernel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRecord {
    /// Its number since the machine started.
    pub sequence: u64,
    /// When, since the machine started.
    pub since_boot: Duration,
    /// How much it matters: 0 (the machine is lost) to 7 (for developers).
    pub priority: u8,
    /// What it says, one line; the kernel escapes what is not ASCII.
    pub text: String,
}

/// Opens the kernel's log.
pub trait KernelLog: fmt::Debug + Send + Sync {
    /// A reader before the oldest record that the kernel has.
    ///
    /// # Errors
    /// The machine has no such log, or does not show it to us.
    fn open(&self) -> io::Result<Box<dyn KernelLogReader>>;
}

/// A place in the kernel's log.
pub trait KernelLogReader: fmt::Debug + Send {
    /// The next record, if there is one.
    ///
    /// # Errors
    /// Those of reading.
    fn read(&mut self) -> io::Result<Option<KernelRecord>>;

    /// Completes when there may be a record, after [`KernelLogReader::read`] found none.
    fn readable(&mut self) -> BoxFuture<'_, io::Result<()>>;
}

/// `/dev/kmsg` of a machine.
#[derive(Debug, Clone)]
pub struct KernelLogDevice(pub PathPrefix);

impl KernelLog for KernelLogDevice {
    fn open(&self) -> io::Result<Box<dyn KernelLogReader>> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
        let device = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(nonblocking.cast_signed())
            .open(self.0.path(DEVICE))?;
        Ok(Box::new(DeviceReader::new(device)?))
    }
}

/// A machine that shows no log of its kernel.
#[derive(Debug, Clone, Copy)]
pub struct NoKernelLog;

impl KernelLog for NoKernelLog {
    fn open(&self) -> io::Result<Box<dyn KernelLogReader>> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "a simulated machine has no kernel of its own",
        ))
    }
}

/// A descriptor of which each read is one record.
#[derive(Debug)]
struct DeviceReader {
    device: AsyncFd<File>,
    buffer: Vec<u8>,
}

impl DeviceReader {
    #[expect(unsafe_code, reason = "tokio has no safe function for a file")]
    fn new(device: File) -> io::Result<Self> {
        // SAFETY: a File has the same open descriptor until it is dropped, which is when the
        // AsyncFd is: nothing takes it out.
        let device = unsafe { AsyncFd::register_with_interest(device, Interest::READABLE) };
        Ok(Self {
            device: device?,
            buffer: vec![0; MAX_RECORD_BYTES],
        })
    }

    fn read_once(&mut self) -> io::Result<usize> {
        let Self { device, buffer } = self;
        match device.get_ref().read(buffer) {
            // Read again within the accounting of readiness: a record that came in between
            // must not be waited for.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                device.try_io(Interest::READABLE, |mut file| file.read(buffer))
            }
            read => read,
        }
    }
}

impl KernelLogReader for DeviceReader {
    fn read(&mut self) -> io::Result<Option<KernelRecord>> {
        loop {
            match self.read_once() {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    // What is no record is skipped as one that is lost.
                    if let Some(record) = parse(&self.buffer[..length]) {
                        return Ok(Some(record));
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(None),
                    // Records were overwritten (EPIPE), or one is too large (EINVAL): the next
                    // read is of the next one.
                    ErrorKind::BrokenPipe | ErrorKind::InvalidInput | ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    fn readable(&mut self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async { self.device.readable().await.map(drop) })
    }
}

/// `6,339,5140900,-;text`, then lines with properties of a device. The kernel's documentation
/// (`ABI/testing/dev-kmsg`) allows more fields before the semicolon.
fn parse(record: &[u8]) -> Option<KernelRecord> {
    let record = String::from_utf8_lossy(record);
    let (head, body) = record.split_once(';')?;
    let mut fields = head.split(',');
    let mut number = || fields.next()?.parse::<u64>().ok();
    let (priority, sequence, microseconds) = (number()?, number()?, number()?);
    Some(KernelRecord {
        sequence,
        since_boot: Duration::from_micros(microseconds),
        // The rest is the facility.
        priority: u8::try_from(priority & 7).ok()?,
        text: body.lines().next().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

    use super::*;

    /// A descriptor that hands out whole records, as the device does.
    fn device() -> (OwnedFd, DeviceReader) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (kernel, ours) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        (kernel, DeviceReader::new(File::from(ours)).unwrap())
    }

    fn say(kernel: &OwnedFd, record: &str) {
        send(kernel, record.as_bytes(), SendFlags::empty()).unwrap();
    }

    #[test]
    fn records_are_taken_apart() {
        let cases = [
            (
                "6,339,5140900,-;NET: Registered protocol family 10\n SUBSYSTEM=net\n",
                Some((339, 5_140_900, 6, "NET: Registered protocol family 10")),
            ),
            (
                "30,340,5690716,-;udevd[80]: starting version 181\n",
                Some((340, 5_690_716, 6, "udevd[80]: starting version 181")),
            ),
            (
                "3,1,0,c,caller=T1;a; b\\x0ac\n",
                Some((1, 0, 3, "a; b\\x0ac")),
            ),
            ("4,5,6,-;", Some((5, 6, 4, ""))),
            ("no record", None),
            ("6,x,1,-;text", None),
            ("6,1;text", None),
        ];
        for (text, expected) in cases {
            let found = parse(text.as_bytes());
            let found = found
                .as_ref()
                .map(|r| (r.sequence, r.since_boot.as_micros(), r.priority, &*r.text));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_reader_takes_what_is_there_and_waits_for_more() {
        let (kernel, mut reader) = device();
        for number in 1..=3 {
            say(&kernel, &format!("6,{number},1,-;text"));
        }
        say(&kernel, "damaged");
        for number in 1..=3 {
            assert_eq!(reader.read().unwrap().unwrap().sequence, number);
        }
        for number in 4..=50 {
            assert_eq!(reader.read().unwrap(), None);
            let (waited, ()) = tokio::join!(reader.readable(), async {
                tokio::task::yield_now().await;
                say(&kernel, &format!("6,{number},1,-;text"));
            });
            waited.unwrap();
            // Readiness may be of before; then there is nothing, and it is waited again.
            let record = loop {
                match reader.read().unwrap() {
                    Some(record) => break record,
                    None => reader.readable().await.unwrap(),
                }
            };
            assert_eq!(record.sequence, number);
        }
        drop(kernel);
        let error = reader.read().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_machine_without_the_device_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let log = KernelLogDevice(PathPrefix::new(directory.path()));
        assert_eq!(log.open().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(
            NoKernelLog.open().unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    }
}
