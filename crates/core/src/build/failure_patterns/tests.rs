//! What was printed or is documented, and whose turn it is then.

use crate::build::failure_patterns::*;
use FailureClass::{Person, Step, Transient};
use reconciler_model::build::PackerStage;

/// In the words of Packer 1.6, and of EC2.
const SAID: &[(&str, FailureClass)] = &[
    (
        "Build 'x' errored after 3 seconds: Script exited with non-zero exit status: 7. Allowed exit codes are: [0]",
        Step,
    ),
    (
        "E: Could not connect: connection refused\nScript exited with non-zero exit status: 100",
        Step,
    ),
    ("Error: Unset variable \"region\"", Step),
    (
        "Error launching source instance: InvalidParameterValue: Invalid value 't9.huge' for InstanceType.",
        Step,
    ),
    (
        "Error launching source instance: Unsupported: Your requested instance type is not supported in your requested Availability Zone",
        Step,
    ),
    (
        "Error waiting for SSH: Packer experienced an authentication error when trying to connect via SSH. original error: ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey]",
        Step,
    ),
    (
        "Error launching source instance: UnauthorizedOperation: You are not authorized to perform this operation.",
        Person,
    ),
    (
        "Error launching source instance: VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 allows",
        Person,
    ),
    (
        "Error launching source instance: InstanceLimitExceeded: You have requested more instances (1) than your current instance limit of 0 allows",
        Person,
    ),
    (
        "Error launching source instance: MaxSpotInstanceCountExceeded: Max spot instance count exceeded",
        Person,
    ),
    (
        "The maximum number of security groups for VPC 'vpc-1' has been reached. (SecurityGroupLimitExceeded)",
        Person,
    ),
    (
        "Error launching source instance: OptInRequired: In order to use this AWS Marketplace product you need to accept terms and subscribe.",
        Person,
    ),
    (
        "Error launching source instance: PendingVerification: Your account is currently being verified.",
        Person,
    ),
    ("Error querying AMI: InvalidAMIID.NotFound: The image id '[ami-1]' does not exist", Person),
    ("InvalidSubnetID.NotFound: The subnet ID 'subnet-1' does not exist", Person),
    ("AMI Name: 'x' is used by an existing AMI: ami-1", Person),
    ("NoCredentialProviders: no valid providers in chain. Deprecated.", Person),
    ("Error: Missing plugins\n\nThe following plugins are required, but not installed", Person),
    ("Server responded with Client.InternalError: Client error on launch", Person),
    (
        "Error querying images: RequestLimitExceeded: Request limit exceeded.\n\tstatus code: 503",
        Transient,
    ),
    (
        "Error launching source instance: InsufficientInstanceCapacity: We currently do not have sufficient t3.micro capacity",
        Transient,
    ),
    ("Error launching source instance: 500 Internal Server Error", Transient),
    (
        "operation error EC2: DescribeImages, https response error StatusCode: 503, RequestID: 1, api error Unavailable",
        Transient,
    ),
    (
        "Error waiting for AMI: Failed with ResourceNotReady error, which can have a variety of causes.\noriginal error: ResourceNotReady: exceeded wait attempts",
        Transient,
    ),
    (
        "Error waiting for instance (i-1) to become ready: unexpected state 'shutting-down', wanted target 'running'",
        Transient,
    ),
    (
        "Error tagging source instance: InvalidInstanceID.NotFound: The instance ID 'i-1' does not exist",
        Transient,
    ),
    (
        "Error creating AMI: ExpiredToken: The security token included in the request is expired",
        Transient,
    ),
    (
        "RequestError: send request failed\ncaused by: Post \"http://127.0.0.1:1\": dial tcp 127.0.0.1:1: connect: connection refused",
        Transient,
    ),
    (
        "Error querying AMI: RequestError: send request failed\ncaused by: Post \"http://127.0.0.1:1/\": EOF",
        Transient,
    ),
    (
        "InvalidGroup.Duplicate: The security group 'packer_6b06116d-fe34-5ecf-cfd9-ac4ae0edcb13' already exists",
        Transient,
    ),
    (
        "Error authorizing temporary security group: InvalidPermission.Duplicate: the specified rule \"peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, ALLOW\" already exists",
        Transient,
    ),
    ("Error finding source instance.", Transient),
    (
        "Error finding source instance: UnauthorizedOperation: You are not authorized to perform this operation.",
        Person,
    ),
    ("Timeout waiting for SSH.", Transient),
    (
        "Script disconnected unexpectedly. If you expected your script to disconnect, i.e. from a restart, you can try adding `expect_disconnect`",
        Transient,
    ),
];

