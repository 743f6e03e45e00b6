//! The policies of `deploy/iam/`: they allow every call that the program makes and that Packer
//! makes for the templates to copy from, and neither an instance that could not be ended nor
//! anything of anybody else. The emulator judges action, resource and conditions (`evaluator`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use reconciler_aws::survey::AwsSurvey;
use reconciler_model::ids::{AmiId, Region};
use reconciler_model::survey::ImageSurvey as _;
use serde_json::{Value, json};

use crate::harness::by_hand::prepared;
use crate::harness::farm::{Farm, in_runtime};
use crate::harness::sshd::Sshd;

type Actions = BTreeSet<String>;

fn folder(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn policy(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder("deploy/iam").join(name)).unwrap();
    let policy: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().unwrap().clone()
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(many) => many.iter().flat_map(texts).collect(),
        one => vec![one.as_str().unwrap().to_owned()],
    }
}

fn allowed(names: &[&str]) -> Actions {
    let statements = names.iter().flat_map(|name| policy(name));
    statements.flat_map(|one| texts(&one["Action"])).collect()
}

/// The IAM actions that an API operation needs.
fn actions(service: &str, operation: &str) -> Vec<String> {
    let needed: &[&str] = match operation {
        // Of each item, what is done with it.
        "TransactWriteItems" => &["PutItem", "UpdateItem", "ConditionCheckItem", "DeleteItem"],
        one => &[one],
    };
    needed.iter().map(|action| format!("{service}:{action}")).collect()
}

/// Every operation that the source of an adapter calls by a client of this name:
/// `client.describe_images()`, over lines as rustfmt breaks them.
fn called(service: &str, client: &str, place: &str) -> Actions {
    let mut found = Actions::new();
    for file in files(&folder(place)) {
        let text: String = fs::read_to_string(file).unwrap().split_whitespace().collect();
        let begin = format!("{client}.");
        for (at, _) in text.match_indices(&begin) {
            let rest = &text[at + begin.len()..];
            let name: String =
                rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if !rest[name.len()..].starts_with("()")
                || ["client", "config"].contains(&name.as_str())
            {
                continue;
            }
            let operation: String =
                name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
            found.extend(actions(service, &operation));
        }
    }
    found
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    nested.flatten().collect()
}

#[test]
fn the_daemons_policies_allow_what_its_source_calls_and_nothing_else() {
    let mut called_by_source = called("ec2", "client", "crates/aws/src/ec2");
    assert!(called_by_source.contains("ec2:TerminateInstances"), "{called_by_source:?}");
    called_by_source.extend(called("dynamodb", "client", "crates/aws/src/dynamodb"));
    assert_eq!(allowed(&["daemon.json", "cleanup.json"]), called_by_source);
}

/// What EC2 calls with the permissions of who asks for references to images: User Guide, *Identify
/// your resources referencing specified AMIs*.
const BY_EC2: [&str; 8] = [
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:DescribeLaunchTemplates",
    "imagebuilder:GetContainerRecipe",
    "imagebuilder:ListContainerRecipes",
    "imagebuilder:ListImageRecipes",
    "ssm:DescribeParameters",
    "ssm:GetParameters",
];

#[test]
fn the_policy_of_people_allows_what_the_survey_calls_and_what_ec2_calls_for_it_and_only_looks() {
    let mut called_by_source = called("ec2", "client", "crates/aws/src/survey");
    called_by_source.extend(called("autoscaling", "scaling", "crates/aws/src/survey"));
    // Searches go by way of the catalog's own calls.
    assert!(called_by_source.contains("ec2:DescribeImages"), "{called_by_source:?}");
    called_by_source.extend(BY_EC2.map(str::to_owned));
    assert_eq!(allowed(&["people.json"]), called_by_source);
    for action in allowed(&["people.json"]) {
        let (_, operation) = action.split_once(':').unwrap();
        let looks = ["Describe", "List", "Get"].iter().any(|verb| operation.starts_with(verb));
        assert!(looks, "{action}");
    }
}

