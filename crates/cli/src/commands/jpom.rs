//! `treering jpom`.

use std::os::unix::ffi::OsStrExt;

use treering_jpom::{Database, Home, Inspection, Line, Mode, Scoping, inspect};
use treering_snapshot::with_causes;

use crate::args::{JpomArgs, JpomCommand, JpomInspectArgs};
use crate::context::Context;
use crate::exit::{Failure, Kind, Outcome};
use crate::output::messages::{ItemError, JpomHome, JpomOutside, JpomPath};
use crate::output::table::{self, Content, Table};
use crate::{escape, paths, size};

/// Looks at homes.
pub(crate) fn run(context: &Context, args: &JpomArgs) -> Outcome {
    match &args.command {
        JpomCommand::Inspect(args) => run_inspect(context, args),
    }
}

fn run_inspect(context: &Context, args: &JpomInspectArgs) -> Outcome {
    let path = paths::absolute(&args.path)?;
    let home = Home::at(&path).map_err(|error| {
        let failure = Failure::new(Kind::Failed, error.to_string());
        failure.next("Name the folder with `bin` and `lib`, or the volume with `data` and `db`.")
    })?;
    let scoping = args.scope.scoping();
    let inspection = inspect(&home, &scoping);
    match context.printer.json {
        true => context.printer.json(&document(&inspection, &scoping))?,
        false => context.printer.result(&text(&inspection))?,
    }
    for error in &inspection.errors {
        context.printer.error(&ItemError::new("inspect", path.as_os_str().as_bytes(), with_causes(error)));
    }
    match inspection.errors.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Kind::Incomplete, "not all of the home could be understood")
            .safe("What is shown is right as far as it goes; a backup takes the files all the same.")),
    }
}

fn text(inspection: &Inspection) -> String {
    let mut table = Table::new(&["Path", "Role", "Files", "Size", "Taken", "Why"]);
    for line in &inspection.lines {
        table.add([
            Content::Own(escape::path(&line.path).into_owned()),
            Content::Own(role(line)),
            Content::Number(line.files.to_string()),
            Content::Number(size::show(line.bytes)),
            Content::Text(if line.decision.taken { "yes" } else { "no" }),
            Content::Text(line.decision.why),
        ]);
    }
    let taken = || inspection.lines.iter().filter(|line| line.decision.taken);
    let (files, bytes) = (taken().map(|line| line.files).sum(), taken().map(|line| line.bytes).sum());
    table.foot(format!("taken: {}, {}", table::count(files, "file"), size::show(bytes)));
    head(inspection) + "\n" + &table.render() + &elsewhere(inspection)
}

fn head(inspection: &Inspection) -> String {
    let home = &inspection.home;
    let mut text = format!("{}: Jpom {}", escape::path(home.root()), home.kind.word());
    let mut say = |what: &str, value: String| text.push_str(&format!("\n  {what:<12}{}", escape::text(&value)));
    say("layout", home.layout.word().to_owned());
    if let Some(program) = &inspection.program {
        say("version", program.version.clone().unwrap_or_else(|| "not known".to_owned()));
        program.library.iter().for_each(|library| say("H2", library.version.clone()));
    }
    match &inspection.database {
        Database::None => {}
        Database::File { path } => say("database", format!("H2, {}", path.display())),
        Database::Outside { mode, address } => {
            say("database", format!("{}, {}", mode.word(), address.as_deref().unwrap_or("address not known")));
        }
    }
    inspection.install_id.iter().for_each(|id| say("identity", id.clone()));
    inspection.running.iter().for_each(|pid| say("runs as", format!("process {pid}")));
    text.push('\n');
    text
}

fn role(line: &Line) -> String {
    let role = line.role.map_or("unknown", |role| role.word());
    if line.secret { format!("{role}, secret") } else { role.to_owned() }
}

fn elsewhere(inspection: &Inspection) -> String {
    let mut text = String::new();
    if !inspection.outside.is_empty() {
        text.push_str("\nNot in this home, and in no snapshot of it:\n");
    }
    for alike in inspection.outside.chunk_by(|one, two| (&one.what, &one.advice) == (&two.what, &two.advice)) {
        let places: Vec<_> = alike.iter().map(|outside| escape::text(&outside.place)).collect();
        text.push_str(&format!("  {}\n", places.join(", ")));
        for line in alike.first().iter().flat_map(|outside| [&outside.what, &outside.advice]) {
            text.push_str(&format!("    {}\n", escape::text(line)));
        }
    }
    text
}

fn document(inspection: &Inspection, scoping: &Scoping) -> JpomHome {
    let home = &inspection.home;
    let (database, database_place) = match &inspection.database {
        Database::None => (None, None),
        Database::File { path } => (Some(Mode::H2.word()), Some(escape::lossy(path.as_os_str().as_bytes()))),
        Database::Outside { mode, address } => (Some(mode.word()), address.clone()),
    };
    let program = inspection.program.as_ref();
    JpomHome {
        home: escape::lossy(home.root().as_os_str().as_bytes()),
        kind: home.kind.word(),
        layout: home.layout.word(),
        version: program.and_then(|program| program.version.clone()),
        built: program.and_then(|program| program.built.clone()),
        h2_version: program.and_then(|program| program.library.as_ref()).map(|library| library.version.clone()),
        pid: inspection.running,
        install_id: inspection.install_id.clone(),
        database,
        database_place,
        scope: scoping.scope.word(),
        paths: inspection.lines.iter().map(path).collect(),
        outside: inspection.outside.iter().map(outside).collect(),
    }
}

fn path(line: &Line) -> JpomPath {
    JpomPath {
        path: escape::lossy(line.path.as_os_str().as_bytes()),
        role: line.role.map_or("unknown", |role| role.word()),
        secret: line.secret,
        files: line.files,
        bytes: line.bytes,
        in_scope: line.decision.taken,
        reason: line.decision.why,
        what: line.what,
    }
}

fn outside(outside: &treering_jpom::Outside) -> JpomOutside {
    let treering_jpom::Outside { place, what, advice } = outside.clone();
    JpomOutside { place, what, advice }
}
