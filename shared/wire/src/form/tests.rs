//! Tests of the codec: its bytes against another implementation, its limits, and its patience.

use proptest::prelude::*;

use crate::cbor::{MAX_BYTES, Malformed, Reader, Writer};
use crate::form;
use crate::form::{Form as _, decode, encode};
use crate::samples;

#[derive(Debug, PartialEq)]
struct Old {
    number: u64,
    text: Option<Box<str>>,
}

form!(Old { 1 number, 3 text });

#[derive(Debug, PartialEq)]
struct New {
    number: u64,
    added: Option<Vec<u64>>,
    text: Option<Box<str>>,
    count: u32,
}

form!(New { 1 number, 2 added, 3 text, 4 count [default] });

#[test]
fn old_readers_pass_over_new_fields_and_new_readers_do_without() {
    let new = New { number: 7, added: Some(vec![1, 2]), text: None, count: 9 };
    assert_eq!(decode(&encode(&new)), Ok(Old { number: 7, text: None }));
    let old = Old { number: 7, text: Some("x".into()) };
    let read: New = decode(&encode(&old)).unwrap();
    assert_eq!(read, New { number: 7, added: None, text: Some("x".into()), count: 0 });
}

#[test]
fn integers_have_the_encodings_of_the_rfc() {
    // RFC 8949, appendix A.
    let cases: [(i64, &[u8]); 7] = [
        (0, &[0x00]),
        (23, &[0x17]),
        (24, &[0x18, 0x18]),
        (1_000_000, &[0x1a, 0x00, 0x0f, 0x42, 0x40]),
        (-1, &[0x20]),
        (-1_000, &[0x39, 0x03, 0xe7]),
        (i64::MIN, &[0x3b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ];
    for (number, bytes) in cases {
        assert_eq!(encode(&number), bytes, "{number}");
        assert_eq!(decode(bytes), Ok(number));
    }
}

#[test]
fn what_is_not_ours_is_refused() {
    let cases: [(&[u8], Malformed); 9] = [
        (&[], Malformed::End),
        (&[0xa1, 0x01], Malformed::End),
        (&[0xa1, 0x01, 0x07, 0x00], Malformed::Trailing(1)),
        (&[0xa2, 0x01, 0x07, 0x01, 0x07], Malformed::Order(1)),
        (&[0xa2, 0x03, 0x60, 0x01, 0x07], Malformed::Order(1)),
        (&[0xa0], Malformed::Missing { form: "Old", field: 1 }),
        (&[0xbf, 0x01, 0x07, 0xff], Malformed::Expected("a map")),
        (&[0xa1, 0x18, 0xff, 0xfa, 0, 0, 0, 0], Malformed::Syntax),
        (&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Malformed::End),
    ];
    for (bytes, why) in cases {
        assert_eq!(decode::<Old>(bytes), Err(why), "{bytes:02x?}");
    }
    assert_eq!(decode::<u64>(&vec![0; MAX_BYTES + 1]), Err(Malformed::TooLong));
    let mut deep = vec![0xa2, 0x01, 0x07, 0x18, 0x63];
    deep.extend([0x81; 100]);
    deep.push(0);
    assert_eq!(decode::<Old>(&deep), Err(Malformed::TooDeep));
}

#[test]
fn an_integer_in_a_longer_form_is_read() {
    assert_eq!(decode::<u64>(&[0x1b, 0, 0, 0, 0, 0, 0, 0, 5]), Ok(5));
    assert_eq!(decode::<u8>(&[0x19, 0x01, 0x00]), Err(Malformed::Range("u8")));
}

#[test]
fn maps_of_names_stand_in_the_order_of_their_encodings() {
    let names = ["aa", "b", "a", "ccc"];
    let map: std::collections::BTreeMap<Box<str>, u64> =
        names.into_iter().map(|name| (name.into(), 1)).collect();
    let value: ciborium::Value = ciborium::from_reader(encode(&map).as_slice()).unwrap();
    let keys: Vec<_> =
        value.as_map().unwrap().iter().map(|(name, _)| name.as_text().unwrap()).collect();
    assert_eq!(keys, ["a", "b", "aa", "ccc"]);
    assert_eq!(decode(&encode(&map)), Ok(map));
}

proptest! {
    #[test]
    fn another_implementation_writes_the_same_bytes(event in samples::any_event()) {
        let mut out = Writer::default();
        crate::event::write(&event, &mut out);
        let ours = out.into_bytes();
        let value: ciborium::Value = ciborium::from_reader(ours.as_slice()).unwrap();
        let mut theirs = Vec::new();
        ciborium::into_writer(&value, &mut theirs).unwrap();
        prop_assert_eq!(theirs, ours);
    }

    #[test]
    fn any_value_of_any_depth_is_passed_over_or_refused(bytes: Vec<u8>) {
        let mut from = Reader::new(&bytes).unwrap();
        let _may_be_refused = from.skip();
        let _may_be_refused = Option::<u64>::read(&mut from);
    }
}
