//! The bytes of one file from a position on, inflated where they are compressed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::otlp::Format;

/// What is read ahead of what is paid for, in bytes: of one file at a time.
pub(super) const AHEAD: usize = 64 << 10;

/// The window that every decoder is asked to have (RFC 8878 section 3.1.1.1.2): 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// How many bytes at a file's front are compared to tell it from another.
const PRINTED: usize = 1024;

/// What a file is told by beside its inode, which the file system gives to another file once it is
/// free: how many of its first bytes, and their checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) bytes: u64,
    pub(super) sum: u32,
}

/// How a file is compressed, by its first bytes: no line and no length begins so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// An open file, and what of it was read ahead.
pub(super) struct Source {
    file: File,
    pub(super) id: (u64, u64),
    packing: Packing,
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// How much of the buffer is done with.
    done: usize,
    /// Up to where it was looked for a line break.
    looked: usize,
}

/// What the buffer holds next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole request: what stands before it, its length, and what stands behind it, in bytes.
    Whole(usize, usize, usize),
    /// Only a part of one, if that: more than so many bytes are needed.
    Part(usize),
    /// It is above the limit; so many bytes long, where that is known.
    TooLarge(Option<u64>),
}

impl Source {
    /// Opens a file at a position, counted in uncompressed bytes.
    pub(super) fn open(path: &Path, position: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let packing = packing(&file)?;
        if packing == Packing::Plain {
            file.seek(SeekFrom::Start(position))?;
        }
        let again = file.try_clone()?;
        let mut reader: Box<dyn Read + Send> = match packing {
            Packing::Plain => Box::new(again),
            Packing::Gzip => Box::new(MultiGzDecoder::new(again)),
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(again)?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        };
        if packing != Packing::Plain {
            let passed = io::copy(&mut reader.by_ref().take(position), &mut io::sink())?;
            if passed < position {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Self {
            id: (metadata.dev(), metadata.ino()),
            file,
            packing,
            reader,
            buffer: Vec::new(),
            done: 0,
            looked: 0,
        })
    }

    /// Whether a file is not compressed.
    pub(super) fn is_plain_file(path: &Path) -> io::Result<bool> {
        Ok(packing(&File::open(path)?)? == Packing::Plain)
    }

    /// Whether it is not compressed.
    pub(super) fn is_plain(&self) -> bool {
        self.packing == Packing::Plain
    }

    /// Goes back to a position, in a file that is not compressed.
    pub(super) fn rewind(&mut self, position: u64) -> io::Result<()> {
        self.buffer = Vec::new();
        self.done = 0;
        self.looked = 0;
        self.file.seek(SeekFrom::Start(position)).map(|_| ())
    }

    /// Its size on disk now.
    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// What it is told by now.
    pub(super) fn print(&self) -> io::Result<Print> {
        print(&self.file, PRINTED as u64)
    }

    /// Whether it begins as it did.
    pub(super) fn is_as(&self, printed: Print) -> io::Result<bool> {
        Ok(print(&self.file, printed.bytes)? == printed)
    }

    /// What was read ahead.
    pub(super) fn ahead(&self) -> &[u8] {
        self.buffer.get(self.done..).unwrap_or_default()
    }

    /// What is next in what was read ahead, of at most `limit` bytes.
    pub(super) fn next(&mut self, format: Format, limit: usize) -> Next {
        let ahead = self.buffer.get(self.done..).unwrap_or_default();
        if format == Format::Protobuf {
            return message(ahead, limit);
        }
        let fresh = ahead.get(self.looked..).unwrap_or_default();
        match memchr::memchr(b'\n', fresh) {
            Some(at) if self.looked + at <= limit => Next::Whole(0, self.looked + at, 1),
            Some(at) => Next::TooLarge(Some((self.looked + at + 1) as u64)),
            None if ahead.len() > limit => Next::TooLarge(None),
            None => {
                self.looked = ahead.len();
                Next::Part(self.looked)
            }
        }
    }

    /// Is done with so many bytes of what was read ahead.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.done = (self.done + bytes).min(self.buffer.len());
        self.looked = 0;
    }

