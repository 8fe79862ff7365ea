//! The small languages of settings: durations, sizes, rates, lists, addresses.

use std::net::SocketAddr;
use std::time::Duration;

use syncchat_core::files::ContentTypes;
use syncchat_core::ports::limiter::Rate;

use super::AllowedOrigins;
use super::network::Network;

/// A value, or why the text is none.
pub type Parsed<T> = Result<T, String>;

/// `300ms`, `25s`, `15m`, `12h`, `30d`.
pub fn duration(text: &str) -> Parsed<Duration> {
    let (number, unit) = split_unit(text);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("must be a number with ms, s, m, h or d, such as 15m".into()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "must be a whole number with a unit, such as 15m".to_owned())?;
    let millis = number.checked_mul(millis).ok_or("is too long")?;
    Ok(Duration::from_millis(millis))
}

/// A duration from `least` to `most`.
pub fn duration_in(least: &str, most: &str) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        let value = duration(text)?;
        match value >= duration(least)? && value <= duration(most)? {
            true => Ok(value),
            false => Err(format!("must be from {least} to {most}")),
        }
    }
}

/// Bytes: `100000`, `64KiB`, `1MiB`, `2GiB`; `kB`, `MB` and `GB` are powers of ten.
pub fn size(text: &str) -> Parsed<usize> {
    let (number, unit) = split_unit(text);
    let bytes: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err("must be bytes, such as 100000, 64KiB or 1MiB".into()),
    };
    let number: usize = number
        .parse()
        .map_err(|_| "must be bytes, such as 100000, 64KiB or 1MiB".to_owned())?;
    number.checked_mul(bytes).ok_or_else(|| "is too big".into())
}

/// A size from `least` to `most`.
pub fn size_in(least: &str, most: &str) -> impl Fn(&str) -> Parsed<usize> {
    move |text| {
        let value = size(text)?;
        match value >= size(least)? && value <= size(most)? {
            true => Ok(value),
            false => Err(format!("must be from {least} to {most}")),
        }
    }
}

/// A whole number from `least` to `most`.
pub fn number_in(least: u32, most: u32) -> impl Fn(&str) -> Parsed<u32> {
    move |text| match text.parse() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

/// `RATE[:BURST]` with `/s` or `/m`, such as `20/s:100`; without a burst it is the rate's own
/// number. `off`: no limit.
pub fn rate(text: &str) -> Parsed<Option<Rate>> {
    const SHAPE: &str = "must be RATE[:BURST] with /s or /m, such as 20/s:100, or off";
    if text == "off" {
        return Ok(None);
    }
    let (rate, burst) = match text.split_once(':') {
        Some((rate, burst)) => (rate, Some(burst)),
        None => (text, None),
    };
    let (number, unit) = rate.split_once('/').ok_or(SHAPE)?;
    let positive = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
    let number = positive(number).ok_or(SHAPE)?;
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(SHAPE.into()),
    };
    let burst = match burst {
        Some(burst) => positive(burst).ok_or(SHAPE)?,
        None => number,
    };
    Ok(Some(Rate {
        per_second: f64::from(number) / seconds,
        burst,
    }))
}

/// `IP:PORT`.
pub fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse()
        .map_err(|_| "must be IP:PORT, such as 127.0.0.1:8080 or [::]:8080".into())
}

/// `IP:PORT`, with a port that somebody can call.
pub fn reachable_address(text: &str) -> Parsed<SocketAddr> {
    match address(text)? {
        address if address.port() == 0 => Err("must have a port".into()),
        address => Ok(address),
    }
}

/// `IP:PORT`, or `off`.
pub fn address_or_off(text: &str) -> Parsed<Option<SocketAddr>> {
    match text {
        "off" => Ok(None),
        _ => address(text).map(Some),
    }
}

/// Networks, separated by commas; `none`, or nothing, for none.
pub fn networks(text: &str) -> Parsed<Vec<Network>> {
    match text {
        "none" => Ok(Vec::new()),
        _ => items(text).map(str::parse).collect(),
    }
}

/// Origins, separated by commas; `*` for any; nothing for none but our own.
pub fn origins(text: &str) -> Parsed<AllowedOrigins> {
    if text.trim() == "*" {
        return Ok(AllowedOrigins::Any);
    }
    let list: Vec<String> = items(text).map(origin).collect::<Parsed<_>>()?;
    Ok(match list.is_empty() {
        true => AllowedOrigins::Same,
        false => AllowedOrigins::List(list),
    })
}

