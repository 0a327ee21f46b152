use std::io::{Read, Write};

use ::zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};
use flate2::{Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 4 << 20;

/// A budget that grants up to a number of bytes and remembers the largest total asked for.
struct Grants {
    most: usize,
    asked: usize,
}

/// Inflates, and fails the test if the output was ever allowed past the limit.
fn inflate_within(
    coding: impl Into<Coding>,
    body: &[u8],
    limit: usize,
    most: usize,
) -> (Result<Vec<u8>, InflateError>, usize) {
    let mut grants = Grants { most, asked: 0 };
    let result = inflate(coding, body, limit, &mut |total| {
        grants.asked = grants.asked.max(total);
        total <= grants.most
    });
    assert!(grants.asked <= limit, "asked for more than the limit");
    if let Ok(bytes) = &result {
        assert!(
            bytes.len() <= grants.asked,
            "grew ahead of what was granted"
        );
        assert!(bytes.capacity() <= bytes.len() + 64);
    }
    (result, grants.asked)
}

fn unzip(body: &[u8]) -> Result<Vec<u8>, InflateError> {
    inflate_within(Encoding::Gzip, body, LIMIT, usize::MAX).0
}

fn unzstd(body: &[u8]) -> Result<Vec<u8>, InflateError> {
    inflate_within(Encoding::Zstd, body, LIMIT, usize::MAX).0
}

fn gzip(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// What Python's clients send as deflate.
fn zlib(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A frame that does not say how large its content is, as streaming encoders write it.
fn zstd_of_unknown_size(plain: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = CCtx::create();
    encoder
        .set_parameter(CParameter::WindowLog(window_log))
        .unwrap();
    encoder
        .set_parameter(CParameter::ContentSizeFlag(false))
        .unwrap();
    let mut out = Vec::with_capacity(plain.len() + 1024);
    let mut input = InBuffer::around(plain);
    while input.pos() < plain.len() {
        let at = out.len();
        encoder
            .compress_stream(&mut OutBuffer::around_pos(&mut out, at), &mut input)
            .unwrap();
    }
    let at = out.len();
    let left = encoder
        .end_stream(&mut OutBuffer::around_pos(&mut out, at))
        .unwrap();
    assert_eq!(left, 0);
    out
}

/// Text that compresses about as well as telemetry.
fn lines(count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..count {
        writeln!(
            out,
            "GET /api/v1/users/{}/orders {} http.status=200",
            n * 7919 % 1000,
            n * n
        )
        .unwrap();
    }
    out
}

/// One gzip member of `mib` MiB of zeros, made without ever holding them: a flushed deflate
/// block stands for itself wherever it is put.
fn bomb(mib: usize) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut deflater = flate2::Compress::new(Compression::new(9), false);
    let mut block = Vec::with_capacity(1 << 16);
    deflater
        .compress_vec(&vec![0; 1 << 20], &mut block, FlushCompress::Full)
        .unwrap();
    for _ in 0..mib {
        out.extend_from_slice(&block);
    }
    out.extend_from_slice(&[3, 0]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&u32::try_from(mib << 20).unwrap().to_le_bytes());
    out
}

#[test]
fn codings_are_read_without_case_and_unknown_ones_are_not_taken_for_plain() {
    for (value, expected) in [
        ("", Ok(None)),
        ("identity", Ok(None)),
        (" Identity ", Ok(None)),
        ("gzip", Ok(Some(Coding::Gzip))),
        ("GZIP", Ok(Some(Coding::Gzip))),
        ("x-gzip", Ok(Some(Coding::Gzip))),
        ("zstd", Ok(Some(Coding::Zstd))),
        ("deflate", Ok(Some(Coding::Deflate))),
        ("br", Err(Unsupported)),
        ("gzip, gzip", Err(Unsupported)),
        ("gzip,", Err(Unsupported)),
    ] {
        assert_eq!(parse_coding(value), expected, "{value:?}");
    }
}

#[test]
fn what_is_deflated_is_one_member_or_frame_that_others_read() {
    let plain = lines(3000);
    for pieces in [1, 2, 27, 300, 5000] {
        let chunks: Vec<Bytes> = plain
            .chunks(plain.len() / pieces + 1)
            .map(Bytes::copy_from_slice)
            .collect();
        let zipped = deflate(Encoding::Gzip, &chunks).unwrap();
        let mut read = Vec::new();
        let mut first_member = flate2::bufread::GzDecoder::new(&zipped[..]);
        first_member.read_to_end(&mut read).unwrap();
        assert_eq!(read, plain);
        assert!(
            first_member.into_inner().is_empty(),
            "more than one gzip member"
        );
        assert!(zipped.len() < plain.len() / 4);

        let frame = deflate(Encoding::Zstd, &chunks).unwrap();
        assert_eq!(
            ::zstd::zstd_safe::find_frame_compressed_size(&frame).unwrap(),
            frame.len()
        );
        assert_eq!(
            ::zstd::bulk::decompress(&frame, plain.len()).unwrap(),
            plain
        );
    }
}

#[test]
fn nothing_at_all_deflates_to_an_empty_member_or_frame() {
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        for chunks in [&[][..], &[Bytes::new()], &[Bytes::new(), Bytes::new()]] {
            let body = deflate(encoding, chunks).unwrap();
            assert_eq!(inflate(encoding, &body, 0, &mut |_| false), Ok(Vec::new()));
        }
    }
}

#[test]
fn bytes_that_do_not_compress_survive_the_way_there_and_back() {
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    })
    .take(300_000)
    .collect();
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let body = deflate(
            encoding,
            &[Bytes::copy_from_slice(&noise), Bytes::copy_from_slice(b"!")],
        )
        .unwrap();
        let (back, _) = inflate_within(encoding, &body, LIMIT, usize::MAX);
        let back = back.unwrap();
        assert_eq!(
            (&back[..noise.len()], &back[noise.len()..]),
            (&noise[..], &b"!"[..])
        );
    }
}

