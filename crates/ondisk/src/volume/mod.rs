//! What takes a device to make other devices of it: encryption, LVM, caches, pools.

pub(crate) mod bitlocker;
pub(crate) mod luks;
pub(crate) mod lvm;
pub(crate) mod mapper;
pub(crate) mod vmfs;
pub(crate) mod zfs;
