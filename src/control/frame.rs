//! JSON-RPC 2.0 objects, one a line: requests, responses and the one notification, `event`.

use super::{CallError, CallId, Notice, Reply, Request};
use crate::name::Escaped;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Longest line of a daemon, in bytes: it also drops a client for which so much waits unread.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// Longest line of a client, in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 << 10;

const PARSE_ERROR: i32 = -32700;
/// The line is JSON, but not a request.
const INVALID_REQUEST: i32 = -32600;
const UNKNOWN_METHOD: i32 = -32601;
/// A parameter is missing, unknown or malformed.
pub(crate) const BAD_PARAMS: i32 = -32602;

/// Longest text as an ID of a call, in bytes.
const CALL_ID_BYTES_MAX: usize = 64;

/// Longest message about malformed input, in characters.
const MESSAGE_CHARS_MAX: usize = 400;

/// The methods and the parameters of each, as [`Request`] names them.
const METHODS: [(&str, &[&str]); 37] = [
    ("status", &[]),
    ("peers", &[]),
    ("search", &["text", "max", "ttl"]),
    ("hits", &["search", "after"]),
    ("searches", &["after"]),
    ("wish", &["text", "download", "limit"]),
    ("wishes", &["after"]),
    ("wish_hits", &["id"]),
    ("unwish", &["which"]),
    ("list", &["peer"]),
    ("forget", &["peer"]),
    ("download", &["what", "output"]),
    ("downloads", &["after"]),
    ("directory_files", &["id", "after"]),
    ("follow", &["ids"]),
    ("pause", &["ids"]),
    ("resume", &["ids"]),
    ("retry", &["ids"]),
    ("cancel", &["ids"]),
    ("move", &["id", "to"]),
    ("forget_downloads", &["ids"]),
    ("uploads", &["after"]),
    ("files", &["after"]),
    ("shares", &["after"]),
    ("left_out", &["after"]),
    ("link", &["what"]),
    ("manifest", &["peer", "name", "b3", "after"]),
    ("give_manifest", &["after", "text"]),
    ("rescan", &[]),
    ("bootstrap", &["after"]),
    ("limit", &["down", "up", "reset"]),
    ("metrics", &[]),
    ("events", &[]),
    ("event_log", &["since"]),
    ("reload", &[]),
    ("log_level", &["level"]),
    ("stop", &[]),
];

/// What a daemon sends to its client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Incoming {
    Reply {
        call: CallId,
        /// The JSON of the result, whose type follows from the call, or why there is none.
        outcome: Result<String, CallError>,
    },
    /// An error about a line that the daemon could not take for a call.
    Refused(CallError),
    Notice(Notice),
    /// The parameters of a notice that a newer daemon knows and we do not.
    Unknown(Value),
}

/// Reads a line of a client.
///
/// # Errors
///
/// The error to send back, with the ID of the call if the line had a usable one.
pub(crate) fn decode_request(line: &[u8]) -> Result<(CallId, Request), (Option<CallId>, CallError)> {
    let value: Value =
        serde_json::from_slice(line).map_err(|e| (None, error(PARSE_ERROR, format!("not JSON: {e}"))))?;
    let Value::Object(mut object) = value else {
        return Err((None, error(INVALID_REQUEST, "a request is one object a line; batches are not taken")));
    };
    let call = match object.remove("id").map(read_id) {
        Some(Some(call)) => call,
        Some(None) => {
            return Err((
                None,
                error(INVALID_REQUEST, "id must be a whole number from 0 on, or a text of at most 64 bytes"),
            ));
        }
        None if object.get("method").is_some_and(Value::is_string) => CallId::Notification,
        None => return Err((None, error(INVALID_REQUEST, "id and method are missing"))),
    };
    match read_call(object) {
        Ok(request) => Ok((call, request)),
        Err(error) => Err((Some(call), error)),
    }
}

/// The line that answers a call, with its `\n`; nothing if it is a notification.
pub(crate) fn encode_reply(call: &CallId, outcome: &Result<Reply, CallError>) -> Vec<u8> {
    match outcome {
        _ if *call == CallId::Notification => Vec::new(),
        Ok(reply) => line(&Response { jsonrpc: "2.0", id: Some(call), result: Some(reply), error: None }),
        Err(error) => line(&Response { jsonrpc: "2.0", id: Some(call), result: None, error: Some(error) }),
    }
}

/// The line that refuses something without a usable ID, with its `\n`.
pub(crate) fn encode_error_without_id(error: &CallError) -> Vec<u8> {
    line(&Response { jsonrpc: "2.0", id: None, result: None, error: Some(error) })
}

/// The line that carries a notice, with its `\n`.
pub(crate) fn encode_notice(notice: &Notice) -> Vec<u8> {
    #[derive(Serialize)]
    struct Notification<'a> {
        jsonrpc: &'static str,
        method: &'static str,
        params: &'a Notice,
    }
    line(&Notification { jsonrpc: "2.0", method: "event", params: notice })
}

/// The line that makes a call, with its `\n`.
pub(crate) fn encode_request(call: &CallId, request: &Request) -> Vec<u8> {
    #[derive(Serialize)]
    struct Call<'a> {
        jsonrpc: &'static str,
        id: &'a CallId,
        #[serde(flatten)]
        request: &'a Request,
    }
    line(&Call { jsonrpc: "2.0", id: call, request })
}