    /// Takes out a request of `length` bytes behind `before` others. What it held with it is
    /// kept small.
    pub(super) fn take(&mut self, before: usize, length: usize) -> Vec<u8> {
        let from = self.done + before;
        if length > AHEAD && from == 0 {
            let rest = self.buffer.split_off(length);
            let mut body = std::mem::replace(&mut self.buffer, rest);
            body.shrink_to_fit();
            self.done = 0;
            self.looked = 0;
            return body;
        }
        let body = self.buffer.get(from..from + length);
        let body = body.unwrap_or_default().to_vec();
        self.pass(before + length);
        body
    }

    /// Reads on, until `bytes` are read ahead or the file has no more. Whether anything was read.
    pub(super) fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        self.buffer.drain(..self.done);
        self.done = 0;
        let before = self.buffer.len();
        let missing = bytes.saturating_sub(before);
        self.buffer.reserve_exact(missing);
        let mut more = self.reader.by_ref().take(missing as u64);
        let read = more.read_to_end(&mut self.buffer);
        match read {
            Ok(read) => Ok(read > 0),
            // What came before is there all the same.
            Err(_) if self.buffer.len() > before => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// A message behind its length.
fn message(ahead: &[u8], limit: usize) -> Next {
    let Some(length) = ahead.first_chunk::<4>() else {
        return Next::Part(4);
    };
    let length = u32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(length) if length <= limit => match ahead.len() >= 4 + length {
            true => Next::Whole(4, length, 0),
            false => Next::Part(4 + length),
        },
        _ => Next::TooLarge(Some(4 + u64::from(length))),
    }
}

fn packing(file: &File) -> io::Result<Packing> {
    let mut first = [0; 4];
    let read = file.read_at(&mut first, 0)?;
    Ok(match first {
        [0x1f, 0x8b, 8, _] if read == 4 => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] if read == 4 => Packing::Zstd,
        _ => Packing::Plain,
    })
}

fn print(file: &File, bytes: u64) -> io::Result<Print> {
    let mut front = Vec::new();
    let mut block = [0; PRINTED];
    let wanted = usize::try_from(bytes).unwrap_or(PRINTED).min(PRINTED);
    while front.len() < wanted {
        let room = block.get_mut(..wanted - front.len()).unwrap_or_default();
        match file.read_at(room, front.len() as u64)? {
            0 => break,
            read => front.extend_from_slice(room.get(..read).unwrap_or_default()),
        }
    }
    Ok(Print {
        bytes: front.len() as u64,
        sum: crc32fast::hash(&front),
    })
}

/// Where the last request ends that is whole, in a file of `size` bytes: where somebody begins who
/// wants only what comes. `None` for what is compressed.
pub(super) fn last_end(path: &Path, size: u64, format: Format) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    if packing(&file)? != Packing::Plain {
        return Ok(None);
    }
    match format {
        Format::Json => last_break(&file, size).map(Some),
        Format::Protobuf => {
            let mut at = 0;
            let mut length = [0; 4];
            while at + 4 <= size {
                file.read_exact_at(&mut length, at)?;
                let end = at + 4 + u64::from(u32::from_be_bytes(length));
                if end > size {
                    break;
                }
                at = end;
            }
            Ok(Some(at))
        }
    }
}

fn last_break(file: &File, size: u64) -> io::Result<u64> {
    let mut block = vec![0; AHEAD];
    let mut from = size;
    while from > 0 {
        let part = from.min(AHEAD as u64);
        from -= part;
        let block = block
            .get_mut(..usize::try_from(part).unwrap_or(AHEAD))
            .unwrap_or_default();
        file.read_exact_at(block, from)?;
        if let Some(at) = memchr::memrchr(b'\n', block) {
            return Ok(from + at as u64 + 1);
        }
    }
    Ok(0)
}
