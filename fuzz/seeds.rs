//! Writes the first inputs of every target into `fuzz/corpus/`.

use std::fs;
use std::path::Path;

use otlpd::net::compression::{Encoding, deflate};

#[path = "../tests/support/payloads.rs"]
mod payloads;

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
    Ok(())
}

fn write(target: &str, number: u8, seed: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("seed-{number}")), seed)
}
