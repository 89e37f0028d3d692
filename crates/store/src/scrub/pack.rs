//! Examining one pack with the key: its trailer, its name, or every byte of its content.
//!
//! Invariant: for [`PackCheck::Data`] every byte is read once and in order, hashed for the pack's name, opened, and
//! compared with the ids that the trailer lists. Memory: one frame.

use super::{Finding, FindingPlace, finding_detail, names};
use crate::error::{Result, StoreError};
use crate::pack::PackName;
use crate::pack::format::{Trailer, TrailerFrame};
use crate::pack::frame::Frame;
use crate::pack::read::PackReader;
use crate::repository::Repository;
use crate::storage::Area;

const OTHER_NAME: &str = "its bytes do not fit its name";

/// What is said of a pack whose header is only in its footer.
const HEADER_DAMAGED: &str = "its header is damaged; the copy at its end is whole";

/// How thoroughly a pack is examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackCheck {
    /// Header, footer and trailer.
    Trailer,
    /// Its bytes against its name; needs no key, runs at the speed of the disk.
    Name,
    /// All of that, and every frame opened and every chunk's id computed again.
    Data,
}

impl Repository {
    /// Examines a pack. No findings: everything that was looked at is whole.
    ///
    /// # Errors
    ///
    /// If the storage cannot be read for a reason that is not damage.
    pub fn check_pack(&self, name: PackName, how: PackCheck) -> Result<Vec<Finding>> {
        let place = FindingPlace::Pack(name);
        match self.pack_details(name, how) {
            Err(e) if e.is_out_of_reach() => Ok(vec![Finding::unread(place, e)?]),
            details => Ok(details?.into_iter().map(|detail| Finding::new(place.clone(), detail)).collect()),
        }
    }

    fn pack_details(&self, name: PackName, how: PackCheck) -> Result<Vec<String>> {
        match how {
            PackCheck::Name => Ok(self.check_name(name)?.into_iter().collect()),
            PackCheck::Trailer => match self.open_whole(name) {
                Ok((pack, _)) => Ok(pack.is_header_damaged().then(|| HEADER_DAMAGED.to_owned()).into_iter().collect()),
                Err(e) => Ok(vec![finding_detail(e)?]),
            },
            PackCheck::Data => self.check_data(name),
        }
    }

    fn open_whole(&self, name: PackName) -> Result<(PackReader, Trailer)> {
        let pack = self.pack_unshared(name)?;
        let trailer = pack.trailer(self.keys())?;
        Ok((pack, trailer))
    }

    fn check_name(&self, name: PackName) -> Result<Option<String>> {
        match names::fits_name(&**self.storage(), Area::Packs, &name.to_string()) {
            Ok(fits) => Ok((!fits).then(|| OTHER_NAME.to_owned())),
            Err(e) => finding_detail(e).map(Some),
        }
    }

    fn check_data(&self, name: PackName) -> Result<Vec<String>> {
        match self.open_whole(name) {
            Ok((pack, trailer)) => self.check_frames(&pack, &trailer),
            Err(e) => {
                // Without its trailer it cannot be read in order; its name is compared all the same.
                let detail = finding_detail(e)?;
                Ok(self.check_name(name)?.into_iter().chain([detail]).collect())
            }
        }
    }

    fn check_frames(&self, pack: &PackReader, trailer: &Trailer) -> Result<Vec<String>> {
        let (mut details, mut hasher) = (Vec::new(), Some(blake3::Hasher::new()));
        hash(&mut hasher, &mut details, pack.front())?;
        for listed in &trailer.frames {
            match pack.sealed_frame(listed) {
                Ok(sealed) => {
                    hasher.as_mut().into_iter().for_each(|hasher| sealed.hash_into(hasher));
                    let opened = pack.open_sealed(sealed);
                    details.extend(opened.map_or_else(|e| Some(e.to_string()), |frame| self.check_ids(&frame, listed)));
                }
                Err(e) => {
                    details.push(finding_detail(e)?);
                    hasher = None;
                }
            }
        }
        hash(&mut hasher, &mut details, pack.end(trailer))?;
        if hasher.is_some_and(|hasher| hasher.finalize().as_bytes() != pack.name().as_bytes()) {
            details.insert(0, OTHER_NAME.to_owned());
        }
        Ok(details)
    }

    fn check_ids(&self, frame: &Frame, listed: &TrailerFrame) -> Option<String> {
        if frame.chunks().len() != listed.chunks.len() {
            return Some(format!("the frame at {} holds other chunks than the trailer lists", listed.offset));
        }
        frame.chunks().iter().zip(&listed.chunks).find_map(|(chunk, listed_chunk)| {
            let id = self.namer().id(chunk.kind, frame.bytes(*chunk));
            let is_same = id == listed_chunk.id() && chunk.length == listed_chunk.raw_len as usize;
            (!is_same).then(|| {
                format!("the frame at {} holds {id} where the trailer lists {}", listed.offset, listed_chunk.id())
            })
        })
    }
}

/// What could not be read makes a finding, and of the name nothing can be said.
fn hash(
    hasher: &mut Option<blake3::Hasher>,
    details: &mut Vec<String>,
    part: Result<Vec<u8>, StoreError>,
) -> Result<()> {
    match part {
        Ok(bytes) => {
            if let Some(hasher) = hasher {
                hasher.update(&bytes);
            }
        }
        Err(e) => {
            details.push(finding_detail(e)?);
            *hasher = None;
        }
    }
    Ok(())
}
