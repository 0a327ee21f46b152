//! `GET /stats`, `POST /control?...` and `POST /check`.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::Shared;
use super::behaviour::Behaviour;

/// Answers in JSON; a problem is a 400 or 404 with a sentence.
pub(super) async fn answer(shared: &Shared, head: &Parts, body: Incoming) -> Response<Full<Bytes>> {
    let answered = match (&head.method, head.uri.path()) {
        (&Method::GET, "/stats") => json(&shared.ledger.report()),
        (&Method::POST, "/control") => {
            let query = head.uri.query().unwrap_or_default();
            Behaviour::from_query(query).and_then(|behaviour| {
                shared.behaviour.send_replace(behaviour);
                json(&serde_json::json!({ "control": query }))
            })
        }
        (&Method::POST, "/check") => check(shared, body).await,
        _ => return response(StatusCode::NOT_FOUND, "there is no such page\n".to_owned()),
    };
    match answered {
        Ok(text) => response(StatusCode::OK, text),
        Err(problem) => response(StatusCode::BAD_REQUEST, problem),
    }
}

async fn check(shared: &Shared, body: Incoming) -> Result<String, String> {
    let body = body
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    let lines = std::str::from_utf8(&body).map_err(|error| error.to_string())?;
    json(&shared.ledger.check(lines)?)
}

fn json(value: &impl serde::Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

fn response(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let kind = if status == StatusCode::OK {
        "application/json"
    } else {
        "text/plain"
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static(kind));
    response
}
