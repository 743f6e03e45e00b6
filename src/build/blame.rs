//! Whose turn it is after a build has failed, told from Packer's words. Pure.
//!
//! The words are those that Packer 1.6 and today's with the amazon plugin print: their own sentences, the error codes of EC2 in front of
//! its messages, and what the network library of Go says. Sources: the EC2 API reference ("Error codes"), both programs' issues, and the
//! transcripts of the tests.
//!
//! The order counts. A provisioner that exits with a status is the step's doing whatever it wrote. A code that names a person's turn comes
//! before one that may pass, for messages quote each other. What no list knows is the step's own: it is not tried again by itself, so that
//! a new kind of failure costs nothing.

use crate::build::PackerStage;
use crate::inventory::journal::FailureClass;

/// The step's own, whatever else is said.
const STEP: [&str; 5] = [
    "Script exited with non-zero exit status",
    "Error executing Ansible",
    "Post-processor failed",
    // Somebody answered and did not let us in: the user name or the key of the template.
    "authentication error when trying to connect",
    "unable to authenticate",
];

/// Somebody has to do something outside of git: permission, quota, money, a missing thing, the build host.
const PERSON: [&str; 47] = [
    // Permission and account.
    "UnauthorizedOperation",
    "AccessDenied",
    "AuthFailure",
    "OptInRequired",
    "PendingVerification",
    "Blocked:",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "MissingAuthenticationToken",
    "Client.InternalError",
    "Client error on launch",
    "KMSKeyNotAccessible",
    "KMS.",
    // Quotas. `…LimitExceeded` of requests and of snapshots under way pass by themselves and are named below.
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "SecurityGroupLimitExceeded",
    "RulesPerSecurityGroupLimitExceeded",
    "VolumeLimitExceeded",
    "SnapshotLimitExceeded:",
    "AddressLimitExceeded",
    "ResourceLimitExceeded",
    "ResourceCountExceeded",
    "KeyPairLimitExceeded",
    "MaxIOPSLimitExceeded",
    "ServiceQuotaExceeded",
    "InsufficientFreeAddressesInSubnet",
    // What the parameters name is not there, or taken.
    "InvalidAMIID.NotFound",
    "InvalidAMIID.Unavailable",
    "InvalidSubnetID.NotFound",
    "InvalidSubnet.NotFound",
    "InvalidVpcID.NotFound",
    "InvalidIamInstanceProfile",
    "Invalid IAM Instance Profile",
    "No AMI was found matching filters",
    "is used by an existing AMI",
    "InvalidAMIName.Duplicate",
    // The build host and its credentials.
    "Missing plugins",
    "plugins are not installed",
    "is likely part of a plugin",
    "NoCredentialProviders",
    "No valid credential sources",
    "no EC2 IMDS role found",
    "SSO session has expired",
    "no space left on device",
    "cannot start",
];

/// May work later as it is.
const TRANSIENT: [&str; 56] = [
    // Throttling.
    "RequestLimitExceeded",
    "Throttling",
    "ThrottledException",
    "TooManyRequests",
    "SlowDown",
    "BandwidthLimitExceeded",
    "ConcurrentSnapshotLimitExceeded",
    "PendingSnapshotLimitExceeded",
    "SnapshotCreationPerVolumeRateExceeded",
    // Capacity.
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "InsufficientVolumeCapacity",
    "SpotMaxPriceTooLow",
    "SpotInstanceTermination",
    "capacity-not-available",
    // AWS itself, and things that EC2 does not know of yet because they were made a moment ago.
    "InternalError",
    "InternalFailure",
    "Internal Server Error",
    "ServiceUnavailable",
    "Unavailable",
    "status code: 5",
    "StatusCode: 5",
    "IncorrectInstanceState",
    "IncorrectState",
    "InvalidInstanceID.NotFound",
    "InvalidGroup.NotFound",
    "InvalidKeyPair.NotFound",
    "InvalidVolume.NotFound",
    "InvalidSnapshot.NotFound",
    "ResourceNotReady",
    "unexpected state",
    // Credentials that ended during the build; the next one gets fresh ones.
    "RequestExpired",
    "ExpiredToken",
    // Network.
    "connection refused",
    "connection reset",
    "i/o timeout",
    "no such host",
    "network is unreachable",
    "no route to host",
    "unexpected EOF",
    "TLS handshake timeout",
    "send request failed",
    "broken pipe",
    "server closed idle connection",
    "use of closed network connection",
    "RequestTimeout",
    "RequestCanceled",
    // A call whose answer was lost was repeated, and its first try had worked. The names are new for each run of Packer.
    "InvalidGroup.Duplicate",
    "InvalidKeyPair.Duplicate",
    "InvalidPermission.Duplicate",
    // EC2 does not show the instance yet that it has just started.
    "Error finding source instance",
    "context deadline exceeded",
    // A machine that could not be reached, or was lost.
    "Timeout waiting for SSH",
    "Timeout waiting for WinRM",
    "disconnected unexpectedly",
];

