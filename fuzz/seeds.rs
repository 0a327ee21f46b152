//! Writes the first inputs of every target into `fuzz/corpus/`.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use otlpd::net::compression::{Encoding, deflate};
use otlpd::otlp::{Signal, json};

#[path = "../tests/support/payloads.rs"]
mod payloads;
#[path = "../tests/support/texts.rs"]
mod texts;

fn main() -> std::io::Result<()> {
    let bodies = [
        (0_u8, payloads::traces(2)),
        (1, payloads::metrics(20)),
        (2, payloads::logs(2)),
    ];
    for (signal, body) in bodies {
        let request = [&[signal][..], &body].concat();
        write("walk", signal, &request)?;
        write("json", signal, &request)?;
        let mut text = vec![signal];
        json::write(Signal::ALL[usize::from(signal)], &body, &mut text)
            .map_err(|fault| std::io::Error::other(fault.to_string()))?;
        write("json_read", signal, &text)?;
        write("split", signal, &[&[40, 1][..], &request].concat())?;
        write(
            "edit",
            signal,
            &[&[2, 0, 0, 4, 1, 3, 3, 2, 0, 5, 1, 1][..], &request].concat(),
        )?;
        for (choice, encoding) in [(0xe0, Encoding::Gzip), (0xe1, Encoding::Zstd)] {
            let packed =
                deflate(encoding, &[body.clone().into()]).map_err(std::io::Error::other)?;
            let seed = [&[choice, 0xff][..], &packed].concat();
            write("inflate", signal * 2 + (choice & 1), &seed)?;
        }
    }
    for (number, (signal, text)) in (100..).zip(texts::by_hand()) {
        write("json_read", number, &[&[signal as u8][..], &text].concat())?;
    }
    for (number, header) in [
        "gzip",
        "10S",
        "120",
        "Wed, 21 Oct 2026 07:28:00 GMT",
        "%E4",
        "CA4SBHR5cGU=",
    ]
    .iter()
    .enumerate()
    {
        write("headers", number as u8, header.as_bytes())?;
    }
    let segments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/storage_v1");
    for (number, log) in [(0, "plain"), (1, "encrypted")] {
        let segment = fs::read(segments.join(log).join("0000000000000001.seg"))?;
        write("segment", number, &segment)?;
        // Without its footer.
        let unsealed = segment.len().saturating_sub(112);
        write(
            "segment",
            number + 2,
            segment.get(..unsealed).unwrap_or_default(),
        )?;
    }
    Ok(())
}

fn write(target: &str, number: impl Display, seed: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("seed-{number}")), seed)
}
