//! Files of derived values that are believed only if they are whole and were written under the key
//! that the reader expects.
//!
//! They may be deleted, damaged or written by another program at any time: then they say nothing.
//! Whoever writes one needs no lock: a file appears whole or not at all. It is no protection
//! against somebody who forges one; they are private to their user.

use std::fs;
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::path::Path;

use crate::atomic_file::{make_folder_of, write_derived};
use reconciler_model::digest::Digest;

/// Collects values, then a check sum behind them.
pub(crate) struct ChecksummedWriter(Vec<u8>);

impl ChecksummedWriter {
    /// Starts with the key.
    pub(crate) fn new(key: &Digest, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 64);
        bytes.extend(key.as_bytes());
        Self(bytes)
    }

    /// Bytes of a length that the reader knows.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// A count. None of ours comes near four thousand millions; one that did would be read back as
    /// damage.
    pub(crate) fn number(&mut self, number: usize) {
        self.bytes(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }

    /// Bytes of any length.
    pub(crate) fn block(&mut self, block: &[u8]) {
        self.number(block.len());
        self.bytes(block);
    }

    /// A text.
    pub(crate) fn text(&mut self, text: &str) {
        self.block(text.as_bytes());
    }

    /// Writes the file, unless it says the same already.
    pub(crate) fn write(mut self, file: &Path) -> io::Result<()> {
        let sum = sum(&self.0);
        self.bytes(&sum);
        if fs::read(file).is_ok_and(|before| before == self.0) {
            return Ok(());
        }
        make_folder_of(file)?;
        write_derived(file, &self.0)
    }
}

/// The values of a file: bytes between its key and its check sum. None if they are not whole or
/// stand under another key.
pub(crate) fn unseal<'a>(file: &'a [u8], key: &Digest) -> Option<Reader<'a>> {
    let (body, end) = file.split_last_chunk::<8>()?;
    let values = body.strip_prefix(key.as_bytes())?;
    (sum(body) == *end).then_some(Reader(values))
}

fn sum(bytes: &[u8]) -> [u8; 8] {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}

/// Reads values in the order in which they were written; none where there are no more.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Bytes of a known length.
    pub(crate) fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.chunk::<1>().map(|[byte]| *byte)
    }

    /// A count; at most as much as there are bytes, so that no memory is taken for what is not
    /// there.
    pub(crate) fn number(&mut self) -> Option<usize> {
        let number = usize::try_from(u32::from_le_bytes(*self.chunk()?)).ok()?;
        (number <= self.0.len()).then_some(number)
    }

    /// A digest.
    pub(crate) fn digest(&mut self) -> Option<Digest> {
        self.chunk().copied().map(Digest::from_bytes)
    }

    /// Bytes of any length.
    pub(crate) fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        let (block, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(block)
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.block()?).ok()
    }

    /// Whether all was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}
