//! `{name}`, `{ordinal}` and `{port}` in texts.

/// What is filled in for one replica.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placeholders<'a> {
    name: &'a str,
    port: &'a str,
}

impl<'a> Placeholders<'a> {
    pub(crate) fn new(name: &'a str, port: &'a str) -> Self {
        Self { name, port }
    }

    /// The replica's name.
    pub(crate) fn name(&self) -> &'a str {
        self.name
    }

    /// A text with everything filled in.
    pub(crate) fn fill(&self, text: &str) -> Result<String, String> {
        let text = text
            .replace("{name}", self.name)
            .replace("{port}", self.port);
        if !text.contains("{ordinal}") {
            return Ok(text);
        }
        match ordinal(self.name) {
            "" => Err(format!(
                "there is no {{ordinal}} for {text:?}: the name {} does not end in a number",
                self.name
            )),
            ordinal => Ok(text.replace("{ordinal}", ordinal)),
        }
    }

    pub(crate) fn fill_all(&self, texts: &[String]) -> Result<Vec<String>, String> {
        texts.iter().map(|text| self.fill(text)).collect()
    }

    /// The values of pairs, filled in.
    pub(super) fn fill_values<C: FromIterator<(String, String)>>(
        &self,
        pairs: &[(String, String)],
    ) -> Result<C, String> {
        let filled = pairs
            .iter()
            .map(|(key, value)| Ok((key.clone(), self.fill(value)?)));
        filled.collect()
    }
}

/// The number that a name ends in: `7` of `web-7`.
fn ordinal(name: &str) -> &str {
    &name[name.trim_end_matches(|c: char| c.is_ascii_digit()).len()..]
}

/// A text as some replica will have it: what is judged of it must not depend on the placeholders.
pub(super) fn sample(text: &str) -> String {
    text.replace("{name}", "x1")
        .replace("{ordinal}", "1")
        .replace("{port}", "1")
}

#[cfg(test)]
mod tests {
    use super::Placeholders;

    #[test]
    fn placeholders_are_filled_in_from_name_and_port() {
        let fill = |name, text| Placeholders::new(name, "80").fill(text);
        assert_eq!(
            fill("web-12", "{name}.{ordinal}:{port}").unwrap(),
            "web-12.12:80"
        );
        assert_eq!(fill("Server1", "{x} $name").unwrap(), "{x} $name");
        assert_eq!(fill("blue", "data-{name}").unwrap(), "data-blue");
        assert_eq!(
            fill("blue", "data-{ordinal}").unwrap_err(),
            "there is no {ordinal} for \"data-{ordinal}\": the name blue does not end in a number"
        );
    }
}
