//! The command line as values; nginx's options, and one more.

use std::ffi::{OsStr, OsString};

use lexopt::prelude::*;

/// The help text.
pub(super) const USAGE: &str = "\
Usage: upsplice [-?hvVtTq] [-s signal] [-p prefix] [-e filename] [-c filename] [-g directives]
       upsplice [--demo [address]]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version, how it was built and what this kernel offers, and exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to the running program: stop, quit, reopen, reload
  -p prefix     : set prefix path for relative file names (default: the current directory)
  -e filename   : set error log file for when the configuration names none (default: stderr)
  -c filename   : set configuration file (default: /etc/nginx/nginx.conf; with -p conf/nginx.conf
                  under the prefix)
  -g directives : set global directives out of configuration file
  --demo [addr] : run the embedded example on this address (default: 127.0.0.1:8080);
                  without any arguments this is what happens
";

/// What the program is asked to do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Options {
    pub(super) task: Task,
    pub(super) config: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) error_log: Option<String>,
    pub(super) directives: Option<String>,
    pub(super) quiet: bool,
}

/// The one thing to do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Task {
    /// Serve as the configuration says.
    #[default]
    Serve,
    /// Serve the embedded example, on this address if one is given.
    Demo(Option<String>),
    Help,
    Version {
        long: bool,
    },
    Test {
        dump: bool,
    },
    Signal(Signal),
}

/// What `-s` may send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Signal {
    Stop,
    Quit,
    Reopen,
    Reload,
}

/// Reads the arguments, the program's name excluded.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<Options, String> {
    if arguments.is_empty() {
        return Ok(Options { task: Task::Demo(None), ..Options::default() });
    }
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('h' | '?') | Long("help") => options.task = Task::Help,
            Short('v') | Long("version") => options.task = Task::Version { long: false },
            Short('V') => options.task = Task::Version { long: true },
            Short('t') => options.task = Task::Test { dump: false },
            Short('T') => options.task = Task::Test { dump: true },
            Short('q') => options.quiet = true,
            Short('s') => options.task = Task::Signal(signal(&text(&mut parser, "-s")?)?),
            Short('p') => options.prefix = Some(text(&mut parser, "-p")?),
            Short('e') => options.error_log = Some(text(&mut parser, "-e")?),
            Short('c') => options.config = Some(text(&mut parser, "-c")?),
            Short('g') => options.directives = Some(text(&mut parser, "-g")?),
            Long("demo") => {
                let is_value = |next: &OsStr| !next.as_encoded_bytes().starts_with(b"-");
                let address = parser.try_raw_args().and_then(|mut rest| rest.next_if(is_value));
                let address = address.map(utf8).transpose()?;
                options.task = Task::Demo(address);
            }
            Short(_) | Long(_) | Value(_) => return Err(argument.unexpected().to_string()),
        }
        if matches!(options.task, Task::Help) {
            break;
        }
    }
    let named = [(&options.config, "-c"), (&options.prefix, "-p"), (&options.error_log, "-e")];
    if let Task::Demo(_) = options.task
        && let Some((_, option)) = named.into_iter().find(|(value, _)| value.is_some())
    {
        return Err(format!("\"{option}\" has no meaning for the embedded example"));
    }
    Ok(options)
}

fn text(parser: &mut lexopt::Parser, option: &str) -> Result<String, String> {
    let value = parser.value().map_err(|_| format!("option \"{option}\" requires a parameter"))?;
    let value = utf8(value)?;
    if value.is_empty() {
        return Err(format!("option \"{option}\" requires a parameter"));
    }
    Ok(value)
}

fn utf8(value: OsString) -> Result<String, String> {
    value.into_string().map_err(|value| format!("{} is not valid UTF-8", value.display()))
}

fn signal(name: &str) -> Result<Signal, String> {
    match name {
        "stop" => Ok(Signal::Stop),
        "quit" => Ok(Signal::Quit),
        "reopen" => Ok(Signal::Reopen),
        "reload" => Ok(Signal::Reload),
        _ => Err(format!("invalid option: \"-s {name}\"; it is stop, quit, reopen or reload")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Result<Options, &str>) {
        let arguments = line.split_whitespace().map(OsString::from).collect();
        match (parse(arguments), expect) {
            (Ok(options), Ok(expect)) => assert_eq!(options, expect, "{line}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{line}: {error}"),
            (outcome, _) => panic!("{line}: {outcome:?}"),
        }
    }

    fn options(task: Task) -> Options {
        Options { task, ..Options::default() }
    }

    #[test]
    fn options_are_nginxs() {
        check("", Ok(options(Task::Demo(None))));
        check("-h", Ok(options(Task::Help)));
        check("-?", Ok(options(Task::Help)));
        check("-v", Ok(options(Task::Version { long: false })));
        check("-V", Ok(options(Task::Version { long: true })));
        check("-s reopen", Ok(options(Task::Signal(Signal::Reopen))));
        let test = Options {
            config: Some("a.conf".to_owned()),
            quiet: true,
            ..options(Task::Test { dump: false })
        };
        check("-t -q -c a.conf", Ok(test.clone()));
        check("-tqca.conf", Ok(test));
        let serve = Options {
            prefix: Some("/srv".to_owned()),
            error_log: Some("stderr".to_owned()),
            directives: Some("daemon=off;".to_owned()),
            ..Options::default()
        };
        check("-p /srv -e stderr -g daemon=off;", Ok(serve));
    }

    #[test]
    fn the_demo_takes_an_address() {
        check("--demo", Ok(options(Task::Demo(None))));
        check("--demo -c nginx.conf", Err("-c"));
        check("--demo [::1]:0", Ok(options(Task::Demo(Some("[::1]:0".to_owned())))));
    }

    #[test]
    fn mistakes_are_told() {
        check("-x", Err("-x"));
        check("nginx.conf", Err("nginx.conf"));
        check("-c", Err("option \"-c\" requires a parameter"));
        check("-s fast", Err("stop, quit, reopen or reload"));
    }
}
