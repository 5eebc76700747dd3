//! Reads a request's body once, within limits of size and time, decompressed.

use std::io::Read;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::Body;
use http_body_util::BodyExt;
use turnpike_runtime::clock::{Clock, deadline};
use turnpike_runtime::tasks;

use super::{Hold, Whole};

/// Compressed bodies up to this size, in bytes, are decompressed on the core itself: they take less
/// time than the way to another thread and back.
const INLINE_GZIP_BYTES: usize = 8 * 1024;

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Bytes, compressed or not.
    pub max_bytes: usize,
    /// Milliseconds from the head to the last byte.
    pub timeout_ms: u64,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is, or becomes, larger than the limit.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    Timeout,
    /// The bodies of other requests take all the memory that there is for bodies.
    #[error("the gateway holds as many bodies as it can")]
    NoRoom,
    /// The caller went away, or broke the protocol.
    #[error("the body broke off")]
    Broken,
    /// The encoding is not one that the gateway reads, or the bytes are not in it.
    #[error("the body must be sent as it is, or as valid gzip")]
    Encoding,
}

/// Reads a whole body into memory that `hold` accounts for.
///
/// # Errors
/// [`ReadError`].
pub async fn read<B>(
    headers: &HeaderMap,
    body: B,
    limits: ReadLimits,
    hold: &mut Hold,
    clock: &dyn Clock,
) -> Result<Bytes, ReadError>
where
    B: Body<Data = Bytes>,
{
    let most = limits.max_bytes;
    let collected = {
        let mut collecting = pin!(collect(body, most, hold));
        // Most bodies arrive with their head; those need no timer.
        match futures_util::poll!(&mut collecting) {
            Poll::Ready(collected) => collected,
            Poll::Pending => deadline(clock, limits.timeout_ms, collecting)
                .await
                .unwrap_or(Err(ReadError::Timeout)),
        }?
    };
    match headers.get(CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
        None | Some(b"identity") => return Ok(collected),
        Some(b"gzip") => {}
        Some(_) => return Err(ReadError::Encoding),
    }
    let plain = if collected.len() <= INLINE_GZIP_BYTES {
        decompress(&collected, most)
    } else {
        let work = move || decompress(&collected, most);
        tasks::blocking("gunzip", work).await.unwrap_or(Err(ReadError::Broken))
    }?;
    if hold.take(plain.len()) { Ok(plain) } else { Err(ReadError::NoRoom) }
}

async fn collect<B: Body<Data = Bytes>>(
    body: B,
    max_bytes: usize,
    hold: &mut Hold,
) -> Result<Bytes, ReadError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max_bytes {
        return Err(ReadError::TooLarge(max_bytes));
    }
    let mut body = pin!(body);
    let mut whole = Whole::default();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else { continue };
        if whole.len() + data.len() > max_bytes {
            return Err(ReadError::TooLarge(max_bytes));
        }
        if !hold.take(data.len()) {
            return Err(ReadError::NoRoom);
        }
        whole.push(data);
        // With an announced length nobody has to ask again after its last byte.
        if body.is_end_stream() {
            break;
        }
    }
    Ok(whole.finish())
}

/// Reads gzip, and stops at the limit, not after it: a small body can hold a huge one.
fn decompress(packed: &[u8], max_bytes: usize) -> Result<Bytes, ReadError> {
    let mut plain = Vec::new();
    let one_more = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::MultiGzDecoder::new(packed)
        .take(one_more)
        .read_to_end(&mut plain)
        .map_err(|_| ReadError::Encoding)?;
    if plain.len() > max_bytes {
        return Err(ReadError::TooLarge(max_bytes));
    }
    Ok(Bytes::from(plain))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;

    use futures_util::stream;
    use http::HeaderValue;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use turnpike_domain::time::Timestamp;
    use turnpike_runtime::clock::PausedClock;

    use super::*;
    use crate::body::Budget;

    const LIMITS: ReadLimits = ReadLimits { max_bytes: 10, timeout_ms: 1_000 };

    fn clock() -> PausedClock {
        PausedClock::new(Timestamp(0))
    }

    async fn plain<B: Body<Data = Bytes>>(body: B) -> Result<Bytes, ReadError> {
        let mut hold = Budget::new(1_000).hold();
        read(&HeaderMap::new(), body, LIMITS, &mut hold, &clock()).await
    }

    fn pieces(pieces: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        StreamBody::new(stream::iter(frames))
    }

    fn gzip(plain: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        Bytes::from(encoder.finish().unwrap())
    }

    async fn read_gzip(packed: Bytes, max_bytes: usize) -> Result<Bytes, ReadError> {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
        let limits = ReadLimits { max_bytes, ..LIMITS };
        let mut hold = Budget::new(100_000_000).hold();
        read(&headers, Full::new(packed), limits, &mut hold, &clock()).await
    }

    #[tokio::test(start_paused = true)]
    async fn one_frame_is_not_copied_and_several_are_joined() {
        let body = Bytes::from_static(b"0123456789");
        let one = plain(Full::new(body.clone())).await;
        assert_eq!(one.unwrap().as_ptr(), body.as_ptr());
        let joined = plain(pieces(&["01", "", "23", "4"])).await;
        assert_eq!(joined.unwrap(), "01234");
    }

    #[tokio::test(start_paused = true)]
    async fn too_much_is_refused_whether_announced_or_not() {
        for body in [&["0123456789a"][..], &["012345", "6789a"][..]] {
            let refused = plain(pieces(body)).await;
            assert!(matches!(refused, Err(ReadError::TooLarge(10))));
        }
        let announced = Full::new(Bytes::from_static(b"0123456789a"));
        let refused = plain(announced).await;
        assert!(matches!(refused, Err(ReadError::TooLarge(10))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_runs_out_of_time() {
        let stalled = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let refused = plain(stalled).await;
        assert!(matches!(refused, Err(ReadError::Timeout)));
    }

    #[tokio::test]
    async fn gzip_is_read_up_to_the_limit() {
        let plain = [b'a'; 100];
        assert_eq!(read_gzip(gzip(&plain), 100).await.unwrap(), &plain[..]);
        assert!(matches!(read_gzip(gzip(&plain), 99).await, Err(ReadError::TooLarge(99))));
        let bomb = gzip(&vec![0; 64 * 1024 * 1024]);
        assert!(bomb.len() > INLINE_GZIP_BYTES);
        let refused = read_gzip(bomb, 1024 * 1024).await;
        assert!(matches!(refused, Err(ReadError::TooLarge(_))));
        assert!(matches!(read_gzip(Bytes::from_static(b"x"), 10).await, Err(ReadError::Encoding)));
    }

    #[tokio::test]
    async fn bodies_share_a_budget_and_give_it_back() {
        let budget = Budget::new(15);
        let body = || Full::new(Bytes::from_static(b"0123456789"));
        let (none, clock) = (HeaderMap::new(), clock());
        let (mut first, mut second) = (budget.hold(), budget.hold());
        assert!(read(&none, body(), LIMITS, &mut first, &clock).await.is_ok());
        let refused = read(&none, body(), LIMITS, &mut second, &clock).await;
        assert!(matches!(refused, Err(ReadError::NoRoom)));
        drop(first);
        assert!(read(&none, body(), LIMITS, &mut second, &clock).await.is_ok());
    }

    #[tokio::test]
    async fn other_encodings_are_refused() {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static("br"))]);
        let mut hold = Budget::new(0).hold();
        let refused = read(&headers, Full::new(Bytes::new()), LIMITS, &mut hold, &clock()).await;
        assert!(matches!(refused, Err(ReadError::Encoding)));
    }
}
