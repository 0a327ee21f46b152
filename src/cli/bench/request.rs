//! Requests that are encoded once and stamped with new ids for each use, so that the generator
//! costs little beside what it measures.
//!
//! Uncompressed, every item's own sequence number is rewritten. Compressed bytes cannot be
//! rewritten, so there only the resource's base number changes: the head of the body, which holds
//! it, stands in the stream as a stored (gzip) or raw (zstd) block, the items follow as they were
//! compressed when the run began, and the checksum is made anew from both. It is one ordinary
//! gzip member or zstd frame, of the same size as any other; but trace ids repeat from request to
//! request, and an id is the pair of base and trace id.

use std::io::Write;

use bytes::{Bytes, BytesMut};
use flate2::Crc;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::args::{Compression, Kind, Protocol};
use super::item::{BASE_KEY, Run, hex16, item, put_text};
use super::wire::{GRPC_PREFIX, grpc_prefix, put_bytes, put_message};

/// What all requests of a run have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) run: Run,
    pub(crate) items: u64,
    pub(crate) item_bytes: usize,
    pub(crate) protocol: Protocol,
    pub(crate) compression: Compression,
}

/// An encoded request whose ids can be changed.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Bytes,
    ids: Ids,
    /// Bytes of the uncompressed OTLP body.
    pub(crate) plain_bytes: usize,
}

#[derive(Debug)]
enum Ids {
    /// The places of every item's sequence number: eight bytes, or sixteen digits.
    Each { places: Vec<usize>, digits: bool },
    /// The place of the resource's base number, and how the gzip checksum follows from it.
    Base {
        place: usize,
        checksum: Option<Checksum>,
    },
}

#[derive(Debug)]
struct Checksum {
    head_at: usize,
    head_length: usize,
    tail: Crc,
}

impl Template {
    /// Encodes a request; `seed` decides the items' values. The error is a sentence.
    pub(crate) fn new(shape: Shape, seed: u64) -> Result<Self, String> {
        let body = Body::encode(shape, &mut SmallRng::seed_from_u64(seed))?;
        let plain_bytes = body.bytes.len();
        let (mut bytes, mut ids) = match shape.compression {
            Compression::None => {
                let digits = shape.kind == Kind::Metrics;
                let places = body.id_places;
                (body.bytes, Ids::Each { places, digits })
            }
            Compression::Gzip => gzip(&body)?,
            Compression::Zstd => zstd_frame(&body)?,
        };
        if shape.protocol == Protocol::Grpc {
            let compressed = shape.compression != Compression::None;
            let prefix = grpc_prefix(compressed, bytes.len());
            bytes.splice(0..0, prefix);
            ids.shift(GRPC_PREFIX);
        }
        Ok(Self {
            bytes: bytes.into(),
            ids,
            plain_bytes,
        })
    }

    /// Bytes of a stamped request: the body, and gRPC's prefix where it has one.
    pub(crate) fn wire_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The request with the sequence numbers from `first` on. Where the bytes of the last use are
    /// free again they are reused, else copied.
    pub(crate) fn stamp(&mut self, first: u64) -> Bytes {
        let mut bytes = match std::mem::take(&mut self.bytes).try_into_mut() {
            Ok(free) => free,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        self.ids.write(&mut bytes, first);
        self.bytes = bytes.freeze();
        self.bytes.clone()
    }
}

impl Ids {
    fn shift(&mut self, by: usize) {
        match self {
            Self::Each { places, .. } => places.iter_mut().for_each(|place| *place += by),
            Self::Base { place, checksum } => {
                *place += by;
                if let Some(checksum) = checksum {
                    checksum.head_at += by;
                }
            }
        }
    }