#[test]
fn a_single_member_is_inflated_into_just_its_size() {
    let plain = lines(2000);
    for body in [gzip(&plain, 1), gzip(&plain, 6)] {
        let mut asked = Vec::new();
        let got = inflate(Encoding::Gzip, &body, LIMIT, &mut |total| {
            asked.push(total);
            true
        });
        assert_eq!(got.unwrap(), plain);
        assert_eq!(asked, [plain.len()]);
    }
}

#[test]
fn every_member_is_inflated_in_whatever_order_of_sizes() {
    let (small, large) = (lines(3), lines(9000));
    for parts in [
        [&small, &large],
        [&large, &small],
        [&large, &large],
        [&small, &small],
    ] {
        let body: Vec<u8> = parts.iter().flat_map(|plain| gzip(plain, 6)).collect();
        assert_eq!(unzip(&body).unwrap(), [&parts[0][..], parts[1]].concat());
    }
    let empty = gzip(b"", 6);
    let body = [
        &empty[..],
        &gzip(&small, 1),
        &empty,
        &gzip(&large, 1),
        &empty,
    ]
    .concat();
    assert_eq!(unzip(&body).unwrap(), [small, large].concat());
    assert_eq!(unzip(&empty.repeat(10_000)).unwrap(), b"");
}

#[test]
fn every_frame_is_inflated_and_skippable_ones_are_skipped() {
    let (small, large) = (lines(3), lines(9000));
    let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &[3, 0, 0, 0], b"abc"].concat();
    let body = [
        ::zstd::bulk::compress(&small, 1).unwrap(),
        zstd_of_unknown_size(&large, 17),
        skippable,
        ::zstd::bulk::compress(b"", 1).unwrap(),
        ::zstd::bulk::compress(&large, 3).unwrap(),
    ]
    .concat();
    assert_eq!(
        unzstd(&body).unwrap(),
        [&small[..], &large, &large].concat()
    );
}

