//! The tools that are compared, and how each does a step.
//!
//! Owns: the commands of treering and its peers.
//! Never: runs one.
//! Invariant: all tools encrypt where they can and compress as restic does by default, so that they do equal
//! work. A command finds its paths in its environment: `BIN`, `REPO`, `LIVE`, `TARGET`, `CACHE` and `N`, the
//! number of the backup from 1; so no path has to be quoted.

use std::path::{Path, PathBuf};

/// What a tool is asked to do in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Init,
    Backup,
    List,
    Restore,
    Check,
    CheckData,
    /// What treering alone does with this dataset.
    Verify(&'static str),
    /// Forget all snapshots but the last, and free the space.
    Prune,
}

/// How a tool is called. `{repo}` and `{cache}` stand for paths in the environment, and only there.
struct Recipe {
    name: &'static str,
    /// The program looked for on `PATH`; treering's is named by an option.
    program: &'static str,
    environment: &'static [(&'static str, &'static str)],
    init: &'static str,
    backup: &'static str,
    list: &'static str,
    restore: &'static str,
    check: Option<&'static str>,
    check_data: Option<&'static str>,
    prune: Option<&'static str>,
}

/// The name of the tool that the others are compared with.
pub(crate) const OURS: &str = "treering";
/// Tools that only copy: shown for scale, but no peers.
pub(crate) const PLAIN_COPIES: [&str; 1] = ["rsync"];

