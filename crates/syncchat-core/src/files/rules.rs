//! Which files may come.

use std::time::Duration;

use crate::error::{Error, ErrorCode, Result};
use crate::model::IdempotencyKey;
use crate::text;

/// A file that somebody wants to upload, its parts well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceFile {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) content_type: String,
    pub(crate) key: Option<IdempotencyKey>,
}

impl AnnounceFile {
    /// Checks the parts.
    ///
    /// # Errors
    /// `invalid`, naming every wrong field.
    pub fn new(name: &str, size: u64, content_type: &str) -> Result<AnnounceFile> {
        match (text::file_name(name), text::content_type(content_type)) {
            (Ok(name), Ok(content_type)) => Ok(AnnounceFile {
                name,
                size,
                content_type,
                key: None,
            }),
            (Err(mut first), Err(second)) => {
                first.fields.extend(second.fields);
                Err(first)
            }
            (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        }
    }

    /// The same file, announced under this key.
    pub fn keyed(self, key: Option<IdempotencyKey>) -> AnnounceFile {
        AnnounceFile { key, ..self }
    }
}

/// What an operator allows.
#[derive(Debug, Clone)]
pub struct FileRules {
    /// Bytes of one file. More: `too_large`.
    pub max_bytes: u64,
    /// Which types.
    pub types: ContentTypes,
    /// After so long a file that no message shows is deleted.
    pub unsent_span: Duration,
    /// For how long the link to download a file is good. Then: 403, and a new one is asked for.
    pub link_span: Duration,
}

/// A choice of content types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentTypes {
    /// Every type.
    Any,
    /// These: `type/subtype`, or `type/*`; in lower case.
    Only(Vec<String>),
}

impl ContentTypes {
    /// Whether this type is among them; its parameters do not count.
    pub fn contains(&self, content_type: &str) -> bool {
        let ContentTypes::Only(list) = self else {
            return true;
        };
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        list.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(family) => essence.starts_with(family),
            None => essence == allowed,
        })
    }
}

impl FileRules {
    pub(super) fn admit(&self, file: &AnnounceFile) -> Result<()> {
        if file.size > self.max_bytes {
            let message = format!("a file may have at most {} bytes", self.max_bytes);
            return Err(Error::new(ErrorCode::TooLarge, message));
        }
        match self.types.contains(&file.content_type) {
            true => Ok(()),
            false => Err(Error::invalid(
                "contentType",
                "files of this type are not taken here",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_chosen_by_name_or_family() {
        let only = |list: &[&str]| ContentTypes::Only(list.iter().map(|t| (*t).into()).collect());
        let chosen = only(&["image/*", "application/pdf"]);
        for good in ["image/png", "application/pdf", "application/pdf; version=2"] {
            assert!(chosen.contains(good), "{good}");
        }
        for bad in ["imagery/png", "text/html", "application/pdfx", "image"] {
            assert!(!chosen.contains(bad), "{bad}");
        }
        assert!(ContentTypes::Any.contains("text/html"));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let error = AnnounceFile::new("", 1, "nothing").unwrap_err();
        let fields: Vec<_> = error.fields.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(fields, ["name", "contentType"]);
        assert!(AnnounceFile::new("a", 0, "Image/PNG").is_ok());
    }
}
