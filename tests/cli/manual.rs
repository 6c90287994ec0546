//! The manual page names everything that the program takes.

use super::fake::run_alone;

const PAGE: &str = include_str!("../../contrib/man/pyratectl.1");

/// The first words of the indented lines of a section of a help text.
fn entries(help: &str, section: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != section).skip(1).take_while(|line| !line.is_empty());
    lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .flat_map(|line| {
            let names = line.trim().split("  ").next().unwrap().to_owned();
            names.split(", ").map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// Whether the page has a macro line for this, dashes written as mdoc wants them.
fn is_described(name: &str) -> bool {
    let wanted = match name.strip_prefix("--") {
        Some(long) => format!("Fl -{}", long.replace('-', "\\-")),
        None => name.strip_prefix('-').map_or_else(|| format!("Ic {name}"), |short| format!("Fl {short}")),
    };
    let tagged = PAGE.lines().filter(|line| line.starts_with(".It "));
    tagged.map(|line| line.to_owned() + " ").any(|line| line.contains(&format!(" {wanted} ")))
}

#[test]
fn each_command_and_each_option_is_in_the_manual_page() {
    let help = run_alone(&["--help"]).out;
    let commands = entries(&help, "Commands:");
    assert_eq!(commands.len(), 15, "{commands:?}");
    let mut names = entries(&help, "Options:");
    for command in &commands {
        names.extend(entries(&run_alone(&[command, "--help"]).out, "Options:"));
    }
    names.sort();
    names.dedup();
    assert!(names.contains(&"--detach".into()) && names.contains(&"-o".into()), "{names:?}");
    for name in commands.iter().chain(&names) {
        assert!(is_described(name), "{name} is not in the manual page");
    }
}

#[test]
fn each_exit_code_is_in_the_manual_page() {
    let help = run_alone(&["--help"]).out;
    let codes = entries(&help, "Error codes:");
    assert_eq!(codes.len(), 13, "{codes:?}");
    for code in codes {
        let number = code.split(' ').next().unwrap();
        assert!(PAGE.lines().any(|line| line == format!(".It {number}")), "exit code {number} is not in the page");
    }
}
