//! What a browser is told about a file: shown or saved, and under which name.

/// Types that a browser may show: it runs nothing of them. Everything else is saved, SVG among it.
const SHOWN: [&str; 20] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "image/bmp",
    "audio/mpeg",
    "audio/mp4",
    "audio/aac",
    "audio/ogg",
    "audio/webm",
    "audio/wav",
    "audio/x-wav",
    "audio/flac",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "image/heic",
    "image/heif",
];

/// `Content-Disposition` (RFC 6266): the name in plain letters for old browsers, and as it is.
pub(crate) fn disposition(name: &str, content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let kind = match SHOWN.contains(&essence) {
        true => "inline",
        false => "attachment",
    };
    // Browsers take the last part of what looks like a path; nobody need think about it.
    let name = name.replace(['/', '\\'], "_");
    let plain: String = name
        .chars()
        .map(|c| match c {
            ' '..='~' if !"\"%".contains(c) => c,
            _ => '_',
        })
        .collect();
    format!(
        "{kind}; filename=\"{plain}\"; filename*=UTF-8''{}",
        encode(&name)
    )
}

/// Percent-encodes all but RFC 5987's `attr-char`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => encoded.push(byte as char),
            b'!' | b'#' | b'$' | b'&' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~' => {
                encoded.push(byte as char);
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_paths_and_break_out_of_nothing() {
        let cases = [
            (
                "a b.txt",
                "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt",
            ),
            (
                "../x\\\"; y=\".html",
                "attachment; filename=\".._x__; y=_.html\"; \
                 filename*=UTF-8''.._x_%22%3B%20y%3D%22.html",
            ),
            (
                "é.pdf",
                "attachment; filename=\"_.pdf\"; filename*=UTF-8''%C3%A9.pdf",
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(disposition(name, "text/html"), expected);
        }
    }

    #[test]
    fn only_what_runs_nothing_is_shown() {
        for shown in ["image/png", "video/mp4; codecs=avc1"] {
            assert!(disposition("a", shown).starts_with("inline; "), "{shown}");
        }
        for saved in [
            "image/svg+xml",
            "text/html",
            "text/xml",
            "application/xhtml+xml",
            "text/javascript",
            "application/pdf",
            "text/plain",
            "",
        ] {
            assert!(
                disposition("a", saved).starts_with("attachment; "),
                "{saved}"
            );
        }
    }
}