#[test]
fn optional_gzip_header_fields_are_read_over() {
    let mut encoder = flate2::GzBuilder::new()
        .filename("traces.bin")
        .comment("from a file")
        .extra("xx")
        .mtime(7)
        .write(Vec::new(), Compression::new(6));
    encoder.write_all(b"spans").unwrap();
    assert_eq!(unzip(&encoder.finish().unwrap()).unwrap(), b"spans");
}

#[test]
fn a_body_of_no_bytes_is_neither_gzip_nor_zstd() {
    assert_eq!(
        unzip(b""),
        Err(InflateError::Damaged("the body is not gzip"))
    );
    assert_eq!(
        unzstd(b""),
        Err(InflateError::Damaged("the body is not zstd"))
    );
}

#[test]
fn plain_bytes_under_a_gzip_header_are_damaged() {
    for body in [
        &lines(10)[..],
        b"\x0a\x00",
        b"\x1f",
        b"\x1f\x8b",
        b"\x1f\x8b\x08",
    ] {
        assert!(matches!(unzip(body), Err(InflateError::Damaged(_))));
        assert!(matches!(unzstd(body), Err(InflateError::Damaged(_))));
    }
}

#[test]
fn every_truncation_is_damaged() {
    let plain = lines(40);
    let one = gzip(&plain, 6);
    let two = [one.clone(), gzip(&lines(20), 1)].concat();
    for body in [&one, &two] {
        for end in (0..body.len()).filter(|end| body.len() == one.len() || *end != one.len()) {
            let got = unzip(&body[..end]);
            assert!(
                matches!(got, Err(InflateError::Damaged(_))),
                "cut at {end}: {got:?}"
            );
        }
    }
    for body in [
        ::zstd::bulk::compress(&plain, 1).unwrap(),
        zstd_of_unknown_size(&plain, 17),
    ] {
        for end in 0..body.len() {
            let got = unzstd(&body[..end]);
            assert!(
                matches!(got, Err(InflateError::Damaged(_))),
                "cut at {end}: {got:?}"
            );
        }
    }
}

#[test]
fn bytes_after_the_last_member_or_frame_are_damage() {
    let plain = lines(40);
    for junk in [
        &b"\0"[..],
        b"\0\0\0\0\0\0\0\0",
        b"x",
        &lines(2),
        b"\x1f\x8b",
    ] {
        let zipped = [&gzip(&plain, 6)[..], junk].concat();
        assert!(
            matches!(unzip(&zipped), Err(InflateError::Damaged(_))),
            "{junk:?}"
        );
        let frame = [&::zstd::bulk::compress(&plain, 1).unwrap()[..], junk].concat();
        assert!(
            matches!(unzstd(&frame), Err(InflateError::Damaged(_))),
            "{junk:?}"
        );
    }
    // Even what looks like the right end: the member's own checksum and length once more.
    let zipped = gzip(&plain, 6);
    let twice_ended = [&zipped[..], &zipped[zipped.len() - 8..]].concat();
    assert!(matches!(unzip(&twice_ended), Err(InflateError::Damaged(_))));
}

#[test]
fn a_false_checksum_or_length_is_damaged() {
    let plain = lines(40);
    let zipped = gzip(&plain, 6);
    for (from_end, what) in [(8, "checksum"), (4, "length"), (2, "length"), (1, "length")] {
        for bit in 0..8 {
            let mut body = zipped.clone();
            let at = body.len() - from_end;
            body[at] ^= 1 << bit;
            let got = unzip(&body);
            assert!(
                matches!(got, Err(InflateError::Damaged(_))),
                "{what}: {got:?}"
            );
        }
    }
}

