//! Parsing of options: `--name value` and `--name=value`, flags, the rest in order.

use crate::util::{fail, Context, Result};
use std::str::FromStr;

/// What remains of the command line.
pub struct Args(Vec<String>);

impl Args {
    /// From everything after the command's name.
    pub fn new(args: impl Iterator<Item = String>) -> Self {
        Self(args.collect())
    }

    /// Takes the next positional argument.
    pub fn word(&mut self) -> Option<String> {
        let at = self.0.iter().position(|a| !a.starts_with('-'))?;
        Some(self.0.remove(at))
    }

    /// Takes a flag; true if it was there.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|a| a != name);
        self.0.len() < before
    }

    /// Takes an option's value.
    pub fn option<T: FromStr>(&mut self, name: &str) -> Result<Option<T>>
    where
        T::Err: std::fmt::Display,
    {
        let prefix = format!("{name}=");
        let Some(at) = self.0.iter().position(|a| a == name || a.starts_with(&prefix)) else {
            return Ok(None);
        };
        let word = self.0.remove(at);
        let value = match word.strip_prefix(&prefix) {
            Some(value) => value.to_string(),
            None if at < self.0.len() => self.0.remove(at),
            None => return fail(format!("{name} needs a value")),
        };
        value.parse().map(Some).context(format!("{name} {value}"))
    }

    /// Everything that nobody took, as it stands.
    pub fn rest(self) -> Vec<String> {
        self.0
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some(word) => fail(format!("unknown argument {word}: see `cargo xtask help`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(str::to_string))
    }

    #[test]
    fn options_flags_and_words() {
        let mut a = args("start --port 7400 --dir=/tmp/x --release");
        assert_eq!(a.option::<u16>("--port").ok().flatten(), Some(7400));
        assert_eq!(a.option::<String>("--dir").ok().flatten().as_deref(), Some("/tmp/x"));
        assert!(a.flag("--release"));
        assert_eq!(a.word().as_deref(), Some("start"));
        assert!(a.finish().is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        assert!(args("--port x").option::<u16>("--port").is_err());
        assert!(args("--port").option::<u16>("--port").is_err());
        assert!(args("--wrong").finish().is_err());
    }
}
