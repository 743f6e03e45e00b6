//! Tables of a test's own, at the endpoint of `RECONCILER_TEST_DYNAMODB_ENDPOINT` or at the
//! emulator.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use reconciler_aws::dynamodb::DynamoDbInventory;
use reconciler_aws::session::{Session, SessionSettings, StaticKeys};

use crate::harness::emulator::Emulator;

/// A runtime with two threads, so that what can race does.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A table name that nobody else has, and a way to its endpoint.
pub(crate) struct Tables {
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) endpoint: String,
}

impl Tables {
    pub(crate) async fn fresh() -> Self {
        match std::env::var("RECONCILER_TEST_DYNAMODB_ENDPOINT") {
            Ok(endpoint) => Self::at(endpoint).await,
            Err(_) => Self::at(Emulator::shared().endpoint()).await,
        }
    }

    pub(crate) async fn at(endpoint: String) -> Self {
        // An emulator takes any keys; a real account takes those of the environment.
        let keys = std::env::var("AWS_ACCESS_KEY_ID").is_err().then(|| StaticKeys {
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
            session_token: None,
        });
        let session = Session::open(&SessionSettings {
            region: Some(region()),
            endpoint_url: Some(endpoint.clone()),
            keys,
            ..SessionSettings::default()
        })
        .await
        .unwrap();
        Self {
            client: session.dynamodb(None),
            name: format!("reconciler_test_{}", uuid::Uuid::now_v7().simple()),
            endpoint,
        }
    }

    pub(crate) fn inventory(&self, create: bool) -> DynamoDbInventory {
        DynamoDbInventory::new(self.client.clone(), &self.name, create)
    }

    /// Puts an item as somebody else would.
    pub(crate) async fn put_raw(&self, attributes: &[(&str, &str)]) {
        let item: HashMap<_, _> = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), AttributeValue::S((*value).to_owned())))
            .collect();
        self.client.put_item().table_name(&self.name).set_item(Some(item)).send().await.unwrap();
    }

    pub(crate) async fn delete(&self) {
        for suffix in ["", "_builds", "_beats", "_requests"] {
            let table = format!("{}{suffix}", self.name);
            let _ = self.client.delete_table().table_name(table).send().await;
        }
    }
}

/// The region of the tests.
pub(crate) fn region() -> String {
    std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned())
}
