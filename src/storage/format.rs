//! The bytes of version 1, read and written: `mod.rs` has the same in words.

use super::Tally;

/// What a segment begins with.
pub(super) const MAGIC: [u8; 8] = *b"otlpdseg";
/// What is written; higher ones are of a later otlpd.
pub(super) const VERSION: u16 = 1;
/// A segment's header without the key id.
pub(super) const HEADER_LEN: usize = 64;
/// What precedes a record's head.
pub(super) const RECORD_LEN: usize = 32;
/// A footer, whole.
pub(super) const FOOTER_LEN: usize = RECORD_LEN + 80;
/// One settled run.
pub(super) const RUN_LEN: usize = 16;
/// The longest key id, in bytes.
pub(super) const MAX_KEY_ID: usize = 64;

/// What stands before an older file's bytes, in a segment that is written over one.
pub(super) const MARK_LEN: usize = RECORD_LEN;

/// What is written over an emptied file has this in its header.
const WRITTEN_OVER: u8 = 1;

/// What the header of a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The sequence number of its first record, which is also its file name.
    pub(super) first: u64,
    /// When it was begun, in milliseconds since 1970.
    pub(super) created_ms: u64,
    /// Random: no two segments share it.
    pub(super) salt: [u8; 16],
    /// The id of the key that its records are encrypted with; empty if they are not.
    pub(super) key_id: String,
    /// What the key makes of the salt: tells a wrong key from damage.
    pub(super) key_check: [u8; 8],
    /// Whether it is written over an emptied segment, whose bytes may follow its own.
    pub(super) written_over: bool,
}

/// Why a header was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// The file ends before the header does.
    Short,
    /// It is not what was written.
    Damaged,
    /// It is whole, and of a later version.
    Later(u16),
    /// It is that of the segment with this first record, and the file has a later one's name: one
    /// that was to be written over when the power failed, or a copy.
    Earlier(u64),
}

impl Header {
    /// The bytes, and the seed: the header's checksum, which those of its records begin with.
    pub(super) fn encode(&self) -> (Vec<u8>, u32) {
        let key_id = self.key_id.as_bytes();
        let size = HEADER_LEN + key_id.len();
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(size).unwrap_or(u16::MAX).to_le_bytes());
        bytes.push(u8::from(!key_id.is_empty()));
        let flags = if self.written_over { WRITTEN_OVER } else { 0 };
        bytes.extend_from_slice(&[u8::try_from(key_id.len()).unwrap_or(u8::MAX), flags, 0]);
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.created_ms.to_le_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.key_check);
        bytes.extend_from_slice(&[0; 4]);
        let crc = checksum(0, &[&bytes, key_id]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(key_id);
        (bytes, crc)
    }

    /// Reads what `bytes` begin with: the header, its length and its seed.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, usize, u32), BadHeader> {
        let fixed: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(BadHeader::Short)?;
        if !fixed.starts_with(&MAGIC) {
            return Err(BadHeader::Damaged);
        }
        let version = u16::from_le_bytes(array(fixed, 8));
        let size = usize::from(u16::from_le_bytes(array(fixed, 10)));
        if !(HEADER_LEN..=HEADER_LEN + MAX_KEY_ID).contains(&size) {
            return Err(BadHeader::Damaged);
        }
        let key_id = bytes.get(HEADER_LEN..size).ok_or(BadHeader::Short)?;
        let (checked, crc) = fixed.split_at(HEADER_LEN - 4);
        let seed = checksum(0, &[checked, key_id]);
        if seed.to_le_bytes() != crc {
            return Err(BadHeader::Damaged);
        }
        if version != VERSION {
            return Err(BadHeader::Later(version));
        }
        let header = Self {
            first: u64::from_le_bytes(array(fixed, 16)),
            created_ms: u64::from_le_bytes(array(fixed, 24)),
            salt: array(fixed, 32),
            key_check: array(fixed, 48),
            key_id: String::from_utf8(key_id.to_vec()).map_err(|_| BadHeader::Damaged)?,
            written_over: array::<1>(fixed, 14) == [WRITTEN_OVER],
        };
        Ok((header, size, seed))
    }
}

/// The seed that a header names, right or not.
pub(super) fn seed_in(header: &[u8; HEADER_LEN]) -> u32 {
    u32::from_le_bytes(array(header, HEADER_LEN - 4))
}

/// What stands before a record's head and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    /// All of it, in bytes, these included.
    pub(super) len: u32,
    /// Of all its bytes but these.
    pub(super) crc: u32,
    pub(super) seq: u64,
    pub(super) weight: u64,
    pub(super) head_len: u32,
    pub(super) kind: u8,
    pub(super) role: Role,
}

/// What stands behind a record's head, or in a record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Record = 0,
    /// The segment is complete.
    Footer = 1,
    /// Nothing more is written so far; what follows is older.
    Mark = 2,
}

impl RecordHead {
    /// The bytes.
    pub(super) fn encode(&self) -> [u8; RECORD_LEN] {
        let mut bytes = self.encode_unchecked();
        put(&mut bytes, 4, &self.crc.to_le_bytes());
        bytes
    }

