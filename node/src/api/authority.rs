//! A connection on which an unsound `:authority` is replaced before the HTTP server sees it.
//!
//! etcd's own client library tells gRPC to dial targets such as `passthrough:///http://host:2379`,
//! and grpc-go then names `http://host:2379` (or `#initially=[…]`) as the authority of every
//! request. That is no authority by RFC 3986: etcd takes it nonetheless, the HTTP/2 server here
//! resets the stream. No handler is ever asked, so the bytes are changed below the server:
//!
//! ```text
//!  socket ─► Mender ─► HTTP server
//!             │ not HTTP/2, or the first header block has a sound authority:
//!             │     every byte as it comes, for the rest of the connection
//!             └ else: each header block is held until it is whole, its authority replaced
//! ```
//!
//! A client names the same authority on all its connections and requests, so the first header
//! block decides, and clients that do well pay nothing after it.
//!
//! Left out: judging anything. What is malformed or too large goes on as it came, for the server
//! to refuse. An empty authority stays, since nothing sound is as short.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{hpack::with_sound_authority, listener::MAX_FRAME_BYTES};

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame before its payload.
const HEAD_BYTES: usize = 9;

/// Most bytes of a header block that are held, with the frames they come in. Four times the
/// headers the server accepts; a longer block goes on as it came.
const MAX_HELD_BYTES: usize = 64 * 1024;

// A block is passed on in one frame. A value out of Huffman's code has at most 8/5 of its bytes.
const _: () = assert!(MAX_HELD_BYTES * 8 / 5 <= MAX_FRAME_BYTES as usize);

/// Bytes taken from the socket at once, while they are looked at.
const READ_BYTES: usize = 16 * 1024;

/// A connection that reads as if its client named sound authorities. Writing is not touched.
pub(super) struct SoundAuthority<S> {
    stream: S,
    /// Nothing once the rest of the connection is to be read as it comes.
    mender: Option<Mender>,
    /// Bytes read and looked at, for whoever reads next. Nothing more is read while there are any,
    /// so there are never more than were held and one read.
    ready: BytesMut,
}

impl<S> SoundAuthority<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, mender: Some(Mender::default()), ready: BytesMut::new() }
    }
}

/// Cancel safe: bytes taken from the socket are kept here until they are read.
impl<S: AsyncRead + Unpin> AsyncRead for SoundAuthority<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, mender, ready } = self.get_mut();
        while ready.is_empty() && buffer.remaining() > 0 {
            let Some(looking) = mender else {
                return Pin::new(stream).poll_read(context, buffer);
            };
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut bytes))?;
            if bytes.filled().is_empty() {
                // The client's last bytes, even if they are half a frame.
                ready.extend_from_slice(&looking.held);
                *mender = None;
                break;
            }
            looking.pass(bytes.filled(), ready);
            if looking.place == Place::Beyond {
                *mender = None;
            }
        }
        let bytes = ready.len().min(buffer.remaining());
        buffer.put_slice(&ready[..bytes]);
        ready.advance(bytes);
        if ready.is_empty() && mender.is_none() {
            *ready = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SoundAuthority<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Follows a client's bytes frame by frame, and replaces what has to be replaced.
#[derive(Default)]
struct Mender {
    place: Place,
    /// Bytes that came and did not go on yet: the whole frames of a header block that has not
    /// ended, if one has begun, then what there is of the next frame.
    held: Vec<u8>,
    /// Where in `held` the latest frame begins; 0 if no header block has begun.
    latest: usize,
    /// Whether an authority was replaced on this connection.
    replaced: bool,
}

/// Where in a client's bytes the next one belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the preface, of which this many bytes came and went on.
    Preface { seen: usize },
    /// In the head of a frame.
    Head,
    /// In the payload of a frame that is held, with so many bytes to come.
    Held { left: usize },
    /// In the payload of a frame that goes on as it comes, with so many bytes to come.
    Other { left: usize },
    /// After the last byte that is looked at.
    Beyond,
}

impl Default for Place {
    fn default() -> Self {
        Self::Preface { seen: 0 }
    }
}