/// Reads a line of a daemon.
///
/// # Errors
///
/// What is wrong with it, in one escaped line: the sender is no daemon of this version.
pub(crate) fn decode_incoming(line: &[u8]) -> Result<Incoming, String> {
    // Results and notices stay as they are until their type is known: a tree of a page of rows takes ten times its size.
    #[derive(Deserialize)]
    struct Envelope<'a> {
        jsonrpc: Option<Value>,
        id: Option<Value>,
        method: Option<IgnoredAny>,
        #[serde(borrow)]
        params: Option<&'a RawValue>,
        #[serde(borrow)]
        result: Option<&'a RawValue>,
        error: Option<Value>,
    }
    let envelope: Envelope<'_> = serde_json::from_slice(line).map_err(|error| match error.classify() {
        Category::Data => "not an object".to_owned(),
        _ => escaped(&format!("not JSON: {error}")),
    })?;
    if envelope.jsonrpc != Some(json!("2.0")) {
        return Err("not JSON-RPC 2.0".into());
    }
    if envelope.method.is_some() {
        let params = envelope.params.map_or("null", RawValue::get);
        let unknown = || Incoming::Unknown(serde_json::from_str(params).unwrap_or_default());
        return Ok(serde_json::from_str(params).map_or_else(|_| unknown(), Incoming::Notice));
    }
    let outcome = match (envelope.result, envelope.error) {
        (Some(result), None) => Ok(result.get().to_owned()),
        (None, Some(error)) => {
            let error: CallError = serde_json::from_value(error).map_err(|e| escaped(&format!("error: {e}")))?;
            Err(CallError { message: escape_controls(&error.message), ..error })
        }
        _ => return Err("neither a result nor an error".into()),
    };
    match (envelope.id, outcome) {
        (None, Err(error)) => Ok(Incoming::Refused(error)),
        (id, outcome) => match id.and_then(read_id) {
            Some(call) => Ok(Incoming::Reply { call, outcome }),
            None => Err("a result without an id".into()),
        },
    }
}

/// A JSON-RPC response. `result` and `error` exclude one another; `id` is null when it could not be read.
#[derive(Serialize)]
struct Response<'a> {
    jsonrpc: &'static str,
    id: Option<&'a CallId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Reply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a CallError>,
}

fn read_id(value: Value) -> Option<CallId> {
    match value {
        Value::Number(number) => number.as_u64().map(CallId::Number),
        Value::String(text) if text.len() <= CALL_ID_BYTES_MAX => Some(CallId::Text(text)),
        _ => None,
    }
}

/// Reads everything of a request but its ID.
fn read_call(mut object: Map<String, Value>) -> Result<Request, CallError> {
    if object.get("jsonrpc") != Some(&json!("2.0")) {
        return Err(error(INVALID_REQUEST, "jsonrpc must be \"2.0\""));
    }
    let Some(Value::String(method)) = object.remove("method") else {
        return Err(error(INVALID_REQUEST, "method must be a text"));
    };
    let Some((_, fields)) = METHODS.iter().find(|(name, _)| *name == method) else {
        let known: Vec<&str> = METHODS.iter().map(|(name, _)| *name).collect();
        return Err(error(
            UNKNOWN_METHOD,
            format!("no method '{}'; there are {}", clip(&method, 40), known.join(", ")),
        ));
    };
    let params = match object.remove("params") {
        None => Map::new(),
        Some(Value::Object(params)) => params,
        Some(Value::Array(params)) if params.is_empty() => Map::new(),
        Some(_) => return Err(error(BAD_PARAMS, "params must be an object")),
    };
    if let Some(stranger) = params.keys().find(|key| !fields.contains(&key.as_str())) {
        return Err(error(BAD_PARAMS, format!("{method} has no parameter '{}'", clip(stranger, 40))));
    }
    read_request(&method, fields, params.clone()).map_err(|cause| {
        // The cause does not say where it lies, so try the parameters alone.
        let bad = params.iter().find(|(key, value)| {
            let alone = Map::from_iter([((*key).clone(), (*value).clone())]);
            read_request(&method, fields, alone).is_err_and(|e| !e.to_string().starts_with("missing field"))
        });
        let place = bad.map(|(key, _)| format!("parameter '{key}': ")).unwrap_or_default();
        error(BAD_PARAMS, format!("{place}{cause}"))
    })
}

fn read_request(method: &str, fields: &[&str], params: Map<String, Value>) -> Result<Request, serde_json::Error> {
    let object =
        if fields.is_empty() { json!({ "method": method }) } else { json!({ "method": method, "params": params }) };
    serde_json::from_value(object)
}

fn error(code: i32, message: impl AsRef<str>) -> CallError {
    CallError { code, message: escaped(message.as_ref()) }
}

/// One line, escaped, of bounded length.
fn escaped(text: &str) -> String {
    Escaped(clip(text, MESSAGE_CHARS_MAX).as_bytes()).to_string()
}

/// Escapes what a daemon should have escaped, and leaves what it has alone: a backslash is not doubled.
fn escape_controls(text: &str) -> String {
    text.split('\\').map(|part| Escaped(part.as_bytes()).to_string()).collect::<Vec<_>>().join("\\")
}

/// The beginning of a text, at most `chars_max` characters.
fn clip(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// A value as a line. Our own types cannot fail to become JSON.
fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    debug_assert!(!line.is_empty(), "a control type that JSON cannot hold");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests;
