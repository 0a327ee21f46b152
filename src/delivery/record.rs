//! A batch as a record on disk: what stands before its bytes.
//!
//! The record's kind is the signal, its weight the items, its body the bytes of the request: in
//! the compressed form in which they came where they came so, else plain. Its head is the protobuf
//! message `Record` of `proto/otlpd/storage/v1/record.proto`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::batch::{Batch, Chunks, Context, Priority};
use crate::net::compression::{self, Encoding};
use crate::otlp::Signal;
use crate::otlp::wire::{self, Fault, Reader};
use crate::storage::NewRecord;

const RECEIVED: u32 = 1;
const PLAIN_BYTES: u32 = 2;
const ENCODING: u32 = 3;
const TENANT: u32 = 4;
const PRIORITY: u32 = 5;
const AWAITED: u32 = 6;

/// What a record says of its batch, beside the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// When the oldest of it was received, to the millisecond.
    pub received: SystemTime,
    /// The size of the request, uncompressed.
    pub plain_bytes: usize,
    /// How the body is compressed.
    pub encoding: Option<Encoding>,
    /// Whose it is, and how much it matters.
    pub context: Context,
    /// The deadline's class: the client waited for delivery, and was not told of success when
    /// this was written; it may have sent it again.
    pub awaited: bool,
}

/// The record of a batch.
pub fn encode(batch: &Batch) -> NewRecord {
    let age = Instant::now().saturating_duration_since(batch.received);
    let received = SystemTime::now().checked_sub(age);
    let (encoding, body) = match &batch.encoded {
        Some((encoding, body)) => (Some(*encoding), SmallVec::from_elem(body.clone(), 1)),
        None => (None, batch.chunks.clone()),
    };
    let head = Head {
        received: received.unwrap_or(SystemTime::UNIX_EPOCH),
        plain_bytes: batch.bytes(),
        encoding,
        context: batch.context.clone(),
        awaited: batch.deadline.is_some(),
    };
    NewRecord {
        kind: batch.signal as u8,
        weight: batch.items,
        head: head.encode(),
        body,
    }
}

/// What the record of a batch takes on disk at most, in bytes.
pub fn room(batch: &Batch) -> usize {
    let body = match &batch.encoded {
        Some((_, body)) => body.len(),
        None => batch.bytes(),
    };
    let tenant = batch
        .context
        .tenant
        .as_ref()
        .map_or(0, |tenant| tenant.len());
    body + tenant + AROUND
}

/// What stands around a body at most: the record's own header, and the head.
const AROUND: usize = 160;

/// The batch of a record that was read back; nothing in memory pays for it yet.
///
/// # Errors
/// What is wrong with it, for a person: a record of a later version, or one that was damaged in a
/// way that its checksum did not show.
pub fn decode(kind: u8, items: u64, head: &Bytes, body: Bytes) -> Result<Batch, String> {
    let signal = signal(kind).ok_or_else(|| format!("no signal has the number {kind}"))?;
    let head = Head::decode(head)?;
    let (plain, encoded) = match head.encoding {
        None => (body, None),
        Some(encoding) => (head.inflate(&body)?, Some((encoding, body))),
    };
    let age = SystemTime::now().duration_since(head.received);
    let now = Instant::now();
    let received = now.checked_sub(age.unwrap_or(Duration::ZERO));
    Ok(Batch {
        signal,
        chunks: Chunks::from_elem(plain, 1),
        items,
        received: received.unwrap_or(now),
        context: head.context,
        deadline: None,
        encoded,
        reservations: SmallVec::new(),
    })
}

/// The signal that a record of this kind carries.
pub fn signal(kind: u8) -> Option<Signal> {
    Signal::ALL.into_iter().find(|signal| *signal as u8 == kind)
}

impl Head {
    /// The plain bytes of a record's body.
    ///
    /// # Errors
    /// It does not inflate to what the head says.
    pub fn inflate(&self, body: &Bytes) -> Result<Bytes, String> {
        let Some(encoding) = self.encoding else {
            return Ok(body.clone());
        };
        compression::inflate(encoding, body, self.plain_bytes, &mut |_total| true)
            .map(Bytes::from)
            .map_err(|error| format!("the stored body does not inflate: {error:?}"))
    }

    /// The bytes of the message.
    pub fn encode(&self) -> Bytes {
        let since = self.received.duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        let mut out = Vec::with_capacity(32);
        wire::write_number(
            &mut out,
            RECEIVED << 3 | wire::VARINT,
            u64::try_from(millis).unwrap_or(0),
        );
        wire::write_number(
            &mut out,
            PLAIN_BYTES << 3 | wire::VARINT,
            self.plain_bytes as u64,
        );
        let encoding = match self.encoding {
            None => 0,
            Some(Encoding::Gzip) => 1,
            Some(Encoding::Zstd) => 2,
        };
        wire::write_number(&mut out, ENCODING << 3 | wire::VARINT, encoding);
        if let Some(tenant) = &self.context.tenant {
            wire::write_bytes(&mut out, TENANT << 3 | wire::DELIMITED, tenant.as_bytes());
        }
        wire::write_number(
            &mut out,
            PRIORITY << 3 | wire::VARINT,
            self.context.priority as u64,
        );
        wire::write_number(
            &mut out,
            AWAITED << 3 | wire::VARINT,
            u64::from(self.awaited),
        );
        out.into()
    }

