//! For tests: an EC2 of a test's own words behind the real SDK. No network, no process.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    missing_docs,
    reason = "for tests only"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;

/// One call, as EC2 gets it.
#[derive(Clone, Debug)]
pub struct Call(BTreeMap<String, String>);

impl Call {
    fn read(request: &HttpRequest) -> Self {
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        Self(
            body.split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), decode(value)))
                .collect(),
        )
    }

    /// The operation.
    pub fn action(&self) -> &str {
        self.get("Action").unwrap_or_default()
    }

    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The parameters `name.1`, `name.2` and so on.
    pub fn list(&self, name: &str) -> Vec<String> {
        (1..).map_while(|at| self.0.get(&format!("{name}.{at}")).cloned()).collect()
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let hex: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&hex, 16).unwrap()
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// What EC2 answers.
pub struct Answer {
    status: u16,
    body: String,
    cut: bool,
}

impl Answer {
    /// Success: the inner XML of the answer.
    pub fn ok(inner: &str) -> Self {
        Self { status: 200, body: inner.to_owned(), cut: false }
    }

    /// The same, cut in the middle.
    pub fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    /// Images of `DescribeImages`.
    pub fn images(images: impl IntoIterator<Item = String>) -> Self {
        let items: String = images.into_iter().collect();
        Self::ok(&format!("<imagesSet>{items}</imagesSet>"))
    }

    /// An error of EC2's own.
    pub fn error(code: &str, message: &str) -> Self {
        Self {
            status: if code == "RequestLimitExceeded" { 503 } else { 400 },
            cut: false,
            body: format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>r</RequestID></Response>"
            ),
        }
    }
}

/// An image as `DescribeImages` shows it.
pub fn image_xml(id: &str, name: &str, state: &str) -> String {
    format!(
        "<item><imageId>{id}</imageId><name>{name}</name><imageState>{state}</imageState>\
         <imageOwnerId>123456789012</imageOwnerId><creationDate>2026-01-01T00:00:00.000Z</creationDate></item>"
    )
}

type Script = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

/// The scripted EC2.
#[derive(Clone)]
pub struct Ec2 {
    script: Script,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Ec2 {
    pub fn answering(script: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), calls: Arc::default() }
    }

    /// What was called until now.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The SDK's client, without retries of its own.
    pub fn client(&self) -> Client {
        let connector = SharedHttpConnector::new(self.clone());
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AKID", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        Client::from_conf(config)
    }
}

/// The scripted Auto Scaling: the same wire, by another client.
#[derive(Clone)]
pub struct Scaling(Ec2);

impl Scaling {
    pub fn answering(script: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self(Ec2::answering(script))
    }

    /// The SDK's client, without retries of its own.
    pub fn client(&self) -> aws_sdk_autoscaling::Client {
        let connector = SharedHttpConnector::new(self.0.clone());
        let config = aws_sdk_autoscaling::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AKID", "secret", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .build();
        aws_sdk_autoscaling::Client::from_conf(config)
    }
}

impl fmt::Debug for Ec2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ec2(scripted)")
    }
}

impl HttpConnector for Ec2 {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let call = Call::read(&request);
        let answer = (self.script)(&call);
        let mut body = match answer.status {
            200 => format!("<{0}Response>{1}</{0}Response>", call.action(), answer.body),
            _ => answer.body,
        };
        if answer.cut {
            body.truncate(body.len() / 2);
        }
        self.calls.lock().unwrap().push(call);
        let status = answer.status.try_into().unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}
