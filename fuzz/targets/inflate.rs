#![no_main]

use libfuzzer_sys::fuzz_target;
use otlpd::net::compression::{Coding, Encoding, InflateError, deflate, inflate};

fuzz_target!(|input: &[u8]| {
    let Some((&[choice, limit], body)) = input.split_first_chunk::<2>() else {
        return;
    };
    let coding = match (choice & 1, choice & 4) {
        (_, 4) => Coding::Deflate,
        (0, _) => Coding::Gzip,
        _ => Coding::Zstd,
    };
    let limit = usize::from(limit) << (choice >> 5);
    let mut granted = 0;
    let most = if choice & 2 == 0 {
        usize::MAX
    } else {
        limit / 2
    };
    let mut grow = |total: usize| {
        let grants = total <= most;
        if grants {
            granted = granted.max(total);
        }
        grants
    };
    match inflate(coding, body, limit, &mut grow) {
        Ok(plain) => {
            assert!(plain.len() <= limit.min(granted));
            let encoding = coding.encoding().unwrap_or(Encoding::Gzip);
            let packed = deflate(encoding, &[plain.clone().into()]).expect("it deflates");
            let again = inflate(encoding, &packed, limit, &mut |_| true);
            assert!(again.is_ok_and(|again| again == plain));
        }
        Err(InflateError::NoBudget) => assert!(choice & 2 != 0),
        Err(_) => {}
    }
});
