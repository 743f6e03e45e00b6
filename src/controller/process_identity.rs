//! Which host this is: its name, for people, and where it stands, for the question whether what
//! cannot be seen from here is gone.
//!
//! A name proves nothing: two containers, two clones of one machine or two `localhost`s bear the
//! same. What one process sees of another it sees under the same boot of the same kernel and in the
//! same PID namespace only. Where that cannot be told, nothing is concluded from it. Two machines
//! that were resumed from one snapshot of memory, with the same name, are not told apart.

use std::fs;
use std::path::Path;

use reconciler_model::digest::Encoder;
use reconciler_model::ids::HostMark;

/// Names this host where the system's own name does not tell it from others: in containers, in
/// tests.
pub const HOST: &str = "RECONCILER_HOST";

/// This host's name, for people.
#[must_use]
pub fn host_name() -> String {
    if let Some(named) = std::env::var(HOST).ok().filter(|name| !name.is_empty()) {
        return named;
    }
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// From where processes are seen. Two processes of the same one see each other under the same ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standpoint {
    /// The host's name.
    pub name: String,
    /// The kernel's id of this boot.
    pub boot: String,
    /// The PID namespace.
    pub namespace: String,
}

impl Standpoint {
    /// This process's; none if it cannot be told.
    #[must_use]
    pub fn own() -> Option<Self> {
        // A /proc of another namespace shows other processes under the ids of ours.
        let shown = fs::read_link("/proc/self").ok()?;
        if shown.to_str()? != std::process::id().to_string() {
            return None;
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        Some(Self {
            name: host_name(),
            boot: boot.trim().to_owned(),
            namespace: namespace.to_str()?.to_owned(),
        })
    }

    /// What tells it from others.
    #[must_use]
    pub fn mark(&self) -> HostMark {
        self.marked("standpoint", &[])
    }

    /// What tells it, together with a state folder, from others: builds are known by their folders
    /// there.
    #[must_use]
    pub fn mark_with(&self, state_dir: &Path) -> HostMark {
        self.marked("standpoint and state", state_dir.as_os_str().as_encoded_bytes())
    }

    fn marked(&self, kind: &str, more: &[u8]) -> HostMark {
        let mut all = Encoder::new(kind);
        for part in [&self.name, &self.boot, &self.namespace] {
            all.field(part.as_bytes());
        }
        all.field(more);
        HostMark::new(&all.finish().to_string()[..16])
    }
}

/// The mark under which this process prepares builds; none if it cannot be told where it stands.
#[must_use]
pub fn own_mark_with(state_dir: &Path) -> Option<HostMark> {
    let real = fs::canonicalize(state_dir).ok()?;
    Some(Standpoint::own()?.mark_with(&real))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_one_name_differ_by_boot_namespace_and_state_folder() {
        let one =
            Standpoint { name: "localhost".into(), boot: "b1".into(), namespace: "pid:[1]".into() };
        let others = [
            Standpoint { name: "web".into(), ..one.clone() },
            Standpoint { boot: "b2".into(), ..one.clone() },
            Standpoint { namespace: "pid:[2]".into(), ..one.clone() },
        ];
        let state = Path::new("/var/lib/reconciler");
        for other in &others {
            assert_ne!(other.mark(), one.mark(), "{other:?}");
            assert_ne!(other.mark_with(state), one.mark_with(state), "{other:?}");
        }
        assert_eq!(one.clone().mark(), one.mark());
        assert_ne!(one.mark_with(state), one.mark_with(Path::new("/srv/state")));
        assert_ne!(one.mark_with(state), one.mark());
    }

    #[test]
    fn this_process_knows_where_it_stands_and_a_link_to_its_state_is_its_state() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        fs::create_dir(&state).unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&state, &link).unwrap();
        assert!(Standpoint::own().is_some());
        assert_eq!(own_mark_with(&state), own_mark_with(&link));
        assert_ne!(own_mark_with(&state), own_mark_with(place.path()));
        assert_eq!(own_mark_with(&place.path().join("nowhere")), None);
    }
}