impl Mender {
    /// Takes the next bytes of the client, in pieces of any length, and appends to `onward` those
    /// that may go on.
    fn pass(&mut self, mut bytes: &[u8], onward: &mut BytesMut) {
        loop {
            match self.place {
                Place::Preface { seen } => {
                    let part = take(&mut bytes, PREFACE.len() - seen);
                    onward.extend_from_slice(part);
                    let seen = seen + part.len();
                    if !PREFACE[..seen].ends_with(part) {
                        self.place = Place::Beyond;
                    } else if seen == PREFACE.len() {
                        self.place = Place::Head;
                    } else {
                        self.place = Place::Preface { seen };
                        return;
                    }
                }
                Place::Head => {
                    let missing = self.latest + HEAD_BYTES - self.held.len();
                    self.held.extend_from_slice(take(&mut bytes, missing));
                    let Some(head) = self.held[self.latest..].first_chunk() else { return };
                    self.place = self.after_head(&Head::read(head));
                    if !matches!(self.place, Place::Held { .. }) {
                        self.release(onward);
                    }
                }
                Place::Held { left } => {
                    let part = take(&mut bytes, left);
                    self.held.extend_from_slice(part);
                    if part.len() < left {
                        self.place = Place::Held { left: left - part.len() };
                        return;
                    }
                    self.place = self.after_held(onward);
                }
                Place::Other { left } => {
                    let part = take(&mut bytes, left);
                    onward.extend_from_slice(part);
                    if part.len() < left {
                        self.place = Place::Other { left: left - part.len() };
                        return;
                    }
                    self.place = Place::Head;
                }
                Place::Beyond => {
                    onward.extend_from_slice(bytes);
                    return;
                }
            }
        }
    }

    /// What follows the head of the latest frame.
    fn after_head(&self, head: &Head) -> Place {
        let begun = self.latest > 0;
        let belongs = match head.kind {
            Head::HEADERS => !begun,
            Head::CONTINUATION => begun && head.stream == self.first_head().stream,
            _ => false,
        };
        if begun && !belongs {
            // Nothing may come between the frames of a header block: the server will hang up.
            Place::Beyond
        } else if belongs && self.held.len() + head.length <= MAX_HELD_BYTES {
            Place::Held { left: head.length }
        } else {
            Place::Other { left: head.length }
        }
    }

    /// What follows the latest frame, which is held and whole. The end of a header block lets all
    /// of it go on.
    fn after_held(&mut self, onward: &mut BytesMut) -> Place {
        let head = self.held[self.latest..].first_chunk().expect("a held frame has a whole head");
        if Head::read(head).flags & Head::END_HEADERS == 0 {
            self.latest = self.held.len();
            return Place::Head;
        }
        if let Some(mended) = self.mended() {
            self.held = mended;
            self.replaced = true;
        }
        self.release(onward);
        if self.replaced { Place::Head } else { Place::Beyond }
    }

    /// All that is held goes on.
    fn release(&mut self, onward: &mut BytesMut) {
        onward.extend_from_slice(&self.held);
        self.held.clear();
        self.latest = 0;
    }

    fn first_head(&self) -> Head {
        Head::read(self.held.first_chunk().expect("a header block has begun"))
    }

    /// One frame for the header block that is held, with its authority replaced and without
    /// padding; nothing if the block can stay as it is.
    fn mended(&self) -> Option<Vec<u8>> {
        let mut frames = &self.held[..];
        let mut priority: &[u8] = &[];
        let mut block = Vec::with_capacity(frames.len());
        while let Some(head) = frames.first_chunk().map(Head::read) {
            take(&mut frames, HEAD_BYTES);
            let mut payload = take(&mut frames, head.length);
            // A continuation has neither padding nor priority, whatever its flags (RFC 9113 §6.10).
            if head.kind == Head::HEADERS {
                if head.flags & Head::PADDED != 0 {
                    let (&padding, padded) = payload.split_first()?;
                    payload = padded.get(..padded.len().checked_sub(padding.into())?)?;
                }
                if head.flags & Head::PRIORITY != 0 {
                    (priority, payload) = payload.split_at_checked(5)?;
                }
            }
            block.extend_from_slice(payload);
        }
        let block = with_sound_authority(&block)?;
        let first = self.first_head();
        let head = Head {
            length: priority.len() + block.len(),
            flags: first.flags & !Head::PADDED | Head::END_HEADERS,
            ..first
        };
        Some([&head.write()[..], priority, &block].concat())
    }
}

