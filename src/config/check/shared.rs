//! Checks of two protocols on one port.

use super::Site;
use crate::receivers::otlp::{GrpcConfig, HttpConfig};

/// What belongs to the port is one thing, and can not be said in two ways.
pub(super) fn check(grpc: &GrpcConfig, http: &HttpConfig, site: &mut Site<'_>) {
    for (differ, key) in [
        (grpc.tls != http.tls, "tls"),
        (grpc.keepalive != http.keepalive, "keepalive"),
        (grpc.socket_mode != http.socket_mode, "socket_mode"),
    ] {
        if differ {
            let (of_grpc, of_http) = (["grpc", key], ["http", key]);
            let (path, unless) = match site.node.states(&of_http) {
                true => (&of_http, &of_grpc),
                false => (&of_grpc, &of_http),
            };
            let sentence = format!(
                "`grpc` and `http` have the same `endpoint`, and so one port with one `{key}`: \
                 write the same `{key}` in both, or give one of them another port"
            );
            site.problem(path, &[unless], sentence);
        }
    }
}
