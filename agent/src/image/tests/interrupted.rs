//! Downloads that break, over real sockets: whatever the server does, the disk has the whole
//! verified image or no partition table, and nothing is fetched twice without need.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

/// What a client may lose when a connection is reset: everything that the kernels and the HTTP
/// library hold for it. Linux lets a socket's buffers grow up to the last of three numbers.
fn buffers() -> usize {
    let largest = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{name}")).unwrap();
        let last = text.split_whitespace().next_back().unwrap();
        last.parse::<usize>().unwrap()
    };
    largest("rmem") + largest("wmem") + MIB
}

/// One request as the server saw it.
#[derive(Debug, Clone)]
struct Asked {
    /// Counted from 0.
    number: usize,
    /// The first byte wanted, if not all.
    first: Option<usize>,
    /// The last byte wanted, if not all: a look at something ahead of the download.
    last: Option<usize>,
    if_range: Option<String>,
    /// Bytes of the body that were sent.
    sent: usize,
}

/// How one request is answered.
struct Answer {
    head: String,
    body: Vec<u8>,
    end: End,
}

enum End {
    /// The connection closes: everything sent arrives.
    Close,
    /// The connection is reset: what was not read is lost.
    Reset,
    /// Nothing more comes.
    Stall,
}

/// A server that is a function from requests to answers.
struct Scripted {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    async fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (script, record) = (Arc::new(script), Arc::clone(&seen));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (script, record) = (Arc::clone(&script), Arc::clone(&record));
                served.spawn(async move { serve(stream, script.as_ref(), &record).await });
            }
        });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }

    fn url(&self) -> String {
        format!("http://{}/image.raw", self.address)
    }

    fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &(impl Fn(&Asked) -> Answer + Sync),
    record: &Mutex<Vec<Asked>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let header = |name: &str| {
        let line = head.lines().find(|line| line.starts_with(name))?;
        Some(line[name.len()..].trim().to_owned())
    };
    let asked = {
        let mut seen = record.lock().unwrap();
        let range = header("range: bytes=");
        let (first, last) = range.as_deref().unwrap_or("-").split_once('-').unwrap();
        let byte = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        let number = seen.len();
        seen.push(Asked {
            number,
            first: byte(first),
            last: byte(last),
            if_range: header("if-range:"),
            sent: 0,
        });
        seen.last().unwrap().clone()
    };
    let answer = script(&asked);
    if stream.write_all(answer.head.as_bytes()).await.is_err() {
        return;
    }
    for piece in answer.body.chunks(64 << 10) {
        if stream.write_all(piece).await.is_err() {
            return;
        }
        record.lock().unwrap()[asked.number].sent += piece.len();
    }
    match answer.end {
        End::Close => {}
        End::Reset => stream.set_zero_linger().unwrap(),
        End::Stall => std::future::pending().await,
    }
}

/// All of the body, or the rest from `first` on, up to `stop`.
fn whole_or_rest(body: &[u8], tag: &str, first: Option<usize>, stop: usize, end: End) -> Answer {
    let start = first.unwrap_or(0);
    let status = match first {
        None => "200 OK".to_owned(),
        Some(first) => format!(
            "206 Partial Content\r\nContent-Range: bytes {first}-{}/{}",
            body.len() - 1,
            body.len()
        ),
    };
    Answer {
        head: format!(
            "HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len() - start
        ),
        body: body[start..stop.max(start)].to_vec(),
        end,
    }
}

/// The bytes from `first` to `end`, and no more.
fn part(body: &[u8], tag: &str, first: usize, end: usize) -> Answer {
    Answer {
        head: format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{}/{}\r\nETag: {tag}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            end - 1,
            body.len(),
            end - first
        ),
        body: body[first..end].to_vec(),
        end: End::Close,
    }
}

/// Different numbers below `limit` in their order, the same every time.
fn points(count: usize, limit: usize) -> Vec<usize> {
    let random = noise(8 * count);
    let mut points: Vec<usize> = random
        .chunks_exact(8)
        .map(|bytes| {
            let number = u64::from_le_bytes(bytes.try_into().unwrap());
            usize::try_from(number % limit as u64).unwrap()
        })
        .collect();
    points.sort_unstable();
    points.dedup();
    assert_eq!(points.len(), count);
    points
}

