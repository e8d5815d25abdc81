//! `cargo xtask docs`: the table of settings in `docs/settings.md`, made from the source, so that
//! it cannot disagree with it.

use crate::util::{fail, files_below, root, Context, Result};
use std::fs;

const TARGET: &str = "docs/settings.md";

const INTRODUCTION: &str = "\
# Settings

Every `citus.*` setting of the interface can be set. One whose column *effect* says \"none yet\" is
accepted and kept, but nothing reads it so far. Who may change a setting and when follows
PostgreSQL's contexts: *user* by SET at any time, *superuser* by SET of superusers, *sighup* in the
configuration file with a reload, *postmaster* at server start, *superuser-backend* at the start of
a superuser's session.

This file is written by `cargo xtask docs`.
";

/// One setting, as `src/settings` declares it.
struct Setting {
    name: String,
    default: String,
    context: String,
    description: String,
    used: bool,
}

/// Writes the file.
pub fn write() -> Result<()> {
    fs::write(root().join(TARGET), text()?).context(TARGET)?;
    println!("{TARGET} is written");
    Ok(())
}

/// A complaint if the file is not what [`write`] would write.
pub fn check() -> Result<Option<String>> {
    let written = fs::read_to_string(root().join(TARGET)).unwrap_or_default();
    let stale = written != text()?;
    Ok(stale.then(|| format!("{TARGET} is not up to date: run `cargo xtask docs`")))
}

fn text() -> Result<String> {
    let source = other_source()?;
    let words = read("src/settings/values.rs")?;
    let mut text = INTRODUCTION.to_string();
    for (file, title) in [
        ("src/settings/listed.rs", "Listed"),
        ("src/settings/hidden.rs", "For tests and special cases (not in SHOW ALL)"),
    ] {
        text.push_str(&format!("\n## {title}\n\n"));
        text.push_str("| setting | default | set by | effect | meaning |\n|---|---|---|---|---|\n");
        for setting in settings(&read(file)?, &words, &source)? {
            text.push_str(&row(&setting));
        }
    }
    Ok(text)
}

fn row(setting: &Setting) -> String {
    let effect = if setting.used { "yes" } else { "none yet" };
    let Setting { name, default, context, description, .. } = setting;
    let default = match default.as_str() {
        "" => String::new(),
        value => format!("`{value}`"),
    };
    format!("| `citus.{name}` | {default} | {context} | {effect} | {description} |\n")
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(root().join(file)).context(file)
}

/// All source of the extension except the settings themselves, where a use means an effect.
fn other_source() -> Result<String> {
    let settings = root().join("src/settings");
    let mut all = String::new();
    for file in files_below(&root().join("src"))? {
        if !file.starts_with(&settings) && file.extension().is_some_and(|e| e == "rs") {
            all.push_str(&fs::read_to_string(&file).context(file.display())?);
        }
    }
    Ok(all)
}

/// Reads the table of settings in a source file.
fn settings(declarations: &str, words: &str, source: &str) -> Result<Vec<Setting>> {
    let table = declarations.split_once("settings! {").and_then(|(_, rest)| rest.split_once(';'));
    let table = table.and_then(|(_, rest)| rest.split_once("\n}")).map(|(entries, _)| entries);
    let Some(table) = table else {
        return fail("src/settings: no table of settings");
    };
    let mut found = Vec::new();
    for entry in table.split("\";").filter(|e| !e.trim().is_empty()) {
        let Some(mut setting) = parse(entry.trim(), words) else {
            return fail(format!("src/settings: cannot read {entry}"));
        };
        setting.used = is_used(source, &setting.name);
        // The version is told, not obeyed.
        setting.used |= setting.context == "nobody";
        found.push(setting);
    }
    Ok(found)
}

/// Whether a setting's accessor is called, or handed on to be called.
fn is_used(source: &str, name: &str) -> bool {
    let path = format!("settings::{name}");
    source.match_indices(&path).any(|(at, _)| {
        !source[at + path.len()..].starts_with(|c: char| c == '_' || c.is_alphanumeric())
    })
}

/// Reads `name: kind(arguments) Context flags, "description`, the closing quote being cut off.
fn parse(entry: &str, words: &str) -> Option<Setting> {
    let (declaration, description) = entry.split_once(",\n")?;
    let (name, rest) = declaration.split_once(": ")?;
    let (kind, rest) = rest.split_once('(')?;
    let (arguments, context) = rest.rsplit_once(") ")?;
    let context = match context.split(' ').next()? {
        "User" => "user",
        "Superuser" => "superuser",
        "SuperuserBackend" => "superuser-backend",
        "Sighup" => "sighup",
        "Postmaster" => "postmaster",
        "Internal" => "nobody",
        _ => return None,
    };
    Some(Setting {
        name: name.to_string(),
        default: default_value(kind, arguments, words)?,
        context: context.to_string(),
        description: description.trim().trim_start_matches('"').to_string(),
        used: false,
    })
}

/// The default as SHOW prints it, but for sizes, which keep the unit of the declaration.
fn default_value(kind: &str, arguments: &str, words: &str) -> Option<String> {
    let first = arguments.split(',').next()?.trim();
    let number = first.replace('_', "");
    Some(match (kind, number.as_str()) {
        ("bool", "true") => "on".to_string(),
        ("bool", _) => "off".to_string(),
        ("text", _) => first.trim_matches('"').to_string(),
        ("choice", _) => {
            let variant = arguments.split(',').nth(1)?.trim();
            let (_, block) = words.split_once(&format!(" {first} {{"))?;
            let (_, word) = block.split_once(&format!(" {variant} = \""))?;
            word.split('"').next()?.to_string()
        }
        ("priority", _) => "inherit".to_string(),
        ("int" | "real", number) => number.to_string(),
        (_, "-1" | "0") => number,
        ("byte", number) => number.replace(" * ", " "),
        (unit, number) => format!("{number} {unit}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "/// x\n    Track { None = \"none\", All = \"all\", }";

    fn one(entry: &str) -> Option<(String, String, String)> {
        parse(entry, WORDS).map(|s| (s.default, s.context, s.description))
    }

    #[test]
    fn declarations_are_read() {
        let owned = |a: &str, b: &str, c: &str| Some((a.to_string(), b.to_string(), c.to_string()));
        assert_eq!(one("a: bool(true) User 0,\n    \"What."), owned("on", "user", "What."));
        let wait = "wait: ms(30_000, -1, guc::max()) Sighup HIDDEN | LIST,\n \"Time.";
        assert_eq!(one(wait), owned("30000 ms", "sighup", "Time."));
        let track = "t: choice(Track, All) Superuser 0,\n \"Which.";
        assert_eq!(one(track), owned("all", "superuser", "Which."));
        assert_eq!(one("nonsense"), None);
    }

    #[test]
    fn accessors_are_found() {
        let source = "settings::shard_count(), x.unwrap_or_else(settings::replicas), settings::a_b";
        let used = |name| is_used(source, name);
        assert!(used("shard_count") && used("replicas") && used("a_b"));
        assert!(!used("shard") && !used("a"));
    }
}