/// Takes the first `most` bytes, or all if there are fewer.
fn take<'bytes>(bytes: &mut &'bytes [u8], most: usize) -> &'bytes [u8] {
    let (part, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    part
}

/// The head of a frame (RFC 9113 §4.1).
struct Head {
    /// Bytes of the payload.
    length: usize,
    kind: u8,
    flags: u8,
    /// With the reserved bit, which is passed on as it came.
    stream: [u8; 4],
}

impl Head {
    const HEADERS: u8 = 0x1;
    const CONTINUATION: u8 = 0x9;

    const END_HEADERS: u8 = 0x4;
    const PADDED: u8 = 0x8;
    const PRIORITY: u8 = 0x20;

    fn read(head: &[u8; HEAD_BYTES]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *head;
        Self { length: u32::from_be_bytes([0, a, b, c]) as usize, kind, flags, stream }
    }

    /// `length` has at most 24 bits.
    fn write(&self) -> [u8; HEAD_BYTES] {
        let Self { length, kind, flags, stream: [d, e, f, g] } = *self;
        let [.., a, b, c] = length.to_be_bytes();
        [a, b, c, kind, flags, d, e, f, g]
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

    use http::{Request, Response};
    use hyper::{body::Incoming, service::service_fn};
    use node_protocol::{ClusterId, MemberId};
    use proptest::prelude::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        net::{TcpListener, TcpStream},
        task::JoinSet,
        time::timeout,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::api::{hpack::tests::literal, serve};
    use crate::metrics::Metrics;

    const DATA: u8 = 0x0;
    const RST_STREAM: u8 = 0x3;
    const SETTINGS: u8 = 0x4;
    const PING: u8 = 0x6;
    const END_STREAM: u8 = 0x1;
    const END_HEADERS: u8 = Head::END_HEADERS;

    const UNSOUND: &[u8] = b"http://127.0.0.1:2379";
    const REPLACED: &[u8] = b"http---127.0.0.1-2379";

    /// `:method POST`, `:scheme http`, `:path /`.
    const REQUEST: &[u8] = &[0x83, 0x86, 0x84];

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let head = Head { length: payload.len(), kind, flags, stream: [0, 0, 0, stream] };
        [&head.write()[..], payload].concat()
    }

    fn headers(stream: u8, block: &[u8]) -> Vec<u8> {
        frame(Head::HEADERS, END_HEADERS | END_STREAM, stream, block)
    }

    fn request(authority: &[u8], huffman: bool) -> Vec<u8> {
        [REQUEST, &literal(0x41, authority, huffman)].concat()
    }

    fn read_through(pieces: &[&[u8]]) -> Vec<u8> {
        let mut mender = Mender::default();
        let mut onward = BytesMut::new();
        for piece in pieces {
            mender.pass(piece, &mut onward);
        }
        onward.extend_from_slice(&mender.held);
        onward.to_vec()
    }

    /// Frames of a client after its preface, and how they read: whole, cut in two anywhere, and
    /// byte by byte.
    fn check(case: &str, sent: &[Vec<u8>], expected: &[Vec<u8>]) {
        let sent = [PREFACE, &sent.concat()].concat();
        let expected = [PREFACE, &expected.concat()].concat();
        for cut in 0..=sent.len() {
            let read = read_through(&[&sent[..cut], &sent[cut..]]);
            assert!(read == expected, "{case}, cut at {cut}: {read:02x?}, not {expected:02x?}");
        }
        let read = read_through(&sent.chunks(1).collect::<Vec<_>>());
        assert!(read == expected, "{case}, byte by byte: {read:02x?}, not {expected:02x?}");
    }

