//! The lines of the log: as text, or each as a JSON object (pyrated(8), LOG).
//!
//! A record is a sentence and fields. What callers pass in is escaped where it came from the network; control characters that
//! remain are escaped here, and quotes in the values of fields. So a record is always one line, and no value can add a field.

use crate::name::{Escaped, cut};
use log::kv::{self, Key, Source, Value, VisitSource, VisitValue};
use log::{Level, Record};
use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

/// Longest value of a field, in bytes as it is shown. What is longer is cut: names of strangers may be shown with 15 KB.
const VALUE_BYTES_MAX: usize = 1024;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `TIME LEVEL MODULE: sentence key=value`.
    #[default]
    Text,
    /// A JSON object.
    Json,
}

/// How lines are made. Clones change together.
#[derive(Clone)]
pub(super) struct Form {
    /// Standard error leads to the journal, which adds the time and reads priorities.
    journal: bool,
    clock: fn() -> SystemTime,
    is_json: Arc<AtomicBool>,
}

impl Form {
    pub(super) fn new(format: LogFormat, journal: bool, clock: fn() -> SystemTime) -> Self {
        let form = Self { journal, clock, is_json: Arc::default() };
        form.set(format);
        form
    }

    /// Changes the format from the next line on.
    pub(super) fn set(&self, format: LogFormat) {
        self.is_json.store(format == LogFormat::Json, Ordering::Relaxed);
    }

    pub(super) fn is_json(&self) -> bool {
        self.is_json.load(Ordering::Relaxed)
    }

    /// The line of a record. `message`: its sentence.
    pub(super) fn line(&self, to_stderr: bool, record: &Record<'_>, message: &fmt::Arguments<'_>) -> String {
        let priority = self.journal && to_stderr;
        let line = Line {
            time: (self.clock)(),
            level: record.level(),
            target: module_of(record.target()),
            message,
            fields: record.key_values(),
        };
        let mut text = String::new();
        if priority {
            text.push_str(&format!("<{}>", priority_of(record.level())));
        }
        if self.is_json() {
            // Fails only if a value cannot be shown, which no type of ours does.
            text.push_str(&serde_json::to_string(&line).unwrap_or_default());
        } else {
            line.write_text(&mut text, !priority);
        }
        text
    }

    /// The line of a sentence without fields.
    pub(super) fn plain(&self, to_stderr: bool, level: Level, target: &str, message: &fmt::Arguments<'_>) -> String {
        self.line(to_stderr, &Record::builder().level(level).target(target).build(), message)
    }
}

/// The top-level module, without the crate and the rest of the path.
fn module_of(target: &str) -> &str {
    let target = target.strip_prefix("pyrate::").unwrap_or(target);
    target.split("::").next().unwrap_or(target)
}

/// The priorities of syslog(3).
const fn priority_of(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

struct Line<'a> {
    time: SystemTime,
    level: Level,
    target: &'a str,
    message: &'a fmt::Arguments<'a>,
    fields: &'a dyn Source,
}

impl Line<'_> {
    /// `with_time`: otherwise the journal adds time and level.
    fn write_text(&self, text: &mut String, with_time: bool) {
        if with_time {
            text.push_str(&format!("{} {:<5} ", humantime::format_rfc3339_millis(self.time), level_word(self.level)));
        }
        text.push_str(&format!("{}: {}", self.target, escaped(self.message)));
        // Fails only if a value cannot be shown, which no type of ours does.
        let _ = self.fields.visit(&mut TextFields(text));
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &humantime::format_rfc3339_millis(self.time).to_string())?;
        map.serialize_entry("level", &level_word(self.level))?;
        map.serialize_entry("target", self.target)?;
        map.serialize_entry("message", &escaped(self.message))?;
        let mut fields = JsonFields { map: &mut map, error: None };
        let visited = self.fields.visit(&mut fields);
        match (fields.error, visited) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(S::Error::custom(error)),
            (None, Ok(())) => map.end(),
        }
    }
}

fn level_word(level: Level) -> String {
    level.as_str().to_ascii_lowercase()
}