    fn encode_unchecked(&self) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        put(&mut bytes, 0, &self.len.to_le_bytes());
        put(&mut bytes, 8, &self.seq.to_le_bytes());
        put(&mut bytes, 16, &self.weight.to_le_bytes());
        put(&mut bytes, 24, &self.head_len.to_le_bytes());
        put(&mut bytes, 28, &[self.kind, self.role as u8]);
        bytes
    }

    /// The checksum of these bytes alone, to go on from.
    pub(super) fn checksum(&self, seed: u32) -> u32 {
        checksum(seed, &[&self.encode_unchecked()])
    }

    /// What `bytes` say, if they could be a record at all. Only the checksum says that they are.
    pub(super) fn decode(bytes: &[u8; RECORD_LEN]) -> Option<Self> {
        let [kind, role, 0, 0] = array(bytes, 28) else {
            return None;
        };
        let role = match role {
            0 => Role::Record,
            1 => Role::Footer,
            2 => Role::Mark,
            _ => return None,
        };
        let head = Self {
            len: u32::from_le_bytes(array(bytes, 0)),
            crc: u32::from_le_bytes(array(bytes, 4)),
            seq: u64::from_le_bytes(array(bytes, 8)),
            weight: u64::from_le_bytes(array(bytes, 16)),
            head_len: u32::from_le_bytes(array(bytes, 24)),
            kind,
            role,
        };
        let payload = (head.len as usize).checked_sub(RECORD_LEN)?;
        let plausible = kind < 8 && head.head_len as usize <= payload;
        plausible.then_some(head)
    }

    /// Its head and body together, in bytes.
    pub(super) fn payload_len(&self) -> usize {
        (self.len as usize).saturating_sub(RECORD_LEN)
    }

    /// What it counts for.
    pub(super) fn tally(&self) -> Tally {
        Tally::of(u64::from(self.len), self.kind, self.weight)
    }
}

/// The footer that seals a segment whose next record would be `next`.
pub(super) fn encode_footer(seed: u32, next: u64, tally: &Tally) -> Vec<u8> {
    let mut payload = Vec::with_capacity(FOOTER_LEN - RECORD_LEN);
    payload.extend_from_slice(&tally.records.to_le_bytes());
    payload.extend_from_slice(&tally.bytes.to_le_bytes());
    for weight in tally.weight {
        payload.extend_from_slice(&weight.to_le_bytes());
    }
    let mut head = RecordHead {
        len: u32::try_from(FOOTER_LEN).unwrap_or(u32::MAX),
        crc: 0,
        seq: next,
        weight: 0,
        head_len: u32::try_from(FOOTER_LEN - RECORD_LEN).unwrap_or(u32::MAX),
        kind: 0,
        role: Role::Footer,
    };
    head.crc = checksum(head.checksum(seed), &[&payload]);
    let mut bytes = head.encode().to_vec();
    bytes.extend_from_slice(&payload);
    bytes
}

/// The mark that the segment ends here for now, where its next record will be `next`.
pub(super) fn encode_mark(seed: u32, next: u64) -> [u8; MARK_LEN] {
    let mut head = RecordHead {
        len: u32::try_from(MARK_LEN).unwrap_or(u32::MAX),
        crc: 0,
        seq: next,
        weight: 0,
        head_len: 0,
        kind: 0,
        role: Role::Mark,
    };
    head.crc = head.checksum(seed);
    head.encode()
}

/// What a footer says: the sequence number after the segment's last, and its tally.
pub(super) fn decode_footer(bytes: &[u8; FOOTER_LEN], seed: u32) -> Option<(u64, Tally)> {
    let (head, payload) = bytes.split_first_chunk()?;
    let head = RecordHead::decode(head)?;
    let whole = head.role == Role::Footer && head.len as usize == FOOTER_LEN;
    if !whole || checksum(head.checksum(seed), &[payload]) != head.crc {
        return None;
    }
    let (numbers, _) = payload.as_chunks::<8>();
    let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
    let mut tally = Tally {
        records: numbers.next()?,
        bytes: numbers.next()?,
        ..Tally::default()
    };
    for (weight, number) in tally.weight.iter_mut().zip(numbers) {
        *weight = number;
    }
    Some((head.seq, tally))
}

/// A run of settled records of the segment with this seed.
pub(super) fn encode_run(seed: u32, first: u64, count: u32) -> [u8; RUN_LEN] {
    let mut bytes = [0; RUN_LEN];
    put(&mut bytes, 0, &first.to_le_bytes());
    put(&mut bytes, 8, &count.to_le_bytes());
    let crc = checksum(seed, &[&first.to_le_bytes(), &count.to_le_bytes()]);
    put(&mut bytes, 12, &crc.to_le_bytes());
    bytes
}

/// What a run says: its first record and how many there are. It is of the segment with `seed`
/// only where [`run_is_of`] says so.
pub(super) fn decode_run(bytes: &[u8; RUN_LEN]) -> (u64, u32) {
    let first = u64::from_le_bytes(array(bytes, 0));
    (first, u32::from_le_bytes(array(bytes, 8)))
}

/// Whether a run was written for the segment with this seed, and is whole.
pub(super) fn run_is_of(bytes: &[u8; RUN_LEN], seed: u32) -> bool {
    let (first, count) = decode_run(bytes);
    *bytes == encode_run(seed, first, count)
}

/// The checksum of `parts`, going on from `seed`.
pub(super) fn checksum(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(value) {
        *to = *from;
    }
}

/// `N` bytes from `at`; zeros where there are none, which no caller asks for.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let part = bytes.get(at..).and_then(<[u8]>::first_chunk);
    part.copied().unwrap_or([0; N])
}