    #[test]
    fn an_unsound_authority_is_replaced_wherever_it_stands() {
        let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
        let data = frame(DATA, END_STREAM, 1, b"\x00\x00\x00\x00\x02http://");
        let indexed = headers(3, &[0x83, 0x86, 0x84, 0xbe]);
        let replaced = headers(1, &request(REPLACED, false));
        for huffman in [false, true] {
            let unsound = request(UNSOUND, huffman);
            check(
                "among other frames, time and again",
                &[
                    settings.clone(),
                    headers(1, &unsound),
                    data.clone(),
                    indexed.clone(),
                    headers(1, &unsound),
                ],
                &[
                    settings.clone(),
                    replaced.clone(),
                    data.clone(),
                    indexed.clone(),
                    replaced.clone(),
                ],
            );

            let flags = END_HEADERS | Head::PADDED | Head::PRIORITY;
            let priority = [0x80, 0, 0, 9, 200];
            check(
                "with padding and priority",
                &[frame(
                    Head::HEADERS,
                    flags,
                    1,
                    &[&[3], &priority[..], &unsound, &[0, 0, 0]].concat(),
                )],
                &[frame(
                    Head::HEADERS,
                    END_HEADERS | Head::PRIORITY,
                    1,
                    &[&priority[..], &request(REPLACED, false)].concat(),
                )],
            );

            let (begin, end) = unsound.split_at(10);
            check(
                "across frames",
                &[
                    frame(Head::HEADERS, END_STREAM, 1, begin),
                    frame(Head::CONTINUATION, 0, 1, &[]),
                    frame(Head::CONTINUATION, END_HEADERS, 1, end),
                    data.clone(),
                ],
                &[replaced.clone(), data.clone()],
            );
        }
    }

    #[test]
    fn all_else_stays() {
        let sound = headers(1, &request(b"127.0.0.1:2379", true));
        let unsound = headers(1, &request(UNSOUND, true));
        let begun = frame(Head::HEADERS, 0, 1, &request(UNSOUND, true));
        let ended = frame(Head::CONTINUATION, END_HEADERS, 1, &[]);
        for (case, frames) in [
            ("nothing", vec![]),
            ("whatever follows a sound authority", vec![sound, unsound.clone()]),
            ("none", vec![headers(1, REQUEST), unsound.clone()]),
            ("half a frame", vec![unsound[..unsound.len() - 1].to_vec()]),
            ("half a header block", vec![begun.clone()]),
            (
                "a frame within a header block",
                vec![begun.clone(), frame(PING, 0, 0, &[0; 8]), ended.clone()],
            ),
            (
                "another stream's frame within a header block",
                vec![begun.clone(), frame(Head::CONTINUATION, END_HEADERS, 3, &[])],
            ),
            ("headers within a header block", vec![begun, unsound.clone(), ended.clone()]),
            ("a continuation of nothing", vec![ended]),
            (
                "more padding than there is",
                vec![frame(Head::HEADERS, END_HEADERS | Head::PADDED, 1, &[9, 0x81])],
            ),
            ("no padding", vec![frame(Head::HEADERS, END_HEADERS | Head::PADDED, 1, &[])]),
            (
                "half a priority",
                vec![frame(Head::HEADERS, END_HEADERS | Head::PRIORITY, 1, &[0; 4])],
            ),
        ] {
            check(case, &frames, &frames);
        }
    }

    #[test]
    fn what_is_held_is_bounded() {
        let block = [request(UNSOUND, false), vec![0x84; MAX_HELD_BYTES]].concat();
        let whole = frame(Head::HEADERS, END_HEADERS, 1, &block);
        let pieces: Vec<_> = block.chunks(MAX_HELD_BYTES / 3).collect();
        let mut parted = frame(Head::HEADERS, 0, 1, pieces[0]);
        for piece in &pieces[1..] {
            parted.extend(frame(Head::CONTINUATION, 0, 1, piece));
        }
        parted.extend(frame(Head::CONTINUATION, END_HEADERS, 1, &[]));
        for sent in [whole, parted] {
            let mut mender = Mender::default();
            let mut onward = BytesMut::new();
            mender.pass(PREFACE, &mut onward);
            for piece in sent.chunks(1000) {
                mender.pass(piece, &mut onward);
                assert!(mender.held.len() <= MAX_HELD_BYTES);
            }
            assert!(onward[PREFACE.len()..] == sent, "a long header block goes on as it came");

            // The next request is none the worse for it.
            onward.clear();
            mender.pass(&headers(3, &request(UNSOUND, false)), &mut onward);
            assert!(onward == headers(3, &request(REPLACED, false)));
        }
    }