#[test]
fn who_holds_the_policy_of_people_sees_every_use_and_may_change_nothing() {
    let farm = Farm::new();
    let image = farm.region.make_image(&json!({ "name": "golden" }));
    let hold = |documents: Vec<Value>| {
        let rules = json!([{ "documents": documents }]);
        assert_eq!(farm.emulator().control_post("/_control/policies", &rules), json!({}));
    };
    let known = || {
        in_runtime(async {
            let (session, region) = (farm.session().await, Region::new(farm.region.name));
            let survey = AwsSurvey::new(&session.ec2(), &session.autoscaling_in(&region));
            let image = AmiId::new(&image);
            survey.uses(std::slice::from_ref(&image)).await.of(&image)
        })
    };
    hold(documents(&["people.json"]));
    assert_eq!(known().unread, [], "{}", refusals(&farm));
    // Without what EC2 calls for it, nothing is known to be unused.
    let mut without = documents(&["people.json"]);
    without[0]["Statement"].as_array_mut().unwrap().remove(1);
    hold(without);
    let unread = known().unread;
    assert_eq!(unread.len(), 1, "{unread:?}");
    assert_eq!(unread[0].1.permission.as_deref(), Some("ec2:DescribeInstances"));
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        let said = ec2.deregister_image().image_id(&image).send().await.unwrap_err();
        assert_eq!(said.code(), Some("UnauthorizedOperation"));
    });
}

#[test]
fn the_policy_of_who_makes_an_image_allows_what_that_calls_and_nothing_else() {
    let mut called_by_source = called("ec2", "client", "crates/aws/src/person");
    // The image is tagged by the same call, and the instance is looked at before.
    called_by_source.extend(["ec2:CreateTags", "ec2:DescribeInstances"].map(str::to_owned));
    assert_eq!(allowed(&["create.json"]), called_by_source);
}

#[test]
fn a_person_has_an_image_made_who_may_write_neither_lease_nor_journal_and_the_daemon_makes_none() {
    let farm = Farm::new();
    farm.step("a", None);
    let params = json!({ "step_id": "mysql", "previous_step_id": "a" });
    farm.repo.write("packer_workspaces/mysql/step_param.json", params.to_string());
    farm.configure("interval: 1h\nlease_duration: 4s\n");
    assert_eq!(farm.commit_and_apply().code, 3);
    let instance = prepared(&farm, "a");
    let create = ["image", "create", "--step", "mysql", "--instance-id", &instance];
    let keys = |farm: &Farm| {
        let person = documents(&["ask.json", "create.json"]);
        let rules = json!([
            { "key": "AKIDPERSON", "documents": person },
            { "key": "test", "documents": documents(&["daemon.json", "cleanup.json"]) },
        ]);
        assert_eq!(farm.emulator().control_post("/_control/policies", &rules), json!({}));
    };
    keys(&farm);
    let as_person = |more: &[(&str, &str)]| {
        let mut all = vec![("AWS_ACCESS_KEY_ID", "AKIDPERSON")];
        all.extend(more);
        farm.run_with(&all, &create)
    };
    let daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let made = as_person(&[]);
    assert_eq!(made.code, 0, "{made:#?}\n{}", refusals(&farm));
    assert_eq!(farm.state_of("mysql"), "in-sync");
    drop(daemon);
}

