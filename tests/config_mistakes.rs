//! Every mistake in a config is told at once, each with its place, what is allowed, and what
//! was probably meant. The files and what is said of each lie in `tests/fixtures/config/`;
//! `BLESS=1 cargo test --test config_mistakes` writes what is said now, to be read and committed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use otlpd::config::Config;
use proptest::prelude::*;

/// Allowed by itself, but too small for a batch; it stands in no file.
const SIZE: &str = "77777B";
const SECRET: &str = "hunter2";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config")
}

fn env(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some(SECRET.to_owned()),
        "SIZE" => Some(SIZE.to_owned()),
        _ => None,
    }
}

fn names_ending_in(extension: &str) -> BTreeSet<String> {
    std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// What is said of the file, without the folder that this machine has it in.
fn said_of(name: &str) -> String {
    let path = fixtures().join(format!("{name}.toml"));
    let problems = Config::load(Some(&path), &[], &env)
        .err()
        .unwrap_or_else(|| panic!("{name}.toml loads"));
    let folder = format!("{}/", fixtures().display());
    format!("{problems}\n").replace(&folder, "")
}

fn problems_with(sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let problems = Config::load(None, &sets, &env).err();
    problems.unwrap().to_string()
}

#[test]
fn every_bad_file_is_told_in_the_expected_sentences() {
    let names = names_ending_in("toml");
    assert!(!names.is_empty());
    for name in &names {
        let said = said_of(name);
        let expected = fixtures().join(format!("{name}.expected"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&expected, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert!(
            said == expected,
            "{name}.toml\n--- expected\n{expected}\n--- said\n{said}"
        );
    }
    assert_eq!(
        names,
        names_ending_in("expected"),
        "files without a partner"
    );
}

#[test]
fn no_sentence_holds_a_value_from_the_environment() {
    for name in names_ending_in("toml") {
        let said = said_of(&name);
        assert!(
            !said.contains(SECRET) && !said.contains(SIZE) && !said.contains("literal-"),
            "{name}.toml"
        );
    }
    let said = problems_with(&["log.level=${env:SECRET}", "intake.max_wait=x${env:SECRET}"]);
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn a_mistake_in_an_option_names_the_option_and_not_its_value() {
    let said = problems_with(&[
        "exporters.debug.verbosty=normal",
        "exporters.debug.headers.authorization=Bearer abc",
        "log.level=loud",
        "shutdown.deadline=[",
        "intake",
        "a b=1",
        "receivers.otlp.grpc.endpoint.port=1",
    ]);
    let expected = [
        "--set exporters.debug.headers.authorization: unknown key `headers` in exporters.debug; \
         its keys are verbosity, type, required, timeout, max_in_flight, queue, batch, \
         retry_on_failure, breaker",
        "--set exporters.debug.verbosty: unknown key `verbosty` in exporters.debug (did you mean \
         `verbosity`?); its keys are verbosity, type, required, timeout, max_in_flight, queue, \
         batch, retry_on_failure, breaker",
        "--set log.level: `level` can not be \"loud\"; it is \"error\", \"warn\", \"info\", \
         \"debug\" or \"trace\"",
        "--set intake: wants KEY=VALUE, such as exporters.out.timeout=5s",
        "--set a b: the key wants names with dots between, such as exporters.out.timeout; a name \
         with other characters goes in quotes",
        "--set receivers.otlp.grpc.endpoint.port: what is to hold the key is a string, not a table",
    ];
    for sentence in expected {
        assert!(
            said.lines().any(|line| line == sentence),
            "{sentence}\n---\n{said}"
        );
    }
    assert!(
        said.contains("--set shutdown.deadline: the value is not TOML"),
        "{said}"
    );
    assert!(said.ends_with("7 problems"), "{said}");
    assert!(!said.contains("Bearer"), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let path = fixtures().join("no_such_file.toml");
    let said = Config::load(Some(&path), &[], &env)
        .err()
        .unwrap()
        .to_string();
    assert!(
        said.contains("no_such_file.toml: can not be read: "),
        "{said}"
    );
}

proptest! {
    /// Whatever is cut out of a file or written into it, the answer is a config or sentences.
    #[test]
    fn no_damage_to_a_file_leaves_the_loader_without_an_answer(
        cut in 0_usize..6_000,
        length in 0_usize..40,
        written in "[a-z0-9\\[\\]{}=\"'.,$:# \n]{0,12}",
    ) {
        let whole = "config/otlpd.toml";
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(whole));
        let mut characters: Vec<char> = text.unwrap().chars().filter(|c| c.is_ascii()).collect();
        let start = cut.min(characters.len());
        let end = (start + length).min(characters.len());
        characters.splice(start..end, written.chars());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.toml");
        std::fs::write(&path, characters.iter().collect::<String>()).unwrap();
        if let Err(problems) = Config::load(Some(&path), &[], &env) {
            let told = problems.iter().all(|problem| problem.sentence().len() > 10);
            prop_assert!(told && problems.iter().count() > 0, "{problems}");
        }
    }

    #[test]
    fn no_option_leaves_the_loader_without_an_answer(
        key in "(exporters|receivers|pipelines|intake|log)(\\.[a-z\"]{0,8}){0,3}",
        value in "[a-z0-9\\[\\]{}=\"'.,$: ]{0,12}",
    ) {
        let sets = [format!("{key}={value}")];
        if let Err(problems) = Config::load(None, &sets, &env) {
            prop_assert!(problems.iter().all(|problem| !problem.sentence().is_empty()));
        }
    }
}
