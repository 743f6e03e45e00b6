//! Installed plugins by the names of their files, as Packer lays them out below its folder of
//! plugins: `github.com/hashicorp/amazon/packer-plugin-amazon_v1.2.8_x5.0_linux_amd64`. Pure.

use crate::packer::release::Platform;
use crate::packer::version::PackerVersion;

/// A plugin that a host has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstalledPlugin {
    /// Where it came from: `github.com/hashicorp/amazon`.
    pub source: String,
    /// Which it is.
    pub version: PackerVersion,
}

impl InstalledPlugin {
    /// Of a path below a folder of plugins, with `/` between its parts; none for another system's
    /// plugin, a list of sums, and whatever else lies there.
    #[must_use]
    pub fn of(path: &str, platform: Platform) -> Option<Self> {
        let (source, file) = path.rsplit_once('/')?;
        let (_, name) = source.rsplit_once('/')?;
        let rest = file.strip_prefix("packer-plugin-")?.strip_prefix(name)?.strip_prefix("_v")?;
        let rest = rest.strip_suffix(&format!("_{platform}"))?;
        let (version, _protocol) = rest.split_once("_x")?;
        Some(Self { source: source.to_owned(), version: PackerVersion::of_three(version)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_known_by_the_path_that_packer_gives_it() {
        let platform = Platform::of("linux", "x86_64").unwrap();
        let amazon = "github.com/hashicorp/amazon/packer-plugin-amazon_v1.2.8_x5.0_linux_amd64";
        let found = InstalledPlugin::of(amazon, platform).unwrap();
        assert_eq!(found.source, "github.com/hashicorp/amazon");
        assert_eq!(found.version.to_string(), "1.2.8");
        for other in [
            "github.com/hashicorp/amazon/packer-plugin-amazon_v1.2.8_x5.0_linux_amd64_SHA256SUM",
            "github.com/hashicorp/amazon/packer-plugin-amazon_v1.2.8_x5.0_darwin_arm64",
            "github.com/hashicorp/amazon/packer-plugin-ansible_v1.2.8_x5.0_linux_amd64",
            "github.com/hashicorp/amazon/packer-plugin-amazon_vnew_x5.0_linux_amd64",
            "packer-plugin-amazon",
        ] {
            assert_eq!(InstalledPlugin::of(other, platform), None, "{other}");
        }
    }
}