/// What a build's credentials can write in DynamoDB: signs of life, and with `LeadingKeys` those of
/// one workflow. Who may only ask writes requests. Neither reaches leases, journal or records.
#[test]
fn a_build_writes_signs_of_life_only_and_who_asks_writes_requests_only() {
    let farm = Farm::new();
    farm.step("a", None);
    assert_eq!(farm.commit_and_apply().code, 0);
    let mut of_one_workflow = documents(&["packer.json"]);
    for statement in of_one_workflow[0]["Statement"].as_array_mut().unwrap() {
        if texts(&statement["Action"]) == ["dynamodb:UpdateItem"] {
            statement["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"] =
                json!(["wf-1"]);
        }
    }
    let hold = |documents: Vec<Value>| {
        let rules = json!([{ "documents": documents }]);
        assert_eq!(farm.emulator().control_post("/_control/policies", &rules), json!({}));
    };
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let update =
        |table: &'static str, range: &'static str, workflow: &'static str, item: &'static str| {
            let farm = &farm;
            in_runtime(async move {
                let client = farm.session().await.dynamodb(None);
                let changed = client
                    .update_item()
                    .table_name(table)
                    .key("workflow_id", text(workflow))
                    .key(range, text(item))
                    .update_expression("SET stolen = :yes")
                    .expression_attribute_values(":yes", text("yes"));
                changed.send().await.map(drop).map_err(|error| error.code().map(str::to_owned))
            })
        };
    let denied = Err(Some("AccessDeniedException".to_owned()));
    let others = [
        ("images_builds", "item", "wf-1", "@lease"),
        ("images_builds", "item", "wf-1", "@step/a"),
        ("images", "step_id", "wf-1", "a"),
    ];
    let beat = ("images_beats", "build_id", "wf-1", "01900000-0000-7000-8000-000000000000");
    let request = ("images_requests", "request_id", "wf-1", "01900000-0000-7000-8000-000000000000");
    let call = |(table, range, workflow, item)| update(table, range, workflow, item);
    hold(of_one_workflow);
    for other in others.into_iter().chain([request]) {
        assert_eq!(call(other), denied, "a build: {other:?}");
    }
    assert_eq!(call(beat), Ok(()));
    assert_eq!(call(("images_beats", "build_id", "wf-2", "1")), denied, "another workflow's");
    hold(documents(&["ask.json"]));
    for other in others.into_iter().chain([beat]) {
        assert_eq!(call(other), denied, "who asks: {other:?}");
    }
    assert_eq!(call(request), Ok(()));
}

#[test]
fn who_may_delete_images_deletes_none_that_is_tagged_to_stay_and_changes_nothing_else() {
    let deletes = ["ec2:DeleteSnapshot", "ec2:DeregisterImage"].map(str::to_owned);
    assert_eq!(allowed(&["delete.json"]), deletes.into());
    let farm = Farm::new();
    let [goes, stays] =
        ["goes", "stays"].map(|name| farm.region.make_image(&json!({ "name": name })));
    let rules = json!([{ "documents": documents(&["people.json", "delete.json"]) }]);
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        ec2.create_tags()
            .resources(&stays)
            .tags(tag("reconciler:keep", "yes"))
            .send()
            .await
            .unwrap();
        assert_eq!(farm.emulator().control_post("/_control/policies", &rules), json!({}));
        let deregister = |image: &str| {
            ec2.deregister_image().image_id(image).delete_associated_snapshots(true).send()
        };
        let said = deregister(&stays).await.unwrap_err();
        assert_eq!(said.code(), Some("UnauthorizedOperation"));
        deregister(&goes).await.unwrap();
        let said = ec2.create_tags().resources(&stays).tags(tag("a", "b")).send().await;
        assert_eq!(said.unwrap_err().code(), Some("UnauthorizedOperation"));
    });
}

#[test]
fn a_person_deletes_an_image_who_may_write_neither_lease_nor_journal_and_the_daemon_could_not() {
    let farm = Farm::new();
    farm.step("a", None);
    farm.configure("interval: 1h\nlease_duration: 4s\n");
    assert_eq!(farm.commit_and_apply().code, 0);
    let old = farm.image("a");
    farm.script("a", "echo 2\n");
    assert_eq!(farm.commit_and_apply().code, 0);
    let person = documents(&["ask.json", "people.json", "delete.json"]);
    let rules = json!([
        { "key": "AKIDPERSON", "documents": person },
        { "key": "test", "documents": documents(&["daemon.json", "cleanup.json"]) },
    ]);
    assert_eq!(farm.emulator().control_post("/_control/policies", &rules), json!({}));
    let daemon = farm.daemon();
    farm.wait_until("it holds the lease", |farm| farm.status().held_by.is_some());
    let delete = ["image", "delete", &old, "--snapshots", "--yes"];
    let refused = farm.run(&delete);
    assert_ne!(refused.code, 0, "these credentials see no uses: {refused:#?}");
    let deleted = farm.run_with(&[("AWS_ACCESS_KEY_ID", "AKIDPERSON")], &delete);
    assert_eq!(deleted.code, 0, "{deleted:#?}\n{}", refusals(&farm));
    deleted.shows(&[&format!("{old} deleted"), "snap-"]);
    drop(daemon);
}

