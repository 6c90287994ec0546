//! The kind of value that names a network interface.

use super::value::{Kind, named, quoted};

/// The name of a network interface, as the system takes it.
pub(super) struct InterfaceName;

/// Longest name of an interface, in bytes (netdevice(7), IFNAMSIZ).
const INTERFACE_BYTES_MAX: usize = 15;

impl Kind for InterfaceName {
    type Value = String;

    fn word(text: &str) -> Result<String, String> {
        let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b',');
        let is_name = !text.is_empty() && text.len() <= INTERFACE_BYTES_MAX && text.bytes().all(fits);
        if is_name && !matches!(text, "." | "..") {
            return Ok(text.to_owned());
        }
        Err(format!("expected the name of one network interface, as `ip link` lists them, not {}", named(text)))
    }

    fn show(value: &String) -> String {
        quoted(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_interface_is_named_as_the_system_names_it() {
        for name in ["wg0", "eth0.7", "br-1f", "tun_home", "123456789012345"] {
            assert_eq!(InterfaceName::word(name).unwrap(), name);
        }
        for other in ["", "1234567890123456", "wg0,wg1", "wg0 wg1", "a/b", "..", "eth0:1", "\u{e9}th0"] {
            assert!(InterfaceName::word(other).unwrap_err().contains("one network interface"), "{other}");
        }
    }
}
