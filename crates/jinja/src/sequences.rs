//! Filters over lists that order or group as Jinja2 does: `sort`, `unique`, `groupby`, `dictsort`,
//! `map`, `list`; and the views of a dict.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use crate::arguments::{add_filter, bounded, flag, needed, text};
use crate::repr::items;

/// As in Jinja2's sandbox.
const MOST_ITEMS: usize = 100_000;

/// What an item of a list takes.
const SLOT: usize = std::mem::size_of::<Value>();

/// Puts them into an environment.
pub(super) fn add(environment: &mut Environment<'static>) {
    add_filter(
        environment,
        "sort",
        ["value", "reverse", "case_sensitive", "attribute"],
        |[value, reverse, case_sensitive, attribute]| {
            let case_sensitive = flag(case_sensitive, false);
            let mut keyed = Vec::new();
            for item in listed(&needed(value)?)? {
                keyed.push((sort_key(&item, attribute.as_ref(), case_sensitive)?, item));
            }
            Ok(sorted(keyed, flag(reverse, false))?.into())
        },
    );
    add_filter(environment, "dictsort", ["value", "case_sensitive", "by", "reverse"], dictsort);
    add_filter(
        environment,
        "unique",
        ["value", "case_sensitive", "attribute"],
        |[value, case_sensitive, attribute]| {
            let case_sensitive = flag(case_sensitive, false);
            let mut seen = std::collections::HashSet::new();
            let mut kept = Vec::new();
            for item in listed(&needed(value)?)? {
                let key = folded(attribute_of(&item, attribute.as_ref()), case_sensitive);
                if key.is_undefined() {
                    return Err(super::guard::missing(&key, attribute.as_ref()));
                }
                if matches!(key.kind(), ValueKind::Seq | ValueKind::Map) && !key.is_tuple() {
                    return Err(refused("a list or dict cannot be looked for by its value"));
                }
                if seen.insert(key) {
                    kept.push(item);
                }
            }
            Ok(kept.into())
        },
    );
    add_filter(
        environment,
        "groupby",
        ["value", "attribute", "default", "case_sensitive"],
        groupby,
    );
    crate::guard::filter(environment, "map", map);
    add_filter(environment, "list", ["value"], |[value]| Ok(listed(&needed(value)?)?.into()));
}

/// The items of a value, written out: two lists that were added up are a list that is never written
/// out, so it may be long without end.
pub(super) fn listed(value: &Value) -> Result<Vec<Value>, Error> {
    // What an inline `if` gives; of an undefined name nobody asks this.
    if value.is_undefined() {
        return Ok(Vec::new());
    }
    if value.is_none() {
        return Err(refused("None is no list"));
    }
    let listed: Vec<Value> = value.try_iter()?.take(MOST_ITEMS + 1).collect();
    if listed.len() > MOST_ITEMS {
        return Err(refused("a list of more than 100000 items"));
    }
    Ok(listed)
}

