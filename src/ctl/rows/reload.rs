//! What a reload did.

use super::Show;
use crate::control::ReloadReply;
use crate::ctl::table::{Look, Table, Tone};
use crate::ctl::text::name;
use serde_json::Value;

impl Show for ReloadReply {
    fn people(&self, look: Look) -> String {
        self.rows(["KEY", "~WAS", "~IN FORCE", "~NEXT START"]).aligned(look)
    }

    fn table(&self) -> Table {
        self.rows(["key", "was", "in_force", "next_start"])
    }
}

impl ReloadReply {
    /// A row for each key that has changed, or that the next start would change.
    fn rows(&self, titles: [&'static str; 4]) -> Table {
        let mut table = Table::new(&titles);
        for changed in &self.changed {
            let waiting = self.waiting.iter().find(|waiting| waiting.key == changed.key);
            let next_start = waiting.map_or(&changed.in_force, |waiting| &waiting.next_start);
            table.push(Tone::Good, row(&changed.key, [&changed.was, &changed.in_force, next_start]));
        }
        for waiting in &self.waiting {
            if !self.changed.iter().any(|changed| changed.key == waiting.key) {
                let cells = row(&waiting.key, [&waiting.in_force, &waiting.in_force, &waiting.next_start]);
                table.push(Tone::Plain, cells);
            }
        }
        table
    }
}

fn row(key: &str, values: [&Value; 3]) -> Vec<String> {
    [name(key.as_bytes())].into_iter().chain(values.map(cell)).collect()
}

/// A value as one could write it on the command line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => name(text.as_bytes()),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => {
            let between = if items.iter().any(Value::is_object) { "; " } else { " " };
            items.iter().map(cell).collect::<Vec<_>>().join(between)
        }
        // A table, such as one of `[[share]]` or `[[limit]]`.
        Value::Object(keys) => {
            let set = keys.iter().filter(|(_, value)| !value.is_null());
            set.map(|(key, value)| format!("{key} = {}", cell(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_says_what_was_what_is_and_what_will_be() {
        let reply: ReloadReply = serde_json::from_value(json!({
            "file": "/etc/pyrate/pyrated.toml",
            "changed": [{"key": "bootstraps", "was": [], "in_force": ["a:1", "b:2"]}],
            "waiting": [
                {"key": "log_file", "in_force": null, "next_start": "/a\u{1b}b"},
                {"key": "limit", "in_force": [], "next_start": [
                    {"upload_limit": 1024, "download_limit": null, "when": "Sat"}, {"when": "22:00-06:00", "upload_limit": 0}
                ]},
            ],
            "remarks": [],
        }))
        .unwrap();
        assert_eq!(
            reply.table().separated(),
            "key\twas\tin_force\tnext_start\nbootstraps\t-\ta:1 b:2\ta:1 b:2\nlog_file\t-\t-\t/a\\x1bb\n\
             limit\t-\t-\tupload_limit = 1024, when = Sat; upload_limit = 0, when = 22:00-06:00\n"
        );
    }
}
