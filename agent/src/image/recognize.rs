//! What an image is and how it is decoded, found out by its first block before anything is
//! changed.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::Instant;

use super::block;
use super::decode::format::{self, Format, FormatError};
use super::decode::{self, DecodePlan, qcow2};
use super::deployment::Deployment;
use super::error::ImageError;
use super::progress::Meter;
use super::source::ImageStream;

/// An image about which is known what its first block tells.
#[derive(Debug)]
pub(super) struct RecognizedImage<'a> {
    pub(super) format: Format,
    /// How the bytes of the file become those of the disk.
    pub(super) plan: DecodePlan,
    /// Bytes of the disk that it holds, if that is known.
    pub(super) size: Option<u64>,
    /// What is known of the beginning of that disk.
    pub(super) beginning: Cow<'a, [u8]>,
}

/// Recognizes an image by `head`, its first block. The disk has `available` bytes for it. If it is
/// a qcow2 image, its tables are learnt from the server of `source`.
///
/// # Errors
/// It is not what it is declared to be, or may not be written.
pub(super) async fn recognize<'a>(
    deployment: Deployment<'_>,
    head: &'a [u8],
    source: &ImageStream<'_>,
    available: u64,
    tables: &TableStrategy,
) -> Result<RecognizedImage<'a>, ImageError> {
    let Deployment {
        config, request, ..
    } = deployment;
    let format = format::decide(
        request.disk_format.as_deref(),
        head,
        &config.permitted_image_formats,
        !config.disable_deep_image_inspection,
    )?;
    if format == Format::Qcow2 {
        let plan = tables.learn(deployment, head, source, available).await?;
        return Ok(RecognizedImage {
            format,
            size: Some(plan.virtual_size()),
            beginning: Cow::Owned(plan.beginning(head)),
            plan: DecodePlan::Qcow2(plan),
        });
    }
    let plan = DecodePlan::of(format).ok_or(FormatError::Unsupported(format))?;
    let length = source.length();
    let (size, beginning) = if format.is_compression() {
        let (size, inside) = look_inside(deployment, format, head, length)?;
        (size, Cow::Owned(inside))
    } else {
        (length, Cow::Borrowed(head))
    };
    Ok(RecognizedImage {
        format,
        plan,
        size,
        beginning,
    })
}

/// Looks into a compressed image as far as its first block goes, before anything is changed.
/// Answers how much it says that it unpacks to, and what it begins with.
fn look_inside(
    deployment: Deployment<'_>,
    format: Format,
    head: &[u8],
    length: Option<u64>,
) -> Result<(Option<u64>, Vec<u8>), ImageError> {
    let Deployment {
        config,
        request,
        device,
        ..
    } = deployment;
    let announced = decode::announced_length(format, head);
    let is_all = length == Some(head.len() as u64) || head.len() < block::BLOCK;
    let inside = decode::beginning(format, head, is_all)
        .map_err(|error| ImageError::of_decoding(&device.name, error))?;
    if !config.disable_deep_image_inspection {
        format::check_inside(
            format,
            request.disk_format.as_deref(),
            &inside,
            &config.permitted_image_formats,
        )?;
    }
    Ok((announced, inside))
}

/// How the tables of a qcow2 image are learnt from a server that sends whole files only.
#[derive(Debug, Default)]
pub(super) struct TableStrategy {
    /// One pass was not enough.
    are_needed: Arc<AtomicBool>,
    /// The file is read for them before it is written.
    are_read_first: bool,
}

impl TableStrategy {
    /// Whether one pass was not enough and the next is to be another.
    pub(super) fn changes(&mut self) -> bool {
        let is_new = !self.are_read_first;
        self.are_read_first |= self.are_needed.load(Ordering::Acquire);
        is_new && self.are_read_first
    }

    async fn learn(
        &self,
        deployment: Deployment<'_>,
        head: &[u8],
        source: &ImageStream<'_>,
        available: u64,
    ) -> Result<qcow2::Qcow2Plan, ImageError> {
        let Deployment { device, task, .. } = deployment;
        let (length, needed) = (source.length(), Arc::clone(&self.are_needed));
        // How much is to be read is known only of the whole file.
        let total = length.filter(|_| self.are_read_first);
        let mut meter = Meter::new("read_tables", &device.name, total, Instant::now());
        let read = AtomicU64::new(0);
        let so_far = || read.load(Ordering::Relaxed);
        let planned = if self.are_read_first {
            let ranges = qcow2::RereadSource::new(source, &read);
            let plan = qcow2::plan(head, &ranges, length, available, needed);
            meter.during(task, so_far, plan).await
        } else {
            let ranges = qcow2::RangedSource::new(source, &read);
            let plan = qcow2::plan(head, &ranges, length, available, needed);
            meter.during(task, so_far, plan).await
        };
        planned.map_err(ImageError::Qcow2)
    }
}