/// `scheme://host[:port]` in lower case, as browsers send it, and the views of apps that have a scheme of their own
/// (`capacitor://localhost`).
fn origin(text: &str) -> Parsed<String> {
    const SHAPE: &str = "must be scheme://host[:port] without a path, or * alone";
    let text = text.to_ascii_lowercase();
    let (scheme, host) = text.split_once("://").ok_or(SHAPE)?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.bytes().all(fits) {
        return Err(SHAPE.into());
    }
    // Mistakes: no browser sends an origin of these.
    if ["ws", "wss", "ftp", "file"].contains(&scheme) {
        return Err(format!("no page has an origin with the scheme {scheme}"));
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@*\"'\\".contains(c);
    match host.is_empty() || host.contains(odd) {
        true => Err(SHAPE.into()),
        false => Ok(text),
    }
}

/// Content types, separated by commas: `type/subtype` or `type/*`; `*` for any.
pub fn content_types(text: &str) -> Parsed<ContentTypes> {
    if text.trim() == "*" {
        return Ok(ContentTypes::Any);
    }
    let list: Vec<String> = items(text).map(str::to_ascii_lowercase).collect();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"+-._".contains(&b);
    let is_type = |item: &String| {
        item.split_once('/').is_some_and(|(kind, subtype)| {
            let named = !kind.is_empty() && kind.bytes().all(fits);
            named && (subtype == "*" || (!subtype.is_empty() && subtype.bytes().all(fits)))
        })
    };
    match !list.is_empty() && list.iter().all(is_type) {
        true => Ok(ContentTypes::Only(list)),
        false => Err("must be types such as image/*,application/pdf, or * alone".into()),
    }
}

/// A name for a node: 1 to 64 of `[A-Za-z0-9_.-]`.
pub fn node_id(text: &str) -> Parsed<String> {
    let fits = (1..=64).contains(&text.len());
    match fits && text.bytes().all(node_id_byte) {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 64 of A-Z a-z 0-9 _ . -".into()),
    }
}

/// Whether a node's name may hold this byte.
pub fn node_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let good = [
            ("300ms", 300),
            ("25s", 25_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
        ];
        for (text, millis) in good {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "15",
            "m",
            "-1s",
            "1.5s",
            "1 s",
            "1S",
            "1w",
            "s1",
            "1m30s",
            "99999999999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(duration_in("1s", "1h")("999ms").is_err());
        assert!(duration_in("1s", "1h")("1h").is_ok());
        assert!(duration_in("1s", "1h")("61m").is_err());
    }

    #[test]
    fn sizes() {
        let good = [
            ("100000", 100_000),
            ("1MiB", 1_048_576),
            ("64KiB", 65_536),
            ("2kB", 2_000),
            ("1GiB", 1_073_741_824),
        ];
        for (text, bytes) in good {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "MiB",
            "1.5MiB",
            "-1",
            "1 MiB",
            "1mib",
            "1M",
            "99999999999GiB",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_of_files() {
        let two = ContentTypes::Only(vec!["image/*".into(), "text/plain".into()]);
        assert_eq!(content_types("Image/*, text/plain"), Ok(two));
        assert_eq!(content_types("*"), Ok(ContentTypes::Any));
        for bad in [
            "",
            "image",
            "*/*",
            "image/",
            "/png",
            "a/b;c=d",
            "*,image/png",
        ] {
            assert!(content_types(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates() {
        let good = [
            ("20/s:100", 20.0, 100),
            ("10/m:10", 10.0 / 60.0, 10),
            ("5/s", 5.0, 5),
        ];
        for (text, per_second, burst) in good {
            assert_eq!(rate(text), Ok(Some(Rate { per_second, burst })), "{text}");
        }
        assert_eq!(rate("off"), Ok(None));
        for bad in [
            "", "20", "20/h", "20/s:", "0/s", "20/s:0", "-1/s", "1.5/s", "OFF", "20/s:1:1",
        ] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_and_lists() {
        assert!(address("127.0.0.1:0").is_ok());
        assert!(address("[::1]:80").is_ok());
        for bad in ["", "localhost:80", ":80", "127.0.0.1", "1.2.3.4:99999"] {
            assert!(address(bad).is_err(), "{bad}");
        }
        assert_eq!(address_or_off("off"), Ok(None));
        assert_eq!(
            origins("https://Example.org, http://localhost:5173,capacitor://localhost"),
            Ok(AllowedOrigins::List(vec![
                "https://example.org".into(),
                "http://localhost:5173".into(),
                "capacitor://localhost".into()
            ]))
        );
        assert_eq!(origins(""), Ok(AllowedOrigins::Same));
        assert_eq!(origins("*"), Ok(AllowedOrigins::Any));
        for bad in [
            "example.org",
            "https://",
            "https://a/b",
            "ftp://a",
            "wss://a",
            "1a://b",
            "capacitor:localhost",
            "https://*.a",
            "*,https://a",
        ] {
            assert!(origins(bad).is_err(), "{bad}");
        }
        assert_eq!(networks("10.0.0.0/8, ::1").map(|list| list.len()), Ok(2));
        assert_eq!(networks("none").map(|list| list.len()), Ok(0));
        assert!(networks("10.0.0.0/33").is_err());
        assert!(node_id("a.b_c-1").is_ok());
        assert!(node_id("").is_err());
        assert!(node_id("a b").is_err());
    }
}
