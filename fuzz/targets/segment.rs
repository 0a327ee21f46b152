#![no_main]

use libfuzzer_sys::fuzz_target;
use otlpd::storage::inspect::survey_bytes;

fuzz_target!(|input: &[u8]| {
    let Some(survey) = survey_bytes(input) else {
        return;
    };
    let (records, size) = (survey.records, input.len() as u64);
    assert!(records.bytes + survey.torn_bytes <= size);
    assert!(records.records * 32 <= records.bytes);
    assert_eq!(survey.unsettled, records);
    assert!(survey.missing == 0 || !survey.damage.is_empty());
    for damage in &survey.damage {
        assert!(damage.offset <= size);
    }
});