/// A bench that tries often and at once.
fn stubborn(size: usize) -> Bench {
    let mut bench = Bench::new(size);
    bench.config.image_download_connection_retries = 100;
    bench
}

/// Deploys one image through a server that follows a script.
async fn through(
    bench: &Bench,
    image: &[u8],
    script: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> (Result<String, Failure>, Vec<Asked>) {
    let server = Scripted::start(script).await;
    let deployed = bench.deploy(info(&server.url(), image), None).await;
    (deployed, server.seen())
}

/// A qcow2 image whose data is in the opposite order and in front of the tables.
pub(super) fn qcow2(image: &[u8]) -> Vec<u8> {
    let clusters = image.len().div_ceil(CLUSTER);
    placed_qcow2(image, clusters + 1, |number| clusters - number)
}

/// One whose data is in order and behind the tables, as `qemu-img` makes it.
pub(super) fn qcow2_in_order(image: &[u8]) -> Vec<u8> {
    placed_qcow2(image, 1, |number| number + 4)
}

const CLUSTER: usize = 64 << 10;

/// One with these places, in clusters, of its tables and of the clusters of its data.
fn placed_qcow2(image: &[u8], tables: usize, place: impl Fn(usize) -> usize) -> Vec<u8> {
    const COPIED: u64 = 1 << 63;
    let clusters = image.len().div_ceil(CLUSTER);
    let [level_one, level_two, counts] = [0, 1, 2].map(|number| (tables + number) * CLUSTER);
    let mut file = vec![0; (clusters + 4) * CLUSTER];
    let mut put = |offset: usize, bytes: &[u8]| {
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, b"QFI\xfb\0\0\0\x02");
    put(20, &16_u32.to_be_bytes());
    put(24, &(image.len() as u64).to_be_bytes());
    put(36, &1_u32.to_be_bytes());
    put(40, &(level_one as u64).to_be_bytes());
    put(48, &(counts as u64).to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(level_one, &(level_two as u64 | COPIED).to_be_bytes());
    for (number, cluster) in image.chunks(CLUSTER).enumerate() {
        let place = place(number) * CLUSTER;
        put(place, cluster);
        let entry = (place as u64 | COPIED).to_be_bytes();
        put(level_two + 8 * number, &entry);
    }
    file
}

#[tokio::test]
async fn a_connection_that_drops_at_twenty_points_costs_no_byte() {
    let image = mbr_image(12 * MIB + 4096);
    for (format, file) in [
        ("raw", image.clone()),
        ("raw", compressed::zstd(&image)),
        ("qcow2", qcow2(&image)),
    ] {
        let points = points(20, file.len());
        let bench = stubborn(16 * MIB);
        let mut wanted = info("", &file);
        let (file, stops) = (Arc::new(file), points.clone());
        let body = Arc::clone(&file);
        let server = Scripted::start(move |asked| {
            if let (Some(first), Some(last)) = (asked.first, asked.last) {
                let end = (last + 1).min(body.len());
                return part(&body, "\"v1\"", first, end);
            }
            let first = asked.first.unwrap_or(0);
            let stop = stops.iter().find(|stop| **stop > first);
            let stop = stop.copied().unwrap_or(body.len());
            whole_or_rest(&body, "\"v1\"", asked.first, stop, End::Close)
        })
        .await;
        wanted["urls"] = json!([server.url()]);
        wanted["disk_format"] = json!(format);
        bench.deploy(wanted, None).await.unwrap();
        assert!(bench.disk()[..image.len()] == image[..], "{format}");
        // Looking ahead at tables is not the download.
        let seen = server.seen();
        let (ahead, seen): (Vec<_>, Vec<_>) = seen.iter().partition(|asked| asked.last.is_some());
        assert_eq!(ahead.is_empty(), format == "raw");
        // Each connection begins where the one before it broke, and asks for the same version.
        let began: Vec<_> = seen
            .iter()
            .skip(1)
            .map(|asked| asked.first.unwrap())
            .collect();
        assert_eq!(began, points, "{format}");
        assert!(
            seen[1..]
                .iter()
                .all(|asked| asked.if_range.as_deref() == Some("\"v1\""))
        );
        assert_eq!(
            seen.iter().map(|asked| asked.sent).sum::<usize>(),
            file.len(),
            "{format}"
        );
    }
}

#[tokio::test]
async fn reading_the_tables_first_is_reported() {
    let image = mbr_image(6 * MIB);
    let bench = Bench::new(8 * MIB);
    let file = qcow2(&image);
    let mut wanted = info("", &file);
    let server = Scripted::start(move |asked| match (asked.first, asked.last) {
        (Some(first), Some(last)) => Answer {
            // The L1 table comes, and nothing of the L2 table.
            end: if last - first < 8 {
                End::Close
            } else {
                End::Stall
            },
            body: if last - first < 8 {
                file[first..=last].to_vec()
            } else {
                Vec::new()
            },
            ..part(&file, "\"v1\"", first, last + 1)
        },
        _ => whole_or_rest(&file, "\"v1\"", asked.first, file.len(), End::Close),
    })
    .await;
    wanted["urls"] = json!([server.url()]);
    wanted["disk_format"] = json!("qcow2");
    let (task, mut heard) = Task::new();
    let report = heard.progress.wait_for(|progress| {
        progress
            .as_ref()
            .is_some_and(|progress| progress.phase == "read_tables")
    });
    let report = tokio::select! {
        deployed = bench.deploy_with(wanted, None, &task) => panic!("{deployed:?}"),
        report = report => report.unwrap().clone().unwrap(),
    };
    assert_eq!((report.done, report.total), (8, None));
    assert_eq!(report.subject, bench.device.name);
    bench.assert_untouched();
}

#[tokio::test]
async fn what_is_written_is_counted_once() {
    let image = mbr_image(6 * MIB);
    for has_ranges in [true, false] {
        // Large enough for what comes before its place is known.
        let bench = Bench::new(16 * MIB);
        let file = qcow2(&image);
        let mut wanted = info("", &file);
        let server = Scripted::start(move |asked| match (asked.first, asked.last) {
            (Some(first), Some(last)) if has_ranges => {
                part(&file, "\"v1\"", first, (last + 1).min(file.len()))
            }
            _ => whole_or_rest(&file, "\"v1\"", None, file.len(), End::Close),
        })
        .await;
        wanted["urls"] = json!([server.url()]);
        wanted["disk_format"] = json!("qcow2");
        let (task, heard) = Task::new();
        bench.deploy_with(wanted, None, &task).await.unwrap();
        assert!(bench.disk()[..image.len()] == image[..]);
        let last = heard.progress.borrow().clone().unwrap();
        let written = usize::try_from(last.written.unwrap()).unwrap();
        // Both ends are held back until the image is whole, and are not counted; nor are zeros
        // on a disk that was cleared before.
        assert!(
            (image.len() - 3 * MIB..=image.len()).contains(&written),
            "{has_ranges}: {last:?}"
        );
    }
}

#[tokio::test]
async fn what_waited_behind_the_image_is_gone_when_the_pass_is_repeated() {
    let image = mbr_image(24 * MIB);
    // 8 MiB fit behind the image, and what memory cannot keep is twice as much.
    let bench = Bench::new(33 * MIB);
    std::fs::write(&bench.device.name, vec![0xFF; 33 * MIB]).unwrap();
    let file = qcow2(&image);
    let mut wanted = info("", &file);
    let server =
        Scripted::start(move |_| whole_or_rest(&file, "\"v1\"", None, file.len(), End::Close))
            .await;
    wanted["urls"] = json!([server.url()]);
    wanted["disk_format"] = json!("qcow2");
    let (task, mut heard) = Task::new();
    bench.deploy_with(wanted, None, &task).await.unwrap();
    let disk = bench.disk();
    assert!(disk[..image.len()] == image[..]);
    let behind = &disk[image.len()..];
    assert!(behind.iter().all(|byte| [0, 0xFF].contains(byte)));
    let mut is_repeated = false;
    while let Ok(note) = heard.notes.try_recv() {
        is_repeated |= format!("{note:?}").contains("reading the file for its tables");
    }
    assert!(is_repeated);
}

#[tokio::test]
async fn a_connection_that_is_reset_costs_no_more_than_the_buffers() {
    const PASSED: usize = 20 * MIB;
    let image = mbr_image(3 * PASSED - MIB);
    for (format, file) in [
        ("raw", image.clone()),
        ("raw", compressed::zstd(&image)),
        ("qcow2", qcow2(&image)),
    ] {
        let bench = stubborn(3 * PASSED);
        let mut wanted = info("", &file);
        let file = Arc::new(file);
        let body = Arc::clone(&file);
        let server = Scripted::start(move |asked| {
            if let (Some(first), Some(last)) = (asked.first, asked.last) {
                let end = (last + 1).min(body.len());
                return part(&body, "\"v1\"", first, end);
            }
            let first = asked.first.unwrap_or(0);
            let (stop, end) = match first + PASSED {
                stop if stop < body.len() => (stop, End::Reset),
                _ => (body.len(), End::Close),
            };
            whole_or_rest(&body, "\"v1\"", asked.first, stop, end)
        })
        .await;
        wanted["urls"] = json!([server.url()]);
        wanted["disk_format"] = json!(format);
        bench.deploy(wanted, None).await.unwrap();
        assert!(bench.disk()[..image.len()] == image[..], "{format}");
        let seen = server.seen();
        let download: Vec<_> = seen.iter().filter(|asked| asked.last.is_none()).collect();
        let resets = download.len() - 1;
        assert!(resets >= 2, "{format}: {resets} resets");
        for pair in download.windows(2) {
            // A reset takes what is on its way; what has arrived is not asked for again.
            let (first, next) = (pair[0].first.unwrap_or(0), pair[1].first.unwrap());
            assert!(
                next > first && first + pair[0].sent - next <= buffers(),
                "{format}: {next} after {first} and {}",
                pair[0].sent
            );
        }
        let sent: usize = download.iter().map(|asked| asked.sent).sum();
        assert!(sent <= file.len() + resets * buffers(), "{format}: {sent}");
    }
}

#[tokio::test]
async fn a_server_without_ranges_sends_everything_again_and_the_image_is_right() {
    let image = Arc::new(mbr_image(6 * MIB));
    let bench = stubborn(8 * MIB);
    let body = Arc::clone(&image);
    let (deployed, seen) = through(&bench, &image, move |asked| {
        let stop = [MIB + 3, 3 * MIB, 3 * MIB, 5 * MIB + 1];
        let stop = stop.get(asked.number).copied().unwrap_or(body.len());
        whole_or_rest(&body, "\"v1\"", None, stop, End::Close)
    })
    .await;
    deployed.unwrap();
    assert_eq!(seen.len(), 5);
    assert!(bench.disk()[..image.len()] == image[..]);
}

#[tokio::test]
async fn a_server_that_stalls_is_left_and_asked_for_the_rest() {
    let image = Arc::new(mbr_image(6 * MIB));
    let mut bench = stubborn(8 * MIB);
    // The one time that must pass in earnest: the sockets are real.
    bench.config.image_download_connection_timeout = Duration::from_millis(300);
    let body = Arc::clone(&image);
    let (deployed, seen) = through(&bench, &image, move |asked| {
        let (stop, end) = match asked.number {
            // The second time not even a byte comes.
            0 => (2 * MIB + 5, End::Stall),
            1 => (0, End::Stall),
            _ => (body.len(), End::Close),
        };
        whole_or_rest(&body, "\"v1\"", asked.first, stop, end)
    })
    .await;
    deployed.unwrap();
    let began: Vec<_> = seen.iter().map(|asked| asked.first).collect();
    assert_eq!(began, [None, Some(2 * MIB + 5), Some(2 * MIB + 5)]);
    assert!(bench.disk()[..image.len()] == image[..]);
}

#[tokio::test]
async fn an_image_that_changes_in_between_is_never_mixed() {
    let old = Arc::new(mbr_image(6 * MIB));
    let mut new = old.to_vec();
    new[3 * MIB..].reverse();
    new[600] ^= 1;
    let new = Arc::new(new);
    // A server that knows what If-Range means, and one that does not.
    for is_careful in [true, false] {
        for is_new_wanted in [true, false] {
            let bench = stubborn(8 * MIB);
            let wanted = if is_new_wanted { &new } else { &old };
            let (before, after) = (Arc::clone(&old), Arc::clone(&new));
            let (deployed, seen) = through(&bench, wanted, move |asked| {
                if asked.number == 0 {
                    return whole_or_rest(&before, "\"v1\"", None, 2 * MIB, End::Close);
                }
                let is_same = asked.if_range.as_deref().is_none_or(|tag| tag == "\"v2\"");
                let first = asked.first.filter(|_| is_same || !is_careful);
                whole_or_rest(&after, "\"v2\"", first, after.len(), End::Close)
            })
            .await;
            if is_new_wanted {
                deployed.unwrap();
                assert!(bench.disk()[..new.len()] == new[..]);
            } else {
                let failure = deployed.unwrap_err();
                assert_eq!(failure.kind, FailureKind::ImageChecksum, "{failure}");
                bench.assert_unbootable();
            }
            assert_eq!(
                seen.len(),
                3,
                "the mixture is refused, then all of it is fetched"
            );
        }
    }
}

#[tokio::test]
async fn a_rest_that_lies_about_the_whole_is_refused() {
    let image = Arc::new(mbr_image(6 * MIB));
    for (range, length, requests) in [
        // Another length than before: that version is asked for, all of it.
        (
            format!("{}-{}/{}", 2 * MIB, 6 * MIB, 6 * MIB + 1),
            4 * MIB,
            3,
        ),
        // Another place than asked for.
        (
            format!("{}-{}/{}", 2 * MIB - 1, 6 * MIB - 1, 6 * MIB),
            4 * MIB + 1,
            2,
        ),
    ] {
        let bench = stubborn(8 * MIB);
        let body = Arc::clone(&image);
        let (deployed, seen) = through(&bench, &image, move |asked| {
            if asked.number == 0 {
                return whole_or_rest(&body, "\"v1\"", None, 2 * MIB, End::Close);
            }
            Answer {
                head: format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {range}\r\n\
                     Content-Length: {length}\r\nConnection: close\r\n\r\n"
                ),
                body: body[body.len() - length.min(body.len())..].to_vec(),
                end: End::Close,
            }
        })
        .await;
        let failure = deployed.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ImageDownload, "{failure}");
        assert_eq!(seen.len(), requests);
        bench.assert_unbootable();
    }
}

