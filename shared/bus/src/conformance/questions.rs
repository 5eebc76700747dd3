//! The sentence about two services, for every implementation.

use bytes::Bytes;
use futures_util::FutureExt;

use super::{CALL, House, ORG, PATIENCE_MS};
use crate::seam::{BusError, Serve, Service};

pub(super) async fn calls_and_questions_have_servers_of_their_own(house: &House) {
    let question = Service::Rates { org: ORG };
    let ask = |ms| house.second.call(question, Bytes::from_static(b"question"), ms);
    let mut calls = house.first.serve(Serve::Authority(None)).await.unwrap();
    assert_eq!(ask(10_000).await, Err(BusError::NoResponders));
    let mut rates = house.first.serve(Serve::Rates(Some(ORG))).await.unwrap();
    let (answer, asked) = tokio::join!(ask(PATIENCE_MS), async {
        let asked = house.soon(rates.next()).await.unwrap();
        (asked.reply)(Bytes::from_static(b"answer"));
        asked.service
    });
    assert_eq!((answer, asked), (Ok(Bytes::from_static(b"answer")), question));
    assert!(calls.next().now_or_never().is_none(), "a question went to the server of calls");
    let call = house.second.call(CALL, Bytes::new(), PATIENCE_MS);
    let (answer, ()) = tokio::join!(call, house.answer(&mut calls, 1, "a call"));
    assert_eq!(answer, Ok(Bytes::from_static(b"a call")));
    assert!(rates.next().now_or_never().is_none(), "a call went to the server of questions");
}
