//! What a template may hold that leaves the build host alone: every block, and of each every
//! attribute. What does not stand here is refused.
//!
//! The names are those of Packer 1.6 to today's and of the amazon plugin. What is left out on
//! purpose, because it reaches for the host, is in [`HOST`] with the reason.

/// What one kind of block may hold.
#[derive(Debug)]
pub(super) struct Shape {
    /// Attributes that may have any value.
    pub(super) free: &'static [&'static [&'static str]],
    /// Attributes that name files of this host, which have to be the step's.
    pub(super) paths: &'static [&'static str],
    /// Attributes that may have these values only.
    pub(super) only: &'static [(&'static str, &'static [&'static str])],
    /// Attributes that become part of the name of a host that is asked.
    pub(super) regions: &'static [&'static str],
    /// Whether names of attributes are the template's own.
    pub(super) names: Names,
    /// Blocks in it.
    pub(super) blocks: &'static [(&'static str, Inner)],
}

/// Who chooses the names of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Packer or the plugin.
    Known,
    /// The template.
    Own,
}

/// A block in another.
#[derive(Debug)]
pub(super) enum Inner {
    /// It is the same whatever its labels are.
    Plain(&'static Shape),
    /// Its first label says what it is.
    Labelled(&'static [(&'static str, &'static Shape)]),
    /// Its first label is the name of a source: `source.amazon-ebs.x`, or `amazon-ebs`.
    Source,
    /// `required_plugins`.
    Plugins,
}

const NONE: Shape =
    Shape { free: &[], paths: &[], only: &[], regions: &[], names: Names::Known, blocks: &[] };

/// A whole `*.pkr.hcl`.
pub(super) const FILE: Shape = Shape {
    blocks: &[
        ("packer", Inner::Plain(&PACKER)),
        ("variable", Inner::Plain(&VARIABLE)),
        ("variables", Inner::Plain(&VALUES)),
        ("local", Inner::Plain(&LOCAL)),
        ("locals", Inner::Plain(&VALUES)),
        ("data", Inner::Labelled(&DATA)),
        ("source", Inner::Source),
        ("build", Inner::Plain(&BUILD)),
    ],
    ..NONE
};

/// A whole `*.pkrvars.hcl`.
pub(super) const VALUES: Shape = Shape { names: Names::Own, ..NONE };

const PACKER: Shape = Shape {
    free: &[&["required_version"]],
    blocks: &[("required_plugins", Inner::Plugins)],
    ..NONE
};

const VARIABLE: Shape = Shape {
    free: &[&["type", "default", "description", "sensitive"]],
    blocks: &[("validation", Inner::Plain(&VALIDATION))],
    ..NONE
};

const VALIDATION: Shape = Shape { free: &[&["condition", "error_message"]], ..NONE };

const LOCAL: Shape = Shape { free: &[&["expression", "sensitive"]], ..NONE };

const BUILD: Shape = Shape {
    free: &[&["name", "description", "sources"]],
    blocks: &[
        ("source", Inner::Source),
        ("provisioner", Inner::Labelled(&PROVISIONERS)),
        ("error-cleanup-provisioner", Inner::Labelled(&PROVISIONERS)),
        ("post-processor", Inner::Labelled(&POST_PROCESSORS)),
        ("post-processors", Inner::Plain(&POST_PROCESSORS_IN_A_ROW)),
    ],
    ..NONE
};

const POST_PROCESSORS_IN_A_ROW: Shape =
    Shape { blocks: &[("post-processor", Inner::Labelled(&POST_PROCESSORS))], ..NONE };

/// Of every provisioner, but for `override`.
const EVERY_PROVISIONER: &[&str] =
    &["continue_on_error", "except", "max_retries", "name", "only", "pause_before", "timeout"];

/// Of all that run scripts on the instance.
const SCRIPTS: &[&str] = &[
    "binary",
    "env",
    "env_var_format",
    "environment_vars",
    "execute_command",
    "inline",
    "remote_path",
    "start_retry_timeout",
    "valid_exit_codes",
];

const SCRIPT_PATHS: &[&str] = &["script", "scripts"];

/// Provisioners that act on the instance.
pub(super) const PROVISIONERS: [(&str, &Shape); 5] = [
    (
        "shell",
        &Shape {
            free: &[
                EVERY_PROVISIONER,
                SCRIPTS,
                &[
                    "expect_disconnect",
                    "inline_shebang",
                    "pause_after",
                    "remote_file",
                    "remote_folder",
                    "skip_clean",
                    "use_env_var_file",
                ],
            ],
            paths: SCRIPT_PATHS,
            ..NONE
        },
    ),
    (
        "powershell",
        &Shape {
            free: &[
                EVERY_PROVISIONER,
                SCRIPTS,
                &[
                    "debug_mode",
                    "elevated_env_var_format",
                    "elevated_execute_command",
                    "elevated_password",
                    "elevated_user",
                    "execution_policy",
                    "pause_after",
                    "remote_env_var_path",
                    "skip_clean",
                    "use_pwsh",
                ],
            ],
            paths: SCRIPT_PATHS,
            ..NONE
        },
    ),
    ("windows-shell", &Shape { free: &[EVERY_PROVISIONER, SCRIPTS], paths: SCRIPT_PATHS, ..NONE }),
    (
        "windows-restart",
        &Shape {
            free: &[
                EVERY_PROVISIONER,
                &[
                    "check_registry",
                    "registry_keys",
                    "restart_check_command",
                    "restart_command",
                    "restart_timeout",
                ],
            ],
            ..NONE
        },
    ),
    (
        "file",
        &Shape {
            free: &[EVERY_PROVISIONER, &["content", "destination", "generated"]],
            paths: &["source", "sources"],
            only: &[("direction", &["upload"])],
            ..NONE
        },
    ),
];

/// Post-processors that start nothing.
pub(super) const POST_PROCESSORS: [(&str, &Shape); 1] = [(
    "manifest",
    &Shape {
        free: &[&[
            "custom_data",
            "except",
            "keep_input_artifact",
            "name",
            "only",
            "strip_path",
            "strip_time",
        ]],
        paths: &["output"],
        ..NONE
    },
)];

/// How AWS is asked.
const ACCESS: &[&str] = &[
    "access_key",
    "decode_authorization_messages",
    "max_retries",
    "mfa_code",
    "secret_key",
    "skip_credential_validation",
    "skip_metadata_api_check",
    "skip_region_validation",
    "token",
];

const ASSUME_ROLE: Shape = Shape {
    free: &[&[
        "duration_seconds",
        "external_id",
        "policy",
        "policy_arns",
        "role_arn",
        "session_name",
        "tags",
        "transitive_tag_keys",
    ]],
    ..NONE
};

const POLLING: Shape = Shape { free: &[&["delay_seconds", "max_attempts"]], ..NONE };

/// Data sources that ask AWS, with the credentials of the build.
pub(super) const DATA: [(&str, &Shape); 3] = [
    (
        "amazon-ami",
        &Shape {
            free: &[ACCESS, &["filters", "include_deprecated", "most_recent", "owners"]],
            regions: &["region"],
            blocks: ASKING,
            ..NONE
        },
    ),
    (
        "amazon-parameterstore",
        &Shape {
            free: &[ACCESS, &["name", "with_decryption"]],
            regions: &["region"],
            blocks: ASKING,
            ..NONE
        },
    ),
    (
        "amazon-secretsmanager",
        &Shape {
            free: &[ACCESS, &["key", "name", "version_id", "version_stage"]],
            regions: &["region"],
            blocks: ASKING,
            ..NONE
        },
    ),
];

const ASKING: &[(&str, Inner)] =
    &[("assume_role", Inner::Plain(&ASSUME_ROLE)), ("aws_polling", Inner::Plain(&POLLING))];

/// Sources whose work is done by EC2. `amazon-chroot` mounts volumes on this host. Which of them
/// knows what is Packer's to say.
pub(super) const SOURCES: [(&str, &Shape); 4] = [
    ("amazon-ebs", &SOURCE),
    ("amazon-ebssurrogate", &SOURCE),
    ("amazon-ebsvolume", &SOURCE),
    ("amazon-instance", &SOURCE),
];

const IMAGE: &[&str] = &[
    "ami_architecture",
    "ami_description",
    "ami_groups",
    "ami_name",
    "ami_org_arns",
    "ami_ou_arns",
    "ami_product_codes",
    "ami_users",
    "ami_virtualization_type",
    "boot_mode",
    "deprecate_at",
    "ena_support",
    "encrypt_boot",
    "force_delete_snapshot",
    "force_deregister",
    "imds_support",
    "kms_key_id",
    "region_kms_key_ids",
    "skip_ami_run_tags",
    "skip_create_ami",
    "skip_save_build_region",
    "snapshot_copy_duration_minutes",
    "snapshot_description",
    "snapshot_groups",
    "snapshot_tags",
    "snapshot_users",
    "sriov_support",
    "tags",
    "tpm_support",
    "uefi_data",
    "use_create_image",
];

const INSTANCE: &[&str] = &[
    "associate_public_ip_address",
    "availability_zone",
    "block_duration_minutes",
    "capacity_reservation_group_arn",
    "capacity_reservation_id",
    "capacity_reservation_preference",
    "disable_stop_instance",
    "ebs_optimized",
    "enable_nitro_enclave",
    "enable_t2_unlimited",
    "enable_unlimited_credits",
    "fleet_tags",
    "iam_instance_profile",
    "instance_type",
    "run_tags",
    "run_volume_tags",
    "security_group_id",
    "security_group_ids",
    "shutdown_behavior",
    "skip_profile_validation",
    "source_ami",
    "spot_allocation_strategy",
    "spot_instance_types",
    "spot_price",
    "spot_price_auto_product",
    "spot_tags",
    "subnet_id",
    "temporary_security_group_source_cidrs",
    "temporary_security_group_source_public_ip",
    "tenancy",
    "user_data",
    "vpc_id",
];

const CONNECTION: &[&str] = &[
    "communicator",
    "pause_before_connecting",
    "ssh_bastion_host",
    "ssh_bastion_password",
    "ssh_bastion_port",
    "ssh_bastion_username",
    "ssh_ciphers",
    "ssh_clear_authorized_keys",
    "ssh_disable_agent_forwarding",
    "ssh_file_transfer_method",
    "ssh_handshake_attempts",
    "ssh_keep_alive_interval",
    "ssh_key_exchange_algorithms",
    "ssh_keypair_name",
    "ssh_password",
    "ssh_port",
    "ssh_pty",
    "ssh_read_write_timeout",
    "ssh_timeout",
    "ssh_username",
    "ssh_wait_timeout",
    "temporary_key_pair_bits",
    "temporary_key_pair_name",
    "temporary_key_pair_type",
    "windows_password_timeout",
    "winrm_insecure",
    "winrm_no_proxy",
    "winrm_password",
    "winrm_port",
    "winrm_timeout",
    "winrm_use_ntlm",
    "winrm_use_ssl",
    "winrm_username",
];

/// Of `amazon-instance`, which makes a bundle on the instance.
const BUNDLE: &[&str] = &[
    "account_id",
    "bundle_destination",
    "bundle_prefix",
    "bundle_upload_command",
    "bundle_vol_command",
    "s3_bucket",
    "x509_upload_path",
];

pub(super) const SOURCE: Shape = Shape {
    // A source within a build may have a name.
    free: &[ACCESS, IMAGE, INSTANCE, CONNECTION, BUNDLE, &["name"]],
    paths: &[
        "ssh_bastion_certificate_file",
        "ssh_bastion_private_key_file",
        "ssh_certificate_file",
        "ssh_private_key_file",
        "user_data_file",
        "x509_cert_path",
        "x509_key_path",
    ],
    // `session_manager` starts a program of this host.
    only: &[("ssh_interface", &["public_ip", "private_ip", "public_dns", "private_dns", "ipv6"])],
    regions: &["region", "ami_regions"],
    blocks: &[
        ("assume_role", Inner::Plain(&ASSUME_ROLE)),
        ("aws_polling", Inner::Plain(&POLLING)),
        ("ami_block_device_mappings", Inner::Plain(&VOLUME)),
        ("ami_root_device", Inner::Plain(&VOLUME)),
        ("deregistration_protection", Inner::Plain(&PROTECTION)),
        ("ebs_volumes", Inner::Plain(&VOLUME)),
        ("fast_launch", Inner::Plain(&FAST_LAUNCH)),
        ("fleet_tag", Inner::Plain(&PAIR)),
        ("launch_block_device_mappings", Inner::Plain(&VOLUME)),
        ("license_specifications", Inner::Plain(&LICENSE)),
        ("metadata_options", Inner::Plain(&METADATA)),
        ("placement", Inner::Plain(&PLACEMENT)),
        ("run_tag", Inner::Plain(&PAIR)),
        ("run_volume_tag", Inner::Plain(&PAIR)),
        ("security_group_filter", Inner::Plain(&FILTER)),
        ("snapshot_tag", Inner::Plain(&PAIR)),
        ("source_ami_filter", Inner::Plain(&FILTER)),
        ("spot_tag", Inner::Plain(&PAIR)),
        ("subnet_filter", Inner::Plain(&FILTER)),
        ("tag", Inner::Plain(&PAIR)),
        ("temporary_iam_instance_profile_policy_document", Inner::Plain(&POLICY)),
        ("vpc_filter", Inner::Plain(&FILTER)),
    ],
    ..NONE
};

const PAIR: Shape = Shape { free: &[&["key", "name", "value"]], ..NONE };

const FILTER: Shape = Shape {
    free: &[&["filters", "include_deprecated", "most_free", "most_recent", "owners", "random"]],
    blocks: &[("filter", Inner::Plain(&PAIR))],
    ..NONE
};

const VOLUME: Shape = Shape {
    free: &[&[
        "delete_on_termination",
        "device_name",
        "encrypted",
        "iops",
        "kms_key_id",
        "no_device",
        "omit_from_artifact",
        "snapshot_description",
        "snapshot_groups",
        "snapshot_id",
        "snapshot_tags",
        "snapshot_users",
        "snapshot_volume",
        "source_device_name",
        "tags",
        "throughput",
        "virtual_name",
        "volume_size",
        "volume_type",
    ]],
    blocks: &[("snapshot_tag", Inner::Plain(&PAIR)), ("tag", Inner::Plain(&PAIR))],
    ..NONE
};

const PROTECTION: Shape = Shape { free: &[&["enabled", "with_cooldown"]], ..NONE };

const FAST_LAUNCH: Shape = Shape {
    free: &[&[
        "enable_fast_launch",
        "max_parallel_launches",
        "target_resource_count",
        "template_id",
        "template_name",
        "template_version",
    ]],
    blocks: &[("region_launch_templates", Inner::Plain(&LAUNCH_TEMPLATE))],
    ..NONE
};

const LAUNCH_TEMPLATE: Shape = Shape {
    free: &[&["enable_fast_launch", "template_id", "template_name", "template_version"]],
    regions: &["region"],
    ..NONE
};

const LICENSE: Shape =
    Shape { free: &[&["license_configuration_arn", "license_configuration_request"]], ..NONE };

const METADATA: Shape = Shape {
    free: &[&[
        "http_endpoint",
        "http_put_response_hop_limit",
        "http_tokens",
        "instance_metadata_tags",
    ]],
    ..NONE
};

const PLACEMENT: Shape =
    Shape { free: &[&["host_id", "host_resource_group_arn", "tenancy"]], ..NONE };

const POLICY: Shape =
    Shape { free: &[&["Version"]], blocks: &[("Statement", Inner::Plain(&STATEMENT))], ..NONE };

const STATEMENT: Shape = Shape { free: &[&["Action", "Effect", "Resource"]], ..NONE };

/// Attributes and blocks that are left out because of what they do to the host.
pub(super) const HOST: [(&str, &str); 19] = [
    ("custom_endpoint_ec2", "sends what is asked of AWS to another host"),
    ("insecure_skip_tls_verify", "lets anybody answer in place of AWS"),
    (
        "override",
        "sets attributes that Packer compares without regard to case, and splits at commas",
    ),
    ("pause_before_ssm", "belongs to the session manager, a program of the build host"),
    ("profile", "names a profile of the build host, which may name a program that is run"),
    ("session_manager_port", "belongs to the session manager, a program of the build host"),
    (
        "shared_credentials_file",
        "names a file of the build host, which may name a program that is run",
    ),
    ("ssh_agent_auth", "uses the keys of the build host's agent"),
    ("ssh_bastion_agent_auth", "uses the keys of the build host's agent"),
    ("ssh_bastion_interactive", "asks somebody at the build host"),
    ("ssh_host", "leads provisioners to another host than the instance"),
    ("ssh_local_tunnels", "opens the build host's network to the instance's"),
    ("ssh_proxy_host", "connects to a host that the build host reaches"),
    ("ssh_proxy_password", "belongs to a proxy, which the build host would connect to"),
    ("ssh_proxy_port", "belongs to a proxy, which the build host would connect to"),
    ("ssh_proxy_username", "belongs to a proxy, which the build host would connect to"),
    (
        "ssh_remote_tunnels",
        "opens the build host's network to the instance, its metadata service included",
    ),
    ("vault_aws_engine", "asks a Vault with the build host's token"),
    ("winrm_host", "leads provisioners to another host than the instance"),
];

/// Functions that work a value out of their arguments, and names of types. Those that read files
/// are looked at one by one.
pub(super) const FUNCTIONS: &[&str] = &[
    "abs",
    "abspath",
    "alltrue",
    "anytrue",
    "base64decode",
    "base64encode",
    "base64gzip",
    "basename",
    "bcrypt",
    "can",
    "ceil",
    "chomp",
    "chunklist",
    "cidrhost",
    "cidrnetmask",
    "cidrsubnet",
    "cidrsubnets",
    "coalesce",
    "coalescelist",
    "compact",
    "concat",
    "contains",
    "convert",
    "csvdecode",
    "dirname",
    "distinct",
    "element",
    "endswith",
    "flatten",
    "floor",
    "format",
    "formatdate",
    "formatlist",
    "indent",
    "index",
    "join",
    "jsondecode",
    "jsonencode",
    "keys",
    "legacy_isotime",
    "legacy_strftime",
    "length",
    "list",
    "log",
    "lookup",
    "lower",
    "map",
    "max",
    "md5",
    "merge",
    "min",
    "object",
    "optional",
    "parseint",
    "pathexpand",
    "pow",
    "range",
    "regex",
    "regex_replace",
    "regexall",
    "replace",
    "reverse",
    "rfc3339_parse",
    "rsadecrypt",
    "set",
    "setintersection",
    "setproduct",
    "setunion",
    "sha1",
    "sha256",
    "sha512",
    "signum",
    "slice",
    "sort",
    "split",
    "startswith",
    "strcontains",
    "strrev",
    "substr",
    "sum",
    "textdecodebase64",
    "textencodebase64",
    "timeadd",
    "timestamp",
    "title",
    "trim",
    "trimprefix",
    "trimspace",
    "trimsuffix",
    "try",
    "tuple",
    "unix_timestamp_parse",
    "upper",
    "urlencode",
    "uuidv4",
    "uuidv5",
    "values",
    "yamldecode",
    "yamlencode",
    "zipmap",
];

impl Shape {
    /// Every attribute that it may hold.
    pub(super) fn attributes(&self) -> impl Iterator<Item = &'static str> {
        let free = self.free.iter().flat_map(|group| group.iter().copied());
        let only = self.only.iter().map(|(name, _)| *name);
        free.chain(self.paths.iter().copied()).chain(only).chain(self.regions.iter().copied())
    }

    /// A block that it may hold.
    pub(super) fn block(&self, name: &str) -> Option<&'static Inner> {
        let mut found = self.blocks.iter().filter(|(known, _)| *known == name);
        found.next().map(|(_, inner)| inner)
    }
}
