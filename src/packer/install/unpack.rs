//! Takes the program out of the zip file of a release: the one file of its name, whatever else is
//! there, and no more than a program can have.

use std::fs::File;
use std::io;
use std::path::Path;

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use crate::packer::install::error::InstallError;
use crate::packer::install::source::MOST_OF_A_PROGRAM;

/// The name of the program in the zip file.
const PROGRAM: &[u8] = b"packer";

/// Writes the program of a zip file to a place; `file` is the name of the zip file for people.
pub(super) fn unpack(zip: &Path, file: &str, into: &Path) -> Result<File, InstallError> {
    let wrong = |said: String| InstallError::Zip { file: file.to_owned(), said };
    let damaged = |error: rawzip::Error| wrong(error.to_string());
    let opened = File::open(zip).map_err(|error| wrong(error.to_string()))?;
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(opened, &mut buffer).map_err(damaged)?;
    let mut entries = archive.entries(&mut buffer);
    let mut found = None;
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        if entry.file_path().as_bytes() == PROGRAM {
            if entry.uncompressed_size_hint() > MOST_OF_A_PROGRAM {
                return Err(wrong("the program in it is too large".to_owned()));
            }
            let place = (entry.wayfinder(), entry.compression_method());
            if found.replace(place).is_some() {
                return Err(wrong("it holds two programs `packer`".to_owned()));
            }
        }
    }
    let (place, method) = found.ok_or_else(|| wrong("it holds no `packer`".to_owned()))?;
    let entry = archive.get_entry(place).map_err(damaged)?;
    let folder = into.parent().unwrap_or(into);
    let program = File::create_new(into).map_err(InstallError::place(folder))?;
    let copied = match method {
        CompressionMethod::STORE => copy(entry.verifying_reader(entry.reader()), &program),
        CompressionMethod::DEFLATE => {
            copy(entry.verifying_reader(DeflateDecoder::new(entry.reader())), &program)
        }
        _ => return Err(wrong("the program in it is compressed in an unknown way".to_owned())),
    };
    match copied {
        Ok(()) => Ok(program),
        Err(Fault::Reading(error)) => Err(wrong(error.to_string())),
        Err(Fault::Writing(error)) => Err(InstallError::place(folder)(error)),
    }
}

/// Which side of a copy failed.
enum Fault {
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies to the end, but no more than a program has: sizes in a zip file are only claims.
fn copy(mut from: impl io::Read, mut into: impl io::Write) -> Result<(), Fault> {
    let mut part = vec![0; 64 * 1024];
    let mut left = MOST_OF_A_PROGRAM;
    loop {
        let length = from.read(&mut part).map_err(Fault::Reading)?;
        if length == 0 {
            return Ok(());
        }
        left = left
            .checked_sub(length as u64)
            .ok_or_else(|| Fault::Reading(io::Error::other("the program in it is too large")))?;
        into.write_all(&part[..length]).map_err(Fault::Writing)?;
    }
}
