//! The real Packer in a mood: what a step's `install.sh` says is what becomes of its build.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::harness::farm::{Farm, HASTY, Store, packer};

/// A farm whose Packer has moods: `hang`, `deaf`, `loud`; anything else is no mood.
pub(super) fn farm(limits: &str, more: &str) -> Farm {
    let mut farm = Farm::hasty(Store::DynamoDb);
    let moody: PathBuf = farm.folder().join("packer");
    let text = format!(
        r#"#!/bin/sh
mood=none
if [ "$1" = build ]; then mood=$(cat install.sh); fi
case "$mood" in
hang) while :; do sleep 1; done ;;
deaf) trap '' TERM INT HUP; while :; do sleep 1; done ;;
loud)
    # No packer_ key of this name was ever made: it is looked for, and nothing is found.
    line=$(printf '1,,ui,message,%0999d' 0)
    yes "$line" | head -c 60000000
    echo
    echo "1,,ui,say,==> x: Creating temporary keypair: packer_01a20f55-c76d-719d-a488-ea481fb4de68"
    yes "$line" | head -c 40000000
    echo
    ;;
esac
exec {} "$@"
"#,
        packer().display()
    );
    std::fs::write(&moody, text).unwrap();
    std::fs::set_permissions(&moody, std::fs::Permissions::from_mode(0o755)).unwrap();
    farm.build_with(moody).configure_packer(limits, &format!("{HASTY}{more}"));
    farm
}
