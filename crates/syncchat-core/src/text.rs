//! Rules for the texts people write.

use crate::error::{Error, Result};
use crate::limits::{
    AVATAR_BYTES_MAX, CLIENT_ID_BYTES_MAX, CONTENT_CHARS_MAX, CONTENT_TYPE_BYTES_MAX,
    FILE_NAME_CHARS_MAX, TITLE_CHARS_MAX,
};

/// Checks a message's content: 1 to 4,000 characters after trimming (none needed where
/// `may_be_empty`), no control characters but newline and tab. Stored as written, untrimmed.
///
/// # Errors
/// `invalid`, naming `content`.
pub fn content(text: String, may_be_empty: bool) -> Result<String> {
    let trimmed = text.trim();
    if trimmed.is_empty() && !may_be_empty {
        return Err(Error::invalid("content", "must not be empty"));
    }
    // Trimmed, a text may be within the limit that is not as written; what is stored is bounded too.
    if trimmed.chars().count() > CONTENT_CHARS_MAX || text.len() > CONTENT_CHARS_MAX * 8 {
        return Err(Error::invalid(
            "content",
            format!("must have at most {CONTENT_CHARS_MAX} characters"),
        ));
    }
    if let Some(bad) = text
        .chars()
        .find(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    {
        return Err(Error::invalid(
            "content",
            format!(
                "must not hold the control character U+{:04X}",
                u32::from(bad)
            ),
        ));
    }
    Ok(text)
}

/// Checks a group's title: 1 to 100 characters after trimming, no control characters. Trimmed.
///
/// # Errors
/// `invalid`, naming `title`.
pub fn title(text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > TITLE_CHARS_MAX {
        return Err(Error::invalid(
            "title",
            format!("must have 1 to {TITLE_CHARS_MAX} characters"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid("title", "must not hold control characters"));
    }
    Ok(text.to_owned())
}

/// Checks a client's own name for something, such as a `clientMsgId`: 1 to 64 bytes, no control characters.
///
/// # Errors
/// `invalid`, naming the field.
pub fn client_id(field: &'static str, text: String) -> Result<String> {
    if text.is_empty() || text.len() > CLIENT_ID_BYTES_MAX {
        return Err(Error::invalid(
            field,
            format!("must have 1 to {CLIENT_ID_BYTES_MAX} bytes"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(field, "must not hold control characters"));
    }
    Ok(text)
}

/// Checks a username: 3 to 32 of `[A-Za-z0-9_.-]`.
///
/// # Errors
/// `invalid`, naming `username`.
pub fn username(text: &str) -> Result<String> {
    let fits = (3..=32).contains(&text.len());
    if !fits
        || !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    {
        return Err(Error::invalid(
            "username",
            "must have 3 to 32 characters of A-Z a-z 0-9 _ . -",
        ));
    }
    Ok(text.to_owned())
}

/// Checks an e-mail address as far as can be done without sending one: `local@domain`, at most
/// 254 bytes (RFC 5321), no blanks or control characters.
///
/// # Errors
/// `invalid`, naming `email`.
pub fn email(text: &str) -> Result<String> {
    let plausible = text.len() <= 254
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && local.len() <= 64
                && !local.contains('@')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !domain.is_empty()
        });
    if !plausible {
        return Err(Error::invalid("email", "must be an e-mail address"));
    }
    Ok(text.to_owned())
}

/// Checks an avatar's address: `https://…`, `http://…` or a path of this server, no blanks.
///
/// # Errors
/// `invalid`, naming `avatar`.
pub fn avatar(text: &str) -> Result<String> {
    let scheme = ["https://", "http://", "/"]
        .iter()
        .any(|start| text.starts_with(start));
    let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if !scheme || !clean || text.len() > AVATAR_BYTES_MAX {
        return Err(Error::invalid(
            "avatar",
            format!("must be an http(s) address or a path, at most {AVATAR_BYTES_MAX} bytes"),
        ));
    }
    Ok(text.to_owned())
}

/// Checks a file's name: 1 to 255 characters after trimming, no control characters, and none that turn
/// the direction of writing around, for they show a name's end where it is not. Trimmed. Anything
/// else is a name, for no name is used as a path.
///
/// # Errors
/// `invalid`, naming `name`.
pub fn file_name(text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > FILE_NAME_CHARS_MAX {
        return Err(Error::invalid(
            "name",
            format!("must have 1 to {FILE_NAME_CHARS_MAX} characters"),
        ));
    }
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match text.chars().any(|c| c.is_control() || turns(c)) {
        true => Err(Error::invalid("name", "must not hold control characters")),
        false => Ok(text.to_owned()),
    }
}

/// Checks a content type: `type/subtype`, parameters if any (RFC 9110), at most 127 bytes. Type and
/// subtype in lower case.
///
/// # Errors
/// `invalid`, naming `contentType`.
pub fn content_type(text: &str) -> Result<String> {
    let is_token = |text: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        !text.is_empty() && text.bytes().all(fits)
    };
    let (essence, parameters) = match text.split_once(';') {
        Some((essence, parameters)) => (essence.trim(), Some(parameters.trim())),
        None => (text.trim(), None),
    };
    let well_formed = essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    let visible = |b: u8| (b' '..=b'~').contains(&b);
    if !well_formed || text.len() > CONTENT_TYPE_BYTES_MAX || !text.bytes().all(visible) {
        return Err(Error::invalid(
            "contentType",
            "must be a type such as image/png",
        ));
    }
    let essence = essence.to_ascii_lowercase();
    Ok(match parameters {
        Some(parameters) if !parameters.is_empty() => format!("{essence}; {parameters}"),
        _ => essence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_stored_as_written_and_bounded_after_trimming() {
        assert_eq!(content(" hi\n\t ".into(), false).as_deref(), Ok(" hi\n\t "));
        assert!(content("   \n".into(), false).is_err());
        assert_eq!(content("".into(), true).as_deref(), Ok(""));
        assert!(content("é".repeat(4_000), false).is_ok());
        assert!(content(format!(" {} ", "é".repeat(4_000)), false).is_ok());
        assert!(content("é".repeat(4_001), false).is_err());
        for bad in ["a\0b", "a\rb", "a\u{7f}", "a\u{85}b", "\u{1b}[31m"] {
            let error = content(bad.into(), false).expect_err(bad);
            assert_eq!(error.fields[0].0, "content", "{bad:?}");
        }
    }

    #[test]
    fn names_and_types_of_files() {
        for good in [
            "a",
            "../../etc/passwd",
            "\u{5e9}\u{5dc}.txt",
            " b.png ",
            "C:\\x",
            &"議".repeat(255),
        ] {
            assert_eq!(file_name(good).as_deref(), Ok(good.trim()), "{good}");
        }
        for bad in ["", "  ", "a\0b", "a\nb", "gpj\u{202e}exe", &"é".repeat(256)] {
            assert!(file_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(content_type("Image/PNG").as_deref(), Ok("image/png"));
        let with = content_type("text/plain;  charset=UTF-8 ");
        assert_eq!(with.as_deref(), Ok("text/plain; charset=UTF-8"));
        for bad in [
            "",
            "png",
            "a/b/c",
            "/b",
            "a/",
            "a b/c",
            "a/b\r\nx: y",
            &"a/".repeat(99),
        ] {
            assert!(content_type(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn usernames_and_addresses() {
        for good in ["abc", "A_b.c-9", &"x".repeat(32)] {
            assert!(username(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "a b c", "naïve", &"x".repeat(33), "a/b"] {
            assert!(username(bad).is_err(), "{bad}");
        }
        for good in ["a@b.example", "a+b@localhost"] {
            assert!(email(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "@b.c", "a@", "a b@c.d", "a@b@c.d", "a@.d"] {
            assert!(email(bad).is_err(), "{bad}");
        }
        assert!(avatar("javascript:alert(1)").is_err());
        assert!(avatar("https://example.org/a.png").is_ok());
    }
}
