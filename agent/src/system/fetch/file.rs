//! [`Fetch`](super::Fetch) of `file:` URLs: a regular file answers like a server that knows
//! ranges, and its inode, length and time of change are its validator.

use std::io::SeekFrom;
use std::os::unix::fs::MetadataExt;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use reqwest::Url;
use rustix::fs::OFlags;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::error::{FetchError, Shortened, UnusableRequest};
use super::{FetchRequest, FetchResponse};

/// How much is read at a time.
const PIECE: usize = 1 << 20;

pub(super) async fn open(request: FetchRequest) -> Result<FetchResponse, FetchError> {
    let url = request.url.clone();
    let invalid = |error: UnusableRequest| error.at(&url);
    let unreadable = |error: std::io::Error| UnusableRequest::from(error).at(&url);
    let path = Url::parse(&url)
        .ok()
        .and_then(|url| url.to_file_path().ok())
        .ok_or_else(|| invalid(UnusableRequest::NotLocal))?;
    // A pipe that nobody writes to must not hold a thread until somebody does.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(&path)
        .await
        .map_err(unreadable)?;
    let metadata = file.metadata().await.map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(invalid(UnusableRequest::NotRegular));
    }
    let whole = metadata.len();
    let validator = format!(
        "\"{:x}-{:x}-{:x}-{whole:x}\"",
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    let part = request
        .part
        .filter(|part| part.validator.as_ref().is_none_or(|v| *v == validator));
    let (status, first, length) = match &part {
        None => (200, 0, whole),
        Some(part) if part.offset < whole => {
            let rest = whole - part.offset;
            let length = part.length.unwrap_or(rest).min(rest);
            (206, part.offset, length)
        }
        Some(_) => (416, whole, 0),
    };
    file.seek(SeekFrom::Start(first))
        .await
        .map_err(unreadable)?;
    Ok(FetchResponse {
        status,
        length: Some(length),
        validator: Some(validator),
        part: (status == 206).then_some((first, Some(whole))),
        challenge: None,
        coding: None,
        retry_after: None,
        headers: "{}".to_owned(),
        body: body(file, url, length),
    })
}

fn body(file: File, url: String, length: u64) -> BoxStream<'static, Result<Bytes, FetchError>> {
    stream::unfold(Some((file, length)), move |state| {
        let url = url.clone();
        async move {
            let (mut file, left) = state?;
            let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            if wanted == 0 {
                return None;
            }
            let mut bytes = BytesMut::with_capacity(wanted);
            let broken = |source| Some((Err(FetchError::Broken { url, source }), None));
            let mut piece = (&mut file).take(wanted as u64);
            match piece.read_buf(&mut bytes).await {
                Ok(0) => broken(Shortened.into()),
                Ok(read) => Some((Ok(bytes.freeze()), Some((file, left - read as u64)))),
                Err(error) => broken(error.into()),
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::super::RangeRequest;
    use super::*;

    async fn read(request: FetchRequest) -> Result<(u16, Vec<u8>), FetchError> {
        let mut answer = open(request).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = answer.body.next().await {
            bytes.extend_from_slice(&piece?);
        }
        assert_eq!(answer.length, Some(bytes.len() as u64));
        Ok((answer.status, bytes))
    }

    #[tokio::test]
    async fn a_file_is_read_whole_and_in_parts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("an image.raw");
        let content: Vec<u8> = (0..=250).cycle().take(3 * PIECE + 17).collect();
        std::fs::write(&path, &content).unwrap();
        let url = Url::from_file_path(&path).unwrap().to_string();
        assert!(url.ends_with("an%20image.raw"));
        let whole = FetchRequest {
            url,
            ..FetchRequest::default()
        };
        let validator = open(whole.clone()).await.unwrap().validator;
        assert_eq!(read(whole.clone()).await.unwrap(), (200, content.clone()));
        for (offset, length, validator, status, expected) in [
            (5, None, validator.clone(), 206, &content[5..]),
            (5, Some(7), None, 206, &content[5..12]),
            // The end of the file, and behind it.
            (
                content.len() as u64 - 1,
                Some(9),
                None,
                206,
                &content[content.len() - 1..],
            ),
            (content.len() as u64, None, None, 416, &[][..]),
            // Another version was meant.
            (5, None, Some("\"1\"".into()), 200, &content[..]),
        ] {
            let mut part = whole.clone();
            part.part = Some(RangeRequest {
                offset,
                length,
                validator,
            });
            let (found, bytes) = read(part).await.unwrap();
            assert!(found == status && bytes == expected, "{offset} {length:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        for (url, why) in [
            (format!("file://{path}"), "not a regular file"),
            (format!("file://{path}/missing"), "No such file"),
            ("file://elsewhere/etc/hosts".to_owned(), "file:///path"),
            ("file:///dev/zero".to_owned(), "not a regular file"),
        ] {
            let request = FetchRequest {
                url,
                ..FetchRequest::default()
            };
            let error = open(request).await.unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert!(!error.is_temporary());
        }
    }

    #[tokio::test]
    async fn a_pipe_without_a_writer_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let request = FetchRequest {
            url: Url::from_file_path(&path).unwrap().to_string(),
            ..FetchRequest::default()
        };
        let opened = tokio::time::timeout(std::time::Duration::from_secs(10), open(request));
        let error = opened.await.expect("it does not wait").unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_shrinks_is_a_broken_answer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("i");
        std::fs::write(&path, vec![1; 2 * PIECE]).unwrap();
        let url = Url::from_file_path(&path).unwrap().to_string();
        let mut answer = open(FetchRequest {
            url,
            ..FetchRequest::default()
        })
        .await
        .unwrap();
        std::fs::write(&path, vec![1; 10]).unwrap();
        let mut last = None;
        while let Some(piece) = answer.body.next().await {
            last = Some(piece);
        }
        assert!(matches!(last, Some(Err(FetchError::Broken { .. }))));
    }
}
