//! How the rows of the step cache stand in its file. Bytes in, bytes out.

use crate::checksummed_file::{ChecksummedWriter, Reader, unseal};
use crate::controller::step_cache::{Kept, KeptStep, Known, Row};
use reconciler_core::plan::planner::Outline;
use reconciler_model::digest::Digest;
use reconciler_model::ids::{AmiId, AmiName, StepId};
use reconciler_model::source::ObjectId;

const STEP: u8 = 1;
const PARENT: u8 = 2;
const MANUAL: u8 = 4;
const SUSPEND: u8 = 8;
const KNOWN: u8 = 16;
const OWN_SWITCHES: u8 = 32;

/// What a file is to hold.
pub(super) fn encode(kept: &Kept, key: &Digest) -> ChecksummedWriter {
    let mut out = ChecksummedWriter::new(key, 320 * kept.rows.len());
    out.bytes(&[u8::from(kept.ordered)]);
    out.bytes(&[u8::from(kept.settings.is_some())]);
    if let Some(settings) = &kept.settings {
        out.bytes(&settings.0);
    }
    out.number(kept.rows.len());
    for row in &kept.rows {
        out.text(&row.name);
        out.bytes(&row.tree.0);
        match &row.step {
            None => out.bytes(&[0]),
            Some(step) => encode_step(&mut out, step),
        }
    }
    out
}

fn encode_step(out: &mut ChecksummedWriter, step: &KeptStep) {
    let outline = &step.outline;
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.bytes(&[STEP
        | flag(outline.parent.is_some(), PARENT)
        | flag(outline.manual, MANUAL)
        | flag(outline.suspend, SUSPEND)
        | flag(step.known.is_some(), KNOWN)
        | flag(step.has_own_switches, OWN_SWITCHES)]);
    out.text(outline.id.as_str());
    if let Some(parent) = &outline.parent {
        out.text(parent.as_str());
    }
    out.bytes(outline.metadata_digest.as_bytes());
    out.bytes(&step.rank.to_le_bytes());
    out.number(step.includes.len());
    step.includes.iter().for_each(|path| out.text(path));
    if let Some(known) = &step.known {
        out.bytes(known.inputs.as_bytes());
        out.text(known.source_ami.as_str());
        out.text(known.source_name.as_str());
        out.bytes(known.fingerprint.as_bytes());
    }
}

/// What a file holds; none if it is not whole or stands under another key.
pub(super) fn decode(file: &[u8], key: &Digest) -> Option<Kept> {
    let mut reader = unseal(file, key)?;
    let ordered = reader.byte()? != 0;
    let settings = match reader.byte()? {
        0 => None,
        _ => Some(ObjectId(*reader.chunk()?)),
    };
    let rows = (0..reader.number()?)
        .map(|_| {
            Some(Row {
                name: reader.text()?.to_owned(),
                tree: ObjectId(*reader.chunk()?),
                step: match reader.byte()? {
                    0 => None,
                    flags => Some(decode_step(&mut reader, flags)?),
                },
            })
        })
        .collect::<Option<_>>()?;
    reader.is_at_end().then_some(Kept { rows, settings, ordered })
}

fn decode_step(reader: &mut Reader<'_>, flags: u8) -> Option<KeptStep> {
    let id = StepId::new(reader.text()?);
    let parent = if flags & PARENT == 0 { None } else { Some(StepId::new(reader.text()?)) };
    let outline = Outline {
        id,
        folder: String::new(),
        parent,
        manual: flags & MANUAL != 0,
        suspend: flags & SUSPEND != 0,
        metadata_digest: reader.digest()?,
    };
    let rank = u32::from_le_bytes(*reader.chunk()?);
    let includes =
        (0..reader.number()?).map(|_| reader.text().map(str::to_owned)).collect::<Option<_>>()?;
    let known = if flags & KNOWN == 0 {
        None
    } else {
        Some(Known {
            inputs: reader.digest()?,
            source_ami: AmiId::new(reader.text()?),
            source_name: AmiName::new(reader.text()?),
            fingerprint: reader.digest()?.into(),
        })
    };
    let has_own_switches = flags & OWN_SWITCHES != 0;
    Some(KeptStep { outline, includes, has_own_switches, rank, known })
}
