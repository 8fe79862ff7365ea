//! How one talks to a certain chat: the names of its events and the shape of its payloads, as a
//! file says them, so that any Socket.IO chat can be driven.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// A chat's ways. Texts in braces are filled in.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// For the report.
    pub(crate) name: String,
    /// Where people and rooms come from.
    pub(crate) accounts: Accounts,
    /// Where the Socket.IO server listens.
    #[serde(default = "path")]
    pub(crate) path: String,
    /// The payload of CONNECT; `{token}`, `{user}`.
    #[serde(default)]
    pub(crate) connect: String,
    /// The event that says that a socket is let in; empty: the answer to CONNECT says it.
    #[serde(default)]
    pub(crate) ready: String,
    /// Emitted with an ack for each room of a socket before it is ready; `{room}`. Empty: nothing.
    #[serde(default)]
    pub(crate) join: String,
    /// Emitted with an ack for each message; `{room}`, `{text}`, `{id}` (the same when it is
    /// repeated).
    pub(crate) send: String,
    /// In the ack of a message that was accepted.
    pub(crate) accepted: String,
    /// The event that brings a message to the others.
    pub(crate) receive: String,
    /// The event that brings a message to the socket that sent it; empty: none does.
    #[serde(default)]
    pub(crate) own: String,
    /// Whether messages carry `"seq":N`, which rises by one in each room.
    #[serde(default)]
    pub(crate) seq: bool,
    /// Whether a message without an answer is repeated after a reconnect. Only where a repetition
    /// is known by its `{id}`.
    #[serde(default)]
    pub(crate) repeats: bool,
    /// Emitted with an ack after a reconnect, for all rooms of the socket; `{cursors}` becomes
    /// `"room":seq,…`. Empty: what was missed stays missed. The ack holds messages, and
    /// `"more":true` if there is more to ask for.
    #[serde(default)]
    pub(crate) sync: String,
}

/// Where people and rooms come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Accounts {
    /// SyncChat's REST interface.
    Rest,
    /// Nowhere: people and rooms have made-up names that the server takes as they are.
    None,
}

fn path() -> String {
    "/socket.io/".into()
}

/// The one that is used when nothing else is named.
const OURS: &str = include_str!("../targets/syncchat.toml");

impl Target {
    /// Reads a file; SyncChat itself if none is named.
    ///
    /// # Errors
    /// Names the file and the key.
    pub(crate) fn read(path: Option<&Path>) -> Result<Target, Failure> {
        let Some(path) = path else {
            return Ok(toml::from_str(OURS)?);
        };
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }
}

/// A template, taken apart once.
#[derive(Debug)]
pub(crate) struct Template {
    pieces: Vec<(String, Option<Slot>)>,
}

/// What can be filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The room's id.
    Room,
    /// The person's id.
    User,
    /// The person's token.
    Token,
    /// The message's text.
    Text,
    /// The message's name of its sender's choice.
    Id,
    /// The newest message seen.
    Seq,
    /// Where one stands in each room.
    Cursors,
}

const SLOTS: [(&str, Slot); 7] = [
    ("{room}", Slot::Room),
    ("{user}", Slot::User),
    ("{token}", Slot::Token),
    ("{text}", Slot::Text),
    ("{id}", Slot::Id),
    ("{seq}", Slot::Seq),
    ("{cursors}", Slot::Cursors),
];

impl Template {
    /// Takes a text apart. Braces that are no slot stay as they are.
    pub(crate) fn new(text: &str) -> Template {
        let mut pieces = Vec::new();
        let mut rest = text;
        loop {
            let next = SLOTS
                .iter()
                .filter_map(|(name, slot)| Some((rest.find(name)?, *name, *slot)))
                .min_by_key(|(at, ..)| *at);
            let Some((at, name, slot)) = next else {
                pieces.push((rest.to_owned(), None));
                return Template { pieces };
            };
            pieces.push((rest[..at].to_owned(), Some(slot)));
            rest = &rest[at + name.len()..];
        }
    }

    /// Appends the text with everything filled in by `fill`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, mut fill: impl FnMut(Slot, &mut Vec<u8>)) {
        for (text, slot) in &self.pieces {
            out.extend_from_slice(text.as_bytes());
            if let Some(slot) = slot {
                fill(*slot, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_what_it_knows_and_leaves_the_rest() {
        let template = Template::new(r#"["send",{"to":"{room}","text":"{text}","x":{}}]"#);
        let mut out = Vec::new();
        template.write(&mut out, |slot, out| match slot {
            Slot::Room => out.extend_from_slice(b"r1"),
            _ => out.extend_from_slice(b"hi"),
        });
        assert_eq!(out, br#"["send",{"to":"r1","text":"hi","x":{}}]"#);
    }

    #[test]
    fn all_that_come_with_it_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets");
        for file in std::fs::read_dir(folder).unwrap() {
            Target::read(Some(&file.unwrap().path())).unwrap();
        }
        Target::read(None).unwrap();
    }
}
