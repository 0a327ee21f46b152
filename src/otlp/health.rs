//! The two messages of gRPC's health checking protocol (`grpc.health.v1`).

use super::status::wire;

/// How a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Send.
    Serving = 1,
    /// Do not send for now.
    NotServing = 2,
    /// There is no such service; only said in a stream.
    ServiceUnknown = 3,
}

/// The service that a `HealthCheckRequest { string service = 1; }` asks about; empty for the
/// whole server. `None` is for bytes that are no such message.
pub fn read_request(message: &[u8]) -> Option<String> {
    let mut service = String::new();
    for field in wire::fields(message) {
        if let (1, wire::Value::Bytes(name)) = field? {
            service = wire::text(name);
        }
    }
    Some(service)
}

/// `HealthCheckResponse { ServingStatus status = 1; }`
pub fn response(serving: Serving) -> Vec<u8> {
    let mut message = Vec::new();
    wire::put_number(&mut message, 1, serving as u64);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_those_of_the_protocol() {
        assert_eq!(read_request(b"").unwrap(), "");
        assert_eq!(read_request(b"\x0a\x03abc").unwrap(), "abc");
        assert_eq!(read_request(b"\x10\x01\x0a\x01b").unwrap(), "b");
        assert_eq!(read_request(b"\x0a\x03ab"), None);
        assert_eq!(response(Serving::Serving), b"\x08\x01");
        assert_eq!(response(Serving::NotServing), b"\x08\x02");
        assert_eq!(response(Serving::ServiceUnknown), b"\x08\x03");
    }
}
