//! The head of an answer: status, how its body is framed, whether the connection lasts (RFC 9112 §4, §6.3, §9.3).

use std::mem::MaybeUninit;

use http::StatusCode;

use super::Framing;
use crate::egress::allowed_rate::AllowedRate;
use crate::egress::error::Fault;

/// Header lines that an answer may have.
const MAX_HEADERS: usize = 100;

/// What is remembered of a head.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) wait: Option<Box<Wait>>,
    pub(super) allowed_rate: Option<AllowedRate>,
}

/// `Retry-After` and the `Date` that it may count from, as they stand.
pub(super) struct Wait {
    pub(super) retry_after: Box<[u8]>,
    pub(super) date: Option<Box<[u8]>>,
}

/// What a head is.
pub(super) enum Outcome {
    /// 1xx: another one follows.
    Interim,
    /// The last one, how its body is framed, and whether the connection may serve again.
    Final(Head, Framing, bool),
}

/// The length of the head that `input` begins with, and what it says; `None` while it is incomplete.
pub(super) fn parse(input: &[u8]) -> Result<Option<(usize, Outcome)>, Fault> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, input, &mut headers);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Fault::Protocol(error.to_string())),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| protocol("a status below 100"))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(protocol("101 without having been asked"));
    }
    if status.is_informational() {
        return Ok(Some((length, Outcome::Interim)));
    }
    let fields = Fields::of(response.headers);
    let old = response.version == Some(0);
    let (framing, clear) = fields.framing(status, old)?;
    let lasts = if old { fields.keep_alive && !fields.close } else { !fields.close };
    let keep = lasts && clear && framing != Framing::UntilClose;
    Ok(Some((length, Outcome::Final(Head { status, wait: fields.wait(), allowed_rate: fields.allowed_rate }, framing, keep))))
}

/// The headers that matter here.
#[derive(Default)]
struct Fields<'a> {
    length: Option<u64>,
    /// Whether there is a length at all, good or bad.
    has_length: bool,
    bad_length: bool,
    /// The last encoding that was applied, when there is any.
    encoding: Option<&'a [u8]>,
    close: bool,
    keep_alive: bool,
    retry_after: Option<&'a [u8]>,
    date: Option<&'a [u8]>,
    allowed_rate: Option<AllowedRate>,
}

impl<'a> Fields<'a> {
    fn of(headers: &[httparse::Header<'a>]) -> Self {
        let mut fields = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            match header.name.len() {
                4 if is("date") => fields.date = fields.date.or(Some(header.value)),
                10 if is("connection") => fields.connection(header.value),
                11 if is("retry-after") => fields.retry_after = fields.retry_after.or(Some(header.value)),
                14 if is("content-length") => {
                    fields.has_length = true;
                    fields.bad_length |= !fields.one_length(header.value);
                }
                17 if is("transfer-encoding") => fields.encoding = header.value.rsplit(|byte| *byte == b',').next().map(<[u8]>::trim_ascii),
                20 if is("webhook-allowed-rate") => fields.allowed_rate = fields.allowed_rate.or_else(|| AllowedRate::read(header.value)),
                _ => {}
            }
        }
        fields
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Whether all lengths so far are one number. Equal ones may be repeated (RFC 9110 §8.6).
    fn one_length(&mut self, value: &[u8]) -> bool {
        value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).all(|text| {
            let number = text.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(text).ok()?.parse::<u64>().ok()).flatten();
            number.is_some_and(|number| *self.length.get_or_insert(number) == number)
        })
    }

    /// How the body ends, and whether that is beyond doubt (RFC 9112 §6.3; the request was a POST).
    fn framing(&self, status: StatusCode, old: bool) -> Result<(Framing, bool), Fault> {
        if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            return Ok((Framing::Length(0), true));
        }
        match (self.encoding, self.length) {
            (Some(_), _) if old => Err(protocol("transfer-encoding in HTTP/1.0")),
            (Some(last), _) if last.eq_ignore_ascii_case(b"chunked") => Ok((Framing::Chunked, !self.has_length)),
            (None, _) if self.bad_length => Err(protocol("content-length is no number, or there are two")),
            (None, Some(length)) => Ok((Framing::Length(length), true)),
            (Some(_), _) | (None, None) => Ok((Framing::UntilClose, true)),
        }
    }

    fn wait(&self) -> Option<Box<Wait>> {
        self.retry_after.map(|retry_after| Box::new(Wait { retry_after: retry_after.into(), date: self.date.map(Into::into) }))
    }
}

fn protocol(text: &str) -> Fault {
    Fault::Protocol(text.into())
}