/// In the words of today's Packer, its amazon plugin and aws-sdk-go-v2.
const SAID_TODAY: &[(&str, Turn)] = &[
    (
        "Error launching source instance: operation error EC2: RunInstances, https response error StatusCode: 0, RequestID: , request send failed, Post \"https://ec2.us-east-1.amazonaws.com/\": EOF",
        Turn::Passes,
    ),
    (
        "Error launching source instance: operation error EC2: RunInstances, exceeded maximum number of attempts, 3, https response error StatusCode: 0, RequestID: , request send failed, Post \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: connect: connection refused",
        Turn::Passes,
    ),
    (
        "Error querying AMI: operation error EC2: DescribeImages, exceeded maximum number of attempts, 3, https response error StatusCode: 503, RequestID: 1, api error RequestLimitExceeded: Request limit exceeded.",
        Turn::Passes,
    ),
    (
        "operation error EC2: DescribeInstances, failed to get rate limit token, retry quota exceeded, 0 available, 5 requested",
        Turn::Passes,
    ),
    (
        "Error creating AMI: operation error EC2: CreateImage, https response error StatusCode: 400, RequestID: 1, api error IncorrectState: Instance 'i-1' is not in state 'running' or 'stopped'",
        Turn::Passes,
    ),
    (
        "Error creating AMI: operation error EC2: CreateImage, https response error StatusCode: 400, RequestID: 1, api error InvalidParameterValue: Instance is not in state 'running' or 'stopped'",
        Turn::Passes,
    ),
    (
        "Error Copying AMI (ami-1) to region (us-west-2): operation error EC2: CopyImage, https response error StatusCode: 400, RequestID: 1, api error ResourceLimitExceeded: Too many snapshot copies in progress. The limit is 20 for this destination region.",
        Turn::Passes,
    ),
    (
        "operation error EC2: CopyImage, https response error StatusCode: 400, RequestID: 1, api error ResourceLimitExceeded: You have reached your quota of 50000 images",
        Turn::Person,
    ),
    (
        "Error waiting for fleet request (fleet-1) to become ready:There is no Spot capacity available that matches your request.",
        Turn::Passes,
    ),
    (
        "Error waiting for fleet request (fleet-1) to become ready:Your Spot request price of 0.001 is lower than the minimum required Spot request fulfillment price of 0.0042.",
        Turn::Passes,
    ),
    (
        "Error waiting for fleet request (fleet-1) to become ready:Max spot instance count exceeded",
        Turn::Person,
    ),
    (
        "Error waiting for fleet request (fleet-1) to become ready:We currently do not have sufficient t3.micro capacity in zones with support for 'gp3' volumes.",
        Turn::Passes,
    ),
    (
        "Error waiting for fleet request (fleet-1) to become ready:Your requested instance type (t3.micro) is not supported in your requested Availability Zone (us-east-1e).",
        Turn::Step,
    ),
    ("Error waiting for fleet request (fleet-1): InsufficientInstanceCapacity", Turn::Passes),
    (
        "Error waiting for fleet request (fleet-1) to become ready:Something that nobody has ever read.",
        Turn::PassesOrPerson,
    ),
    (
        "operation error EC2: CreateFleet, https response error StatusCode: 400, RequestID: 1, api error UnfulfillableCapacity: Unable to fulfill capacity",
        Turn::Passes,
    ),
    (
        "operation error EC2: CreateImage, https response error StatusCode: 400, RequestID: 1, api error SnapshotCreationPerVolumeRateExceeded: The maximum per volume CreateSnapshot request rate has been exceeded.",
        Turn::Passes,
    ),
    (
        "operation error EC2: DescribeImages, https response error StatusCode: 200, RequestID: 1, deserialization failed, failed to decode response body, XML syntax error on line 1: unexpected EOF",
        Turn::Passes,
    ),
    (
        "operation error EC2: RunInstances, https response error StatusCode: 0, RequestID: , request send failed, Post \"https://ec2.us-east-1.amazonaws.com/\": net/http: TLS handshake timeout",
        Turn::Passes,
    ),
    (
        "operation error EC2: RunInstances, https response error StatusCode: 0, RequestID: , request send failed, Post \"https://ec2.us-east-1.amazonaws.com/\": dial tcp: lookup ec2.us-east-1.amazonaws.com: no such host",
        Turn::Passes,
    ),
    (
        "operation error EC2: RunInstances, https response error StatusCode: 0, RequestID: , request send failed, Post \"https://ec2.us-east-1.amazonaws.com/\": tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
        Turn::Person,
    ),
    (
        "operation error EC2: RunInstances, https response error StatusCode: 0, RequestID: , canceled, context canceled",
        Turn::Passes,
    ),
    (
        "operation error EC2: DescribeRegions, get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found, operation error ec2imds: GetMetadata, request canceled, context deadline exceeded",
        Turn::PassesOrPerson,
    ),
    (
        "operation error EC2: DescribeRegions, get identity: get credentials: failed to refresh cached credentials, static credentials are empty",
        Turn::Person,
    ),
    (
        "operation error EC2: DescribeRegions, get identity: get credentials: failed to refresh cached credentials, refresh cached SSO token failed, unable to refresh SSO token, operation error SSO OIDC: CreateToken, https response error StatusCode: 400, RequestID: 1, InvalidGrantException: ",
        Turn::Person,
    ),
    (
        "operation error EC2: TerminateInstances, https response error StatusCode: 400, RequestID: 1, api error RequestExpired: Request has expired.",
        Turn::Passes,
    ),
    (
        "operation error STS: GetCallerIdentity, https response error StatusCode: 403, RequestID: 1, api error ExpiredToken: The security token included in the request is expired",
        Turn::Passes,
    ),
    (
        "operation error STS: GetCallerIdentity, https response error StatusCode: 403, RequestID: 1, api error InvalidClientTokenId: The security token included in the request is invalid.",
        Turn::Person,
    ),
    (
        "Error launching source instance: operation error EC2: RunInstances, https response error StatusCode: 403, RequestID: 1, api error UnauthorizedOperation: You are not authorized to perform this operation. Authorization failure message: '{...}'",
        Turn::Person,
    ),
    (
        "Error launching source instance: operation error EC2: RunInstances, https response error StatusCode: 400, RequestID: 1, api error InvalidParameterValue: Invalid value 't9.huge' for InstanceType.",
        Turn::Step,
    ),
    (
        "Error waiting for instance (i-1) to become ready: exceeded max wait time for InstanceRunning waiter",
        Turn::Passes,
    ),
    (
        "Error waiting for instance (i-1) to become ready: waiter state transitioned to Failure",
        Turn::PassesOrStep,
    ),
    (
        "Error waiting for AMI: failed with ResourceNotReady error, which can have a variety of causes.\noriginal error: waiter state transitioned to Failure",
        Turn::PassesOrStep,
    ),
    ("Instance state change details: Server.InternalError: Internal error on launch", Turn::Passes),
    (
        "Error creating temporary keypair: operation error EC2: CreateKeyPair, https response error StatusCode: 400, RequestID: 1, api error InvalidKeyPair.Duplicate: The keypair 'packer_1' already exists.",
        Turn::Passes,
    ),
    // Nobody has a row for these: a call of AWS is no script, whatever it says.
    (
        "Error launching source instance: operation error EC2: RunInstances, https response error StatusCode: 400, RequestID: 1, api error FluxCapacitorNotCharged: try again at 88 mph",
        Turn::PassesOrPerson,
    ),
    (
        "Error launching source instance: FluxCapacitorNotCharged: try again at 88 mph\n\tstatus code: 400, request id: 1",
        Turn::PassesOrPerson,
    ),
    (
        "operation error EC2: RunInstances, https response error StatusCode: 400, RequestID: 1, api error FluxLimitExceeded: enough",
        Turn::Person,
    ),
    (
        "operation error EC2: RunInstances, https response error StatusCode: 400, RequestID: 1, api error InsufficientFluxCapacity: later",
        Turn::Passes,
    ),
    (
        "operation error EC2: RunInstances, https response error StatusCode: 400, RequestID: 1, api error InvalidFlux.Malformed: wrong",
        Turn::Step,
    ),
    (
        "operation error KMS: CreateGrant, https response error StatusCode: 400, RequestID: 1, something else entirely",
        Turn::PassesOrPerson,
    ),
    // One of Packer's own processes is gone.
    (
        "msgpack encode error: write unix @->/tmp/packer-plugin123: write: broken pipe",
        Turn::PassesOrPerson,
    ),
    ("unexpected EOF", Turn::PassesOrPerson),
    ("EOF", Turn::PassesOrPerson),
    ("Script exited with non-zero exit status: -1.Allowed exit codes are: [0]", Turn::PassesOrStep),
    // A script that speaks of AWS is a script.
    ("Script exited with non-zero exit status: 254.Allowed exit codes are: [0]", Turn::Step),
    (
        "Post-processor failed: operation error S3: PutObject, https response error StatusCode: 503, RequestID: 1, api error SlowDown: Please reduce your request rate.",
        Turn::Passes,
    ),
    ("Post-processor failed: exit status 3", Turn::Step),
    ("something that nobody has ever read", Turn::Step),
    ("You do not have sufficient faith", Turn::Step),
];