const ALL: [&str; 3] = ["daemon.json", "cleanup.json", "packer.json"];

/// Documents as an account has them whose table is the test's.
fn documents(names: &[&str]) -> Vec<Value> {
    names
        .iter()
        .map(|name| {
            let text = fs::read_to_string(folder("deploy/iam").join(name)).unwrap();
            serde_json::from_str(&text.replace("acore_ami_catalog", "images")).unwrap()
        })
        .collect()
}

/// Holds the program and Packer each to its own documents.
fn hold_each(farm: &Farm, change: impl Fn(Value) -> Value) {
    let own =
        |names: &[&str]| -> Vec<Value> { documents(names).into_iter().map(&change).collect() };
    let packers = own(&["packer.json"]);
    let ours = own(&["daemon.json", "cleanup.json"]);
    let answer = farm.emulator().control_post(
        "/_control/policies",
        &json!([{ "from": "packer", "documents": packers }, { "from": "reconciler", "documents": ours }]),
    );
    assert_eq!(answer, json!({}), "they can be judged");
}

fn refusals(farm: &Farm) -> Value {
    farm.emulator().control_get("/_control/refusals")
}

/// Every template to copy from, as steps of one workflow; its provisioners run at the sshd.
fn shipped(sshd: &Sshd, edit: impl Fn(String) -> String) -> Farm {
    let farm = Farm::new();
    farm.repo.remove("packer_workspaces");
    farm.repo.copy_in("packer_workspaces", "packer_workspaces");
    farm.repo.copy_in("packer_workspaces/example", "packer_workspaces/s99-example");
    let params = "packer_workspaces/workflow_param.json";
    let text = fs::read_to_string(folder(params)).unwrap();
    farm.repo.write(params, edit(text));
    farm.provision_at(sshd);
    farm.repo.commit("the templates to copy from");
    farm
}