    fn write(&self, bytes: &mut [u8], first: u64) {
        match self {
            Self::Each { places, digits } => {
                for (sequence, &place) in (first..).zip(places) {
                    if *digits {
                        put_at(bytes, place, &hex16(sequence));
                    } else {
                        put_at(bytes, place, &sequence.to_be_bytes());
                    }
                }
            }
            Self::Base { place, checksum } => {
                put_at(bytes, *place, &hex16(first));
                if let Some(checksum) = checksum {
                    let sum = checksum.of(bytes);
                    put_at(bytes, bytes.len().saturating_sub(8), &sum.to_le_bytes());
                }
            }
        }
    }
}

impl Checksum {
    fn of(&self, bytes: &[u8]) -> u32 {
        let mut crc = Crc::new();
        let head = self.head_at..self.head_at + self.head_length;
        crc.update(bytes.get(head).unwrap_or_default());
        crc.combine(&self.tail);
        crc.sum()
    }
}

fn put_at<const N: usize>(bytes: &mut [u8], place: usize, value: &[u8; N]) {
    // The places were found in these very bytes, so there is always room.
    if let Some(room) = bytes.get_mut(place..place + N) {
        room.copy_from_slice(value);
    }
}

/// An uncompressed body and where its ids are.
struct Body {
    bytes: Vec<u8>,
    base_place: usize,
    /// Where the head ends that holds the base number.
    head_length: usize,
    id_places: Vec<usize>,
}

impl Body {
    fn encode(shape: Shape, rng: &mut SmallRng) -> Result<Self, String> {
        let mut scope = Vec::new();
        put_message(&mut scope, 1, |scope| {
            put_bytes(scope, 1, b"shop.instrumentation.http");
            put_bytes(scope, 2, b"2.14.0");
        });
        for sequence in 0..shape.items {
            let id = shape.run.id(sequence);
            put_bytes(&mut scope, 2, &item(shape.kind, id, shape.item_bytes, rng));
        }
        let resource = resource();
        let mut bytes = Vec::new();
        put_message(&mut bytes, 1, |entry| {
            put_bytes(entry, 1, &resource);
            put_bytes(entry, 2, &scope);
        });
        let after = |place: usize, length: usize| place + length;
        let missing = || "the encoded request does not hold its own ids".to_owned();
        let base = memchr::memmem::find(&bytes, &hex16(0)).ok_or_else(missing)?;
        let id_places = id_places(&bytes, shape).ok_or_else(missing)?;
        Ok(Self {
            base_place: base,
            head_length: after(base, 16),
            bytes,
            id_places,
        })
    }
}

fn resource() -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, 1, "service.name", b"orders");
    put_text(&mut out, 1, "service.version", b"7.3.1");
    put_text(&mut out, 1, "host.name", b"node-12.eu-central.shop");
    put_text(&mut out, 1, "telemetry.sdk.language", b"rust");
    put_message(&mut out, 1, |attribute| {
        put_bytes(attribute, 1, BASE_KEY);
        put_message(attribute, 2, |value| put_bytes(value, 1, &hex16(0)));
    });
    out
}

/// Where each item's sequence number is, found by searching for the whole id.
fn id_places(bytes: &[u8], shape: Shape) -> Option<Vec<usize>> {
    let mut from = 0;
    let mut places = Vec::new();
    for sequence in 0..shape.items {
        let id = shape.run.id(sequence);
        let (needle, skip) = if shape.kind == Kind::Metrics {
            let id = u128::from_be_bytes(id);
            let digits = [hex16((id >> 64) as u64), hex16(id as u64)].concat();
            (digits, 16)
        } else {
            (id.to_vec(), 8)
        };
        let at = from + memchr::memmem::find(bytes.get(from..)?, &needle)?;
        places.push(at + skip);
        from = at + needle.len();
    }
    Some(places)
}

/// One gzip member at level 6, as SDKs send it, with the head in a stored block.
fn gzip(body: &Body) -> Result<(Vec<u8>, Ids), String> {
    let (head, tail) = body.bytes.split_at(body.head_length);
    let stored = u16::try_from(head.len()).map_err(|_| "the head is too long to be stored")?;
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0];
    out.extend(stored.to_le_bytes());
    out.extend((!stored).to_le_bytes());
    let head_at = out.len();
    out.extend_from_slice(head);
    let mut deflate = flate2::write::DeflateEncoder::new(out, flate2::Compression::new(6));
    let deflated = deflate.write_all(tail).and_then(|()| deflate.finish());
    let mut out = deflated.map_err(|error| format!("cannot deflate: {error}"))?;
    let mut tail_sum = Crc::new();
    tail_sum.update(tail);
    out.extend([0; 4]);
    out.extend((body.bytes.len() as u32).to_le_bytes());
    let ids = Ids::Base {
        place: head_at + body.base_place,
        checksum: Some(Checksum {
            head_at,
            head_length: head.len(),
            tail: tail_sum,
        }),
    };
    Ok((out, ids))
}

