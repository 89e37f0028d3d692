//! What may be typed.

use treering_snapshot::retention::Count;
use treering_snapshot::select::GroupBy;

use super::*;
use crate::selector::SnapshotRef;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace()).map_err(refused::explain)
}

#[track_caller]
fn refused(line: &str) -> String {
    parse(line).unwrap_err().to_string()
}

fn backup(line: &str) -> BackupArgs {
    match parse(line).unwrap().command {
        Command::Backup(args) => *args,
        other => panic!("{other:?}"),
    }
}

fn restore(line: &str) -> RestoreArgs {
    match parse(line).unwrap().command {
        Command::Restore(args) => *args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clap_finds_nothing_wrong_with_the_definitions() {
    command().debug_assert();
}

#[test]
fn every_command_and_option_is_explained() {
    fn visit(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        for arg in command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())) {
            assert!(arg.get_help().is_some(), "{} {} has no help", command.get_name(), arg.get_id());
        }
        command.get_subcommands().for_each(visit);
    }
    visit(&command());
}

/// The help of a command is its manual: what is written about its arguments must not be hidden by another text.
#[test]
fn the_manual_of_each_command_is_shown() {
    let root = command();
    for (names, said) in [
        (&["init"][..], "a recovery key is printed"),
        (&["backup"], "The snapshot is written last"),
        (&["diff"], "Each line starts with what happened"),
        (&["restore"], "Where things go"),
        (&["prune"], "no snapshot is ever dropped"),
        (&["forget"], "This frees no space"),
        (&["check"], "what was verified longest ago comes first"),
        (&["repair"], "moved to the folder `replaced`"),
        (&["key"], "one master key"),
        (&["man"], "man -l"),
        (&["je", "verify"], "makes the exit code 5"),
        (&["je", "range"], "Each line is a range without a gap"),
        (&["je", "watch"], "tagged `watch`"),
        (&["je", "failover"], "refuses a standby that has been opened"),
        (&["h2", "verify"], "Changed bytes"),
        (&["repair", "snapshots"], "tagged `repaired`"),
    ] {
        let found = names.iter().try_fold(&root, |command, name| command.find_subcommand(name)).unwrap();
        let manual = found.get_long_about().map(ToString::to_string).unwrap_or_default();
        assert!(manual.replace('\n', " ").contains(said), "{names:?}: {manual}");
    }
}

#[test]
fn every_variable_and_exit_code_is_explained() {
    let help = command().render_long_help().to_string();
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    let words = include_str!("../environment.rs").split(|c| !is_name(c));
    let names: Vec<&str> = words.filter(|word| word.len() > 9 && word.starts_with("TREERING_")).collect();
    assert!(names.len() > 20 && names.iter().all(|name| help.contains(name)), "{help}");
    for code in ["1", "2", "3", "5", "6", "10", "12", "13", "14", "130", "141"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "{code}");
    }
}

#[test]
fn global_options_stand_before_and_behind_the_command() {
    let cli = parse("treering -r /r --json snapshots -p /p -v -v --compression -3").unwrap();
    assert_eq!(cli.global.repo.as_deref(), Some("/r".as_ref()));
    assert_eq!(cli.global.password_file.as_deref(), Some("/p".as_ref()));
    assert_eq!(cli.global.verbose, 2);
    assert_eq!(cli.global.compression, Some(values::Compression::Level(-3)));
    assert!(cli.global.json);
}

