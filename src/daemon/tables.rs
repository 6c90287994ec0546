//! Keys whose value is a list of tables, each begun by `[[key]]` in the file.

use super::fault::ValueFault;
use super::value::{Kind, named, wrong_type};
use crate::name::Escaped;
use crate::suggest::closest;
use std::marker::PhantomData;
use toml::de::{DeTable, DeValue};

/// One table of such a list.
pub(super) trait Entry: Default + 'static {
    /// As the list is called in the file.
    const NAME: &'static str;
    /// Largest number of tables.
    const COUNT_MAX: usize;
    const FIELDS: &'static [Field<Self>];

    /// What is missing in a table whose values are good, if anything is.
    fn lacks(&self) -> Option<&'static str>;
}

/// A key of a table.
pub(super) struct Field<T> {
    pub(super) name: &'static str,
    pub(super) set: fn(&mut T, &DeValue<'_>) -> Result<(), String>,
    /// The value as TOML; `None` for a key that is not set.
    pub(super) show: fn(&T) -> Option<String>,
}

/// As a word, the list is written as TOML: `[{ key = value }, ...]`.
pub(super) struct Tables<T>(PhantomData<T>);

impl<T: Entry> Kind for Tables<T> {
    type Value = Vec<T>;

    fn word(text: &str) -> Result<Vec<T>, String> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let unfit = || format!("expected tables as in [{{ {} = ... }}], not {}", T::FIELDS[0].name, named(text));
        let value = DeValue::parse(text).map_err(|error| format!("{}; {}", unfit(), error.message()))?;
        Self::toml(value.get_ref())
    }

    fn toml(value: &DeValue<'_>) -> Result<Vec<T>, String> {
        Self::located(value).map_err(|fault| fault.message)
    }

    fn located(value: &DeValue<'_>) -> Result<Vec<T>, ValueFault> {
        let unfit = |value: &DeValue<'_>| wrong_type(&format!("tables, each begun by [[{}]]", T::NAME), value);
        let list = value.as_array().ok_or_else(|| unfit(value))?;
        if let Some(beyond) = list.get(T::COUNT_MAX) {
            let message = format!("at most {} tables [[{}]], not {}", T::COUNT_MAX, T::NAME, list.len());
            return Err(fault(beyond.span().start, message));
        }
        let read = |item: &toml::Spanned<DeValue<'_>>| {
            let none = || fault(item.span().start, unfit(item.get_ref()));
            let table = item.get_ref().as_table().ok_or_else(none)?;
            let lacks = |missing| format!("a [[{}]] lacks {missing}", T::NAME);
            let entry: T = read_table(table)?;
            entry.lacks().map_or(Ok(entry), |missing| Err(fault(item.span().start, lacks(missing))))
        };
        list.iter().map(read).collect()
    }

    fn show(value: &Vec<T>) -> String {
        let fields = |entry: &T| -> Vec<String> {
            let set = |field: &Field<T>| (field.show)(entry).map(|value| format!("{} = {value}", field.name));
            T::FIELDS.iter().filter_map(set).collect()
        };
        let entries: Vec<String> = value.iter().map(|entry| format!("{{ {} }}", fields(entry).join(", "))).collect();
        format!("[{}]", entries.join(", "))
    }
}

fn fault(at: usize, message: String) -> ValueFault {
    ValueFault { at: Some(at), message, unknown: None }
}

/// The first fault by its place is told.
fn read_table<T: Entry>(table: &DeTable<'_>) -> Result<T, ValueFault> {
    let mut entry = T::default();
    let mut keys: Vec<_> = table.iter().collect();
    keys.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in keys {
        let at = name.span().start;
        let Some(field) = T::FIELDS.iter().find(|field| field.name == name.get_ref().as_ref()) else {
            return Err(ValueFault {
                unknown: Some(name.get_ref().to_string()),
                ..fault(at, unknown::<T>(name.get_ref()))
            });
        };
        (field.set)(&mut entry, value.get_ref()).map_err(|message| fault(at, format!("{}: {message}", field.name)))?;
    }
    Ok(entry)
}

/// What to say about a key that such a table has not.
fn unknown<T: Entry>(name: &str) -> String {
    let names = || T::FIELDS.iter().map(|field| field.name);
    let advice = match closest(&name.to_lowercase().replace('-', "_"), names()) {
        Some(field) => format!("did you mean \"{field}\"?"),
        None => format!("it has {}", names().collect::<Vec<_>>().join(", ")),
    };
    format!("unknown key \"{}\" in a [[{}]]; {advice}", Escaped(name.as_bytes()), T::NAME)
}
