//! What is done to one event's bytes.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use posthorn_domain::cloudevents;
use posthorn_domain::json::Parser;
use posthorn_domain::signing::{SigningKey, generate_ed25519, generate_hmac, signature_header};

use crate::inputs::in_turn;
use crate::{Operation, inputs};

pub(crate) fn decode_binary() -> Operation {
    in_turn(inputs(), |input| {
        let headers = input.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        black_box(cloudevents::decode_binary(headers, input.event.data().clone()).expect("an event"));
    })
}

pub(crate) fn decode_structured() -> Operation {
    in_turn(inputs(), |input| {
        black_box(cloudevents::decode_structured(&input.structured).expect("an event"));
    })
}

pub(crate) fn decode_batch() -> Operation {
    let batches: Vec<Bytes> = inputs()
        .chunks_exact(10)
        .map(|inputs| {
            let events: Vec<&[u8]> = inputs.iter().map(|input| input.structured.as_ref()).collect();
            [b"[".as_slice(), &events.join(&b','), b"]"].concat().into()
        })
        .collect();
    in_turn(batches, |batch| {
        assert_eq!(black_box(cloudevents::decode_batch(batch, 100).expect("a batch")).len(), 10);
    })
}

pub(crate) fn parse() -> Operation {
    let mut parser = Parser::new();
    in_turn(inputs(), move |input| {
        black_box(parser.parse(input.event.data(), |doc| doc.node_count()).expect("JSON"));
    })
}

pub(crate) fn validate() -> Operation {
    let mut parser = Parser::new();
    in_turn(inputs(), move |input| {
        black_box(parser.parse(input.event.data(), |doc| input.schema.is_valid(doc)).expect("JSON"));
    })
}

pub(crate) fn sign_hmac() -> Operation {
    sign(&generate_hmac())
}

pub(crate) fn sign_ed25519() -> Operation {
    sign(&generate_ed25519().0)
}

fn sign(secret: &str) -> Operation {
    let key: SigningKey = secret.parse().expect("a key");
    in_turn(inputs(), move |input| {
        let body = std::slice::from_ref(input.event.data());
        black_box(signature_header([&key], "msg_0123456789abcdef0123456789abcdef", 1_700_000_000, body));
    })
}

/// The body of a structured delivery; the data is not copied.
pub(crate) fn encode_structured() -> Operation {
    in_turn(inputs(), |input| {
        black_box(cloudevents::structured_parts(&input.event, None));
    })
}

pub(crate) fn encode_record() -> Operation {
    let mut out = BytesMut::new();
    in_turn(inputs(), move |input| {
        out.clear();
        input.record.encode(&mut out);
        black_box(&out);
    })
}
