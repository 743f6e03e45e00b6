//! The function `secret("name")` of templates: gives what stands for a secret, never its value.
//!
//! The stand-in is an object, not a text: it can be printed and joined to texts with `~`, and that
//! is all. What a template could work out of a value would be a secret that nobody knows of.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Kwargs, Object, ObjectRepr, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use crate::secrets::placeholder::{Rotation, is_name, placeholder};
use crate::secrets::secret_digests::{Names, SecretDigests};

/// The function, for the secrets that there are.
#[must_use]
pub fn function(sealed: &SecretDigests) -> Value {
    Value::from_object(SecretFunction { names: sealed.names(), which: sealed.which() })
}

#[derive(Debug)]
struct SecretFunction {
    names: Vec<String>,
    which: Names,
}

impl Object for SecretFunction {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (name, named): (String, Kwargs) = from_args(args)?;
        let rotate: Option<bool> = named.get("rotate")?;
        named.assert_all_used()?;
        let known = self.names.contains(&name) || (self.which == Names::Any && is_name(&name));
        if !known {
            let there = if self.names.is_empty() {
                "none is configured (`secrets.values`)".to_owned()
            } else {
                format!("there are: {}", self.names.join(", "))
            };
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("there is no secret `{name}`; {there}"),
            ));
        }
        let rotation = match rotate {
            None | Some(true) => Rotation::Rebuilds,
            Some(false) => Rotation::Keeps,
        };
        Ok(Value::from_object(StandIn(placeholder(&name, rotation))))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<function secret>")
    }
}

#[derive(Debug)]
struct StandIn(String);

impl Object for StandIn {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::secret_names::SecretNames;
    use reconciler_jinja::{Engine, TemplateSource};

    fn rendered(text: &str) -> Result<String, String> {
        let sealed =
            SecretDigests::unread(SecretNames::default(), ["one".to_owned(), "two".to_owned()]);
        let context = Value::from_pairs([("secret", function(&sealed))]);
        Engine::new()
            .render(&TemplateSource { path: "t", text }, &context)
            .map_err(|error| error.message)
    }

    #[test]
    fn a_secret_prints_what_stands_for_it() {
        assert_eq!(
            rendered("{{ secret('one') }} {{ 'a' ~ secret(\"two\", rotate=false) }}").unwrap(),
            "[reconciler-secret:one] a[reconciler-secret:two:kept]"
        );
        assert_eq!(
            rendered(
                "{% macro m(x) %}<{{ x }}{{ secret('one') }}>{% endmacro %}{{ m(secret('two')) }}"
            )
            .unwrap(),
            "<[reconciler-secret:two][reconciler-secret:one]>"
        );
    }

    #[test]
    fn a_name_that_is_none_is_an_error_that_lists_those_that_are() {
        assert_eq!(
            rendered("{{ secret('on') }}").unwrap_err(),
            "there is no secret `on`; there are: one, two"
        );
    }
}