/// The default VPC and its subnets under a name by which templates find them.
fn name_the_network(farm: &Farm, name: &str) {
    in_runtime(async {
        let client = farm.session().await.ec2();
        let vpcs = client.describe_vpcs().send().await.unwrap();
        let subnets = client.describe_subnets().send().await.unwrap();
        let vpcs = vpcs.vpcs().iter().filter_map(|vpc| vpc.vpc_id.clone());
        let subnets = subnets.subnets().iter();
        let subnets = subnets.filter_map(|subnet| subnet.subnet_id.clone());
        client
            .create_tags()
            .set_resources(Some(vpcs.chain(subnets).collect()))
            .tags(tag("Name", name))
            .send()
            .await
            .unwrap();
    });
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

#[track_caller]
fn is_built_and_leaves_nothing(farm: &Farm, steps: usize) {
    let ran = farm.run(&["apply"]);
    assert_eq!(ran.code, 0, "{}\n{ran:#?}", refusals(farm));
    assert_eq!(farm.made_images(), steps);
    assert_eq!(refusals(farm), json!([]));
    assert_eq!(farm.leftovers(), "");
}

#[test]
fn every_template_to_copy_from_is_built_under_the_documents_and_leaves_nothing() {
    let sshd = Sshd::start();
    let farm = shipped(&sshd, |params| params);
    hold_each(&farm, |document| document);
    is_built_and_leaves_nothing(&farm, 6);
    // Tags that git no longer has are taken off.
    let params = "packer_workspaces/workflow_param.json";
    let text = fs::read_to_string(folder(params)).unwrap();
    farm.repo.write(params, text.replace("\"env\": \"demo\"", "\"stage\": \"demo\""));
    assert_eq!(farm.commit_and_apply().code, 0, "{}", refusals(&farm));
    assert!(farm.calls("ec2.DeleteTags") > 0);
}

#[test]
fn so_it_is_in_a_network_of_ones_own_with_a_profile_where_one_region_and_vpc_are_allowed() {
    let sshd = Sshd::start();
    let farm = shipped(&sshd, |params| {
        params
            .replace("\"is_default_vpc\": \"true\"", "\"is_default_vpc\": \"false\"")
            .replace("\"vpc_name\": \"\"", "\"vpc_name\": \"build\"")
            .replace("\"subnet_name\": \"\"", "\"subnet_name\": \"build\"")
            .replace("\"ec2_iam_role_name\": \"\"", "\"ec2_iam_role_name\": \"packer-build\"")
    });
    name_the_network(&farm, "build");
    farm.emulator().control_post("/_control/instance-profile", &json!("packer-build"));
    hold_each(&farm, |document| narrowed(document, "us-east-1", "arn:aws:ec2:us-east-1:*:vpc/*"));
    is_built_and_leaves_nothing(&farm, 6);
    let calls = farm.emulator().control_get("/_control/calls");
    assert!(calls["iam.GetInstanceProfile"].is_u64(), "{calls}");

    // What deploy/README.md says of one region and one network keeps others out.
    let elsewhere = |region: &str, vpc: &str| {
        hold_each(&farm, |document| narrowed(document, region, vpc));
        let group = json!({ "action": "ec2:DeleteSecurityGroup", "resource": "arn:aws:ec2:us-east-1:123456789012:security-group/sg-1",
            "context": { "aws:RequestedRegion": "us-east-1", "ec2:Vpc": "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1" },
            "documents": documents(&["cleanup.json"]).into_iter().map(|one| narrowed(one, region, vpc)).collect::<Vec<_>>() });
        let judged = farm.emulator().control_post("/_control/judge", &group);
        judged["refusal"].is_string()
    };
    let here = "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1";
    assert!(!elsewhere("us-east-1", here));
    assert!(elsewhere("us-east-1", &here.replace("vpc-1", "vpc-2")));
    assert!(elsewhere("eu-west-1", here));
}

/// As deploy/README.md says: every statement of EC2 to one region, and groups to one network.
fn narrowed(mut document: Value, region: &str, vpc: &str) -> Value {
    for statement in document["Statement"].as_array_mut().unwrap() {
        let actions = texts(&statement["Action"]);
        if actions.iter().all(|action| action.starts_with("ec2:")) {
            statement["Condition"]["StringEquals"]["aws:RequestedRegion"] = json!(region);
        }
        if actions == ["ec2:DeleteSecurityGroup"] {
            statement["Condition"]["ArnLike"]["ec2:Vpc"] = json!(vpc);
        }
    }
    document
}

#[test]
fn an_instance_that_could_not_be_ended_is_not_started_either() {
    let farm = Farm::new();
    let name_the_instance = |name: &str| {
        let tags = format!("  communicator  = \"none\"\n  run_tags = {{ Name = \"{name}\" }}\n");
        farm.step("a", None)
            .template("a", |text| text.replace("  communicator  = \"none\"\n", &tags));
    };
    name_the_instance("web");
    farm.repo.commit("an instance that bears another name");
    hold_each(&farm, |document| document);
    farm.applies_in_vain();
    let said = refusals(&farm).to_string();
    assert!(
        said.contains("packer: is not authorized to perform: ec2:RunInstances on resource: arn:aws:ec2:us-east-1:123456789012:instance/*"),
        "{said}"
    );
    assert_eq!(farm.calls("ec2.StopInstances"), 0);
    assert_eq!(farm.leftovers(), "");
    name_the_instance("packer a");
    assert_eq!(farm.commit_and_apply().code, 0, "{}", refusals(&farm));
    assert_eq!(farm.leftovers(), "");
}

/// What each of these calls comes to for who holds all three documents, as the program and Packer
/// do together.
#[test]
fn the_documents_together_take_no_recorded_image_and_nothing_of_anybody_else() {
    let farm = Farm::new();
    farm.emulator().control_post("/_control/instance-profile", &json!("admin"));
    let web = a_persons_instance(&farm);
    let image = |name: &str, tags: Value| {
        let asked = json!({ "name": name, "tags": tags });
        farm.region.make_image(&asked)
    };
    let recorded = image("recorded", json!({ "reconciler:fingerprint": "1a2b" }));
    let unfinished = image("unfinished", json!({}));
    let answer = farm
        .emulator()
        .control_post("/_control/policies", &json!([{ "documents": documents(&ALL) }]));
    assert_eq!(answer, json!({}));
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        let name = || tag("Name", "packer a");
        macro_rules! refused {
            ($($call:expr),+ $(,)?) => {$(
                let said = $call.send().await.unwrap_err();
                assert_eq!(said.code(), Some("UnauthorizedOperation"), "{}", stringify!($call));
            )+};
        }
        refused![
            ec2.terminate_instances().instance_ids(&web),
            ec2.stop_instances().instance_ids(&web),
            ec2.create_image().instance_id(&web).name("stolen"),
            // By its name an instance could be ended.
            ec2.create_tags().resources(&web).tags(name()),
            ec2.delete_tags().resources(&web).tags(name()),
            ec2.run_instances().image_id(&recorded).min_count(1).max_count(1),
            ec2.deregister_image().image_id(&recorded),
            ec2.disable_image().image_id(&recorded),
            // Without its fingerprint a recorded image could be removed. A call that names no tag
            // takes all of them.
            ec2.delete_tags().resources(&recorded),
            ec2.delete_tags().resources(&recorded).tags(tag("reconciler:fingerprint", "1a2b")),
            ec2.delete_tags()
                .resources(&recorded)
                .tags(name())
                .tags(Tag::builder().key("reconciler:fingerprint").build()),
            ec2.modify_image_attribute().image_id(&unfinished).attribute("description"),
            ec2.delete_key_pair().key_name("ops"),
            ec2.create_key_pair().key_name("ops"),
        ];
        ec2.create_tags().resources(&recorded).tags(name()).send().await.unwrap();
        ec2.delete_tags().resources(&recorded).tags(name()).send().await.unwrap();
        ec2.deregister_image().image_id(&unfinished).send().await.unwrap();
        let tables = farm.session().await.dynamodb(None);
        let others = tables.query().table_name("payroll").key_condition_expression("a = :a");
        let value = aws_sdk_dynamodb::types::AttributeValue::S("a".to_owned());
        let said = others.expression_attribute_values(":a", value).send().await.unwrap_err();
        assert_eq!(said.code(), Some("AccessDeniedException"));
    });
}

fn a_persons_instance(farm: &Farm) -> String {
    in_runtime(async {
        let ec2 = farm.session().await.ec2();
        let named = TagSpecification::builder()
            .resource_type(ResourceType::Instance)
            .tags(tag("Name", "web"));
        let started = ec2
            .run_instances()
            .image_id("ami-0123456789abcdef0")
            .min_count(1)
            .max_count(1)
            .tag_specifications(named.build())
            .send()
            .await
            .unwrap();
        started.instances()[0].instance_id.clone().unwrap()
    })
}

#[test]
fn no_statement_takes_in_more_than_it_names() {
    for name in ALL.into_iter().chain(["ask.json"]) {
        for statement in policy(name) {
            for action in texts(&statement["Action"]) {
                assert!(!action.contains('*'), "{name}: {action}");
                let everything = texts(&statement["Resource"]).contains(&"*".to_owned());
                let looks = action.starts_with("ec2:Describe");
                assert!(!everything || looks, "{name}: {action} on everything");
            }
        }
    }
}

#[test]
fn the_service_writes_no_core_which_would_hold_secrets() {
    let unit = fs::read_to_string(folder("deploy/reconciler.service")).unwrap();
    assert!(unit.lines().any(|line| line == "LimitCORE=0"));
}
