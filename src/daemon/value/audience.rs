//! For whom a share is.

use super::{Kind, named, quoted, string, wrong_type};
use crate::audience::Audience;
use toml::de::DeValue;

/// All, or a list of addresses and ranges; as a word separated by commas or white space.
pub(in crate::daemon) struct ForWhom;

/// How all are called.
const ALL: &str = "all";

impl Kind for ForWhom {
    type Value = Audience;

    fn word(text: &str) -> Result<Audience, String> {
        if text == ALL {
            return Ok(Audience::all());
        }
        let ranges = text.split([',', ' ', '\t']).filter(|item| !item.is_empty());
        Audience::of(ranges).map_err(|fault| fault.to_string())
    }

    fn toml(value: &DeValue<'_>) -> Result<Audience, String> {
        let expected = "\"all\" or a list, as [\"192.168.0.0/16\", \"fd00::/8\"]";
        match (value.as_str(), value.as_array()) {
            (Some(ALL), _) => Ok(Audience::all()),
            (Some(other), _) => Err(format!("expected {expected}, not {}", named(other))),
            (None, Some(list)) => {
                let ranges = list.iter().map(|item| string(item.get_ref())).collect::<Result<Vec<_>, _>>()?;
                Audience::of(ranges).map_err(|fault| fault.to_string())
            }
            (None, None) => Err(wrong_type(expected, value)),
        }
    }

    fn show(value: &Audience) -> String {
        match value.ranges() {
            None => quoted(ALL),
            Some(ranges) => {
                let ranges: Vec<String> = ranges.iter().map(|range| quoted(range)).collect();
                format!("[{}]", ranges.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Audience, String> {
        ForWhom::toml(DeValue::parse(text).unwrap().get_ref())
    }

    #[test]
    fn an_audience_is_read_and_shown_so_that_it_reads_back() {
        let some = Audience::of(["192.168.0.0/16", "fd00::/8", "192.0.2.7"]).unwrap();
        assert_eq!(read("[\"192.168.0.0/16\", \"fd00::/8\", \"192.0.2.7\"]"), Ok(some.clone()));
        assert_eq!(ForWhom::word("fd00::/8, 192.0.2.7 192.168.0.0/16"), Ok(some.clone()));
        assert_eq!(ForWhom::show(&some), "[\"192.0.2.7\", \"192.168.0.0/16\", \"fd00::/8\"]");
        assert_eq!(read(&ForWhom::show(&some)), Ok(some));
        for all in [read("\"all\""), ForWhom::word("all")] {
            assert_eq!(all, Ok(Audience::all()));
        }
        assert_eq!(read(&ForWhom::show(&Audience::all())), Ok(Audience::all()));
    }

    #[test]
    fn what_is_none_is_refused_with_what_to_write() {
        for (text, problem) in [
            ("\"192.168.0.0/16\"", "expected \"all\" or a list, as [\"192.168.0.0/16\", \"fd00::/8\"], not \"192.168"),
            ("\"\"", "expected \"all\" or a list"),
            ("7", "expected \"all\" or a list, as [\"192.168.0.0/16\", \"fd00::/8\"], not a value of type integer"),
            ("[7]", "expected a string, not a value of type integer"),
            ("[]", "an empty list is for nobody"),
            ("[\"all\"]", "\"all\" stands alone"),
            ("[\"10.0.0.1/8\"]", "has bits set beyond its prefix; the range is \"10.0.0.0/8\""),
            ("[\"a\\nb\"]", "not \"a\\nb\""),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
        }
        assert!(ForWhom::word("").unwrap_err().contains("an empty list is for nobody"));
        assert!(ForWhom::word("everybody").unwrap_err().contains("names are not looked up"));
    }
}
