//! The machine's management controller, asked over the kernel's IPMI driver.
//!
//! Layouts and numbers: `linux/ipmi.h`, `linux/ipmi_msgdefs.h`.

#![allow(unsafe_code, reason = "rustix has these requests in raw form only")]

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::ioctl::{Opcode, Setter, Updater, ioctl, opcode};

use super::PathPrefix;

/// The names that the driver's device has had.
const DEVICES: [&str; 3] = ["/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"];
/// Controllers answer within milliseconds, busy ones within a second or two.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_RESPONSE_BYTES: usize = 272;

const SYSTEM_INTERFACE: i32 = 0x0c;
const BMC_CHANNEL: i16 = 0x0f;
const RECEIVE: Opcode = opcode::read_write::<Received>(b'i', 11);
/// Declared as one that reads, though the kernel only takes from it.
const SEND: Opcode = opcode::read::<IpmiRequest>(b'i', 13);

/// Answers questions in IPMI.
pub trait IpmiController: fmt::Debug + Send + Sync {
    /// Whether there is one to ask.
    fn exists(&self) -> bool;

    /// Sends a command and waits for its answer: the completion code, then data. Blocks, for
    /// seconds at most.
    ///
    /// # Errors
    /// There is no controller, or it does not answer.
    fn ask(&self, network_function: u8, command: u8, data: &[u8]) -> io::Result<Vec<u8>>;
}

/// The controller behind the kernel's driver.
#[derive(Debug)]
pub struct KernelController {
    root: PathPrefix,
    /// The open device and the number of the last message. One question at a time.
    open: Mutex<Option<(File, i64)>>,
}

/// `struct ipmi_system_interface_addr`.
#[repr(C)]
struct Address {
    kind: i32,
    channel: i16,
    lun: u8,
}

/// `struct ipmi_msg`.
#[repr(C)]
struct IpmiMessage {
    network_function: u8,
    command: u8,
    length: u16,
    data: *mut u8,
}

/// `struct ipmi_req`.
#[repr(C)]
struct IpmiRequest {
    address: *mut Address,
    address_length: u32,
    number: i64,
    message: IpmiMessage,
}

/// `struct ipmi_recv`.
#[repr(C)]
struct Received {
    kind: i32,
    address: *mut Address,
    address_length: u32,
    number: i64,
    message: IpmiMessage,
}

const ADDRESS_LENGTH: u32 = {
    assert!(size_of::<Address>() == 8);
    8
};

impl KernelController {
    /// The controller of the machine whose files are below this root.
    #[must_use]
    pub fn new(root: PathPrefix) -> Self {
        Self {
            root,
            open: Mutex::new(None),
        }
    }

    fn device(&self) -> Option<PathBuf> {
        DEVICES
            .iter()
            .map(|path| self.root.path(path))
            .find(|path| path.exists())
    }
}

impl IpmiController for KernelController {
    fn exists(&self) -> bool {
        self.device().is_some()
    }

    fn ask(&self, network_function: u8, command: u8, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut open = self
            .open
            .lock()
            .map_err(|_| io::Error::other("an earlier question was not ended"))?;
        let (device, last) = match &mut *open {
            Some(open) => open,
            empty => {
                let path = self.device().ok_or(io::ErrorKind::NotFound)?;
                let device = OpenOptions::new().read(true).write(true).open(path)?;
                empty.insert((device, 0))
            }
        };
        *last += 1;
        send(device, *last, network_function, command, data)?;
        receive(device, *last)
    }
}

fn send(
    device: &File,
    number: i64,
    network_function: u8,
    command: u8,
    data: &[u8],
) -> io::Result<()> {
    let mut address = Address {
        kind: SYSTEM_INTERFACE,
        channel: BMC_CHANNEL,
        lun: 0,
    };
    let mut data = data.to_vec();
    let request = IpmiRequest {
        address: &raw mut address,
        address_length: ADDRESS_LENGTH,
        number,
        message: IpmiMessage {
            network_function,
            command,
            length: u16::try_from(data.len()).map_err(io::Error::other)?,
            data: data.as_mut_ptr(),
        },
    };
    // SAFETY: the request takes an `ipmi_req`; its pointers are to an address and to data of
    // the lengths beside them, which live through the call and are only read.
    unsafe { ioctl(device, Setter::<SEND, IpmiRequest>::new(request)) }?;
    Ok(())
}

fn receive(device: &File, number: i64) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut polled = [PollFd::new(device, PollFlags::IN)];
        if poll(&mut polled, Some(&left))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut address = Address {
            kind: 0,
            channel: 0,
            lun: 0,
        };
        let mut buffer = [0_u8; MAX_RESPONSE_BYTES];
        let mut received = Received {
            kind: 0,
            address: &raw mut address,
            address_length: ADDRESS_LENGTH,
            number: 0,
            message: IpmiMessage {
                network_function: 0,
                command: 0,
                length: u16::try_from(MAX_RESPONSE_BYTES).map_err(io::Error::other)?,
                data: buffer.as_mut_ptr(),
            },
        };
        // SAFETY: the request takes an `ipmi_recv`; the kernel writes at most as much to its
        // pointers as the lengths beside them say, and what they point to lives on.
        unsafe { ioctl(device, Updater::<RECEIVE, Received>::new(&mut received)) }?;
        // An answer that came too late for an earlier question is nobody's.
        if received.number == number {
            let length = usize::from(received.message.length).min(buffer.len());
            return Ok(buffer[..length].to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_asked_in_its_own_layout() {
        assert_eq!(size_of::<IpmiRequest>(), 40);
        assert_eq!(size_of::<Received>(), 48);
        assert_eq!(std::mem::offset_of!(Received, message), 32);
        // _IOWR('i', 11, struct ipmi_recv) and _IOR('i', 13, struct ipmi_req).
        assert_eq!((RECEIVE, SEND), (0xc030_690b, 0x8028_690d));
    }

    #[test]
    fn a_machine_without_a_device_has_no_controller() {
        let root = tempfile::tempdir().unwrap();
        let controller = KernelController::new(PathPrefix::new(root.path()));
        assert!(!controller.exists());
        let error = controller.ask(6, 1, &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        // A file is not a driver.
        std::fs::create_dir(root.path().join("dev")).unwrap();
        std::fs::write(root.path().join("dev/ipmi0"), "").unwrap();
        assert!(controller.exists());
        assert!(controller.ask(6, 1, &[]).is_err());
    }
}
