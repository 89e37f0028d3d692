//! Which snapshots a command is about.

use treering_snapshot::select::Filter;

use crate::args::SnapshotFilterArgs;
use crate::environment::Environment;
use crate::paths;

/// `--host` replaces TREERING_HOST; an empty name means every host.
pub(crate) fn snapshot_filter(args: &SnapshotFilterArgs, environment: &Environment) -> Filter {
    let hosts = match args.host.is_empty() {
        true => environment.host.iter().cloned().collect(),
        false => args.host.iter().filter(|host| !host.is_empty()).cloned().collect(),
    };
    Filter {
        hosts,
        tags: args.tag.iter().map(|list| list.0.clone()).collect(),
        paths: args.path.iter().map(|path| paths::clean(path)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::tests::environment;

    fn hosts(typed: &[&str]) -> Vec<String> {
        let host = typed.iter().map(ToString::to_string).collect();
        let args = SnapshotFilterArgs { host, path: vec!["/a//b/".into()], ..Default::default() };
        let filter = snapshot_filter(&args, &environment(&[("TREERING_HOST", "env")]).unwrap());
        assert_eq!(filter.paths, [std::path::Path::new("/a/b")]);
        filter.hosts
    }

    #[test]
    fn typed_hosts_replace_the_environments() {
        assert_eq!(hosts(&[]), ["env"]);
        assert_eq!(hosts(&["web", "db"]), ["web", "db"]);
        assert_eq!(hosts(&[""]), Vec::<String>::new());
    }
}
