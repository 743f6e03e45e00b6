//! What Packer, its amazon plugin, the two SDKs, Go's network library and EC2 say when a build
//! fails, and whose turn it is then.
//!
//! One table, in the order in which it counts: the first row that a text holds decides. Each row
//! names who says it:
//!
//! * `Packer` is Packer itself and its plugin SDK (communicators, provisioners, the talk between
//!   its processes), 1.6 and 1.16;
//! * `Plugin` is the amazon builder: compiled into 1.6, the amazon plugin 1.8 today;
//! * `SdkV1` is aws-sdk-go, which 1.6 speaks, `SdkV2` is aws-sdk-go-v2 with smithy-go, which
//!   today's plugin speaks;
//! * `Ec2` is EC2's own word: the error codes and messages of its API reference, of its fleets and
//!   of an instance's state reasons;
//! * `Go` is Go's network, TLS and RPC library;
//! * `Host` is this program or the system that it runs on.

use crate::build::failure_patterns::Turn;
use crate::build::failure_patterns::Turn::{Passes, PassesOrPerson, PassesOrStep, Person, Step};

/// EC2's code where an image of the wanted name is there already.
pub(in crate::build) const NAME_TAKEN: &str = "InvalidAMIName.Duplicate";

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Packer,
    Plugin,
    SdkV1,
    SdkV2,
    Ec2,
    Go,
    Host,
}

/// How a row is found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// These words anywhere.
    Words,
    /// This whole error code: `InternalError` is not found in `Client.InternalError`, nor
    /// `Unavailable` in `InvalidAMIID.Unavailable`.
    Code,
    /// The processes of Packer talking to each other: also where `validate` says it.
    Rpc,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) text: &'static str,
    pub(super) form: Form,
    pub(super) turn: Turn,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for whoever reads the table, and for its tests")
    )]
    pub(super) by: By,
}

const fn words(text: &'static str, turn: Turn, by: By) -> Row {
    Row { text, form: Form::Words, turn, by }
}

/// An error code of EC2.
const fn code(text: &'static str, turn: Turn) -> Row {
    Row { text, form: Form::Code, turn, by: By::Ec2 }
}

/// Of the talk between Packer's processes: one of them is gone, killed or crashed.
const fn rpc(text: &'static str) -> Row {
    Row { text, form: Form::Rpc, turn: PassesOrPerson, by: By::Packer }
}

use By::{Ec2, Go, Host, Packer, Plugin, SdkV1, SdkV2};