#[test]
fn conflicts_are_errors() {
    for line in [
        "treering -r /r --repository-file /f snapshots",
        "treering -p /p --password-command c snapshots",
        "treering -q -v snapshots",
        "treering backup --stdin /x",
        "treering backup --stdin --files-from /x",
        "treering backup --force --parent latest /x",
        "treering backup --group-by host --parent latest /x",
        "treering backup --stdin-from-command",
        "treering backup",
        "treering restore latest --snapshot latest -t /t",
        "treering restore latest --at 2026-11-20 -t /t",
        "treering restore latest -t /t --original",
        "treering restore latest",
        "treering restore -t /t",
        "treering cat snapshot",
        "treering forget latest --group-by host",
        "treering check --packs --read-data",
        "treering check --packs --max-age 1d",
        "treering check --read-data --read-data-subset 1/2",
        "treering key add --new-password-file /f --new-key-file /k",
    ] {
        assert_eq!(parse(line).map(|cli| format!("{cli:?}")).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn values_are_checked() {
    for line in [
        "treering --compression 23 snapshots",
        "treering --compression 0 snapshots",
        "treering --compression zstd snapshots",
        "treering --key-hint xyz snapshots",
        "treering backup --read-concurrency 0 /x",
        "treering backup --exclude-larger-than 10X /x",
        "treering backup --exclude-if-present a/b /x",
        "treering backup --app SQLite /x",
        "treering init --encryption rot13",
        "treering restore newest -t /t",
        "treering restore latest -t /t --overwrite sometimes",
        "treering forget yesterday",
        "treering check --read-data-subset 3/2",
        "treering check --read-data-subset 0%",
        "treering check --max-age 1m",
        "treering check --max-duration 1w",
        "treering forget abc",
        "treering forget --keep-last -1",
        "treering forget --keep-last",
        "treering forget --keep-daily many",
        "treering forget --keep-yearly 4294967296",
        "treering forget --keep-within 2w",
        "treering forget --keep-within-daily -7d",
        "treering forget --keep-within 99999999999y",
        "treering forget --keep-last 1 --group-by hosts,user",
    ] {
        assert_eq!(parse(line).map(|cli| format!("{cli:?}")).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn a_command_for_standard_input_keeps_its_options() {
    let args = backup("treering backup --stdin-from-command --stdin-filename db.sql -- pg_dump -x --host h db");
    assert!(args.stdin_from_command && !args.one_file_system);
    assert_eq!(args.host, None);
    assert_eq!(args.paths, ["pg_dump", "-x", "--host", "h", "db"]);
}

#[test]
fn backup_takes_restics_options() {
    let args = backup(
        "treering backup /a /b -e *.o --iexclude *.TMP --exclude-file /e --exclude-if-present .nobackup:sig \
         --exclude-caches --exclude-larger-than 1.5G -x --tag a,b --tag c -H web --parent latest -n \
         --app sqlite --app je --ignore-inode",
    );
    assert_eq!(args.paths, ["/a", "/b"]);
    assert_eq!(args.exclude_larger_than, Some(3 << 29));
    assert_eq!(args.tag.iter().flat_map(|list| &list.0).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(args.exclude_if_present[0].header.as_deref(), Some("sig"));
    assert_eq!(args.app.len(), 2);
    assert!(args.one_file_system && args.dry_run && args.exclude_caches && args.ignore_inode);
    assert_eq!(backup("treering backup /a").app, [values::AppChoice::Auto]);
    assert_eq!(backup("treering backup /a").group_by, GroupBy::default());
    assert_eq!(backup("treering backup /a -g host").group_by, GroupBy { host: true, paths: false, tags: false });
}

#[test]
fn restore_names_its_snapshot_in_three_ways() {
    let args = restore("treering restore latest~1:/srv/je --target /t");
    let selector = args.positional.unwrap();
    assert_eq!(selector.snapshot, SnapshotRef::Latest { back: 1 });
    assert_eq!(selector.sub_path.as_deref(), Some(b"/srv/je".as_slice()));
    assert!(restore("treering restore --snapshot 3f9c2a71 -t /t").snapshot.is_some());
    let args = restore("treering restore --at 2026-11-20 --path /srv/je --host h -t /t");
    assert_eq!(args.at.as_deref(), Some("2026-11-20"));
    assert_eq!(args.filter.path, [std::path::PathBuf::from("/srv/je")]);
}

fn keep(line: &str) -> KeepArgs {
    match parse(&format!("treering forget {line}")).unwrap().command {
        Command::Forget(args) => args.keep,
        other => panic!("{other:?}"),
    }
}

#[test]
fn forget_takes_restics_rules() {
    let rules = keep(
        "-l 1 --keep-hourly 2 -d 3 -w unlimited -m 5 -y 6 --keep-within 1y5m7d2h --keep-within-hourly 1h \
         --keep-within-daily 2d --keep-within-weekly 3m --keep-within-monthly 4y --keep-within-yearly 5y \
         --keep-tag a,b --keep-tag c -g tags,host",
    );
    let policy = rules.policy().unwrap().unwrap();
    let each = policy.each;
    assert_eq!((policy.last, each.hourly, each.daily), (Count::AtMost(1), Count::AtMost(2), Count::AtMost(3)));
    assert_eq!((each.weekly, each.monthly, each.yearly), (Count::Unlimited, Count::AtMost(5), Count::AtMost(6)));
    assert_eq!(policy.within.unwrap().to_string(), "1y5m7d2h");
    let within: Vec<String> = policy.each_within.iter().map(|(_, within)| within.unwrap().to_string()).collect();
    assert_eq!(within, ["1h", "2d", "3m", "4y", "5y"]);
    assert_eq!(policy.tags, [vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]]);
    assert_eq!(rules.group_by, GroupBy { host: true, paths: false, tags: true });
    let whole = KeepArgs { group_by: values::group_by("").unwrap(), ..keep("-l 1") };
    assert_eq!(whole.group_by, GroupBy { host: false, paths: false, tags: false });
    assert_eq!(keep("-l 1").group_by, GroupBy::default());
    assert_eq!(keep("latest").policy().unwrap(), None);
}

#[test]
fn a_bad_rule_is_named() {
    for (line, option) in [
        ("--keep-daily -1", "--keep-daily"),
        ("--keep-weekly 99999999999", "--keep-weekly"),
        ("--keep-within 7x", "--keep-within"),
        ("--keep-within-yearly -3y", "--keep-within-yearly"),
        ("--keep-within-monthly 99999999y", "--keep-within-monthly"),
    ] {
        assert!(refused(&format!("treering forget {line}")).contains(&format!("'{option} <")), "{line}");
    }
    let zeros = keep("--keep-daily 0 --keep-within 0h").policy().unwrap_err();
    assert!(zeros.message().starts_with("--keep-daily, --keep-within: "), "{zeros}");
    assert!(keep("--keep-daily 0 --keep-last 1").policy().unwrap().is_some());
}

#[test]
fn restics_meaningless_options_are_refused_with_a_reason() {
    assert!(refused("treering snapshots --no-lock").contains("take no lock"));
    assert!(refused("treering snapshots -o s3.layout=x").contains("no extended options"));
    assert!(refused("treering backup --limit-upload=5 /x").contains("ionice"));
    assert!(refused("treering forget --keep-last 1 --prune").contains("treering prune"));
    assert!(refused("treering init --insecure-no-password").contains("--encryption none"));
    assert!(refused("treering prune --unsafe-recover-no-free-space").contains("needs no option"));
    assert!(refused("treering unlock").contains("a lock dies with its process"));
    assert!(refused("treering list packs").contains("treering snapshots"));
    assert!(!refused("treering snapshot").contains("a lock dies"));
}
