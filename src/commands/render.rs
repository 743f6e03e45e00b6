//! `reconciler render STEP`: the rendered files, as the old tool wrote them and as Packer reads
//! them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use reconciler::controller::checkout::Desired;
use reconciler::controller::connect::Use;
use reconciler::git::trusted::Purpose;
use reconciler_core::desired::inputs::StepContent;
use reconciler_core::desired::step::SourceImage;
use reconciler_core::plan::source::source_of;
use reconciler_core::secrets::fill::fill;
use reconciler_core::secrets::placeholder;
use reconciler_core::secrets::placeholder::places;
use reconciler_core::secrets::redactor::Redactor;
use reconciler_hcl::Template;
use reconciler_jinja::Engine;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::StepId;
use reconciler_model::secret_text::SecretText;

use super::open::{config, workflows_of};
use super::plan::see;
use super::{CommandError, print};
use crate::cli::RenderArgs;

/// Rendered files, by name.
type Rendered = BTreeMap<String, String>;

pub(crate) async fn run(named: Option<&Path>, args: &RenderArgs) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let engine = Engine::new();
    let id = StepId::new(args.step.clone());
    let mut known = Vec::new();
    for opened in workflows_of(&config, &args.which, Purpose::Follow)? {
        for folder in &opened.folders {
            let seen = see(&config, &opened, folder, &engine, Use::LookOffline).await?;
            if let Some(why) = seen.checkout.broken.get(&id) {
                why.iter().for_each(print::diagnostic);
                return Ok(ExitCode::FAILURE);
            }
            known.extend(seen.checkout.outlines.iter().map(|step| step.id.to_string()));
            if seen.checkout.step(&id).is_none() {
                continue;
            }
            opened.begin_notes(&args.which, usize::MAX).print();
            let shown = source_of(&seen.look.plan, &id);
            if let Some(parent) = &shown.stands_for {
                warn_of_stand_in(parent, &shown.image);
            }
            let (source, name) = (shown.image, shown.next_name);
            let desired = &seen.look.desired;
            let content = desired.loaded(&id)?.content();
            let name = match name {
                Some(name) => name,
                None => desired
                    .desire()
                    .name_parts(content)
                    .with_fingerprint(&desired.state(&id, &source)?.fingerprint, 0)?,
            };
            let template = desired.template(&id, &source, &name)?;
            let rendered = if args.show_secrets {
                in_clear(desired, &template)?
            } else {
                without_secrets(desired, content, &template)
            };
            for (file, text) in rendered {
                match &args.out {
                    None => print::text(&format!(
                        "# ---- {file}\n{text}{}",
                        if text.ends_with('\n') { "" } else { "\n" }
                    ))?,
                    Some(folder) => {
                        std::fs::create_dir_all(folder)?;
                        std::fs::write(folder.join(&file), text)?;
                        print::text(&format!("{}\n", folder.join(&file).display()))?;
                    }
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
    Err(no_such_step(&args.step, &known).into())
}

/// As Packer reads them.
fn in_clear(desired: &Desired, template: &Template) -> Result<Rendered, Diagnostic> {
    let names = desired.secrets.sealed().names();
    let uses = placeholder::uses(template.texts().values());
    let values = desired.secrets.values_of(uses.iter().filter(|one| names.contains(&one.name)))?;
    fill(template, &values)
}

/// As anybody may read them; says so if that makes a difference.
fn without_secrets(desired: &Desired, content: StepContent<'_>, template: &Template) -> Rendered {
    let redactor = redactor(desired, content, template);
    let hides = |text: &String| redactor.appears_in(text.as_bytes()) || !places(text).is_empty();
    if template.texts().values().any(hides) {
        print::warning(
            &Diagnostic::new("secrets are not shown").hint("--show-secrets writes them in clear"),
        );
    }
    template.texts().iter().map(|(file, text)| (file.clone(), redactor.text(text))).collect()
}

/// The secret parameters of a step, and the literals that its template declares `sensitive`.
pub(crate) fn redactor(
    desired: &Desired,
    content: StepContent<'_>,
    template: &Template,
) -> Redactor {
    let marks = &desired.secrets.sealed().marks;
    let mut hidden = marks.values_of(&desired.checkout.params.values);
    hidden.extend(marks.values_of(&content.step.values));
    hidden.extend(template.sensitive().values.iter().map(|value| SecretText::from(value.as_str())));
    Redactor::new(&hidden)
}

/// Says what stands in the place of an image that is not there yet.
pub(crate) fn warn_of_stand_in(parent: &StepId, shown: &SourceImage) {
    print::warning(&Diagnostic::new(format!(
        "`{parent}` has no image yet; `{}` stands for it",
        shown.id
    )));
}

/// So many names of steps are listed where one is wrong.
const LISTED: usize = 20;

/// Names the steps that there are, and the nearest.
pub(crate) fn no_such_step(id: &str, known: &[String]) -> Diagnostic {
    let near = reconciler_model::suggest::nearest(id, known.iter().map(String::as_str));
    let hint = near.map_or_else(
        || match known.len() {
            0..=LISTED => format!("there are: {}", known.join(", ")),
            all => format!(
                "there are: {}, and {} more (`reconciler status` shows them)",
                known[..LISTED].join(", "),
                all - LISTED
            ),
        },
        |near| format!("did you mean `{near}`?"),
    );
    Diagnostic::new(format!("there is no step `{id}`")).hint(hint)
}