#[test]
fn the_limit_is_the_last_size_that_is_taken() {
    let plain = lines(3000);
    let bodies = [
        (Encoding::Gzip, gzip(&plain, 6)),
        (
            Encoding::Gzip,
            [gzip(&plain[..7], 6), gzip(&plain[7..], 6)].concat(),
        ),
        (
            Encoding::Gzip,
            [gzip(&plain[..90_000], 6), gzip(&plain[90_000..], 6)].concat(),
        ),
        (Encoding::Zstd, ::zstd::bulk::compress(&plain, 1).unwrap()),
        (Encoding::Zstd, zstd_of_unknown_size(&plain, 17)),
    ];
    for (n, (encoding, body)) in bodies.iter().enumerate() {
        let at = |limit| inflate_within(*encoding, body, limit, usize::MAX).0;
        assert_eq!(at(plain.len()).as_ref(), Ok(&plain), "body {n}");
        for limit in [plain.len() - 1, plain.len() / 2, 8, 0] {
            assert_eq!(
                at(limit),
                Err(InflateError::TooLarge),
                "body {n}, limit {limit}"
            );
        }
    }
}

#[test]
fn a_gigabyte_bomb_is_refused_without_memory() {
    let (result, asked) = inflate_within(Encoding::Gzip, &bomb(1024), LIMIT, usize::MAX);
    assert_eq!((result, asked), (Err(InflateError::TooLarge), 0));
}

#[test]
fn a_bomb_that_hides_its_size_stops_at_the_limit() {
    let mut body = bomb(1024);
    let end = body.len();
    body[end - 4..].copy_from_slice(&1000_u32.to_le_bytes());
    let (result, asked) = inflate_within(Encoding::Gzip, &body, LIMIT, usize::MAX);
    assert_eq!(result, Err(InflateError::TooLarge));
    assert!(asked <= LIMIT);

    let hidden = zstd_of_unknown_size(&vec![0; 16 << 20], 17);
    let (result, asked) = inflate_within(Encoding::Zstd, &hidden, LIMIT, usize::MAX);
    assert_eq!(result, Err(InflateError::TooLarge));
    assert!(asked <= LIMIT);

    let declared = ::zstd::bulk::compress(&vec![0; 16 << 20], 1).unwrap();
    let (result, asked) = inflate_within(Encoding::Zstd, &declared, LIMIT, usize::MAX);
    assert_eq!((result, asked), (Err(InflateError::TooLarge), 0));
}

#[test]
fn a_small_body_that_declares_a_large_size_reserves_nothing() {
    let mut zipped = gzip(b"spans", 6);
    let end = zipped.len();
    zipped[end - 4..].copy_from_slice(&(3_u32 << 20).to_le_bytes());
    let (result, asked) = inflate_within(Encoding::Gzip, &zipped, LIMIT, usize::MAX);
    assert!(matches!(result, Err(InflateError::Damaged(_))));
    assert_eq!(asked, 0);
}

#[test]
fn without_budget_nothing_is_inflated() {
    let plain = lines(20_000);
    for (encoding, body) in [
        (Encoding::Gzip, gzip(&plain, 6)),
        (Encoding::Gzip, [gzip(b"a", 6), gzip(&plain, 6)].concat()),
        (Encoding::Zstd, ::zstd::bulk::compress(&plain, 1).unwrap()),
        (Encoding::Zstd, zstd_of_unknown_size(&plain, 17)),
    ] {
        let (result, _) = inflate_within(encoding, &body, LIMIT, plain.len() / 2);
        assert_eq!(result, Err(InflateError::NoBudget));
    }
}

