//! What this program keeps is for its user only, whatever the umask.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::harness::farm::Farm;

fn loose(folder: &Path, found: &mut Vec<String>) {
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().mode();
    if mode(folder) & 0o077 != 0 {
        found.push(format!("{:o} {}", mode(folder), folder.display()));
    }
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            loose(&path, found);
        } else if mode(&path) & 0o077 != 0 {
            found.push(format!("{:o} {}", mode(&path), path.display()));
        }
    }
}

#[test]
fn files_of_the_state_folder_are_for_their_user_only_whatever_the_umask() {
    let farm = Farm::new();
    farm.follow_url(&format!("file://{}", farm.repo.path().display()), &[]);
    farm.reconfigure(|text| text.replace("inventory:\n  table: images\n", ""));
    // As an older version or a careless hand made it.
    std::fs::create_dir_all(farm.state()).unwrap();
    std::fs::set_permissions(farm.state(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    farm.step("good", None).step("bad", None);
    farm.repo.write(
        "packer_workspaces/bad/templates/.pkrvars.hcl",
        "image = \"{{ builder.output_ami_name }}\"\nno_such = 1\n",
    );
    farm.template("bad", |text| text.replace("var.image", "var.none"));
    farm.repo.commit("two steps");
    farm.run_with_loose_umask(&["plan"]);
    let ran = farm.run_with_loose_umask(&["apply"]);
    assert_eq!(farm.state_of("good"), "in-sync", "{ran:#?}");
    for made in ["inventory.sqlite", "cache", "builds"] {
        assert!(farm.state().join(made).exists(), "{made}");
    }
    let mut found = Vec::new();
    loose(&farm.state(), &mut found);
    assert!(found.is_empty(), "others may read: {found:#?}");
}
