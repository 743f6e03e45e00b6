//! A farm with a secret of its own in each place, and the search for them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use crate::harness::farm::Farm;

/// What must be found nowhere, by the place where it is planted.
pub(crate) const SECRETS: [(&str, &str); 8] = [
    ("variable", "Zx9-\"quoted\"-${dollar}-8fK2"),
    (
        "file",
        "-----BEGIN PLANTED KEY-----\nMIIplantedFirstLine0123456789abcdefghijklmnopqrstuvwxyz+/ABCDEFGH\nQx7plantedSecondLine\n-----END PLANTED KEY-----",
    ),
    ("parameter", "admin-Planted,Param-3vB7"),
    ("key id", "AKIAPLANTED00000001"),
    ("secret key", "planted/AWS+secret/Key0123456789abcdefgh"),
    ("literal", "sensitive-Literal-9Qw7"),
    ("passed", "passed-Token-5Rt1"),
    ("fingerprint key", "fingerprint-Key-0Plm"),
];

/// The value that is planted in a place.
pub(crate) fn secret(place: &str) -> &'static str {
    SECRETS.iter().find(|(at, _)| *at == place).unwrap().1
}

/// A farm with one step that gets every secret; what its provisioner does at the end is `last`.
pub(crate) fn farm(step: &str, last: &str) -> Farm {
    let mut farm = Farm::new();
    let file = farm.state().with_file_name("tls.key");
    std::fs::write(&file, format!("{}\n", secret("file"))).unwrap();
    farm.env("DB_PASSWORD", secret("variable"))
        .env("APP_TOKEN", secret("passed"))
        .env("AMI_KEY", secret("fingerprint key"));
    farm.configure(&format!(
        "  pass_env: [APP_TOKEN]\nsecrets:\n  fingerprint_key: env:AMI_KEY\n  parameters: [\"*_password\"]\n  values:\n    db: env:DB_PASSWORD\n    tls: file:{}\n",
        file.display()
    ));
    farm.workflow(&json!({
        "admin_password": secret("parameter"), "aws_access_key_id": secret("key id"),
        "aws_secret_access_key": secret("secret key"),
    }));
    plant(&farm, step, last);
    farm
}

/// Writes a step that prints every secret in clear, in base64, to standard error and line by line.
pub(crate) fn plant(farm: &Farm, step: &str, last: &str) {
    farm.step(step, None);
    let folder = format!("packer_workspaces/{step}/templates");
    let path = farm.repo.path().join(&folder).join(".pkr.hcl");
    let text = std::fs::read_to_string(path).unwrap();
    let here = |command: &str, value: &str| format!("\"{command} <<'E'\\n{value}\\nE\"");
    let all = ["db", "tls", "admin", "key", "literal"];
    let variables = all.map(|name| match name {
        "literal" => format!(
            "variable \"literal\" {{\n  default = \"{}\"\n  sensitive = true\n}}\n",
            secret("literal")
        ),
        name => format!("variable \"{name}\" {{\n  type = string\n}}\n"),
    });
    let mut lines = vec!["\"echo it begins\"".to_owned()];
    for name in all {
        let value = format!("${{var.{name}}}");
        lines.push(here("cat", &value));
        lines.push(here("cat >&2", &value));
        lines.push(here("base64", &value));
        lines.push(here("base64 -w0", &format!("user:{value}")));
    }
    // That the value came whole, whatever is in it.
    lines.push(here("sha256sum", "${var.db}"));
    lines.push(here("sha256sum", "${var.tls}"));
    lines.push("\"env\"".to_owned());
    lines.push("\"echo it ends\"".to_owned());
    lines.push(format!("\"{last}\""));
    let provisioner = format!(
        "build {{\n  provisioner \"shell-local\" {{\n    inline = [\n      {}\n    ]\n  }}\n",
        lines.join(",\n      ")
    );
    farm.repo.write(
        &format!("{folder}/.pkr.hcl"),
        format!("{}{}", variables.concat(), text.replace("build {\n", &provisioner)),
    );
    farm.repo.write(
        &format!("{folder}/.pkrvars.hcl"),
        "image = \"{{ builder.output_ami_name }}\"\ndb = \"{{ secret('db') }}\"\ntls = \"{{ secret('tls') }}\"\nadmin = \"{{ params.admin_password }}\"\nkey = \"{{ params.aws_secret_access_key }}\"\n",
    );
}