/// What kind of failure Packer's words tell of; without a word that is known, the step's own.
pub(super) fn class_of(said: &str, stage: PackerStage) -> FailureClass {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&STEP) {
        FailureClass::Step
    } else if has(&PERSON) {
        FailureClass::Person
    } else if stage == PackerStage::Build && has(&TRANSIENT) {
        FailureClass::Transient
    } else {
        FailureClass::Step
    }
}

/// What of Packer's is missing on this host, and how it gets there; none if its words tell of something else.
pub(super) fn missing_plugin(said: &str) -> Option<String> {
    const WAY_OUT: &str = "run `packer plugins install` as the user of the reconciler, or name the folder of plugins in `packer.plugin_path`";
    let listed = |rest: &str| -> Vec<String> {
        let lines = rest.lines().map(str::trim);
        let plugins = lines.filter_map(|line| line.strip_prefix("* "));
        plugins.map(str::to_owned).collect()
    };
    if let Some((_, rest)) = said.split_once("Missing plugins") {
        return Some(match listed(rest).as_slice() {
            [] => format!("Packer lacks plugins that the template asks for; {WAY_OUT}"),
            plugins => format!("Packer lacks the plugin {}; {WAY_OUT}", plugins.join(", ")),
        });
    }
    let (before, _) = said.split_once(" is unknown by Packer, and is likely part of a plugin")?;
    let what = before.lines().next_back().unwrap_or(before).trim();
    Some(format!(
        "{} is unknown to this Packer: its plugin is not installed; {WAY_OUT}",
        what.trim_start_matches("The ")
    ))
}