    #[tokio::test]
    async fn a_connection_reads_the_same_at_any_pace() {
        let sent = [
            PREFACE,
            &headers(1, &request(UNSOUND, true)),
            &frame(DATA, END_STREAM, 1, &[7; 40_000]),
            &[0, 0],
        ]
        .concat();
        let expected = [
            PREFACE,
            &headers(1, &request(REPLACED, false)),
            &frame(DATA, END_STREAM, 1, &[7; 40_000]),
            &[0, 0],
        ]
        .concat();
        for pace in [1, 7, 1 << 20] {
            let (mut client, server) = duplex(pace);
            let mut server = SoundAuthority::new(server);
            let mut read = Vec::new();
            let (written, ended) = tokio::join!(
                async {
                    client.write_all(&sent).await?;
                    client.shutdown().await
                },
                async {
                    let mut buffer = vec![0; pace];
                    loop {
                        match server.read(&mut buffer).await? {
                            0 => return io::Result::Ok(()),
                            bytes => read.extend_from_slice(&buffer[..bytes]),
                        }
                    }
                }
            );
            written.expect("is read");
            ended.expect("ends well");
            assert!(read == expected, "at {pace} bytes");
        }
    }

    /// What a server answers on `streams` streams: the whole body of each, by the stream's number.
    async fn answers(stream: &mut TcpStream, streams: usize) -> BTreeMap<u8, String> {
        let mut bodies: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut ended = 0;
        while ended < streams {
            let mut head = [0; HEAD_BYTES];
            stream.read_exact(&mut head).await.expect("a frame");
            let head = Head::read(&head);
            let mut payload = vec![0; head.length];
            stream.read_exact(&mut payload).await.expect("a whole frame");
            assert_ne!(head.kind, RST_STREAM, "the server refused a request: {payload:02x?}");
            if head.kind == DATA {
                bodies.entry(head.stream[3]).or_default().extend(payload);
            }
            if [DATA, Head::HEADERS].contains(&head.kind) && head.flags & END_STREAM != 0 {
                ended += 1;
            }
        }
        let text = |body| String::from_utf8(body).expect("text");
        bodies.into_iter().map(|(stream, body)| (stream, text(body))).collect()
    }

    #[tokio::test]
    async fn a_server_answers_a_client_with_an_unsound_authority() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("is bound");
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new(MemberId(1), ClusterId(1)));
        let service = service_fn(async |request: Request<Incoming>| {
            let authority = request.uri().authority().map(ToString::to_string);
            Ok::<_, Infallible>(Response::new(authority.unwrap_or_default()))
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, service, metrics, stop.clone(), Duration::from_secs(1)));

        let mut client = TcpStream::connect(address).await.expect("listens");
        let sent = [
            PREFACE,
            &frame(SETTINGS, 0, 0, &[]),
            &headers(1, &request(UNSOUND, true)),
            // The authority of the first request, from the dynamic table.
            &headers(3, &[0x83, 0x86, 0x84, 0xbe]),
        ]
        .concat();
        client.write_all(&sent).await.expect("is read");
        let answered = timeout(Duration::from_secs(10), answers(&mut client, 2)).await;
        let replaced = String::from_utf8(REPLACED.to_vec()).expect("text");
        let expected = BTreeMap::from([(1, replaced.clone()), (3, replaced)]);
        assert_eq!(answered.expect("answers in time"), expected);

        drop(client);
        stop.cancel();
        serving.join_all().await;
    }

    /// Pieces of a client's bytes, in any order and mostly well formed.
    fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
        let block = prop_oneof![
            any::<Vec<u8>>(),
            (any::<Vec<u8>>(), any::<bool>())
                .prop_map(|(authority, huffman)| request(&authority, huffman)),
        ];
        prop_oneof![
            any::<Vec<u8>>(),
            (0_u8..10, any::<u8>(), 0_u8..4, block)
                .prop_map(|(kind, flags, stream, block)| frame(kind, flags, stream, &block)),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_read_the_same_however_they_are_cut(
            pieces in proptest::collection::vec(some_bytes(), 0..8),
            cut in 1_usize..100,
        ) {
            let bytes = [PREFACE, &pieces.concat()].concat();
            let whole = read_through(&[&bytes]);
            prop_assert_eq!(read_through(&bytes.chunks(cut).collect::<Vec<_>>()), whole);
        }

        #[test]
        fn what_is_not_http_2_stays(bytes: Vec<u8>, begun in 0..PREFACE.len()) {
            let bytes = [&PREFACE[..begun], b"\n", &bytes].concat();
            prop_assume!(!bytes.starts_with(PREFACE));
            prop_assert_eq!(read_through(&bytes.chunks(3).collect::<Vec<_>>()), bytes);
        }
    }
}
