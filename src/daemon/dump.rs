//! `pyrated --dump-config`: the configuration in force as a file, with the origin of each value.

use super::config::Config;
use super::fault::Place;
use super::keys::{KEYS, Key};
use super::load::Loaded;
use crate::name::Escaped;

impl Loaded {
    /// A file that reads back to the configuration in force. Comments tell the origins of the values.
    pub(super) fn dump(&self) -> String {
        let config = &self.config;
        // Not written as configured: a bootstrap node that is served by default is replaced by one that runs already.
        let shown = Config { bootstrap_serve: config.bootstrap_serve, ..config.resolved() };
        let served = config.serve().filter(|_| config.bootstrap_serve.is_none());
        let file = match &self.file {
            Some(path) => format!("The configuration file is {}.", Escaped::path(path)),
            None => "There is no configuration file.".to_owned(),
        };
        let mut text = format!("# The configuration in force, with the origin of each value. {file}\n");
        for key in KEYS {
            let served = served.filter(|_| key.name == "bootstrap_serve");
            let served = served.map(|addr| format!("; in force without being set: a bootstrap node at {addr}"));
            text.push_str(&format!(
                "\n# {}\n{} = {} # {}{}\n",
                key.meaning,
                key.name,
                (key.show)(&shown),
                self.origin(key),
                served.unwrap_or_default()
            ));
        }
        text
    }

    /// Where the value of a key comes from.
    fn origin(&self, key: &Key) -> String {
        let default = if key.unset.is_empty() { "default".to_owned() } else { format!("default: {}", key.unset) };
        match self.origins.given(key.name) {
            None => default,
            // An empty value stands for the default.
            Some(place) if !key.unset.is_empty() && (key.same)(&self.config, &Config::default()) => {
                format!("{default}; unset by {}", bare(place))
            }
            Some(place) => bare(place),
        }
    }
}

/// A place without the key, beside which it stands.
fn bare(place: &Place) -> String {
    match place {
        Place::File { path, line, .. } => Place::File { path: path.clone(), line: *line, key: None }.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