/// ` key=value` for each field.
struct TextFields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for TextFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let mut found = FieldValue::Absent;
        value.visit(&mut found)?;
        let value = match found {
            FieldValue::Absent => return Ok(()),
            FieldValue::Text(text) => text,
            FieldValue::Unsigned(number) => number.to_string(),
            FieldValue::Signed(number) => number.to_string(),
            FieldValue::Truth(truth) => truth.to_string(),
        };
        let is_word = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=');
        if !value.is_empty() && value.chars().all(is_word) {
            self.0.push_str(&format!(" {key}={value}"));
        } else {
            self.0.push_str(&format!(" {key}=\"{}\"", value.replace('"', "\\\"")));
        }
        Ok(())
    }
}

/// Numbers and truth values as such, and all else as the text of the text form.
struct JsonFields<'a, M: SerializeMap> {
    map: &'a mut M,
    error: Option<M::Error>,
}

impl<'kvs, M: SerializeMap> VisitSource<'kvs> for JsonFields<'_, M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let mut found = FieldValue::Absent;
        value.visit(&mut found)?;
        if matches!(found, FieldValue::Absent) {
            return Ok(());
        }
        match self.map.serialize_entry(key.as_str(), &found) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.error = Some(error);
                Err(kv::Error::msg("a field cannot be written"))
            }
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum FieldValue {
    Text(String),
    Unsigned(u64),
    Signed(i64),
    Truth(bool),
    /// The field has no value in this record.
    Absent,
}

impl<'v> VisitValue<'v> for FieldValue {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        *self = Self::Text(shortened(escaped(&value)));
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        *self = Self::Absent;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        *self = Self::Unsigned(value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        *self = Self::Signed(value);
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        *self = Self::Truth(value);
        Ok(())
    }
}

/// Escapes control characters. Backslashes stay, since they come from escaping already done.
fn escaped(what: &dyn fmt::Display) -> String {
    let mut text = OneLine(String::new());
    // Writing to a string does not fail.
    let _ = write!(text, "{what}");
    text.0
}

/// A text of at most [`VALUE_BYTES_MAX`] bytes, and an ellipsis if there is more.
fn shortened(mut text: String) -> String {
    if text.len() > VALUE_BYTES_MAX {
        let end = cut(text.as_bytes(), VALUE_BYTES_MAX).len();
        text.truncate(end);
        text.push('\u{2026}');
    }
    text
}

struct OneLine(String);

