//! Expressions of DynamoDB with what they speak of. In each of them `#name` is the attribute of
//! that name, for many names are words of the language too, and `:name` a value beside it. Pure.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update,
};

use crate::dynamodb::sdk;
use reconciler_items::{Item, Value};

/// A part of a transaction; an error only if this program has left out what DynamoDB requires.
pub(super) type Change = Result<TransactWriteItem, BuildError>;

/// What a write changes, and on what condition.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    change: Option<&'static str>,
    conditions: Vec<&'static str>,
    values: Item,
}

/// Gives the terms to any of the SDK's builders, which have the same methods and no common trait.
macro_rules! under {
    ($terms:expr, $builder:expr) => {
        $builder
            .set_condition_expression($terms.condition())
            .set_expression_attribute_names($terms.names())
            .set_expression_attribute_values($terms.values())
    };
}

impl Terms {
    /// A change of an item.
    pub(super) fn change<const N: usize>(
        expression: &'static str,
        values: [(&str, Value); N],
    ) -> Self {
        let values = values.map(|(name, value)| (name.to_owned(), value)).into();
        Self { change: Some(expression), conditions: Vec::new(), values }
    }

    /// Nothing but a condition.
    pub(super) fn only_if<const N: usize>(
        expression: &'static str,
        values: [(&str, Value); N],
    ) -> Self {
        Self::default().and_only_if(expression, values)
    }

    /// The same on one more condition.
    pub(super) fn and_only_if<const N: usize>(
        mut self,
        expression: &'static str,
        values: [(&str, Value); N],
    ) -> Self {
        self.conditions.push(expression);
        self.values.extend(values.map(|(name, value)| (name.to_owned(), value)));
        self
    }

    fn names(&self) -> Option<HashMap<String, String>> {
        let expressions: Vec<_> = self.change.iter().chain(&self.conditions).copied().collect();
        Some(names(&expressions.join(" "))).filter(|names| !names.is_empty())
    }

    /// All conditions as one.
    fn condition(&self) -> Option<String> {
        match self.conditions.as_slice() {
            [] => None,
            [one] => Some((*one).to_owned()),
            several => Some(format!("({})", several.join(") AND ("))),
        }
    }

    /// DynamoDB takes no empty list.
    fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        Some(sdk::attributes(self.values.clone())).filter(|values| !values.is_empty())
    }

    /// As a call of its own.
    pub(super) fn call(&self, request: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        under!(self, request).set_update_expression(self.change.map(str::to_owned))
    }

    /// Changes an item.
    pub(super) fn update(&self, table: &str, key: Item) -> Change {
        let update =
            under!(self, Update::builder().table_name(table).set_key(Some(sdk::attributes(key))))
                .set_update_expression(self.change.map(str::to_owned));
        Ok(TransactWriteItem::builder().update(update.build()?).build())
    }

    /// Puts an item, in the place of what stands there.
    pub(super) fn put(&self, table: &str, item: Item) -> Change {
        let put =
            under!(self, Put::builder().table_name(table).set_item(Some(sdk::attributes(item))));
        Ok(TransactWriteItem::builder().put(put.build()?).build())
    }

    /// Removes an item.
    pub(super) fn delete(&self, table: &str, key: Item) -> Change {
        let delete =
            under!(self, Delete::builder().table_name(table).set_key(Some(sdk::attributes(key))));
        Ok(TransactWriteItem::builder().delete(delete.build()?).build())
    }

    /// Holds the condition against an item that stays as it is.
    pub(super) fn check(&self, table: &str, key: Item) -> Change {
        let check = under!(
            self,
            ConditionCheck::builder().table_name(table).set_key(Some(sdk::attributes(key)))
        );
        Ok(TransactWriteItem::builder().condition_check(check.build()?).build())
    }
}

/// Removes an item; one that is not there is fine.
pub(super) fn delete(table: &str, key: Item) -> Change {
    Terms::default().delete(table, key)
}

/// The attributes that expressions speak of, each under its `#name`.
pub(super) fn names(expressions: &str) -> HashMap<String, String> {
    let is_of_a_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let names = expressions.split('#').skip(1);
    let names = names.map(|rest| rest.chars().take_while(is_of_a_name).collect::<String>());
    names.map(|name| (format!("#{name}"), name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_speaks_of_the_attributes_that_it_names() {
        let terms = Terms::change("SET #version = :version REMOVE #holder", [])
            .and_only_if("#token = :token AND attribute_exists(#holder)", []);
        let named = terms.names().unwrap();
        let mut named: Vec<_> =
            named.iter().map(|(alias, name)| format!("{alias}={name}")).collect();
        named.sort();
        assert_eq!(named, ["#holder=holder", "#token=token", "#version=version"]);
        assert_eq!(Terms::default().names(), None, "DynamoDB takes no empty list");
    }

    #[test]
    fn a_second_condition_stands_beside_the_first() {
        let one = Terms::only_if("#a = :a", [(":a", Value::Text("1".into()))]);
        assert_eq!(one.condition().as_deref(), Some("#a = :a"));
        let both = one.and_only_if("#b = :b OR #c = :b", [(":b", Value::Text("2".into()))]);
        assert_eq!(both.condition().as_deref(), Some("(#a = :a) AND (#b = :b OR #c = :b)"));
        assert_eq!((both.names().unwrap().len(), both.values().unwrap().len()), (3, 2));
        assert_eq!(Terms::default().condition(), None);
    }
}