/// Every form of the secrets that is looked for.
fn forms() -> Vec<(String, Vec<u8>)> {
    let mut all: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for (place, value) in SECRETS {
        let mut put = |form: &str, bytes: &[u8]| {
            all.insert(bytes.to_vec(), format!("{form} of {place}"));
        };
        put("the value", value.as_bytes());
        for line in value.lines() {
            put("a line", line.as_bytes());
        }
        for before in ["", "user:"] {
            let encoded = BASE64.encode(format!("{before}{value}"));
            // Not the characters that what stands before and behind it changes.
            let certain = &encoded[8..encoded.len() - 4];
            for line in certain.as_bytes().chunks(68) {
                if line.len() > 10 {
                    put("base64", &line[..line.len().min(60)]);
                }
            }
        }
        put("JSON", json!(value).to_string().trim_matches('"').as_bytes());
    }
    all.into_iter().map(|(bytes, form)| (form, bytes)).collect()
}

/// What of the secrets is in these bytes.
pub(crate) fn found_in(bytes: &[u8]) -> Vec<String> {
    static SEARCH: OnceLock<(Vec<String>, AhoCorasick)> = OnceLock::new();
    let (names, search) = SEARCH.get_or_init(|| {
        let (names, forms): (Vec<_>, Vec<_>) = forms().into_iter().unzip();
        (names, AhoCorasick::new(forms).unwrap())
    });
    let mut found: Vec<_> = search
        .find_overlapping_iter(bytes)
        .map(|one| names[one.pattern().as_usize()].clone())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Nothing of the secrets is in these bytes.
#[track_caller]
pub(crate) fn assert_clean(what: &str, bytes: impl AsRef<[u8]>) {
    let found = found_in(bytes.as_ref());
    assert!(found.is_empty(), "{found:#?} in {what}:\n{}", String::from_utf8_lossy(bytes.as_ref()));
}

/// Nothing of the secrets is in any file below a folder.
#[track_caller]
pub(crate) fn assert_clean_below(folder: &Path) {
    for path in files(folder) {
        assert_clean(&path.display().to_string(), std::fs::read(&path).unwrap());
    }
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

/// All that the emulated AWS knows: tables, images, instances, snapshots, keys.
pub(crate) fn everything_at_aws(farm: &Farm) -> Vec<u8> {
    let mut all = farm.region.ask("resources").to_string().into_bytes();
    for table in ["images", "images_builds"] {
        let body = json!({ "TableName": table }).to_string();
        let answer = ask(farm, "dynamodb", "DynamoDB_20120810.Scan", &body);
        assert!(
            String::from_utf8_lossy(&answer).contains("\"Count\""),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        all.extend(answer);
    }
    for action in ["DescribeImages", "DescribeInstances", "DescribeSnapshots", "DescribeTags"] {
        let answer = ask(farm, "ec2", "", &format!("Action={action}&Version=2016-11-15"));
        assert!(
            String::from_utf8_lossy(&answer).contains(action),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        all.extend(answer);
    }
    all
}

fn ask(farm: &Farm, service: &str, target: &str, body: &str) -> Vec<u8> {
    let endpoint = farm.emulator().endpoint();
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("http://")).unwrap();
    let kind = if service == "ec2" {
        "application/x-www-form-urlencoded"
    } else {
        "application/x-amz-json-1.0"
    };
    write!(
        stream,
        "POST / HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nX-Amz-Target: {target}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// Looks at the arguments of every process until it is asked what it found.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Vec<String>, bool)>,
}

impl Watch {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut found, mut saw_packer) = (Vec::new(), false);
            while !asked.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                    let Ok(line) = std::fs::read(entry.path().join("cmdline")) else {
                        continue;
                    };
                    saw_packer |= line.windows(6).any(|window| window == b"packer");
                    found.extend(found_in(&line));
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            (found, saw_packer)
        });
        Self { stop, thread }
    }

    #[track_caller]
    pub(crate) fn assert_clean(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (found, saw_packer) = self.thread.join().unwrap();
        assert!(saw_packer, "it looked while Packer ran");
        assert!(found.is_empty(), "in arguments of processes: {found:#?}");
    }
}