pub(super) const TABLE: &[Row] = &[
    // What ended by a signal on the build host was ended from outside.
    words("exit status: -1", PassesOrStep, Packer),
    words("signal: killed", PassesOrStep, Packer),
    words("signal: terminated", PassesOrStep, Packer),
    // A script is the step's own, whatever it wrote.
    words("Script exited with non-zero exit status", Step, Packer),
    words("Error executing Ansible", Step, Packer),
    // Somebody answered and did not let us in: the user name or the key of the template.
    words("authentication error when trying to connect", Step, Packer),
    words("unable to authenticate", Step, Packer),
    // Sentences that say more than the code before them.
    words("Too many snapshot copies in progress", Passes, Ec2),
    words("There is no Spot capacity available", Passes, Ec2),
    words("not in state 'running' or 'stopped'", Passes, Ec2),
    words("lower than the minimum required Spot request fulfillment price", Passes, Ec2),
    words("We currently do not have sufficient", Passes, Ec2),
    words("no capacity matching your request", Passes, Ec2),
    words("Max spot instance count exceeded", Person, Ec2),
    words("than your current vCPU limit", Person, Ec2),
    words("than your current instance limit", Person, Ec2),
    words("security token included in the request is expired", Passes, Ec2),
    // Permission and account.
    code("UnauthorizedOperation", Person),
    code("AccessDenied", Person),
    code("AccessDeniedException", Person),
    code("OperationNotPermitted", Person),
    words("AuthFailure", Person, Ec2),
    words("do not have permission to create the service-linked role", Person, Ec2),
    code("OptInRequired", Person),
    code("PendingVerification", Person),
    code("Blocked", Person),
    code("InvalidClientTokenId", Person),
    code("SignatureDoesNotMatch", Person),
    code("InvalidSignatureException", Person),
    code("IncompleteSignature", Person),
    code("UnrecognizedClientException", Person),
    code("MissingAuthenticationToken", Person),
    words("Client.InternalError", Person, Ec2),
    words("Client error on launch", Person, Ec2),
    words("KMSKeyNotAccessible", Person, Ec2),
    words("KMS.", Person, Ec2),
    // Quotas. Those of requests and of snapshots under way pass by themselves and are named below.
    code("VcpuLimitExceeded", Person),
    code("InstanceLimitExceeded", Person),
    code("MaxSpotInstanceCountExceeded", Person),
    code("MaxSpotFleetRequestCountExceeded", Person),
    code("SecurityGroupLimitExceeded", Person),
    code("RulesPerSecurityGroupLimitExceeded", Person),
    code("VolumeLimitExceeded", Person),
    code("SnapshotLimitExceeded", Person),
    code("AddressLimitExceeded", Person),
    code("ResourceLimitExceeded", Person),
    code("ResourceCountExceeded", Person),
    code("ResourceCountLimitExceeded", Person),
    code("KeyPairLimitExceeded", Person),
    code("MaxIOPSLimitExceeded", Person),
    code("ServiceQuotaExceeded", Person),
    code("ServiceQuotaExceededException", Person),
    code("InsufficientFreeAddressesInSubnet", Person),
    code("InsufficientAddressCapacity", Person),
    code("PrivateIpAddressLimitExceeded", Person),
    // What the parameters name is not there, or taken.
    code("InvalidAMIID.NotFound", Person),
    code("InvalidAMIID.Unavailable", Person),
    code("InvalidSubnetID.NotFound", Person),
    code("InvalidSubnet.NotFound", Person),
    code("InvalidVpcID.NotFound", Person),
    code("VPCIdNotSpecified", Person),
    code("DefaultVpcDoesNotExist", Person),
    words("InvalidIamInstanceProfile", Person, Ec2),
    words("Invalid IAM Instance Profile", Person, Ec2),
    words("No AMI was found matching filters", Person, Plugin),
    words("No Subnets was found matching filters", Person, Plugin),
    words("Exactly one VPC should match the filter", Person, Plugin),
    words("No default VPC found", Person, Plugin),
    words("is used by an existing AMI", Person, Plugin),
    code(NAME_TAKEN, Person),
    // The build host, its clock and its credentials.
    words("Missing plugins", Person, Packer),
    words("plugins are not installed", Person, Packer),
    words("is likely part of a plugin", Person, Packer),
    words("NoCredentialProviders", Person, SdkV1),
    words("No valid credential sources", Person, Plugin),
    words("SharedConfig", Person, SdkV1),
    words("failed to get shared config profile", Person, SdkV2),
    words("static credentials are empty", Person, SdkV2),
    words("SSO session has expired", Person, SdkV1),
    words("cached SSO token is expired", Person, SdkV2),
    words("refresh cached SSO token failed", Person, SdkV2),
    words("error in credential_process", PassesOrPerson, SdkV2),
    words("credential process timed out", PassesOrPerson, SdkV2),
    words("Signature expired", Person, Ec2),
    code("RequestTimeTooSkewed", Person),
    words("Probable clock skew error", Person, SdkV2),
    words("x509: ", Person, Go),
    words("no space left on device", Person, Host),
    words("cannot start", Person, Host),
    // Credentials of the host's role, which the metadata service hands out. It is short of breath
    // at times; a host without a role stays without one.
    words("EC2 IMDS role", PassesOrPerson, SdkV2),
    words("EC2RoleRequestError", PassesOrPerson, SdkV1),
    words("EC2MetadataError", PassesOrPerson, SdkV1),
    words("ec2imds", PassesOrPerson, SdkV2),
    // Credentials that ended during the build; the next one gets fresh ones.
    code("RequestExpired", Passes),
    code("ExpiredToken", Passes),
    code("ExpiredTokenException", Passes),
    // Throttling.
    code("RequestLimitExceeded", Passes),
    code("Throttling", Passes),
    code("ThrottlingException", Passes),
    code("ThrottledException", Passes),
    code("RequestThrottled", Passes),
    code("RequestThrottledException", Passes),
    code("EC2ThrottledException", Passes),
    words("TooManyRequests", Passes, Ec2),
    code("PriorRequestNotComplete", Passes),
    code("SlowDown", Passes),
    code("BandwidthLimitExceeded", Passes),
    code("ConcurrentSnapshotLimitExceeded", Passes),
    code("PendingSnapshotLimitExceeded", Passes),
    code("SnapshotCreationPerVolumeRateExceeded", Passes),
    code("SnapshotCopyLimitExceeded", Passes),
    code("ConcurrentTagAccess", Passes),
    code("ConcurrentCreateOptionsExceeded", Passes),
    words("retry quota exceeded", Passes, SdkV2),
    // Capacity.
    code("InsufficientInstanceCapacity", Passes),
    code("InsufficientHostCapacity", Passes),
    code("InsufficientReservedInstanceCapacity", Passes),
    code("InsufficientCapacity", Passes),
    code("InsufficientCapacityOnOutpost", Passes),
    code("InsufficientCapacityOnHost", Passes),
    code("InsufficientVolumeCapacity", Passes),
    code("ReservationCapacityExceeded", Passes),
    code("UnfulfillableCapacity", Passes),
    code("SpotMaxPriceTooLow", Passes),
    words("SpotInstanceTermination", Passes, Ec2),
    words("SpotInstanceShutdown", Passes, Ec2),
    words("capacity-not-available", Passes, Ec2),
    // AWS itself, and things that EC2 does not know of yet because they were made a moment ago.
    code("InternalError", Passes),
    code("InternalFailure", Passes),
    words("Internal Server Error", Passes, Ec2),
    code("ServiceUnavailable", Passes),
    code("Unavailable", Passes),
    words("Service Unavailable", Passes, Ec2),
    words("Bad Gateway", Passes, Ec2),
    words("Gateway Time", Passes, Ec2),
    words("status code: 5", Passes, SdkV1),
    words("StatusCode: 5", Passes, SdkV2),
    code("IncorrectInstanceState", Passes),
    code("IncorrectState", Passes),
    code("IncorrectSpotRequestState", Passes),
    code("InvalidInstanceID.NotFound", Passes),
    code("InvalidInstanceID.NotReady", Passes),
    code("InvalidGroup.NotFound", Passes),
    code("InvalidKeyPair.NotFound", Passes),
    code("InvalidVolume.NotFound", Passes),
    code("InvalidSnapshot.NotFound", Passes),
    code("InvalidLaunchTemplateId.NotFound", Passes),
    code("InvalidLaunchTemplateName.NotFoundException", Passes),
    code("InvalidSpotInstanceRequestID.NotFound", Passes),
    code("VolumeInUse", Passes),
    code("DependencyViolation", Passes),
    // A call whose answer was lost was repeated, and its first try had worked. The names are new
    // for each run of Packer.
    code("InvalidGroup.Duplicate", Passes),
    code("InvalidKeyPair.Duplicate", Passes),
    code("InvalidPermission.Duplicate", Passes),
    code("IdempotentParameterMismatch", Passes),
    // Waits that were too short, or ended in another state than they were for.
    words("failed waiting for successful resource state", PassesOrStep, SdkV1),
    words("waiter state transitioned to Failure", PassesOrStep, SdkV2),
    words("unexpected state", PassesOrStep, SdkV1),
    words("ResourceNotReady", Passes, SdkV1),
    words("exceeded max wait time", Passes, SdkV2),
    words("exceeded wait attempts", Passes, SdkV1),
    words("imed out waiting for", Passes, Plugin),
    words("timeout waiting for ", Passes, Plugin),
    words("Error finding source instance", Passes, Plugin),
    // A machine that could not be reached, or was lost.
    words("Timeout waiting for SSH", PassesOrStep, Packer),
    words("Timeout waiting for WinRM", PassesOrStep, Packer),
    words("Timeout waiting for password", PassesOrStep, Plugin),
    words("Timeout during SSH handshake", PassesOrStep, Packer),
    words("disconnected unexpectedly", PassesOrStep, Packer),
    words("client not available", PassesOrStep, Packer),
    // The network between an SDK and AWS.
    words("exceeded maximum number of attempts", Passes, SdkV2),
    words("request send failed", Passes, SdkV2),
    words("send request failed", Passes, SdkV1),
    words("deserialization failed", Passes, SdkV2),
    words("failed to decode response body", Passes, SdkV2),
    words("SerializationError", Passes, SdkV1),
    words("ReadError", Passes, SdkV1),
    words("ResponseTimeout", Passes, SdkV1),
    words("read on body reach timeout limit", Passes, SdkV2),
    code("RequestTimeout", Passes),
    code("RequestTimeoutException", Passes),
    words("RequestCanceled", Passes, SdkV1),
    words("request canceled", Passes, Go),
    words("canceled, context canceled", Passes, SdkV2),
    words("context deadline exceeded", Passes, Go),
    words("Client.Timeout exceeded", Passes, Go),
    // One of Packer's own processes is gone.
    rpc("msgpack encode error"),
    rpc("msgpack decode error"),
    rpc("plugin exited before we could connect"),
    rpc("timeout while waiting for plugin to start"),
    rpc("connection is shut down"),
    rpc("session shutdown"),
    rpc("keepalive timeout"),
    rpc("reading body"),
    rpc("rpc: "),
    rpc("plugin-server"),
    rpc("unexpected EOF"),
    // The network of whatever called.
    words("connection refused", Passes, Go),
    words("connection reset", Passes, Go),
    words("i/o timeout", Passes, Go),
    words("no such host", Passes, Go),
    words("server misbehaving", Passes, Go),
    words("Temporary failure in name resolution", Passes, Go),
    words("network is unreachable", Passes, Go),
    words("no route to host", Passes, Go),
    words("TLS handshake timeout", Passes, Go),
    words("remote error: tls: internal error", Passes, Go),
    words("broken pipe", Passes, Go),
    words("server closed idle connection", Passes, Go),
    words("use of closed network connection", Passes, Go),
    words("http2: ", Passes, Go),
    words("proxyconnect tcp", Passes, Go),
    // What the template asks EC2 for cannot be, whoever asks.
    code("InvalidParameterValue", Step),
    code("InvalidParameterCombination", Step),
    code("InvalidParameter", Step),
    code("MissingParameter", Step),
    code("UnknownParameter", Step),
    code("ValidationError", Step),
    code("ValidationException", Step),
    code("Unsupported", Step),
    code("UnsupportedOperation", Step),
    code("UnsupportedTenancy", Step),
    code("InvalidBlockDeviceMapping", Step),
    code("InvalidInput", Step),
    words(".Malformed", Step, Ec2),
    words("is not supported in your requested Availability Zone", Step, Ec2),
];
