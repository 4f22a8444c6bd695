//! Transactions, and the language they are written in.

use etcd_api::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;

use super::{Desk, kv, read_line};
use crate::args::{Txn, TxnLine, read_words};
use crate::client::Patience;
use crate::failure::{Failure, code, say};
use crate::quote::{int, quote, unquote, words};
use crate::show::TxnDone;

pub(crate) async fn run(desk: &Desk, asked: &Txn) -> Result<(), Failure> {
    if !asked.words.is_empty() {
        return Err(Failure::bad_args("txn command does not accept argument"));
    }
    let prompt = |text: &str| if asked.interactive { say(format!("{text}\n")) } else { Ok(()) };
    prompt("compares:")?;
    let compare = block(comparison)?;
    prompt("success requests (get, put, del):")?;
    let success = block(operation)?;
    prompt("failure requests (get, put, del):")?;
    let failure = block(operation)?;
    let request = pb::TxnRequest { compare, success, failure };
    let answer = desk.client.txn(Patience::Endless, request).await?;
    desk.style.print(&TxnDone(&answer))
}

/// Reads lines until an empty one.
fn block<T>(parse: impl Fn(&str) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    let mut found = Vec::new();
    loop {
        let line = read_line().map_err(|error| invalid(error.to_string()))?;
        match line.trim() {
            "" => return Ok(found),
            line => found.push(parse(line)?),
        }
    }
}

fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(code::INVALID_INPUT, text)
}

/// Reads `put …`, `get …` or `del …`.
fn operation(line: &str) -> Result<pb::RequestOp, Failure> {
    let words = words(line).map_err(invalid)?;
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {line}")));
    }
    let parsed: TxnLine =
        read_words(&words).map_err(|_| invalid(format!("invalid txn request: {line}")))?;
    let request = match parsed {
        TxnLine::Put(put) => Request::RequestPut(kv::put_request(&put, || None)?),
        TxnLine::Get(get) => Request::RequestRange(kv::range_request(&get)?),
        TxnLine::Del(del) => Request::RequestDeleteRange(kv::delete_request(&del)?),
    };
    Ok(pb::RequestOp { request: Some(request) })
}

/// Reads `target("key") op "value"`.
fn comparison(line: &str) -> Result<pb::Compare, Failure> {
    let malformed = || format!("malformed comparison: {line}");
    let (target, rest) = line.split_once('(').ok_or_else(|| invalid(malformed()))?;
    let (key, op, value) = parts(rest);
    let (Some(key), Some(op), Some(value)) = (&key, &op, &value) else {
        return Err(invalid(format!(
            "{}; got {target}({}) {} {}",
            malformed(),
            quote(&key.unwrap_or_default()),
            op.unwrap_or_default(),
            quote(&value.unwrap_or_default()),
        )));
    };
    let text = String::from_utf8_lossy(value);
    let number = |radix| {
        int(&text, radix).map_err(|_| invalid(format!("invalid txn compare request: {line}")))
    };
    let (target, union) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.clone().into())),
        // In hexadecimal, as leases are printed; etcdctl panics here.
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        other => return Err(invalid(format!("{} (unknown target {other})", malformed()))),
    };
    let result = match op.as_str() {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        "<" => CompareResult::Less,
        ">" => CompareResult::Greater,
        // etcdctl panics here.
        other => return Err(invalid(format!("{} (unknown operator {other})", malformed()))),
    };
    Ok(pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.clone().into(),
        range_end: Default::default(),
        target_union: Some(union),
    })
}

type Parts = (Option<Vec<u8>>, Option<String>, Option<Vec<u8>>);

/// What stands behind the parenthesis, as far as it can be read: key, operator and value.
fn parts(text: &str) -> Parts {
    let Some((key, rest)) = unquote(text.trim_start()) else {
        return (None, None, None);
    };
    let blank = |text: &str| text.starts_with(char::is_whitespace);
    let Some(rest) = rest.strip_prefix(')').filter(|rest| blank(rest)) else {
        return (Some(key), None, None);
    };
    let rest = rest.trim_start();
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (op, rest) = rest.split_at(end);
    if op.is_empty() {
        return (Some(key), None, None);
    }
    let value = unquote(rest.trim_start()).map(|(value, _)| value);
    (Some(key), Some(op.to_owned()), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_read() {
        let check = |line: &str, target: CompareTarget, result: CompareResult, key: &str| {
            let read = comparison(line).expect(line);
            assert_eq!((read.target(), read.result()), (target, result), "{line}");
            assert_eq!(read.key, key, "{line}");
        };
        check("value(\"a\") = \"1\"", CompareTarget::Value, CompareResult::Equal, "a");
        check("val(\"a b\") != \"\"", CompareTarget::Value, CompareResult::NotEqual, "a b");
        check("mod(\"a\")  >  \"7\" more", CompareTarget::Mod, CompareResult::Greater, "a");
        check("c(`a`) < \"7\"", CompareTarget::Create, CompareResult::Less, "a");
        check("version(\"a\") = \"0\"", CompareTarget::Version, CompareResult::Equal, "a");
        let lease = comparison("lease(\"a\") = \"7f\"").expect("a lease");
        assert_eq!(lease.target_union, Some(TargetUnion::Lease(127)));
    }

    #[test]
    fn what_is_no_comparison_is_told_as_etcdctl_tells_it() {
        let check = |line: &str, expected: &str| {
            let failure = comparison(line).expect_err(line);
            assert_eq!((failure.code, failure.text.as_str()), (3, expected));
        };
        check("value \"a\" = 1", "malformed comparison: value \"a\" = 1");
        check("value(a) = \"1\"", "malformed comparison: value(a) = \"1\"; got value(\"\")  \"\"");
        check(
            "value(\"a\") = 1",
            "malformed comparison: value(\"a\") = 1; got value(\"a\") = \"\"",
        );
        check("mod(\"a\")!=\"0\"", "malformed comparison: mod(\"a\")!=\"0\"; got mod(\"a\")  \"\"");
        check(
            "foo(\"a\") = \"1\"",
            "malformed comparison: foo(\"a\") = \"1\" (unknown target foo)",
        );
        check("mod(\"a\") = \"x\"", "invalid txn compare request: mod(\"a\") = \"x\"");
    }

    #[test]
    fn operations_are_read() {
        let read = |line: &str| operation(line).expect(line).request.expect("a request");
        let Request::RequestPut(put) = read("put 'a b' \"c\\td\" --prev-kv") else {
            panic!("a put");
        };
        assert_eq!(
            (put.key.as_ref(), put.value.as_ref(), put.prev_kv),
            (&b"a b"[..], &b"c\td"[..], true)
        );
        let Request::RequestRange(get) = read("get a --prefix --limit=3") else {
            panic!("a get");
        };
        assert_eq!((get.range_end.as_ref(), get.limit), (&b"b"[..], 3));
        let Request::RequestDeleteRange(del) = read("del a --from-key") else {
            panic!("a del");
        };
        assert_eq!(del.range_end.as_ref(), b"\0");
    }

    #[test]
    fn what_is_no_operation_is_told() {
        let check = |line: &str, code: u8, expected: &str| {
            let failure = operation(line).expect_err(line);
            assert_eq!((failure.code, failure.text.as_str()), (code, expected));
        };
        check("put", 3, "invalid txn compare request: put");
        check("foo a b", 3, "invalid txn request: foo a b");
        check("get a --bogus", 3, "invalid txn request: get a --bogus");
        check("put a", 128, "put command needs 1 argument and input from stdin or 2 arguments");
    }
}