fn refused(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

/// `a.b.0` of an item, or the item itself; undefined where it has none.
pub(super) fn attribute_of(item: &Value, attribute: Option<&Value>) -> Value {
    let Some(attribute) = attribute.filter(|attribute| !attribute.is_none()) else {
        return item.clone();
    };
    let Some(path) = attribute.as_str() else {
        return item.get_item(attribute).unwrap_or_default();
    };
    path.split('.').fold(item.clone(), |at, name| {
        let found = match name.parse::<usize>() {
            Ok(index) => at.get_item(&Value::from(index)),
            Err(_) => at.get_attr(name),
        };
        found.unwrap_or_default()
    })
}

fn folded(value: Value, case_sensitive: bool) -> Value {
    match value.as_str() {
        Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
        _ => value,
    }
}

fn sort_key(item: &Value, attribute: Option<&Value>, case_sensitive: bool) -> Result<Value, Error> {
    let key = |attribute: Option<&Value>| {
        let key = attribute_of(item, attribute);
        if key.is_undefined() {
            return Err(super::guard::missing(&key, attribute));
        }
        Ok(folded(key, case_sensitive))
    };
    match attribute.and_then(Value::as_str) {
        Some(several) if several.contains(',') => {
            several.split(',').map(|one| key(Some(&Value::from(one.trim())))).collect()
        }
        _ => key(attribute),
    }
}

/// Stable in both directions, as Python's `sorted`.
fn sorted(mut keyed: Vec<(Value, Value)>, reverse: bool) -> Result<Vec<Value>, Error> {
    let class = |value: &Value| match value.kind() {
        ValueKind::Bool | ValueKind::Number => Some(ValueKind::Number),
        kind @ (ValueKind::String | ValueKind::Seq) => Some(kind),
        _ => None,
    };
    if let [(first, _), rest @ ..] = keyed.as_slice()
        && !rest.is_empty()
        && (class(first).is_none() || rest.iter().any(|(key, _)| class(key) != class(first)))
    {
        return Err(refused("these values are of different kinds and have no order"));
    }
    if reverse {
        keyed.sort_by(|a, b| b.0.cmp(&a.0));
    } else {
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
    }
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

fn dictsort([value, case_sensitive, by, reverse]: [Option<Value>; 4]) -> Result<Value, Error> {
    let value = needed(value)?;
    if value.kind() != ValueKind::Map {
        return Err(refused("dictsort needs a dict"));
    }
    let case_sensitive = flag(case_sensitive, false);
    let by_value = match text(by)?.as_deref() {
        None | Some("key") => false,
        Some("value") => true,
        Some(_) => return Err(refused("`by` is \"key\" or \"value\"")),
    };
    let mut keyed = Vec::new();
    for key in items(&value) {
        let item = value.get_item(&key)?;
        let sort_key = folded(if by_value { &item } else { &key }.clone(), case_sensitive);
        keyed.push((sort_key, crate::tuple(vec![key, item])));
    }
    Ok(sorted(keyed, flag(reverse, false))?.into())
}

fn groupby(
    [value, attribute, default, case_sensitive]: [Option<Value>; 4],
) -> Result<Value, Error> {
    let case_sensitive = flag(case_sensitive, false);
    let mut keyed = Vec::new();
    for item in listed(&needed(value)?)? {
        let mut key = attribute_of(&item, attribute.as_ref());
        if key.is_undefined() {
            key = default.clone().ok_or_else(|| crate::guard::missing(&key, attribute.as_ref()))?;
        }
        keyed.push((folded(key.clone(), case_sensitive), crate::tuple(vec![key, item])));
    }
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for pair in sorted(keyed, false)? {
        let (key, item) = (pair.get_item_by_index(0)?, pair.get_item_by_index(1)?);
        let same = folded(key.clone(), case_sensitive);
        match groups.last_mut().filter(|group| group.0 == same) {
            Some(group) => group.2.push(item),
            None => groups.push((same, key, vec![item])),
        }
    }
    Ok(groups
        .into_iter()
        .map(|(_, grouper, list)| Value::from_object(Group { grouper, list: list.into() }))
        .collect())
}

/// `map("filter", …)` hands every further argument on; `map(attribute=…, default=…)` takes a part
/// of each item.
fn map(state: &mut State<'_, '_>, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let mut arguments = arguments.0.into_iter().map(Value::from);
    let value = needed(arguments.next())?;
    let mut rest: Vec<Value> = arguments.collect();
    let named = rest
        .last()
        .filter(|last| last.is_kwargs())
        .map(|last| Kwargs::try_from(last.clone()))
        .transpose()?;
    if rest.first().is_none_or(Value::is_kwargs) {
        let named = named.ok_or_else(|| Error::from(ErrorKind::MissingArgument))?;
        let attribute: Value = named.get("attribute")?;
        let default: Option<Value> =
            if named.has("default") { Some(named.get("default")?) } else { None };
        named.assert_all_used()?;
        return Ok(listed(&value)?
            .iter()
            .map(|item| match attribute_of(item, Some(&attribute)) {
                missing if missing.is_undefined() => default.clone().unwrap_or_default(),
                found => found,
            })
            .collect());
    }
    let filter = text(Some(rest[0].clone()))?.unwrap_or_default();
    let (mut mapped, mut bytes) = (Vec::new(), 0_usize);
    for item in listed(&value)? {
        state.consume_fuel(1)?;
        rest[0] = item;
        let made = state.apply_filter(&filter, &rest)?;
        bytes = bytes.saturating_add(size(&made));
        bounded(bytes, "map")?;
        mapped.push(made);
    }
    Ok(mapped.into())
}

/// How much memory a value takes, more or less.
fn size(value: &Value) -> usize {
    match value.kind() {
        ValueKind::String => value.as_str().map_or(0, str::len),
        ValueKind::Seq | ValueKind::Map => value.len().unwrap_or(0).saturating_mul(SLOT),
        _ => 0,
    }
}

/// One group of `groupby`: a pair that has names too.
#[derive(Debug)]
pub(super) struct Group {
    grouper: Value,
    list: Value,
}

impl Object for Group {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_usize(), key.as_str()) {
            (Some(0), _) | (_, Some("grouper")) => Some(self.grouper.clone()),
            (Some(1), _) | (_, Some("list")) => Some(self.list.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(2)
    }
}

/// What `dict.items()`, `.keys()` and `.values()` give.
#[derive(Debug)]
pub(super) struct View {
    /// As Python names it.
    pub(super) name: &'static str,
    /// What is in it.
    pub(super) items: Vec<Value>,
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let view = Arc::clone(self);
        let item = move |at| view.items.get(at).cloned().unwrap_or_default();
        Enumerator::Iter(Box::new((0..self.items.len()).map(item)))
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.items.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Printed by `repr`; this is for the engine's own messages.
        write!(f, "{}(…)", self.name)
    }
}

/// Python's `range`: a sequence that is never written out.
#[derive(Debug)]
pub(super) struct Range {
    start: i64,
    stop: i64,
    step: i64,
}

impl Range {
    /// `range(stop)`, `range(start, stop)`, `range(start, stop, step)`
    pub(super) fn new(first: i64, second: Option<i64>, step: Option<i64>) -> Result<Self, Error> {
        let (start, stop) = second.map_or((0, first), |stop| (first, stop));
        match step.unwrap_or(1) {
            0 => Err(refused("the step of a range cannot be 0")),
            step => {
                let range = Self { start, stop, step };
                if range.len() > MOST_ITEMS {
                    return Err(refused("a range may have 100000 items at most"));
                }
                Ok(range)
            }
        }
    }

    fn len(&self) -> usize {
        let (start, stop, step) =
            (i128::from(self.start), i128::from(self.stop), i128::from(self.step));
        let far = if step > 0 { stop - start } else { start - stop };
        let step = step.abs();
        usize::try_from((far.max(0) + step - 1) / step).unwrap_or(usize::MAX)
    }
}

impl Object for Range {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = key.as_usize().filter(|at| *at < self.len())?;
        let at = i64::try_from(at).ok()?;
        Some(Value::from(self.start + at * self.step))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            1 => write!(f, "range({}, {})", self.start, self.stop),
            step => write!(f, "range({}, {}, {step})", self.start, self.stop),
        }
    }
}
