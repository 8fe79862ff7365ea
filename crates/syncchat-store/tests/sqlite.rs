//! smoke
use std::collections::BTreeSet;
use syncchat_core::model::*;
use syncchat_core::ports::store::*;

#[tokio::test]
async fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let s = syncchat_store::open(&format!("sqlite:{}/a/x.db", dir.path().display()))
        .await
        .unwrap();
    let (a, b) = (UserId::generate(), UserId::generate());
    let c = ConversationId::generate();
    let now = Timestamp::now();
    let r = s
        .create_conversation(NewConversation {
            id: c,
            kind: ConversationKind::Private,
            title: None,
            participants: BTreeSet::from([a, b]),
            created_at: now,
        })
        .await
        .unwrap();
    println!("{r:?}");
    let m = |seq: u64, cid: &str| Message {
        id: MessageId::generate(),
        conversation: c,
        seq,
        ordinal: seq,
        sender: a,
        content: "x".into(),
        kind: MessageKind::Text,
        event: None,
        attachments: vec![],
        reply_to: None,
        client_msg_id: Some(cid.into()),
        edited: false,
        deleted: false,
        created_at: now,
        updated_at: now,
    };
    let ap = |e: u64, ms| Append {
        conversation: c,
        expected_seq: e,
        messages: ms,
        changes: vec![],
    };
    assert_eq!(
        s.append(vec![ap(0, vec![m(1, "a"), m(2, "b")])])
            .await
            .unwrap(),
        [Appended::Committed]
    );
    assert_eq!(
        s.append(vec![ap(0, vec![m(1, "c")])]).await.unwrap(),
        [Appended::Moved]
    );
    assert_eq!(
        s.append(vec![ap(2, vec![m(3, "b")])]).await.unwrap(),
        [Appended::Duplicate]
    );
    println!("{:?}", s.unread(b, &[c]).await.unwrap());
    println!(
        "{:?}",
        s.log(
            &[(c, LogRange::Before(u64::MAX)), (c, LogRange::Since(now))],
            10
        )
        .await
        .unwrap()
    );
    println!("{:?}", s.conversations_of(b, None, 10).await.unwrap());
    println!("{:?}", s.memberships_of(b).await.unwrap());
    println!("{:?} {:?}", s.check().await.unwrap(), s.migrate().await);
    let t = std::time::Instant::now();
    for i in 3..103 {
        s.append(vec![ap(i - 1, vec![m(i, &i.to_string())])])
            .await
            .unwrap();
    }
    println!("{:?}/append", t.elapsed() / 100);
}