impl fmt::Write for OneLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\\') {
            let (plain, backslash) = part.strip_suffix('\\').map_or((part, ""), |plain| (plain, "\\"));
            write!(self.0, "{}{backslash}", Escaped(plain.as_bytes()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::FileName;
    use serde_json::{Value as Json, json};
    use std::time::Duration;

    fn clock() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)
    }

    fn line(form: &Form, level: Level, message: &str, fields: &[(&str, Value<'_>)]) -> String {
        let target = "pyrate::node::search";
        let record = Record::builder().level(level).target(target).key_values(&fields).build();
        form.line(true, &record, &format_args!("{message}"))
    }

    /// The fields of a line of text, as a program would read them.
    fn read_fields(mut text: &str) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while let Some((key, rest)) = text.split_once('=') {
            let (value, rest) = match rest.strip_prefix('"') {
                Some(rest) => {
                    let escapes = |at: usize| rest[..at].bytes().rev().take_while(|&b| b == b'\\').count();
                    let end = rest.match_indices('"').find(|(at, _)| escapes(*at) % 2 == 0).unwrap().0;
                    (rest[..end].to_owned(), &rest[end + 1..])
                }
                None => {
                    let end = rest.find(' ').unwrap_or(rest.len());
                    (rest[..end].to_owned(), &rest[end..])
                }
            };
            fields.push((key.trim_start().to_owned(), value));
            text = rest;
        }
        fields
    }

    const HOSTILE: [&[u8]; 12] = [
        b"a b",
        b"a\" peer=1.2.3.4:5 x=\"",
        b"a\\\" peer=1.2.3.4:5",
        b"back\\slash\\",
        b"a\\",
        b"name=value",
        "\u{202e}gpj.exe\u{2028}next \u{9b}31m".as_bytes(),
        b"\xff\xfe \x80",
        b"{\"level\":\"error\"}",
        b"}\",\"peer\":\"x",
        "a\u{a0}b\u{3000}c".as_bytes(),
        b"=",
    ];

    #[test]
    fn fields_follow_the_sentence_and_are_quoted_where_they_need_it() {
        let form = Form::new(LogFormat::Text, false, clock);
        let fields = [
            ("id", Value::from(3)),
            ("name", Value::from("foo.txt")),
            ("path", Value::from("/a b/c")),
            ("none", Value::from("")),
            ("says", Value::from("\"x\"\n")),
        ];
        assert_eq!(
            line(&form, Level::Info, "download finished", &fields),
            "2023-11-14T22:13:20.123Z info  node: download finished id=3 name=foo.txt path=\"/a b/c\" none=\"\" \
             says=\"\\\"x\\\"\\n\""
        );
    }

    #[test]
    fn no_name_can_forge_a_line_or_a_field() {
        for bytes in HOSTILE {
            let name = FileName::from_bytes(bytes).unwrap();
            let fields = [("name", Value::from_display(&name)), ("bytes", Value::from(7))];
            let text = line(&Form::new(LogFormat::Text, false, clock), Level::Info, "sent", &fields);
            assert!(!text.contains(|c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2028}')), "{text}");
            let read = read_fields(text.strip_prefix("2023-11-14T22:13:20.123Z info  node: sent").unwrap());
            let shown = name.to_string().replace('"', "\\\"");
            assert_eq!(read, [("name".to_owned(), shown), ("bytes".to_owned(), "7".to_owned())], "{text}");
            let json = line(&Form::new(LogFormat::Json, false, clock), Level::Info, "sent", &fields);
            let expected = json!({
                "time": "2023-11-14T22:13:20.123Z", "level": "info", "target": "node", "message": "sent",
                "name": name.to_string(), "bytes": 7,
            });
            assert_eq!(serde_json::from_str::<Json>(&json).unwrap(), expected, "{json}");
            assert!(!json.contains(|c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2028}')), "{json}");
        }
    }

    #[test]
    fn a_long_value_is_cut_between_two_characters_and_one_that_is_absent_is_left_out() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let long = "é".repeat(600) + "x";
            let fields = [("name", Value::from(long.as_str())), ("peer", Value::null())];
            let line = line(&Form::new(format, false, clock), Level::Info, "sent", &fields);
            assert!(line.contains(&format!("{}…", "é".repeat(512))), "{line}");
            assert!(!line.contains("ééx") && !line.contains("peer"), "{line}");
        }
    }

    #[test]
    fn numbers_and_truth_values_are_such_in_json() {
        let form = Form::new(LogFormat::Json, false, clock);
        let fields = [("a", Value::from(-1)), ("b", Value::from(u64::MAX)), ("c", Value::from(true))];
        let line = line(&form, Level::Warn, "x\ny", &fields);
        assert!(line.starts_with("{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"warn\",\"target\":\"node\","));
        assert!(line.ends_with(",\"message\":\"x\\\\ny\",\"a\":-1,\"b\":18446744073709551615,\"c\":true}"), "{line}");
    }

    #[test]
    fn the_journal_is_told_priorities_instead_of_time_and_level() {
        let form = Form::new(LogFormat::Text, true, clock);
        assert_eq!(line(&form, Level::Error, "x", &[]), "<3>node: x");
        assert_eq!(line(&form, Level::Info, "x", &[("a", Value::from(1))]), "<6>node: x a=1");
        assert_eq!(line(&form, Level::Trace, "x", &[]), "<7>node: x");
    }

    #[test]
    fn the_priority_of_the_journal_stands_before_the_object() {
        let form = Form::new(LogFormat::Text, true, clock);
        form.set(LogFormat::Json);
        let line = line(&form, Level::Warn, "x", &[]);
        let object = line.strip_prefix("<4>").unwrap();
        assert_eq!(serde_json::from_str::<Json>(object).unwrap()["level"], "warn");
    }
}
