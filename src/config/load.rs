//! From a file, options and the environment to a [`Config`], or to every problem with them.

use std::path::Path;

use toml::de::DeTable;

use super::problem::{Findings, Source};
use super::secrets::Secrets;
use super::tree::{self, Node, Origin};
use super::{Config, Problem, Problems, build, overrides, substitute};

/// What runs when no file is given: OTLP on the standard ports of this host, printed.
const DEFAULTS: &str = r#"
[receivers.otlp]
type = "otlp"
grpc = { endpoint = "127.0.0.1:4317" }
http = { endpoint = "127.0.0.1:4318" }

[exporters.debug]
type = "debug"

[pipelines.default]
receivers = ["otlp"]
exporters = ["debug"]
"#;

const DEFAULTS_NAME: &str = "(built-in defaults)";

/// What becomes of the files that a configuration names beside itself: certificates and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// They are read, and what is wrong with them is a problem of the configuration.
    Read,
    /// They are left alone, as by whoever does not serve by them.
    Left,
}

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Reads the file at `path`, or the built-in defaults without one; lays `sets`
    /// (`KEY=VALUE`, see `--set`) over it, and fills in `${env:NAME}` from `env` and
    /// `${file:PATH}`.
    ///
    /// # Errors
    /// Every mistake there is, in the order of the file. Only a file that is not TOML hides what
    /// else is wrong in it.
    pub fn load(path: Option<&Path>, sets: &[String], env: Env<'_>) -> Result<Self, Problems> {
        Self::load_with(path, sets, env, Files::Left)
    }

    /// The same; where `files` says so, the certificates and keys that it names are read, too.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn load_with(
        path: Option<&Path>,
        sets: &[String],
        env: Env<'_>,
        files: Files,
    ) -> Result<Self, Problems> {
        let (name, text) = match path {
            Some(path) => (path.display().to_string(), read(path)?),
            None => (DEFAULTS_NAME.to_owned(), DEFAULTS.to_owned()),
        };
        let folder = path.and_then(Path::parent).unwrap_or(Path::new(""));
        let mut findings = Findings::default();
        let parsed = parse(&text, &mut findings);
        let source = Source {
            file: name,
            text: &text,
            sets: sets.iter().map(|set| overrides::key(set)).collect(),
            secrets: Secrets::of(parsed.as_ref()),
        };
        let config = parsed.and_then(|mut tree| {
            overrides::apply(&mut tree, sets, &mut findings);
            let sources = substitute::Sources { env, folder };
            substitute::fill(&mut tree, &sources, &source, &mut findings);
            build::config(tree, files, &mut findings)
        });
        let warnings = findings.conclude(&source)?;
        match config {
            Some(config) => Ok(Self { warnings, ..config }),
            None => Err(Problem::named(source.file, "could not be understood").into()),
        }
    }

    /// What runs when nothing is configured.
    ///
    /// # Errors
    /// None: a test holds that the built-in file has no problems.
    pub fn defaults() -> Result<Self, Problems> {
        Self::load(None, &[], &|_| None)
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    std::fs::read_to_string(path).map_err(|error| {
        Problem::named(
            path.display().to_string(),
            format!("can not be read: {error}"),
        )
    })
}

/// The tree of the file; none if it is not TOML, since what is read from a broken file would
/// only mislead.
fn parse(text: &str, findings: &mut Findings) -> Option<Node> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut last_line = None;
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let line = text
            .get(..span.start)
            .map(|before| before.matches('\n').count());
        // One slip makes the parser stumble several times in its line.
        if line != last_line {
            let sentence = format!(
                "this is not TOML: {} (other mistakes are looked for once it is)",
                error.message()
            );
            findings.problem(span.into(), sentence);
        }
        last_line = line;
    }
    if !errors.is_empty() {
        return None;
    }
    let mut too_large = Vec::new();
    let tree = tree::from_file(root, &mut too_large);
    report_too_large(too_large, findings);
    Some(tree)
}

pub(super) fn report_too_large(origins: Vec<Origin>, findings: &mut Findings) {
    for origin in origins {
        findings.problem(origin, "this number is larger than any key takes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporters::ExporterConfig;
    use crate::receivers::ReceiverConfig;

    #[test]
    fn the_built_in_defaults_listen_on_this_host_and_print() {
        let config = Config::defaults().unwrap();
        let ReceiverConfig::Otlp(otlp) = &config.receivers["otlp"] else {
            panic!("it is another receiver");
        };
        assert_eq!(otlp.grpc.as_ref().unwrap().endpoint, "127.0.0.1:4317");
        assert_eq!(otlp.http.as_ref().unwrap().endpoint, "127.0.0.1:4318");
        assert_eq!(config.admin.endpoint, "127.0.0.1:13133");
        assert!(matches!(
            config.exporters["debug"].kind,
            ExporterConfig::Debug(_)
        ));
        assert_eq!(config.pipelines.len(), 1);
        assert!(config.warnings.is_empty());
    }
}