#[test]
fn deflate_is_one_stream_and_bounded_like_the_others() {
    let plain = lines(20_000);
    let within = |body: &[u8], limit, most| inflate_within(Coding::Deflate, body, limit, most).0;
    for level in [0, 1, 9] {
        let body = zlib(&plain, level);
        assert_eq!(within(&body, plain.len(), usize::MAX).as_ref(), Ok(&plain));
        let short = within(&body, plain.len() - 1, usize::MAX);
        assert_eq!(short, Err(InflateError::TooLarge));
        let poor = within(&body, LIMIT, plain.len() / 2);
        assert_eq!(poor, Err(InflateError::NoBudget));
        let trailed = [&body[..], b"x"].concat();
        let trailed = within(&trailed, LIMIT, usize::MAX);
        assert!(matches!(trailed, Err(InflateError::Damaged(_))));
    }
    let body = zlib(&plain[..2000], 6);
    for end in 0..body.len() {
        let cut = within(&body[..end], LIMIT, usize::MAX);
        assert!(
            matches!(cut, Err(InflateError::Damaged(_))),
            "{end}: {cut:?}"
        );
        let mut flipped = body.clone();
        flipped[end] ^= 1;
        // Some bits of the two in front say nothing of the bytes.
        let got = within(&flipped, LIMIT, usize::MAX);
        assert!(
            got.is_err() || got.as_deref() == Ok(&plain[..2000]),
            "{end}"
        );
    }
    // Without its two bytes in front it is not what RFC 9110 calls deflate.
    assert!(within(&body[2..], LIMIT, usize::MAX).is_err());
    assert_eq!(within(&zlib(b"", 6), 0, 0), Ok(Vec::new()));
}

#[test]
fn a_zstd_window_of_more_than_eight_mebibytes_is_refused_where_it_would_cost_memory() {
    let plain = lines(200);
    assert_eq!(unzstd(&zstd_of_unknown_size(&plain, 23)).unwrap(), plain);
    assert!(matches!(
        unzstd(&zstd_of_unknown_size(&plain, 24)),
        Err(InflateError::Damaged(_))
    ));
    // And the next body, on the same thread, is none the worse for it.
    assert_eq!(
        unzstd(&::zstd::bulk::compress(&plain, 1).unwrap()).unwrap(),
        plain
    );
}

fn plain() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000),
        (0_usize..400).prop_map(lines),
        (any::<u8>(), 0_usize..100_000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_in_any_pieces_come_back(
        parts in proptest::collection::vec(plain(), 0..5),
        level in 0_u32..=9,
    ) {
        let joined = parts.concat();
        let chunks: Vec<Bytes> = parts.iter().cloned().map(Bytes::from).collect();
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let body = deflate(encoding, &chunks).unwrap();
            let (back, _) = inflate_within(encoding, &body, joined.len(), usize::MAX);
            prop_assert_eq!(back.unwrap(), joined.clone());
        }
        // What others compress, one member or frame a part.
        if !parts.is_empty() {
            let members: Vec<u8> = parts.iter().flat_map(|part| gzip(part, level)).collect();
            prop_assert_eq!(unzip(&members).unwrap(), joined.clone());
            let frames: Vec<u8> = parts
                .iter()
                .flat_map(|part| ::zstd::bulk::compress(part, level as i32).unwrap())
                .collect();
            prop_assert_eq!(unzstd(&frames).unwrap(), joined);
        }
    }

    #[test]
    fn a_flipped_bit_never_yields_other_bytes(
        parts in proptest::collection::vec(plain(), 1..3),
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let mut body: Vec<u8> = parts.iter().flat_map(|part| gzip(part, 6)).collect();
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        match unzip(&body) {
            Ok(bytes) => prop_assert_eq!(bytes, parts.concat()),
            Err(InflateError::NoBudget) => prop_assert!(false, "there was budget"),
            Err(_) => {}
        }
    }

    #[test]
    fn noise_is_answered_and_agrees_with_another_reader(
        mut body in proptest::collection::vec(any::<u8>(), 0..300),
        magic in any::<bool>(),
    ) {
        if magic && body.len() >= 4 {
            body[..4].copy_from_slice(&[0x1f, 0x8b, 8, 0]);
        }
        let mut oracle = Vec::new();
        let read = flate2::bufread::MultiGzDecoder::new(&body[..])
            .read_to_end(&mut oracle)
            .is_ok();
        prop_assert_eq!(unzip(&body).is_ok(), read && !body.is_empty());
        if let Ok(bytes) = unzstd(&body) {
            prop_assert!(bytes.len() <= LIMIT);
        }
    }
}
