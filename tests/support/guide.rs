//! Guides, run as they are written.
//!
//! Owns the machine that a guide believes to be on: a root folder of its own, in a mount namespace, with this system's
//! programs and with empty folders where the guide puts things. Every block of a guide that is marked as `sh` is run, in
//! order, by one shell that stops at the first command that fails.
//! Invariant: nothing outside of the sandbox is written, and the program that the guide installs is the one under test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::running::Ran;

/// Folders that are the system's.
const SHARED: [&str; 3] = ["usr", "dev", "proc"];
/// Where old systems have folders and new ones links.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
/// Folders that a guide finds empty.
const EMPTY: [&str; 9] = ["root/download", "srv", "backup", "var/lib", "var/tmp", "opt", "run/bin", "tmp", "home"];

/// Stands in for a service manager: `stop NAME` ends the process in `/run/NAME.pid`, everything else is done already.
const SYSTEMCTL: &str = "#!/bin/sh\n\
    [ \"$1\" = stop ] || exit 0\n\
    pid=$(cat \"/run/$2.pid\") && kill \"$pid\" || exit 1\n\
    while grep -qs '^State:.[^ZX]' \"/proc/$pid/status\"; do sleep 0.1; done\n";

/// Mounts, and starts the shell. `/usr/local/bin` is empty but for what stands in for services.
const ENTER: &str = "set -e\n\
    for folder in $2; do mount --rbind \"/$folder\" \"$1/$folder\"; done\n\
    mount -t tmpfs tmpfs \"$1/usr/local/bin\"\n\
    cp -p \"$1\"/run/bin/* \"$1/usr/local/bin/\"\n\
    exec chroot \"$1\" sh -c 'cd /root/download && exec sh -ex /run/guide.sh'\n";

/// The machine of a guide.
#[derive(Debug)]
pub struct Sandbox {
    root: PathBuf,
}

impl Sandbox {
    /// Makes it in a folder.
    ///
    /// # Panics
    ///
    /// If that is not possible.
    pub fn new(root: &Path) -> Self {
        for folder in SHARED.iter().chain(&EMPTY).chain(&["etc"]) {
            fs::create_dir_all(root.join(folder)).expect("a folder of the sandbox can be made");
        }
        let mut shared = SHARED.map(str::to_owned).to_vec();
        for name in MERGED {
            match fs::read_link(Path::new("/").join(name)) {
                Ok(target) => symlink(target, root.join(name)).expect("a link of the sandbox can be made"),
                Err(_) if Path::new("/").join(name).is_dir() => {
                    fs::create_dir(root.join(name)).expect("a folder of the sandbox can be made");
                    shared.push(name.to_owned());
                }
                Err(_) => {}
            }
        }
        fs::write(root.join("run/shared"), shared.join(" ")).expect("the sandbox can be written to");
        // What may not be read is not needed either.
        let _copied = Command::new("cp").args(["-a", "/etc/."]).arg(root.join("etc")).output();
        fs::copy(crate::binary(), root.join("root/download/treering")).expect("the program can be copied");
        let sandbox = Self { root: root.to_owned() };
        sandbox.program("systemctl", SYSTEMCTL);
        sandbox
    }

    /// Where an absolute path of the guide lies really.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// Puts a program on the guide's PATH.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn program(&self, name: &str, text: &str) {
        let path = self.root.join("run/bin").join(name);
        fs::write(&path, text).expect("a program of the sandbox can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
    }

    /// Says which process a service is, so that the guide can stop it.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn service(&self, name: &str, process: u32) {
        let path = self.root.join("run").join(format!("{name}.pid"));
        fs::write(path, process.to_string()).expect("the sandbox can be written to");
    }

    /// Runs all blocks of a guide.
    ///
    /// # Panics
    ///
    /// If the shell cannot be started, or a command fails.
    pub fn run(&self, guide: &str) -> Ran {
        fs::write(self.root.join("run/guide.sh"), blocks(guide).join("\n")).expect("the script can be written");
        let shared = fs::read_to_string(self.root.join("run/shared")).expect("it was written");
        let mut command = Command::new("unshare");
        let is_root = rustix::process::geteuid().is_root();
        command.arg("--mount").args(if is_root { &[][..] } else { &["--user", "--map-root-user"] });
        command.args(["sh", "-c", ENTER, "sh"]).arg(&self.root).arg(shared);
        command.env_clear().env("HOME", "/root").env("LANG", "C.UTF-8");
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        crate::run(&mut command).expect(0)
    }
}

/// The text of a guide in `docs/guide`.
///
/// # Panics
///
/// If there is none of that name.
pub fn guide(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of a guide that are commands.
pub fn blocks(guide: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = guide.lines();
    while lines.any(|line| line.trim() == "```sh") {
        let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        found.push(block.join("\n"));
    }
    found
}
