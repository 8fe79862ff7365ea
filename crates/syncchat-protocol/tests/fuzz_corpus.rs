//! Runs the fuzz targets, bounded, over their committed corpus and mutations of it.
#![cfg(test)]

#[allow(unreachable_pub, reason = "a library there, a module here")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

/// Inputs made from each file of a corpus.
const MUTATIONS_PER_SEED: u64 = 400;

#[test]
fn payload() {
    run("payload", targets::payload);
}

#[test]
fn session() {
    run("session", targets::session);
}

#[test]
fn frame() {
    run("frame", targets::frame);
}

fn run(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let seeds: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    assert!(!seeds.is_empty());
    let mut cases = 0;
    for (i, seed) in seeds.iter().enumerate() {
        body(seed);
        cases += 1;
        for round in 0..MUTATIONS_PER_SEED {
            let mut random = Random(1 + i as u64 * MUTATIONS_PER_SEED + round);
            let other = &seeds[random.below(seeds.len())];
            body(&mutated(seed, other, &mut random));
            cases += 1;
        }
    }
    println!("{target}: {cases} cases");
}

/// Up to eight small changes; the same for the same seed.
fn mutated(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    const TOKENS: &[&[u8]] = &[
        b"\n",
        b"#",
        b"\x1e",
        b"\"",
        b"\\",
        b"\\u005f",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b"/",
        b"-",
        b"0",
        b"10-",
        b"18446744073709551616",
        b"1e0",
        b"{\"_placeholder\":true,\"num\":1}",
        b"\xff",
        b"\xc3\xa4",
        b" ",
        b"2[\"e\"]",
        b"52-",
    ];
    let mut data = seed.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(data.len() + 1);
        match random.below(6) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => {
                data.remove(at);
            }
            2 => data.truncate(at),
            3 => {
                let from = random.below(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            4 => {
                let again = data[..at].to_vec();
                data.extend_from_slice(&again);
            }
            _ => {
                let token = TOKENS[random.below(TOKENS.len())];
                data.splice(at..at, token.iter().copied());
            }
        }
        data.truncate(16 * 1024);
    }
    data
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
