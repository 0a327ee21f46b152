//! Where an export goes, and how requests stand in it one after the other.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::otlp::file;
use crate::otlp::{Format, Signal};

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// OTLP/JSON, one request a line: what the Collector's otlpjsonfile receiver reads
    Json,
    /// 4 bytes of length, most significant first, and the protobuf message: `format: proto` of
    /// the Collector's file exporter
    Binary,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unread => f.write_str("nobody reads what is written"),
            Self::Failed(problem) => f.write_str(problem),
        }
    }
}

/// An export under way.
pub(super) struct Output {
    format: ExportFormat,
    to: BufWriter<Box<dyn Write>>,
    /// For messages.
    name: String,
    line: Vec<u8>,
}

/// Why an export ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Whoever was reading has had enough.
    Unread,
    /// It cannot be written: a sentence.
    Failed(String),
}

impl Output {
    /// To a new file, or to standard output.
    ///
    /// # Errors
    /// The file is there already, or cannot be created: a sentence.
    pub(super) fn open(format: ExportFormat, file: Option<&PathBuf>) -> Result<Self, String> {
        Ok(match file {
            None => Self::to(format, Box::new(io::stdout()), "standard output"),
            Some(path) => Self::to(format, Box::new(create(path)?), &path.display().to_string()),
        })
    }

    fn to(format: ExportFormat, to: Box<dyn Write>, name: &str) -> Self {
        Self {
            format,
            to: BufWriter::with_capacity(256 << 10, to),
            name: name.to_owned(),
            line: Vec::new(),
        }
    }

    /// Writes one request. The inner error is what is wrong with the request, which is then left
    /// out.
    pub(super) fn request(
        &mut self,
        signal: Signal,
        request: &[u8],
    ) -> Result<Result<(), String>, Stop> {
        let format = match self.format {
            ExportFormat::Json => Format::Json,
            ExportFormat::Binary => Format::Protobuf,
        };
        self.line.clear();
        if let Err(problem) = file::append(format, signal, request, &mut self.line) {
            return Ok(Err(format!("the request {problem}")));
        }
        let written = self.to.write_all(&self.line);
        written.map_err(|error| stop(&self.name, &error))?;
        Ok(Ok(()))
    }

    /// Writes what is left in memory.
    pub(super) fn finish(mut self) -> Result<(), Stop> {
        let flushed = self.to.flush();
        flushed.map_err(|error| stop(&self.name, &error))
    }
}

fn create(path: &Path) -> Result<File, String> {
    File::create_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{} is there already, and is left as it is: name another file",
            path.display()
        ),
        _ => format!("cannot create {}: {error}", path.display()),
    })
}

fn stop(name: &str, error: &io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Stop::Unread,
        _ => Stop::Failed(format!(
            "cannot write to {name}: {error}; the export is not whole"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with one empty resource.
    const REQUEST: [u8; 2] = [10, 0];

    fn export(format: ExportFormat) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut output = Output::open(format, Some(&path)).unwrap();
        for signal in [Signal::Traces, Signal::Logs] {
            output.request(signal, &REQUEST).unwrap().unwrap();
        }
        let damaged = output.request(Signal::Traces, &[10, 9]).unwrap();
        assert_eq!(damaged.is_err(), format == ExportFormat::Json);
        output.finish().unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn json_is_a_line_a_request_and_leaves_out_what_is_damaged() {
        let expected = "{\"resourceSpans\":[{}]}\n{\"resourceLogs\":[{}]}\n";
        assert_eq!(export(ExportFormat::Json), expected.as_bytes());
    }

    #[test]
    fn binary_is_length_and_message() {
        let expected = [0, 0, 0, 2, 10, 0, 0, 0, 0, 2, 10, 0, 0, 0, 0, 2, 10, 9];
        assert_eq!(export(ExportFormat::Binary), expected);
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        let error = Output::open(ExportFormat::Json, Some(&path)).err().unwrap();
        assert!(error.contains("is there already"), "{error}");
    }

    #[test]
    fn a_reader_that_left_ends_it_and_a_full_disk_is_told() {
        struct Failing(io::ErrorKind);
        impl Write for Failing {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let finish = |kind| {
            let to = Box::new(Failing(kind));
            let mut output = Output::to(ExportFormat::Binary, to, "it");
            output.request(Signal::Logs, &REQUEST).unwrap().unwrap();
            output.finish().unwrap_err()
        };
        assert!(matches!(finish(io::ErrorKind::BrokenPipe), Stop::Unread));
        let Stop::Failed(sentence) = finish(io::ErrorKind::StorageFull) else {
            panic!("it failed");
        };
        assert!(sentence.starts_with("cannot write to it: "), "{sentence}");
    }
}