/// The line that names the cause: not Packer's closing summary, and not what a provisioner wrote to standard error.
pub(super) fn cause_line(errors: &[String]) -> Option<String> {
    let lines = || {
        errors
            .iter()
            .flat_map(|text| text.lines())
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let telling = |line: &&str| {
        [
            "errored",
            "Error",
            "error:",
            "exited with",
            "disconnected",
            "Timeout",
        ]
        .iter()
        .any(|word| line.contains(word))
            && !line.starts_with("==> Some builds")
    };
    let line = lines()
        .filter(telling)
        .max_by_key(|line| line.contains("exited with") || line.contains("status code"))
        .or_else(|| lines().next_back())?;
    let line = line
        .split_once("errored after")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or(line, |(_, rest)| rest);
    Some(line.trim_start_matches("==> ").chars().take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Packer printed, and whose turn it is then.
    const SAID: [(&str, FailureClass); 35] = [
        (
            "Build 'x' errored after 3 seconds: Script exited with non-zero exit status: 7. Allowed exit codes are: [0]",
            FailureClass::Step,
        ),
        (
            "E: Could not connect: connection refused\nScript exited with non-zero exit status: 100",
            FailureClass::Step,
        ),
        ("Error: Unset variable \"region\"", FailureClass::Step),
        (
            "Error launching source instance: InvalidParameterValue: Invalid value 't9.huge' for InstanceType.",
            FailureClass::Step,
        ),
        (
            "Error launching source instance: Unsupported: Your requested instance type is not supported in your requested Availability Zone",
            FailureClass::Step,
        ),
        (
            "Error waiting for SSH: Packer experienced an authentication error when trying to connect via SSH. original error: ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey]",
            FailureClass::Step,
        ),
        (
            "Error launching source instance: UnauthorizedOperation: You are not authorized to perform this operation.",
            FailureClass::Person,
        ),
        (
            "Error launching source instance: VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 allows",
            FailureClass::Person,
        ),
        (
            "Error launching source instance: InstanceLimitExceeded: You have requested more instances (1) than your current instance limit of 0 allows",
            FailureClass::Person,
        ),
        (
            "Error launching source instance: MaxSpotInstanceCountExceeded: Max spot instance count exceeded",
            FailureClass::Person,
        ),
        (
            "The maximum number of security groups for VPC 'vpc-1' has been reached. (SecurityGroupLimitExceeded)",
            FailureClass::Person,
        ),
        (
            "Error launching source instance: OptInRequired: In order to use this AWS Marketplace product you need to accept terms and subscribe.",
            FailureClass::Person,
        ),
        (
            "Error launching source instance: PendingVerification: Your account is currently being verified.",
            FailureClass::Person,
        ),
        (
            "Error querying AMI: InvalidAMIID.NotFound: The image id '[ami-1]' does not exist",
            FailureClass::Person,
        ),
        (
            "InvalidSubnetID.NotFound: The subnet ID 'subnet-1' does not exist",
            FailureClass::Person,
        ),
        (
            "AMI Name: 'x' is used by an existing AMI: ami-1",
            FailureClass::Person,
        ),
        (
            "NoCredentialProviders: no valid providers in chain. Deprecated.",
            FailureClass::Person,
        ),
        (
            "Error: Missing plugins\n\nThe following plugins are required, but not installed",
            FailureClass::Person,
        ),
        (
            "Server responded with Client.InternalError: Client error on launch",
            FailureClass::Person,
        ),
        (
            "Error querying images: RequestLimitExceeded: Request limit exceeded.\n\tstatus code: 503",
            FailureClass::Transient,
        ),
        (
            "Error launching source instance: InsufficientInstanceCapacity: We currently do not have sufficient t3.micro capacity",
            FailureClass::Transient,
        ),
        (
            "Error launching source instance: 500 Internal Server Error",
            FailureClass::Transient,
        ),
        (
            "operation error EC2: DescribeImages, https response error StatusCode: 503, RequestID: 1, api error Unavailable",
            FailureClass::Transient,
        ),
        (
            "Error waiting for AMI: Failed with ResourceNotReady error, which can have a variety of causes.\noriginal error: ResourceNotReady: exceeded wait attempts",
            FailureClass::Transient,
        ),
        (
            "Error waiting for instance (i-1) to become ready: unexpected state 'shutting-down', wanted target 'running'",
            FailureClass::Transient,
        ),
        (
            "Error tagging source instance: InvalidInstanceID.NotFound: The instance ID 'i-1' does not exist",
            FailureClass::Transient,
        ),
        (
            "Error creating AMI: ExpiredToken: The security token included in the request is expired",
            FailureClass::Transient,
        ),
        (
            "RequestError: send request failed\ncaused by: Post \"http://127.0.0.1:1\": dial tcp 127.0.0.1:1: connect: connection refused",
            FailureClass::Transient,
        ),
        (
            "Error querying AMI: RequestError: send request failed\ncaused by: Post \"http://127.0.0.1:1/\": EOF",
            FailureClass::Transient,
        ),
        (
            "InvalidGroup.Duplicate: The security group 'packer_6b06116d-fe34-5ecf-cfd9-ac4ae0edcb13' already exists",
            FailureClass::Transient,
        ),
        (
            "Error authorizing temporary security group: InvalidPermission.Duplicate: the specified rule \"peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, ALLOW\" already exists",
            FailureClass::Transient,
        ),
        ("Error finding source instance.", FailureClass::Transient),
        (
            "Error finding source instance: UnauthorizedOperation: You are not authorized to perform this operation.",
            FailureClass::Person,
        ),
        ("Timeout waiting for SSH.", FailureClass::Transient),
        (
            "Script disconnected unexpectedly. If you expected your script to disconnect, i.e. from a restart, you can try adding `expect_disconnect`",
            FailureClass::Transient,
        ),
    ];

    #[test]
    fn packers_words_tell_whose_turn_it_is() {
        for (said, class) in SAID {
            assert_eq!(class_of(said, PackerStage::Build), class, "{said}");
        }
    }

    #[test]
    fn what_validate_refuses_is_the_steps_own_though_it_speaks_of_the_network() {
        let said = "Error: invalid value: connection refused is no word for this attribute";
        assert_eq!(class_of(said, PackerStage::Validate), FailureClass::Step);
    }

    #[test]
    fn no_word_is_in_two_lists() {
        for word in PERSON.iter().chain(&STEP) {
            assert!(!TRANSIENT.contains(word), "{word}");
        }
    }
}
