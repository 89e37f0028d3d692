//! Where a volume of Docker lies on this machine.
//!
//! Owns: the one call of the docker client, and the places where Docker and Podman keep volumes by default.
//! Never: starts, stops or enters a container.
//! Invariant: what it gives is a folder that is there.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::exit::{Failure, Kind};

/// Where volumes are if no client can be asked.
const PLACES: [&str; 2] = ["/var/lib/docker/volumes", "/var/lib/containers/storage/volumes"];

/// The folder of a volume.
pub(crate) fn volume(name: &str) -> Result<PathBuf, Failure> {
    let folder = match ask(name) {
        Answer::At(folder) => Some(folder),
        Answer::NoClient => {
            PLACES.iter().map(|place| Path::new(place).join(name).join("_data")).find(|path| path.is_dir())
        }
        Answer::Refused(said) => {
            return Err(Failure::new(Kind::Failed, format!("docker does not know the volume {name}: {said}"))
                .next("`docker volume ls` shows those that there are."));
        }
    };
    match folder.filter(|folder| folder.is_absolute() && folder.is_dir()) {
        Some(folder) => Ok(folder),
        None => Err(Failure::new(Kind::Failed, format!("the folder of the volume {name} is not to be found"))
            .next("Volumes belong to root: run this as root, or name the volume's folder instead.")),
    }
}

enum Answer {
    At(PathBuf),
    NoClient,
    Refused(String),
}

fn ask(name: &str) -> Answer {
    let mut command = Command::new("docker");
    command.args(["volume", "inspect", "-f", "{{ .Mountpoint }}", name]).stdin(Stdio::null());
    match command.output() {
        Err(_) => Answer::NoClient,
        Ok(output) if output.status.success() => {
            let line = output.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
            Answer::At(PathBuf::from(OsString::from_vec(line.to_vec())))
        }
        Ok(output) => Answer::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
