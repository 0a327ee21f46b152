use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use hyper::rt::ReadBuf;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

async fn pair() -> (Corked, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, peer) = tokio::join!(listener.accept(), peer);
    (Corked::new(accepted.unwrap().0), peer.unwrap())
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Turns(AtomicUsize);

impl Wake for Turns {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Turns {
    fn asked(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

async fn write(corked: &mut Corked, bytes: &[u8]) -> io::Result<usize> {
    poll_fn(|cx| Pin::new(&mut *corked).poll_write(cx, bytes)).await
}

async fn write_slices(corked: &mut Corked, slices: &[&[u8]]) -> io::Result<usize> {
    let slices: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
    poll_fn(|cx| Pin::new(&mut *corked).poll_write_vectored(cx, &slices)).await
}

async fn flush(corked: &mut Corked) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *corked).poll_flush(cx)).await
}

async fn shutdown(corked: &mut Corked) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *corked).poll_shutdown(cx)).await
}

/// Reads at most so many bytes; none at the end of the stream.
async fn read(corked: &mut Corked, room: usize) -> io::Result<Vec<u8>> {
    let mut memory = vec![0; room];
    let mut buf = ReadBuf::new(&mut memory);
    poll_fn(|cx| Pin::new(&mut *corked).poll_read(cx, buf.unfilled())).await?;
    let filled = buf.filled().len();
    memory.truncate(filled);
    Ok(memory)
}

/// Whether the kernel has anything for the peer.
fn has_arrived(peer: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    socket2::SockRef::from(peer).peek(&mut byte).is_ok()
}

#[tokio::test]
async fn the_first_flush_asks_for_one_more_turn_and_the_second_is_in_earnest() {
    let (mut corked, mut peer) = pair().await;
    let turns = Arc::<Turns>::default();
    let waker = Waker::from(Arc::clone(&turns));
    let mut cx = Context::from_waker(&waker);
    assert_eq!(write(&mut corked, b"one").await.unwrap(), 3);
    assert!(Pin::new(&mut corked).poll_flush(&mut cx).is_ready());
    assert_eq!(turns.asked(), 1);
    assert!(!has_arrived(&peer));
    // Written in between: goes along, and does not put the flush off again.
    assert_eq!(write(&mut corked, b"two").await.unwrap(), 3);
    assert!(Pin::new(&mut corked).poll_flush(&mut cx).is_ready());
    assert_eq!(turns.asked(), 1);
    let mut read = [0; 6];
    peer.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"onetwo");
}

#[tokio::test]
async fn without_anything_written_a_flush_asks_for_nothing() {
    let (mut corked, _peer) = pair().await;
    let turns = Arc::<Turns>::default();
    let waker = Waker::from(Arc::clone(&turns));
    let mut cx = Context::from_waker(&waker);
    assert_eq!(write(&mut corked, b"").await.unwrap(), 0);
    for _ in 0..3 {
        assert!(Pin::new(&mut corked).poll_flush(&mut cx).is_ready());
    }
    assert_eq!(turns.asked(), 0);
}

#[tokio::test]
async fn shutting_down_sends_what_was_never_flushed() {
    let (mut corked, mut peer) = pair().await;
    for put_off in [false, true] {
        write(&mut corked, b"last words").await.unwrap();
        if put_off {
            flush(&mut corked).await.unwrap();
        }
    }
    shutdown(&mut corked).await.unwrap();
    let mut read = Vec::new();
    peer.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"last wordslast words");
}

#[tokio::test]
async fn a_peer_that_has_closed_its_half_is_still_answered() {
    let (mut corked, mut peer) = pair().await;
    peer.write_all(b"question").await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(read(&mut corked, 100).await.unwrap(), b"question");
    assert_eq!(read(&mut corked, 100).await.unwrap(), b"");
    assert_eq!(read(&mut corked, READ).await.unwrap(), b"");
    write(&mut corked, b"answer").await.unwrap();
    shutdown(&mut corked).await.unwrap();
    let mut read = Vec::new();
    peer.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"answer");
}

#[tokio::test]
async fn a_write_that_failed_behind_a_flush_is_told_at_the_next_one() {
    let (mut corked, peer) = pair().await;
    socket2::SockRef::from(&peer)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(peer);
    // The reset arrives before a read can end.
    assert!(read(&mut corked, 10).await.is_err());
    write(&mut corked, b"lost").await.unwrap();
    flush(&mut corked).await.unwrap();
    assert!(flush(&mut corked).await.is_err());
}

