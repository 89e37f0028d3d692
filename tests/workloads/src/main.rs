//! `workloads`: makes test data by hand.
//!
//! Owns: the arguments of the generators.
//! Never: generates; that is the library's.
//! Invariant: the same arguments make the same data as the tests and benchmarks use.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use treering_workloads::{
    Access, Result, fingerprint, h2, incompressible, je, jpom_home, postgres, small_files, tricky_tree,
};

/// Makes the data that treering is tested and measured on
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the home of a Jpom server or agent
    JpomCreate(JpomArguments),
    /// Let days pass in a Jpom home
    JpomDay {
        /// The home
        folder: PathBuf,
        /// How many days
        #[arg(long, default_value_t = 1)]
        days: u32,
    },
    /// Make, or with --change change, a folder of small files
    SmallFiles {
        /// Where
        folder: PathBuf,
        /// How many files the folder begins with
        #[arg(long, default_value_t = small_files::FULL_COUNT)]
        count: u64,
        #[command(flatten)]
        step: Step,
    },
    /// Make, or with --change change, a gibibyte that nothing can shrink
    Incompressible {
        /// Where
        folder: PathBuf,
        #[command(flatten)]
        step: Step,
    },
    /// Make a folder with everything that a file system allows
    TrickyTree {
        /// Where
        folder: PathBuf,
        /// Names the random streams
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Describe a folder, one line for each path
    Fingerprint {
        /// What to describe
        folder: PathBuf,
    },
    /// Make a PostgreSQL data folder in FOLDER/data, then let nights pass
    Postgres {
        /// Where; the user postgres must be able to reach it
        folder: PathBuf,
        /// How many nights
        #[arg(long, default_value_t = 0)]
        nights: u32,
    },
    /// Make a database, let days pass in it, or count what is in it
    Database(DatabaseArguments),
}

#[derive(Args)]
struct JpomArguments {
    kind: Kind,
    folder: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Multiplies all sizes; 1 makes one to two gigabytes
    #[arg(long, default_value_t = 0.1)]
    scale: f64,
    /// The layout of a container: data and database in FOLDER/data
    #[arg(long)]
    docker: bool,
    /// Leave out the imitated database
    #[arg(long)]
    no_database: bool,
}

#[derive(Args)]
struct Step {
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Make change number N instead of the first version
    #[arg(long, value_name = "N")]
    change: Option<u32>,
}

#[derive(Args)]
struct DatabaseArguments {
    engine: Engine,
    action: Action,
    folder: PathBuf,
    /// How many records to begin with
    #[arg(long, default_value_t = 20_000)]
    records: u32,
    /// Which day
    #[arg(long, default_value_t = 1)]
    day: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Allow counting to write, which opening a database that was not closed must do
    #[arg(long)]
    writable: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Server,
    Agent,
}

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    Je,
    H2,
}

#[derive(Clone, Copy, ValueEnum)]
enum Action {
    Create,
    Day,
    Count,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            eprintln!("workloads: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::JpomCreate(arguments) => create_home(arguments),
        Command::JpomDay { folder, days } => pass_days(&folder, days),
        Command::SmallFiles { folder, count, step } => small(&folder, count, &step),
        Command::Incompressible { folder, step } => random_files(&folder, &step),
        Command::TrickyTree { folder, seed } => tricky(&folder, seed),
        Command::Fingerprint { folder } => print_fingerprint(&folder),
        Command::Postgres { folder, nights } => database_folder(&folder, nights),
        Command::Database(arguments) => database(&arguments),
    }
}

fn create_home(arguments: JpomArguments) -> Result<()> {
    let mut options = match arguments.kind {
        Kind::Server => jpom_home::Options::server(arguments.seed, arguments.scale),
        Kind::Agent => jpom_home::Options::agent(arguments.seed, arguments.scale),
    };
    if arguments.docker {
        options.layout = jpom_home::Layout::Docker;
    }
    if arguments.no_database {
        options.database = jpom_home::Database::None;
    }
    jpom_home::Home::create(&arguments.folder, options).map(drop)
}

fn pass_days(folder: &Path, days: u32) -> Result<()> {
    let mut home = jpom_home::Home::open(folder)?;
    for _ in 0..days {
        println!("day {}", home.next_day()?);
    }
    Ok(())
}

fn small(folder: &Path, count: u64, step: &Step) -> Result<()> {
    let options = small_files::Options { seed: step.seed, count };
    match step.change {
        None => small_files::create(folder, &options),
        Some(number) => small_files::change(folder, &options, u64::from(number)).map(|changed| println!("{changed:?}")),
    }
}

fn random_files(folder: &Path, step: &Step) -> Result<()> {
    let options = incompressible::Options::full(step.seed);
    match step.change {
        None => incompressible::create(folder, &options),
        Some(number) => incompressible::change(folder, &options, number),
    }
}

fn tricky(folder: &Path, seed: u64) -> Result<()> {
    for left_out in tricky_tree::create(folder, &tricky_tree::Options::everything(seed))? {
        println!("left out {left_out}");
    }
    Ok(())
}

fn print_fingerprint(folder: &Path) -> Result<()> {
    for (path, description) in fingerprint(folder)? {
        println!("{path:?} {description}");
    }
    Ok(())
}

fn database_folder(folder: &Path, nights: u32) -> Result<()> {
    let options = postgres::Options::full();
    let cluster = match folder.join("data").exists() {
        true => postgres::Cluster::open(folder, options)?,
        false => postgres::Cluster::create(folder, options)?,
    };
    (1..=nights).try_for_each(|night| cluster.night(night))
}

fn database(arguments: &DatabaseArguments) -> Result<()> {
    let DatabaseArguments { folder, records, day, seed, .. } = arguments;
    let access = if arguments.writable { Access::Writable } else { Access::ReadOnly };
    match (arguments.engine, arguments.action) {
        (Engine::Je, Action::Create) => je::Environment::create(folder, *records, *seed).map(drop),
        (Engine::Je, Action::Day) => je::Environment::open(folder)?.day(*day, *seed),
        (Engine::Je, Action::Count) => je::Environment::open(folder)?.count(access).map(|found| println!("{found:?}")),
        (Engine::H2, Action::Create) => h2::Database::create(folder, *records, *seed).map(drop),
        (Engine::H2, Action::Day) => h2::Database::open(folder)?.day(*day, *seed),
        (Engine::H2, Action::Count) => h2::Database::open(folder)?.count(access).map(|found| println!("{found:?}")),
    }
}
