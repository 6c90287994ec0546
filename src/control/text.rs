//! Names and paths, which are bytes, inside JSON, which is Unicode.

use serde::{Deserialize, Serialize};

/// Bytes that are usually UTF-8: in JSON a string, or for other bytes an object `{"text": …, "hex": …}`, whose `text`
/// reads well and whose `hex` counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct RawText(Vec<u8>);

impl RawText {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A plain string, or for bytes that are not UTF-8 an object with both forms.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Plain(String),
    Raw { text: String, hex: String },
}

impl From<Wire> for RawText {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Plain(text) => Self(text.into_bytes()),
            Wire::Raw { text, hex } => Self(unhex(&hex).unwrap_or_else(|| text.into_bytes())),
        }
    }
}

impl From<RawText> for Wire {
    fn from(raw: RawText) -> Self {
        match String::from_utf8(raw.0) {
            Ok(text) => Self::Plain(text),
            Err(error) => {
                let bytes = error.into_bytes();
                let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                Self::Raw { text: String::from_utf8_lossy(&bytes).into_owned(), hex }
            }
        }
    }
}

/// Reads pairs of hex digits; `None` if the text is anything else.
fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}