    /// Reads the message; fields of later versions are skipped.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        Self::read(bytes).map_err(|fault| format!("the head of a stored record: {fault}"))?
    }

    fn read(bytes: &[u8]) -> Result<Result<Self, String>, Fault> {
        let mut head = Self {
            received: SystemTime::UNIX_EPOCH,
            plain_bytes: 0,
            encoding: None,
            context: Context {
                tenant: None,
                priority: Priority::Low,
            },
            awaited: false,
        };
        let mut reader = Reader::new(bytes);
        while !reader.is_done() {
            let tag = reader.tag()?;
            match (tag >> 3, tag & 7) {
                (RECEIVED, wire::VARINT) => {
                    let since = Duration::from_millis(reader.varint_value()?);
                    let received = SystemTime::UNIX_EPOCH.checked_add(since);
                    head.received = received.unwrap_or(SystemTime::UNIX_EPOCH);
                }
                (PLAIN_BYTES, wire::VARINT) => {
                    head.plain_bytes = usize::try_from(reader.varint_value()?).unwrap_or(0);
                }
                (ENCODING, wire::VARINT) => match reader.varint_value()? {
                    0 => head.encoding = None,
                    1 => head.encoding = Some(Encoding::Gzip),
                    2 => head.encoding = Some(Encoding::Zstd),
                    other => return Ok(Err(format!("no encoding has the number {other}"))),
                },
                (TENANT, wire::DELIMITED) => {
                    let tenant = String::from_utf8_lossy(reader.bytes()?);
                    head.context.tenant = Some(Arc::from(tenant.as_ref()));
                }
                (PRIORITY, wire::VARINT) => {
                    let number = reader.varint_value()?;
                    let priority = Priority::ALL.into_iter().find(|p| *p as u64 == number);
                    head.context.priority = priority.unwrap_or_default();
                }
                (AWAITED, wire::VARINT) => head.awaited = reader.varint_value()? != 0,
                _ => reader.skip(tag, 0)?,
            }
        }
        Ok(Ok(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message as another implementation of protobuf reads it.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Foreign {
        #[prost(uint64, tag = "1")]
        received_unix_ms: u64,
        #[prost(uint64, tag = "2")]
        plain_bytes: u64,
        #[prost(int32, tag = "3")]
        encoding: i32,
        #[prost(string, tag = "4")]
        tenant: String,
        #[prost(int32, tag = "5")]
        priority: i32,
        #[prost(bool, tag = "6")]
        awaited: bool,
    }

    fn head() -> Head {
        Head {
            received: SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_000_000_123),
            plain_bytes: 77,
            encoding: Some(Encoding::Zstd),
            context: Context {
                tenant: Some("blue".into()),
                priority: Priority::High,
            },
            awaited: true,
        }
    }

    #[test]
    fn heads_come_back_and_others_can_read_them() {
        let bytes = head().encode();
        assert_eq!(Head::decode(&bytes), Ok(head()));
        let foreign = <Foreign as prost::Message>::decode(bytes).unwrap();
        assert_eq!(foreign.received_unix_ms, 1_763_000_000_123);
        assert_eq!((foreign.plain_bytes, foreign.encoding), (77, 2));
        assert_eq!((foreign.tenant.as_str(), foreign.priority), ("blue", 2));
        assert!(foreign.awaited);
    }

    #[test]
    fn batches_come_back_plain_and_compressed() {
        let plain = Bytes::from_static(&[0; 1000]);
        let chunks = Chunks::from_elem(plain.clone(), 1);
        for encoding in [None, Some(Encoding::Gzip), Some(Encoding::Zstd)] {
            let encoded = encoding.map(|e| (e, compression::deflate(e, &chunks).unwrap()));
            let batch = Batch {
                signal: Signal::Metrics,
                chunks: chunks.clone(),
                items: 9,
                received: Instant::now() - Duration::from_secs(60),
                context: head().context,
                deadline: None,
                encoded: encoded.clone(),
                reservations: SmallVec::new(),
            };
            let record = encode(&batch);
            let body = Bytes::from(record.body.concat());
            assert_eq!(body.len() < 1000, encoding.is_some());
            let back = decode(record.kind, record.weight, &record.head, body).unwrap();
            assert_eq!((back.signal, back.items), (Signal::Metrics, 9));
            assert_eq!((&back.chunks, &back.encoded), (&chunks, &encoded));
            assert_eq!(back.context, batch.context);
            let age = Instant::now() - back.received;
            assert!(age >= Duration::from_secs(59) && age < Duration::from_secs(600));
        }
    }

    #[test]
    fn what_is_no_record_is_told_and_not_guessed() {
        let none = Bytes::new();
        assert!(decode(9, 1, &none, none.clone()).is_err());
        assert!(decode(0, 1, &Bytes::from_static(&[0x18, 9]), none.clone()).is_err());
        assert!(decode(0, 1, &Bytes::from_static(&[0xff]), none).is_err());
    }
}
