//! The connections of the scripted server: HTTP/1.1 and HTTP/2 on one port.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{Answer, AnswerBody};
use super::arrival::{Arrival, Contents};
use super::stage::{Door, Play};

/// The most that is read of one request: above the limit of 64 MiB that requests have.
const MAX_BODY_BYTES: usize = 80 << 20;
/// The time between the news that a connection ends, and its end.
const FAREWELL: Duration = Duration::from_millis(100);

/// What is done to a connection on behalf of one of its requests.
enum Order {
    Cut,
    GoAway,
}

/// Accepts for ever, but not while the door is closed; then all connections end as well.
pub(super) async fn serve(listener: TcpListener, address: SocketAddr, play: Arc<Play>) {
    let mut door = play.door.subscribe();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let now = *door.borrow_and_update();
        if let Some(until) = now.closed_until {
            listener = None;
            connections.shutdown().await;
            play.open.send_replace(0);
            sleep_until(until).await;
            play.door.send_modify(|door| door.closed_until = None);
            continue;
        }
        let Some(open) = &listener else {
            match TcpListener::bind(address).await {
                Ok(again) => listener = Some(again),
                Err(_in_use) => sleep(Duration::from_millis(20)).await,
            }
            continue;
        };
        tokio::select! {
            accepted = open.accept() => {
                // A failed accept concerns that client alone.
                if let Ok((stream, _)) = accepted {
                    number += 1;
                    play.open.send_modify(|open| *open += 1);
                    connections.spawn(connection(stream, number, now, Arc::clone(&play)));
                }
            }
            _ = door.changed() => {}
            Some(_) = connections.join_next() => {
                play.open.send_modify(|open| *open = open.saturating_sub(1));
            }
        }
    }
}

/// Serves one connection; how it ends concerns its client alone.
async fn connection(stream: TcpStream, number: u64, door: Door, play: Arc<Play>) {
    stream.set_nodelay(true).ok();
    let (orders, mut given) = mpsc::channel(4);
    let service = service_fn(move |request: Request<Incoming>| {
        let (play, orders) = (Arc::clone(&play), orders.clone());
        async move { Ok::<_, Infallible>(answer(play, number, orders, request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    if door.only_http1 {
        builder = builder.http1_only();
    }
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let order = tokio::select! {
        _ended = serving.as_mut() => return,
        order = given.recv() => order,
    };
    if matches!(order, Some(Order::GoAway)) {
        serving.as_mut().graceful_shutdown();
        // A request that is under way holds it open: so that it ends all the same.
        tokio::time::timeout(FAREWELL, serving.as_mut()).await.ok();
    }
}

/// Tells the stage where a request ends before it is answered: when the client goes away, what
/// answers it is dropped.
struct Watch {
    play: Arc<Play>,
    number: usize,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.play.left(self.number);
    }
}

async fn answer(
    play: Arc<Play>,
    connection: u64,
    orders: mpsc::Sender<Order>,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        // Its client gave up, or it is larger than anything that is judged.
        Err(_) => return nothing(),
    };
    let content = Contents::read(&head, &body);
    let (wire, signal) = (content.wire, content.signal);
    let version = head.version;
    let arrival = Arrival {
        at,
        answered: None,
        left: None,
        case: None,
        connection,
        version,
        method: head.method,
        path: head.uri.path().to_owned(),
        headers: head.headers,
        content,
    };
    let (number, answer) = play.arrive(arrival);
    let watch = Watch { play, number };
    if let Answer::After(delay, _) = &answer {
        sleep(*delay).await;
    }
    let refused = matches!(answer, Answer::OnlyHttp1) && version == http::Version::HTTP_2;
    match answer.response(wire, signal).filter(|_| !refused) {
        Some(response) => {
            watch.play.answered(number);
            response
        }
        None => {
            act(&answer, &watch.play, number, &orders).await;
            std::future::pending().await
        }
    }
}

/// What is done in place of an answer. To be cut off is an answer, too: what comes again is
/// measured from there.
async fn act(answer: &Answer, play: &Play, number: usize, orders: &mpsc::Sender<Order>) {
    let order = match answer {
        Answer::Never => return,
        Answer::GoAway => Order::GoAway,
        _ => Order::Cut,
    };
    play.answered(number);
    match answer {
        Answer::Refuse(time) => {
            let until = Some(Instant::now() + *time);
            play.door.send_modify(|door| door.closed_until = until);
        }
        Answer::OnlyHttp1 => play.door.send_modify(|door| door.only_http1 = true),
        _ => {}
    }
    // A connection that has ended needs no order to.
    orders.send(order).await.ok();
}

fn nothing() -> Response<AnswerBody> {
    Response::new(Either::Right(Full::new(Bytes::new())))
}