#[test]
fn packers_words_tell_whose_turn_it_is() {
    for (said, class) in SAID {
        assert_eq!(class_of(said, PackerStage::Build), *class, "{said}");
    }
    for (said, expected) in SAID_TODAY {
        assert_eq!(turn(said, PackerStage::Build), *expected, "{said}");
    }
}

#[test]
fn what_validate_refuses_is_the_steps_own_though_it_speaks_of_the_network() {
    let said = "Error: invalid value: connection refused is no word for this attribute";
    assert_eq!(class_of(said, PackerStage::Validate), Step);
    let gone = "Error: Failed to load source\n\nmsgpack decode error [pos 0]: EOF";
    assert_eq!(class_of(gone, PackerStage::Validate), Transient);
    let called = "Error: Datasource.Execute failed: operation error EC2: DescribeImages, https response error StatusCode: 0, RequestID: , request send failed, EOF";
    assert_eq!(class_of(called, PackerStage::Validate), Transient);
}

#[test]
fn no_row_stands_twice_and_none_is_hidden_by_one_before_it_of_another_turn() {
    for (at, row) in TABLE.iter().enumerate() {
        for before in &TABLE[..at] {
            let hidden = before.is_in(row.text) && before.turn != row.turn;
            assert!(!hidden, "{row:?} is hidden by {before:?}");
            assert_ne!(before.text, row.text);
        }
    }
}

#[test]
fn every_source_of_facts_has_its_rows() {
    use crate::build::failure_patterns::table::By;
    for by in [By::Packer, By::Plugin, By::SdkV1, By::SdkV2, By::Ec2, By::Go, By::Host] {
        assert!(TABLE.iter().any(|row| row.by == by), "{by:?}");
    }
}

#[test]
fn an_error_code_is_a_whole_word() {
    let one = |text: &str| {
        Row {
            text: "InternalError",
            form: Form::Code,
            turn: Turn::Passes,
            by: crate::build::failure_patterns::table::By::Ec2,
        }
        .is_in(text)
    };
    assert!(one("InternalError: x") && one("(InternalError)") && one("Server.InternalError: x"));
    assert!(one("InternalError."));
    assert!(!one("InternalErrors") && !one("InternalError.Fatal") && !one("AnInternalError"));
}