const RECIPES: [Recipe; 7] = [
    Recipe {
        name: OURS,
        program: "treering",
        // A key file, as a nightly run has it and as bupstash's key is one.
        environment: &[("TREERING_REPOSITORY", "{repo}"), ("TREERING_KEY_FILE", "{cache}/rings.key")],
        init: r#""$BIN" key new-file "$TREERING_KEY_FILE" && "$BIN" init"#,
        // It prints one line, which says how long locks were held.
        backup: r#""$BIN" backup -q --json "$LIVE""#,
        list: r#""$BIN" snapshots"#,
        restore: r#""$BIN" restore -q latest --target "$TARGET""#,
        check: Some(r#""$BIN" check"#),
        check_data: Some(r#""$BIN" check --read-data"#),
        prune: Some(r#""$BIN" prune -q --keep-last 1 --group-by "" --yes"#),
    },
    Recipe {
        name: "restic",
        program: "restic",
        environment: &[("RESTIC_REPOSITORY", "{repo}"), ("RESTIC_PASSWORD", "x"), ("RESTIC_CACHE_DIR", "{cache}")],
        init: r#""$BIN" -q init"#,
        backup: r#""$BIN" -q backup "$LIVE""#,
        list: r#""$BIN" -q snapshots"#,
        restore: r#""$BIN" -q restore "latest:$LIVE" --target "$TARGET""#,
        check: Some(r#""$BIN" -q check"#),
        check_data: Some(r#""$BIN" -q check --read-data"#),
        prune: Some(r#""$BIN" -q forget --keep-last 1 --group-by "" --prune"#),
    },
    Recipe {
        name: "rustic",
        program: "rustic",
        environment: &[
            ("RUSTIC_REPOSITORY", "{repo}"),
            ("RUSTIC_PASSWORD", "x"),
            ("RUSTIC_CACHE_DIR", "{cache}"),
            ("RUSTIC_NO_PROGRESS", "true"),
            ("RUSTIC_LOG_LEVEL", "error"),
        ],
        init: r#""$BIN" init"#,
        backup: r#""$BIN" backup "$LIVE""#,
        list: r#""$BIN" snapshots"#,
        restore: r#""$BIN" restore "latest:$LIVE" "$TARGET""#,
        check: Some(r#""$BIN" check"#),
        check_data: Some(r#""$BIN" check --read-data"#),
        prune: Some(r#""$BIN" forget --keep-last 1 --group-by "" --prune --instant-delete"#),
    },
    Recipe {
        name: "borg",
        program: "borg",
        environment: &[("BORG_REPO", "{repo}"), ("BORG_PASSPHRASE", "x"), ("BORG_BASE_DIR", "{cache}")],
        init: r#""$BIN" init -e repokey"#,
        backup: r#""$BIN" create -C zstd,3 "::s$N" ."#,
        list: r#""$BIN" list"#,
        restore: r#"mkdir -p "$TARGET" && cd "$TARGET" && "$BIN" extract "::s$N""#,
        check: Some(r#""$BIN" check --archives-only"#),
        check_data: Some(r#""$BIN" check --verify-data"#),
        prune: Some(r#""$BIN" prune --keep-last 1 && "$BIN" compact"#),
    },
    Recipe {
        name: "bupstash",
        program: "bupstash",
        environment: &[
            ("BUPSTASH_REPOSITORY", "{repo}"),
            ("BUPSTASH_KEY", "{cache}/key"),
            ("XDG_CACHE_HOME", "{cache}"),
        ],
        init: r#""$BIN" new-key -o "$CACHE/key" && "$BIN" init"#,
        backup: r#""$BIN" put -q --compression zstd:3 "name=s$N" "$LIVE""#,
        list: r#""$BIN" list"#,
        restore: r#"mkdir -p "$TARGET" && "$BIN" restore -q --into "$TARGET" "name=s$N""#,
        check: None,
        check_data: Some(r#""$BIN" get -q "name=s$N" > /dev/null"#),
        prune: Some(r#"for i in $(seq 1 $((N - 1))); do "$BIN" rm -q "name=s$i"; done; "$BIN" gc -q"#),
    },
    Recipe {
        name: "conserve",
        program: "conserve",
        environment: &[],
        init: r#""$BIN" init "$REPO""#,
        backup: r#""$BIN" backup --no-progress "$REPO" "$LIVE""#,
        list: r#""$BIN" versions "$REPO""#,
        restore: r#""$BIN" restore --no-progress "$REPO" "$TARGET""#,
        check: Some(r#""$BIN" validate --no-progress --quick "$REPO""#),
        check_data: Some(r#""$BIN" validate --no-progress "$REPO""#),
        prune: None,
    },
    Recipe {
        name: "rsync",
        program: "rsync",
        environment: &[],
        init: r#"mkdir -p "$REPO""#,
        backup: r#""$BIN" -a ${PREVIOUS:+"--link-dest=$REPO/$PREVIOUS"} "$LIVE/" "$REPO/$N/""#,
        list: r#"ls "$REPO""#,
        restore: r#"cp -a "$REPO/$N" "$TARGET""#,
        check: None,
        check_data: None,
        prune: None,
    },
];

/// A tool that is on this machine.
pub(crate) struct Tool {
    recipe: &'static Recipe,
    binary: PathBuf,
}

impl Tool {
    /// All tools found, or those of `wanted` that are; treering's program is `ours`.
    pub(crate) fn find(wanted: &[String], ours: &Path) -> Vec<Self> {
        RECIPES
            .iter()
            .filter(|recipe| wanted.is_empty() || wanted.iter().any(|name| name == recipe.name))
            .filter_map(|recipe| Some(Self { recipe, binary: locate(recipe, ours)? }))
            .collect()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.recipe.name
    }

    /// Whether it is treering.
    pub(crate) fn is_ours(&self) -> bool {
        self.recipe.name == OURS
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// What to run, if the tool has such a thing.
    pub(crate) fn command(&self, action: Action) -> Option<&'static str> {
        match action {
            Action::Init => Some(self.recipe.init),
            Action::Backup => Some(self.recipe.backup),
            Action::List => Some(self.recipe.list),
            Action::Restore => Some(self.recipe.restore),
            Action::Check => self.recipe.check,
            Action::CheckData => self.recipe.check_data,
            Action::Verify(command) => Some(command).filter(|_| self.is_ours()),
            Action::Prune => self.recipe.prune,
        }
    }

    /// The variables of this tool, with its paths put in.
    pub(crate) fn environment(&self, repo: &str, cache: &str) -> Vec<(String, String)> {
        let fill = |value: &str| value.replace("{repo}", repo).replace("{cache}", cache);
        let pairs = self.recipe.environment.iter();
        pairs.map(|(name, value)| ((*name).to_owned(), fill(value))).collect()
    }
}

fn locate(recipe: &Recipe, ours: &Path) -> Option<PathBuf> {
    if recipe.name == OURS {
        return ours.canonicalize().ok();
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(recipe.program)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_and_there_is_found() {
        let none = Path::new("/no/such/treering");
        assert!(Tool::find(&["treering".to_owned()], none).is_empty());
        let found = Tool::find(&["treering".to_owned()], Path::new("/bin/sh"));
        assert_eq!(found.len(), 1);
        let environment = found[0].environment("/r", "/c");
        assert!(environment.contains(&("TREERING_REPOSITORY".to_owned(), "/r".to_owned())));
    }

    #[test]
    fn no_command_has_an_unquoted_path() {
        for command in RECIPES.iter().flat_map(|recipe| [recipe.init, recipe.backup, recipe.restore]) {
            for name in ["$BIN", "$REPO", "$LIVE", "$TARGET"] {
                assert!(!command.contains(&format!(" {name}")), "{command}");
            }
        }
    }
}