#[tokio::test]
async fn more_slices_than_fit_in_one_call_and_empty_ones_are_all_written() {
    let (mut corked, mut peer) = pair().await;
    let large = vec![b'x'; GATHER];
    let mut slices: Vec<&[u8]> = vec![b""; 3 * SLICES];
    slices.push(&large);
    slices.extend([&b"ab"[..]; 2 * SLICES]);
    let whole: Vec<u8> = slices.concat();
    write(&mut corked, b"before").await.unwrap();
    let expected = [b"before", &whole[..]].concat();
    let writing = async {
        let mut done = 0;
        while done < whole.len() {
            let mut skip = done;
            let rest = slices.iter().filter_map(|slice| {
                let cut = skip.min(slice.len());
                skip -= cut;
                slice.get(cut..)
            });
            let rest: Vec<&[u8]> = rest.collect();
            let count = write_slices(&mut corked, &rest).await.unwrap();
            assert!(count > 0, "nothing is taken, and no error told");
            done += count;
        }
        shutdown(&mut corked).await.unwrap();
    };
    let reading = async {
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        read
    };
    let ((), read) = tokio::join!(writing, reading);
    assert!(read == expected, "other bytes arrived");
}

#[tokio::test]
async fn buffers_are_given_back_when_they_are_empty() {
    let (mut corked, mut peer) = pair().await;
    write(&mut corked, &[1; 1000]).await.unwrap();
    flush(&mut corked).await.unwrap();
    flush(&mut corked).await.unwrap();
    assert_eq!(corked.written.capacity(), 0);
    peer.write_all(b"0123456789").await.unwrap();
    while !read(&mut corked, 3).await.unwrap().contains(&b'9') {}
    let waker = Waker::noop();
    let mut memory = [0; 10];
    let mut buf = ReadBuf::new(&mut memory);
    let polled = Pin::new(&mut corked).poll_read(&mut Context::from_waker(waker), buf.unfilled());
    assert!(polled.is_pending());
    assert_eq!(corked.read.capacity(), 0);
}

/// What a connection does with its stream.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    WriteSlices(Vec<usize>),
    Flush,
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![0_usize..200, 10_000_usize..150_000];
    prop_oneof![
        size.clone().prop_map(Step::Write),
        proptest::collection::vec(size, 0..40).prop_map(Step::WriteSlices),
        Just(Step::Flush),
        prop_oneof![1_usize..100, 1_usize..100_000].prop_map(Step::Read),
    ]
}

/// Bytes in which every place is told from its neighbours.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Does the steps, and returns how much was written and what was read.
async fn act(corked: &mut Corked, steps: &[Step], source: &[u8]) -> (usize, Vec<u8>) {
    let (mut written, mut got) = (0, Vec::new());
    for step in steps {
        match step {
            Step::Write(size) => {
                let part = &source[written..written + size];
                written += write(corked, part).await.unwrap();
            }
            Step::WriteSlices(sizes) => {
                let mut at = written;
                let slices = sizes.iter().map(|size| {
                    at += size;
                    &source[at - size..at]
                });
                let slices: Vec<&[u8]> = slices.collect();
                written += write_slices(corked, &slices).await.unwrap();
            }
            Step::Flush => flush(corked).await.unwrap(),
            Step::Read(room) => got.extend(read(corked, *room).await.unwrap()),
        }
    }
    shutdown(corked).await.unwrap();
    loop {
        let more = read(corked, 50_000).await.unwrap();
        if more.is_empty() {
            return (written, got);
        }
        got.extend(more);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_written_read_and_flushed_the_bytes_are_the_same(
        steps in proptest::collection::vec(step(), 0..20),
        incoming in 0_usize..300_000,
    ) {
        let most = steps.iter().map(|step| match step {
            Step::Write(size) => *size,
            Step::WriteSlices(sizes) => sizes.iter().sum(),
            _ => 0,
        });
        let source = pattern(most.sum());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut corked, peer) = pair().await;
            let (mut from, mut to) = peer.into_split();
            let sent = pattern(incoming);
            let sending = async {
                to.write_all(&sent).await.unwrap();
                to.shutdown().await.unwrap();
            };
            let receiving = async {
                let mut arrived = Vec::new();
                from.read_to_end(&mut arrived).await.unwrap();
                arrived
            };
            let acting = act(&mut corked, &steps, &source);
            let ((written, got), (), arrived) = tokio::join!(acting, sending, receiving);
            assert!(got == sent, "other bytes were read");
            assert!(arrived == source[..written], "other bytes were written");
        });
    }
}
