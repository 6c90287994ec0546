//! Names and paths, which are bytes, inside JSON, which is Unicode.

use crate::id::ContentHash;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Bytes that are usually UTF-8: in JSON a string, or for other bytes an object `{"text": …, "hex": …}`, whose `text`
/// reads well and whose `hex` counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawText(Vec<u8>);

impl RawText {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The same bytes where they are.
pub(super) struct RawTextRef<'a>(pub(super) &'a [u8]);

impl Serialize for RawText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawTextRef(&self.0).serialize(serializer)
    }
}

// Not derived from an enum of both forms, which takes each name from place to place: lists have a million of them.
impl Serialize for RawTextRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = str::from_utf8(self.0) {
            return serializer.serialize_str(text);
        }
        let mut raw = serializer.serialize_struct("RawText", 2)?;
        raw.serialize_field("text", &String::from_utf8_lossy(self.0))?;
        raw.serialize_field("hex", &self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())?;
        raw.end()
    }
}

impl<'de> Deserialize<'de> for RawText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

/// A hash as its hex digits.
pub(super) struct Hex(pub(super) ContentHash);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Reads either form.
struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = RawText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or an object with its text and hex digits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawText, E> {
        Ok(RawText::new(text))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<RawText, E> {
        Ok(RawText::new(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawText, A::Error> {
        #[derive(Deserialize)]
        struct Raw {
            text: String,
            hex: String,
        }
        let raw = Raw::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(RawText(unhex(&raw.hex).unwrap_or_else(|| raw.text.into_bytes())))
    }
}

/// Reads pairs of hex digits; `None` if the text is anything else.
fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}