/// An answer that is a status and nothing more.
fn refusal(status: &str) -> Answer {
    Answer {
        head: format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        body: Vec::new(),
        end: End::Close,
    }
}

#[tokio::test]
async fn a_mirror_with_another_version_is_asked_for_all_of_it() {
    let old = Arc::new(mbr_image(6 * MIB));
    let new = Arc::new(mbr_image(5 * MIB));
    for has_ranges in [true, false] {
        let mut bench = Bench::new(8 * MIB);
        bench.config.image_download_connection_retries = 2;
        let body = Arc::clone(&old);
        let first = Scripted::start(move |asked| match asked.number {
            0 => whole_or_rest(&body, "\"v1\"", None, 2 * MIB, End::Close),
            _ => refusal("503 Service Unavailable"),
        })
        .await;
        let body = Arc::clone(&new);
        let second = Scripted::start(move |asked| {
            let first = asked.first.filter(|_| has_ranges);
            whole_or_rest(&body, "\"v2\"", first, body.len(), End::Close)
        })
        .await;
        let mut wanted = info("", &new);
        wanted["urls"] = json!([first.url(), second.url()]);
        bench.deploy(wanted, None).await.unwrap();
        assert!(bench.disk()[..new.len()] == new[..]);
        let began: Vec<_> = second.seen().iter().map(|asked| asked.first).collect();
        assert_eq!(began, [Some(2 * MIB), None]);
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_by_a_shorter_one_is_fetched_from_its_beginning() {
    const CAME: usize = 4 * MIB;
    let old = Arc::new(mbr_image(6 * MIB));
    // One that is longer than what has come, and one that is not.
    for length in [5 * MIB, 3 * MIB] {
        let bench = stubborn(8 * MIB);
        let new = Arc::new(mbr_image(length));
        let (before, after) = (Arc::clone(&old), Arc::clone(&new));
        let (deployed, seen) = through(&bench, &new, move |asked| match asked.first {
            _ if asked.number == 0 => whole_or_rest(&before, "\"v1\"", None, CAME, End::Close),
            Some(first) if first >= after.len() => refusal("416 Range Not Satisfiable"),
            first => whole_or_rest(&after, "\"v2\"", first, after.len(), End::Close),
        })
        .await;
        deployed.unwrap();
        assert!(bench.disk()[..new.len()] == new[..]);
        let began: Vec<_> = seen.iter().map(|asked| asked.first).collect();
        assert_eq!(began, [None, Some(CAME), None]);
    }
}