/// The bytes of a zstd frame header that has neither content size nor dictionary: RFC 8878, 3.1.1.
const ZSTD_HEADER: usize = 6;

/// One zstd frame at level 3 with the head in a raw block.
fn zstd_frame(body: &Body) -> Result<(Vec<u8>, Ids), String> {
    let (head, tail) = body.bytes.split_at(body.head_length);
    let broken = |error: std::io::Error| format!("cannot compress: {error}");
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).map_err(broken)?;
    encoder.write_all(tail).map_err(broken)?;
    let compressed = encoder.finish().map_err(broken)?;
    let (header, blocks) = compressed
        .split_at_checked(ZSTD_HEADER)
        .filter(|(header, _)| header.get(4) == Some(&0))
        .ok_or("zstd wrote a frame header of another shape than expected")?;
    let mut out = header.to_vec();
    let [a, b, c, _] = ((head.len() as u32) << 3).to_le_bytes();
    out.extend([a, b, c]);
    let place = out.len() + body.base_place;
    out.extend_from_slice(head);
    out.extend_from_slice(blocks);
    let checksum = None;
    Ok((out, Ids::Base { place, checksum }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::scan::{Stretch, scan};
    use super::super::wire::grpc_message;
    use super::*;

    const KINDS: [Kind; 3] = [Kind::Traces, Kind::Metrics, Kind::Logs];

    fn shape(kind: Kind, protocol: Protocol, compression: Compression) -> Shape {
        Shape {
            kind,
            run: Run::numbered(9),
            items: 50,
            item_bytes: 300,
            protocol,
            compression,
        }
    }

    fn unpack(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match compression {
            Compression::None => plain.extend_from_slice(bytes),
            Compression::Gzip => {
                let mut reader = flate2::bufread::GzDecoder::new(bytes);
                reader.read_to_end(&mut plain).unwrap();
                assert!(reader.into_inner().is_empty(), "one member");
            }
            Compression::Zstd => plain = zstd::stream::decode_all(bytes).unwrap(),
        }
        plain
    }

    #[test]
    fn stamped_requests_carry_the_ids_they_were_stamped_with() {
        for kind in KINDS {
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                let shape = shape(kind, Protocol::Grpc, compression);
                let mut template = Template::new(shape, 3).unwrap();
                for first in [0, 50, 7_000_000_000] {
                    let frame = template.stamp(first);
                    let (flag, message) = grpc_message(&frame).unwrap();
                    assert_eq!(flag, compression != Compression::None);
                    let plain = unpack(compression, message);
                    assert_eq!(plain.len(), template.plain_bytes);
                    let seen = scan(kind.signal(), &plain).unwrap();
                    assert_eq!(seen.foreign, 0);
                    let run = shape.run;
                    assert_eq!(
                        seen.stretches,
                        [Stretch {
                            run,
                            first,
                            length: 50
                        }]
                    );
                }
            }
        }
    }

    #[test]
    fn requests_are_what_googles_types_read() {
        use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
        use prost::Message;

        let shape = shape(Kind::Traces, Protocol::Http, Compression::None);
        let body = Template::new(shape, 1).unwrap().stamp(4);
        let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        assert_eq!(spans.len(), 50);
        assert_eq!(spans[1].trace_id, Run::numbered(9).id(5));
        assert_eq!(request.encode_to_vec(), body);
    }

    #[test]
    fn a_buffer_that_is_free_again_is_not_copied() {
        let shape = shape(Kind::Logs, Protocol::Http, Compression::None);
        let mut template = Template::new(shape, 1).unwrap();
        let first = template.stamp(0).as_ptr();
        assert_eq!(template.stamp(50).as_ptr(), first);
        let kept = template.stamp(100);
        let copy = template.stamp(150);
        assert_ne!(kept.as_ptr(), copy.as_ptr());
    }
}
