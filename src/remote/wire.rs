//! Frontend messages, written into a byte vector; and the fields of error reports.

use super::message::Param;
use crate::error::{sqlstate, Error, SqlState};
use pgrx::pg_sys;

/// Writes one message: tag, length, body.
fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    sized(out, body);
}

/// Writes a length that counts itself and what `body` writes.
fn sized(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = ((out.len() - at) as u32).to_be_bytes();
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&len);
    }
}

/// A zero-terminated string. Zero bytes cannot occur in text of the server; they are dropped so
/// that a message can never be cut short.
fn text(out: &mut Vec<u8>, s: &str) {
    if s.as_bytes().contains(&0) {
        out.extend(s.bytes().filter(|b| *b != 0));
    } else {
        out.extend_from_slice(s.as_bytes());
    }
    out.push(0);
}

pub(super) fn ssl_request(out: &mut Vec<u8>) {
    sized(out, |o| o.extend_from_slice(&80_877_103u32.to_be_bytes()));
}

pub(super) fn cancel_request(out: &mut Vec<u8>, pid: i32, key: i32) {
    sized(out, |o| {
        o.extend_from_slice(&80_877_102u32.to_be_bytes());
        o.extend_from_slice(&pid.to_be_bytes());
        o.extend_from_slice(&key.to_be_bytes());
    });
}

pub(super) fn startup(out: &mut Vec<u8>, parameters: &[(&str, &str)]) {
    sized(out, |o| {
        o.extend_from_slice(&196_608u32.to_be_bytes());
        for (name, value) in parameters {
            text(o, name);
            text(o, value);
        }
        o.push(0);
    });
}

pub(super) fn password(out: &mut Vec<u8>, password: &str) {
    message(out, b'p', |o| text(o, password));
}

pub(super) fn sasl_initial(out: &mut Vec<u8>, mechanism: &str, data: &[u8]) {
    message(out, b'p', |o| {
        text(o, mechanism);
        o.extend_from_slice(&(data.len() as i32).to_be_bytes());
        o.extend_from_slice(data);
    });
}

pub(super) fn sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    message(out, b'p', |o| o.extend_from_slice(data));
}

pub(super) fn terminate(out: &mut Vec<u8>) {
    message(out, b'X', |_| ());
}

pub(super) fn query(out: &mut Vec<u8>, sql: &str) {
    message(out, b'Q', |o| text(o, sql));
}

pub(super) fn parse(out: &mut Vec<u8>, name: &str, sql: &str, types: &[u32]) {
    message(out, b'P', |o| {
        text(o, name);
        text(o, sql);
        o.extend_from_slice(&(types.len() as u16).to_be_bytes());
        for t in types {
            o.extend_from_slice(&t.to_be_bytes());
        }
    });
}

pub(super) fn bind(
    out: &mut Vec<u8>,
    portal: &str,
    statement: &str,
    params: &[Param<'_>],
    results: &[i16],
) {
    message(out, b'B', |o| {
        text(o, portal);
        text(o, statement);
        o.extend_from_slice(&(params.len() as u16).to_be_bytes());
        for p in params {
            o.extend_from_slice(&p.format.to_be_bytes());
        }
        o.extend_from_slice(&(params.len() as u16).to_be_bytes());
        for p in params {
            match p.value {
                Some(v) => {
                    o.extend_from_slice(&(v.len() as i32).to_be_bytes());
                    o.extend_from_slice(v);
                }
                None => o.extend_from_slice(&(-1i32).to_be_bytes()),
            }
        }
        o.extend_from_slice(&(results.len() as u16).to_be_bytes());
        for f in results {
            o.extend_from_slice(&f.to_be_bytes());
        }
    });
}

/// `what` is `S` for a statement or `P` for a portal.
pub(super) fn describe(out: &mut Vec<u8>, what: u8, name: &str) {
    message(out, b'D', |o| {
        o.push(what);
        text(o, name);
    });
}

/// `what` is `S` for a statement or `P` for a portal.
pub(super) fn close(out: &mut Vec<u8>, what: u8, name: &str) {
    message(out, b'C', |o| {
        o.push(what);
        text(o, name);
    });
}

pub(super) fn execute(out: &mut Vec<u8>, portal: &str, max_rows: i32) {
    message(out, b'E', |o| {
        text(o, portal);
        o.extend_from_slice(&max_rows.to_be_bytes());
    });
}

pub(super) fn sync(out: &mut Vec<u8>) {
    message(out, b'S', |_| ());
}

pub(super) fn copy_data(out: &mut Vec<u8>, data: &[u8]) {
    message(out, b'd', |o| o.extend_from_slice(data));
}

pub(super) fn copy_done(out: &mut Vec<u8>) {
    message(out, b'c', |_| ());
}

pub(super) fn copy_fail(out: &mut Vec<u8>, reason: &str) {
    message(out, b'f', |o| text(o, reason));
}

/// Text up to a zero byte and what follows it.
pub(super) fn cut(body: &[u8]) -> (&[u8], &[u8]) {
    match body.iter().position(|b| *b == 0) {
        Some(i) => {
            let (text, rest) = body.split_at(i);
            (text, rest.get(1..).unwrap_or_default())
        }
        None => (body, &[]),
    }
}

/// A report of a node: its error and its severity as one of PostgreSQL's levels.
pub(super) struct Report {
    pub error: Error,
    pub level: u32,
}

/// Reads the body of an ErrorResponse or NoticeResponse.
pub(super) fn report(mut body: &[u8]) -> Report {
    let mut error = Error::new(sqlstate::INTERNAL_ERROR, "");
    let mut level = pg_sys::NOTICE;
    let (mut internal, mut internal_at) = (None, 0);
    while let Some((&tag, rest)) = body.split_first() {
        if tag == 0 {
            break;
        }
        let (value, rest) = cut(rest);
        body = rest;
        let s = || String::from_utf8_lossy(value).into_owned();
        match tag {
            b'V' => level = severity(value),
            b'C' => error.code = SqlState::parse(value),
            b'M' => error.message = s(),
            b'D' => error.detail = Some(s()),
            b'H' => error.hint = Some(s()),
            b'W' => error.context = Some(s()),
            b's' => error.schema = Some(s()),
            b't' => error.table = Some(s()),
            b'c' => error.column = Some(s()),
            b'd' => error.datatype = Some(s()),
            b'n' => error.constraint = Some(s()),
            b'q' => internal = Some(s()),
            b'p' => internal_at = s().parse().unwrap_or(0),
            _ => {}
        }
    }
    error.internal = internal.map(|q| (internal_at, q));
    Report { error, level }
}

fn severity(value: &[u8]) -> u32 {
    match value {
        b"PANIC" => pg_sys::PANIC,
        b"FATAL" => pg_sys::FATAL,
        b"ERROR" => 21,
        b"WARNING" => pg_sys::WARNING,
        b"INFO" => pg_sys::INFO,
        b"LOG" => pg_sys::LOG,
        b"DEBUG" | b"DEBUG1" => pg_sys::DEBUG1,
        b"DEBUG2" => pg_sys::DEBUG2,
        b"DEBUG3" => pg_sys::DEBUG3,
        b"DEBUG4" => pg_sys::DEBUG4,
        b"DEBUG5" => pg_sys::DEBUG5,
        _ => pg_sys::NOTICE,
    }
}
