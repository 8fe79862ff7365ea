//! What the single steps of a message's way cost, apart from the kernel: reading its packet,
//! encoding it for all its readers, and deciding who gets it. Times are of one machine at one
//! moment: compare two builds on the same one, never two machines.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot begin should say so"
)]
#![allow(missing_docs, reason = "made by the harness")]

use divan::{Bencher, black_box};
use syncchat_contract::message::Message;
use syncchat_core::model::{ConversationId, UserId};
use syncchat_core::testing::message;
use syncchat_delivery::{
    Config, Frame as Delivered, Input, Machine, Outlet, Reason, Rev, Seq, Verdict,
};
use syncchat_protocol::{Frame, Limits, socketio};

fn main() {
    divan::main();
}

/// A text of 128 bytes, as the load test sends it.
fn text() -> String {
    ".".repeat(128)
}

#[divan::bench]
fn decode_send_msg(bencher: Bencher<'_, '_>) {
    let packet = format!(
        r#"2117["send_msg",{{"conversationId":"65b8f1e2a3c4d5e6f7a8b9c0","content":"{}","clientMsgId":"1-17"}}]"#,
        text()
    );
    let limits = Limits::for_messages_of(100_000);
    bencher.bench_local(|| socketio::decode(black_box(&packet), &limits).unwrap());
}

#[divan::bench]
fn encode_receive_msg(bencher: Bencher<'_, '_>) {
    let conversation = ConversationId::generate();
    let message = message(conversation, UserId::generate(), &text());
    bencher
        .bench_local(|| Frame::event("receive_msg", &Message::fresh(black_box(&message))).unwrap());
}

/// As small as a frame can be: what is measured is the machine.
#[derive(Clone, Copy)]
struct Page;

impl Delivered for Page {
    fn bytes(&self) -> usize {
        512
    }
    fn rev(&self) -> Rev {
        1
    }
}

/// Readers that take everything.
#[derive(Default)]
struct Readers(u64);

impl Outlet<u32, u32, Page> for Readers {
    fn deliver(&mut self, _: &u32, _: u32, _: Seq, _: &Page) -> Verdict {
        self.0 += 1;
        Verdict::Taken
    }
    fn passed(&mut self, _: u32, _: Seq, _: &Page, _: &mut Vec<u32>) {}
    fn fetch(&mut self, _: u32, _: Seq, _: usize, _: Reason) {}
    fn changed(&mut self, _: u32, _: Seq, _: &Page) {}
    fn fetch_changes(&mut self, _: u32, _: Rev, _: usize) {}
    fn compare(&mut self, _: Vec<u32>) {}
    fn subscribe(&mut self, _: u32) {}
    fn unsubscribe(&mut self, _: u32) {}
}

/// One message for a room of so many: divide by that for one delivery.
#[divan::bench(args = [10, 100, 1000])]
fn deliver_to_room_of(bencher: Bencher<'_, '_>, readers: u32) {
    let mut machine = Machine::new(Config::default());
    let mut outlet = Readers::default();
    for reader in 0..readers {
        let join = Input::Join {
            room: 1,
            reader,
            after: 0,
        };
        machine.handle(0, join, &mut outlet);
    }
    machine.handle(0, Input::Subscribed { room: 1 }, &mut outlet);
    let heads = [(1, 0, 1)];
    machine.handle(0, Input::Heads { heads: &heads }, &mut outlet);
    let mut seq = 0;
    bencher.bench_local(|| {
        seq += 1;
        let committed = Input::Committed {
            room: 1,
            first: seq,
            frames: &[Page],
        };
        machine.handle(0, committed, &mut outlet);
    });
    assert_eq!(
        outlet.0,
        seq * u64::from(readers),
        "everybody got everything"
    );
}
