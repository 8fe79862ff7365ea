//! What nodes say to each other about themselves, as bytes: a version byte, then MessagePack with
//! named fields, by the rules of [`crate::envelope`]. A signal that a release does not know is
//! passed over.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::peers::Beat;

const VERSION: u8 = 1;

/// Something about a node, not about the chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signal {
    /// It is here. To all nodes, itself too.
    Beat(Beat),
    /// It ends. To all nodes.
    Bye,
    /// Its notices after this number are to be told again. To the node that is asked.
    Missed {
        /// The last one that was heard for sure.
        after: u64,
    },
    /// Notices, told again. To the node that asked.
    Again {
        /// Each an envelope of its own.
        events: Vec<Vec<u8>>,
        /// There are no more.
        last: bool,
        /// The number of the newest that was told.
        up_to: u64,
    },
}

/// A signal and the process it comes from.
pub(crate) fn encode(process: u64, signal: &Signal) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = vec![VERSION];
    let wire = Wire {
        process,
        signal: match signal.clone() {
            Signal::Beat(beat) => WireSignal::Beat {
                node: beat.node,
                age: u64::try_from(beat.age.as_millis()).unwrap_or(u64::MAX),
                said: beat.said,
                losses: beat.losses,
            },
            Signal::Bye => WireSignal::Bye {},
            Signal::Missed { after } => WireSignal::Missed { after },
            Signal::Again {
                events,
                last,
                up_to,
            } => WireSignal::Again {
                events: events.into_iter().map(ByteBuf::from).collect(),
                last,
                up_to,
            },
        },
    };
    wire.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map())?;
    Ok(bytes)
}

/// Reads a signal; `None` if this release does not know it.
pub(crate) fn decode(bytes: &[u8]) -> Option<(u64, Signal)> {
    let (&VERSION, body) = bytes.split_first()? else {
        return None;
    };
    let Wire { process, signal } = rmp_serde::from_slice(body).ok()?;
    let signal = match signal {
        WireSignal::Beat {
            node,
            age,
            said,
            losses,
        } => Signal::Beat(Beat {
            node,
            age: Duration::from_millis(age),
            said,
            losses,
        }),
        WireSignal::Bye {} => Signal::Bye,
        WireSignal::Missed { after } => Signal::Missed { after },
        WireSignal::Again {
            events,
            last,
            up_to,
        } => Signal::Again {
            events: events.into_iter().map(ByteBuf::into_vec).collect(),
            last,
            up_to,
        },
    };
    Some((process, signal))
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "p")]
    process: u64,
    #[serde(rename = "s")]
    signal: WireSignal,
}

#[derive(Serialize, Deserialize)]
enum WireSignal {
    #[serde(rename = "b")]
    Beat {
        node: String,
        /// Milliseconds.
        #[serde(default = "very_old")]
        age: u64,
        #[serde(default)]
        said: u64,
        #[serde(default)]
        losses: u64,
    },
    #[serde(rename = "x")]
    Bye {},
    #[serde(rename = "m")]
    Missed { after: u64 },
    #[serde(rename = "a")]
    Again {
        events: Vec<ByteBuf>,
        last: bool,
        #[serde(default)]
        up_to: u64,
    },
}

/// One that does not say how long it has been there is taken for one that was heard all along.
fn very_old() -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_survive_the_way_and_strange_ones_are_passed_over() {
        for signal in [
            Signal::Beat(Beat {
                node: "n1".into(),
                age: Duration::from_millis(1_500),
                said: 7,
                losses: 1,
            }),
            Signal::Bye,
            Signal::Missed { after: 3 },
            Signal::Again {
                events: vec![vec![1, 2], Vec::new()],
                last: true,
                up_to: 8,
            },
        ] {
            let bytes = encode(9, &signal).expect("encodes");
            assert_eq!(decode(&bytes), Some((9, signal)));
        }
        for bytes in [&[][..], &[VERSION], &[VERSION + 1, 0x80], &[VERSION, 0x80]] {
            assert_eq!(decode(bytes), None);
        }
    }

    #[test]
    fn a_later_release_may_add_fields() {
        #[derive(Serialize)]
        struct Later {
            p: u64,
            s: Signals,
            more: bool,
        }
        #[derive(Serialize)]
        enum Signals {
            #[serde(rename = "b")]
            Beat { node: &'static str, load: f64 },
        }
        let later = Later {
            p: 4,
            s: Signals::Beat {
                node: "n2",
                load: 0.5,
            },
            more: true,
        };
        let mut bytes = vec![VERSION];
        bytes.extend(rmp_serde::to_vec_named(&later).expect("encodes"));
        let beat = Beat {
            node: "n2".into(),
            age: Duration::from_millis(u64::MAX),
            said: 0,
            losses: 0,
        };
        assert_eq!(decode(&bytes), Some((4, Signal::Beat(beat))));
    }
}
