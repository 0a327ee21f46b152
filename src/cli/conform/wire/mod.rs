//! Small, exact clients. They share nothing with the daemon's own transport on purpose: a fault
//! there must not hide itself here; and they can send what no proper client would.

pub(super) mod dial;
pub(super) mod frames;
pub(super) mod grpc;
pub(super) mod http1;
pub(super) mod tls;
