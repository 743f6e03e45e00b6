//! What expressions call: functions that work values out, and those that read what is on the host.

use hcl_edit::Span as _;
use hcl_edit::expr::FuncCall;
use hcl_edit::template::Template;
use hcl_edit::visit::Visit as _;

use crate::host_access::checker::Walk;
use crate::host_access::paths::Reach;
use crate::host_access::schema::FUNCTIONS;
use crate::host_access::values::Values;
use crate::parser_agreement;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::suggest::nearest;

impl Walk<'_> {
    pub(super) fn call(&mut self, call: &FuncCall) {
        let name = call.name.name.as_str();
        if !call.name.namespace.is_empty() {
            return self.not_known(call, name);
        }
        let first = call.args.iter().next();
        match (name, first) {
            ("env", Some(argument)) => {
                // Packer composes the characters of a text, so what is not ASCII may be ASCII in
                // the end.
                let harmless = |text: &String| text.is_ascii() && !text.starts_with("AWS_");
                let texts = self.reach.values.texts(argument);
                if texts.is_none_or(|texts| !texts.iter().all(harmless)) {
                    self.refuse(
                        call.span(),
                        "`env` would read credentials of the build host",
                        "name a variable that is no credential, written out",
                    );
                }
            }
            ("templatefile", Some(argument)) => {
                let paths = self.path(argument, "`templatefile`");
                self.template_files(call, paths);
            }
            ("fileset", _) => call.args.iter().for_each(|argument| {
                self.path(argument, "`fileset`");
            }),
            ("file" | "filebase64" | "fileexists", Some(argument)) => {
                self.path(argument, &format!("`{name}`"));
            }
            ("env" | "templatefile" | "file" | "filebase64" | "fileexists", None) => {}
            (name, _) if FUNCTIONS.contains(&name) => {}
            (name, _) => self.not_known(call, name),
        }
    }

    fn not_known(&mut self, call: &FuncCall, name: &str) {
        let asks = matches!(
            name,
            "vault" | "consul_key" | "aws_secretsmanager" | "aws_secretsmanager_raw"
        );
        let (what, hint) = if asks {
            (
                format!("`{name}` asks a service with the build host's credentials"),
                "a secret that the configuration names is put in by {{ secret(\"name\") }}"
                    .to_owned(),
            )
        } else {
            let hint = nearest(name, FUNCTIONS.iter().copied()).map_or_else(
                || "leave it out; SECURITY.md says what may stand in a template".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            (format!("the function `{name}` is not known to leave the build host alone"), hint)
        };
        self.refuse(call.name.name.span().or_else(|| call.span()), &what, &hint);
    }

    /// A file that is read as a template may call the same functions, but for `templatefile`
    /// itself, which Packer refuses there. What its names stand for is up to who calls it, so
    /// nothing but what is written out is believed.
    fn template_files(&mut self, call: &FuncCall, paths: Vec<String>) {
        if self.depth > 0 {
            return self.refuse(
                call.span(),
                "a template that is read by `templatefile` reads another",
                "put both into one",
            );
        }
        for path in paths {
            if !self.reach.first_look(&path) {
                continue;
            }
            if let Err(found) = self.template_file(&path) {
                match found {
                    Some(found) => drop(self.found.get_or_insert(found)),
                    None => self.refuse(
                        call.span(),
                        &format!("`{path}` is no template that can be looked through"),
                        "name a template of the step's folder",
                    ),
                }
            }
        }
    }

    fn template_file(&self, path: &str) -> Result<(), Option<Diagnostic>> {
        let content = self.reach.others.get(path).ok_or(None)?;
        let text = std::str::from_utf8(content).map_err(|_| None)?;
        parser_agreement::readable(path, text)?;
        let template = text.parse::<Template>().map_err(|_| None)?;
        parser_agreement::template(path, text, &template)?;
        let values = Values::hidden();
        let reach = Reach { values: &values, ..self.reach.again() };
        let mut inner = Walk::new(path, text, &reach, self.plugins);
        inner.depth = self.depth + 1;
        inner.visit_template(&template);
        inner.found.map_or(Ok(()), |found| Err(Some(found)))
    }
}
