//! From a declared health check to the one that the engine runs inside the container.
//!
//! A check that fails prints why: the engine keeps it, and a look brings it back.

use std::time::Duration;

use bollard::models::HealthConfig;

use crate::spec::{
    HealthCheck,
    health::{Probe, Statuses},
};

/// The health check of a container; `None` inherits the image's.
pub(super) fn config(check: &HealthCheck) -> Option<HealthConfig> {
    let within = check.timeout.as_secs().saturating_sub(1).max(1);
    let test = match &check.probe {
        // An empty test inherits the image's, with this timing.
        Probe::Image => None,
        Probe::Exec(command) => Some([vec!["CMD".to_owned()], command.clone()].concat()),
        Probe::Http { path, port, status } => Some(shell(http(path, *port, status, within))),
        Probe::Tcp { port } => Some(shell(tcp(*port, within))),
        Probe::Unix { socket, path, status } => Some(shell(unix(socket, path, status, within))),
    };
    Some(HealthConfig {
        test,
        interval: Some(nanoseconds(check.interval)),
        timeout: Some(nanoseconds(check.timeout)),
        retries: Some(check.retries.into()),
        start_period: Some(nanoseconds(check.start_period)),
        start_interval: None,
    })
}

fn shell(script: String) -> Vec<String> {
    vec!["CMD-SHELL".to_owned(), script]
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// The container's own proxy settings must not stand between it and itself: hence `--noproxy` and the empty
/// `http_proxy`. A BusyBox without support for `-T` crashes on it, and knows no `--max-redirect`: hence the questions.
fn http(path: &str, port: u16, status: &Statuses, within: u64) -> String {
    let url = quoted(&format!("http://127.0.0.1:{port}{path}"));
    [
        have("curl"),
        format!("out=$(curl -sS -D - -o /dev/null --noproxy '*' -m {within} {url} 2>&1); rc=$?;"),
        format!("el{}", have("wget")),
        "help=$(wget --help 2>&1); with=;".to_owned(),
        format!("case \"$help\" in *-T*) with='-T {within}';; esac;"),
        "case \"$help\" in *-S*) with=\"$with -S\";; esac;".to_owned(),
        "case \"$help\" in *--max-redirect*) with=\"$with --max-redirect=0\";; esac;".to_owned(),
        format!("out=$(http_proxy= wget -nv -t 1 $with -O /dev/null {url} 2>&1); rc=$?;"),
        // That the status is an error is no failure of the program, though it says so. Source: "Exit Status" of the
        // GNU Wget manual: 6 and 8 are answers.
        "case \"$rc $out\" in [68]\\ *|*'server returned error'*) rc=0;; esac;".to_owned(),
        lacking("neither curl nor wget"),
        judged(path, status),
    ]
    .join(" ")
}

/// Reads the status line of the first answer off `$out`; what came to a bad end (`$rc`), or is not what is expected,
/// is said. Only what every shell has built in is used. A program that tells no status, and ends well, met no error.
fn judged(path: &str, status: &Statuses) -> String {
    let bounds = |(first, last): &(u16, u16)| format!("[ \"$code\" -ge {first} ] && [ \"$code\" -le {last} ]");
    let expected: Vec<String> = status.0.iter().map(|range| format!("{{ {}; }}", bounds(range))).collect();
    [
        "line=; case \" $out\" in *' HTTP/'*) line=\" $out\"; line=HTTP/${line#* HTTP/};; esac;",
        "line=${line%%'\n'*}; line=${line%%'\r'*}; code=${line#* }; code=${code%%[!0-9]*};",
        "if [ -z \"$line\" ] && [ $rc = 0 ]; then code=200; fi;",
        "if [ -z \"$code\" ]; then echo \"$out\"; exit 1; fi;",
        &format!("if [ $rc != 0 ]; then echo {}\" answered $line, and no more in time\"; exit 1; fi;", quoted(path)),
        &format!("{} ||", expected.join(" || ")),
        &format!("{{ echo {}\" answered $line, expected is {status}\"; exit 1; }}", quoted(path)),
    ]
    .join(" ")
}

/// BusyBox has an `nc` without `-z`; there, connecting and then running a program that ends at once does it.
fn tcp(port: u16, within: u64) -> String {
    let failed = format!("|| {{ echo 'no connection to port {port}'; exit 1; }};");
    [
        have("nc"),
        format!("case \"$(nc -h 2>&1)\" in *-z*) nc -z -w {within} 127.0.0.1 {port};;"),
        format!("*) nc -w {within} 127.0.0.1 {port} -e true;; esac"),
        failed.clone(),
        format!("el{}", have("bash")),
        format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'"),
        failed,
        lacking("neither nc nor bash"),
    ]
    .join(" ")
}

fn unix(socket: &str, path: &str, status: &Statuses, within: u64) -> String {
    let (url, socket) = (quoted(&format!("http://localhost{path}")), quoted(socket));
    [
        have("curl"),
        format!("out=$(curl -sS -D - -o /dev/null -m {within} --unix-socket {socket} {url} 2>&1); rc=$?;"),
        lacking("no curl"),
        judged(path, status),
    ]
    .join(" ")
}

fn have(tool: &str) -> String {
    format!("if command -v {tool} >/dev/null 2>&1; then")
}

fn lacking(what: &str) -> String {
    format!("else echo '{what} in the image; use healthCheck.exec'; exit 1; fi;")
}

fn quoted(word: &str) -> String {
    shell_words::quote(word).into_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        process::Command,
        thread,
    };

    use super::*;

    fn check(probe: Probe) -> HealthConfig {
        config(&HealthCheck {
            probe,
            interval: Duration::from_millis(1500),
            timeout: Duration::from_secs(3),
            retries: 4,
            start_period: Duration::from_secs(60),
        })
        .unwrap()
    }

    /// Runs a check as the engine does, and gives its exit code and what it printed.
    fn ran(config: HealthConfig, path: &str) -> (i32, String) {
        let test = config.test.unwrap();
        assert_eq!(test[0], "CMD-SHELL");
        let out = Command::new("/bin/sh").args(["-c", &test[1]]).env("PATH", path).output().unwrap();
        (out.status.code().unwrap(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    }

    /// A server that answers every request with a status.
    fn server(status: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        port
    }

    fn closed() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// A directory for `PATH` that holds only links to the named programs.
    fn only(tools: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for tool in tools {
            let found = ["/usr/bin", "/bin"].map(|at| std::path::Path::new(at).join(tool));
            if let Some(found) = found.iter().find(|path| path.exists()) {
                std::os::unix::fs::symlink(found, dir.path().join(tool)).unwrap();
            }
        }
        dir
    }

    #[test]
    fn times_are_told_in_nanoseconds() {
        let config = check(Probe::Image);
        assert_eq!(config.interval, Some(1_500_000_000));
        assert_eq!(config.timeout, Some(3_000_000_000));
        assert_eq!(config.start_period, Some(60_000_000_000));
        assert_eq!(config.retries, Some(4));
    }

    #[test]
    fn the_image_s_own_check_is_inherited_and_a_command_is_run_without_a_shell() {
        assert_eq!(check(Probe::Image).test, None);
        let command = vec!["pg_isready".to_owned(), "-U".to_owned(), "a b".to_owned()];
        assert_eq!(check(Probe::Exec(command)).test.unwrap(), ["CMD", "pg_isready", "-U", "a b"]);
    }

    /// Each of the programs that this machine has, alone on a `PATH`.
    fn each(tools: &[&'static str]) -> Vec<(&'static str, tempfile::TempDir)> {
        let found: Vec<_> = tools.iter().map(|tool| (*tool, only(&[tool]))).collect();
        let found: Vec<_> =
            found.into_iter().filter(|(_, dir)| std::fs::read_dir(dir.path()).unwrap().next().is_some()).collect();
        assert!(!found.is_empty(), "this machine has none of {tools:?}");
        found
    }

    fn asks(port: u16, status: Statuses) -> HealthConfig {
        check(Probe::Http { path: "/up?a=1&b='2'".into(), port, status })
    }

    #[test]
    fn an_http_check_passes_on_200_and_tells_the_status_line_on_500() {
        for (tool, path) in each(&["wget", "curl"]) {
            let path = path.path().to_str().unwrap();
            let said = |status| ran(asks(server(status), Statuses::default()), path);
            assert_eq!(said("200 OK"), (0, String::new()), "{tool}");
            assert_eq!(said("204 No Content"), (0, String::new()), "{tool}");
            assert_eq!(said("302 Found"), (0, String::new()), "{tool}");
            let line = "/up?a=1&b='2' answered HTTP/1.1 500 Oh no, expected is 200-399\n".to_owned();
            assert_eq!(said("500 Oh no"), (1, line), "{tool}");
            let (code, words) = ran(asks(closed(), Statuses::default()), path);
            assert!(code == 1 && words.to_lowercase().contains("connect"), "{tool}: {code} {words}");
        }
    }

    #[test]
    fn an_http_check_takes_the_status_that_is_expected_and_no_other() {
        let expected = Statuses(vec![(200, 204), (401, 401)]);
        for (tool, path) in each(&["wget", "curl"]) {
            let path = path.path().to_str().unwrap();
            let said = |status| ran(asks(server(status), expected.clone()), path);
            for good in ["200 OK", "204 No Content", "401 Unauthorized"] {
                assert_eq!(said(good), (0, String::new()), "{tool}");
            }
            for bad in ["205 Reset Content", "302 Found", "400 Bad Request", "503"] {
                let line = format!("/up?a=1&b='2' answered HTTP/1.1 {bad}, expected is 200-204, 401\n");
                assert_eq!(said(bad), (1, line), "{tool}");
            }
        }
    }

    #[test]
    fn an_answer_that_never_ends_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
                open.push(stream);
            }
        });
        for (tool, path) in each(&["wget", "curl"]) {
            let (code, words) = ran(asks(port, Statuses::default()), path.path().to_str().unwrap());
            let said = "/up?a=1&b='2' answered HTTP/1.1 200 OK, and no more in time\n".to_owned();
            assert_eq!((code, words), (1, said), "{tool}");
        }
    }

    #[test]
    fn a_check_through_a_socket_tells_the_status_line_too() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("app.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = write!(stream, "HTTP/1.1 503 Not yet\r\nContent-Length: 0\r\n\r\n");
            }
        });
        let path = only(&["curl"]);
        let path = path.path().to_str().unwrap();
        let asks = |status| {
            let socket = socket.to_str().unwrap().to_owned();
            check(Probe::Unix { socket, path: "/up".into(), status })
        };
        let line = "/up answered HTTP/1.1 503 Not yet, expected is 200-399\n".to_owned();
        assert_eq!(ran(asks(Statuses::default()), path), (1, line));
        assert_eq!(ran(asks(Statuses(vec![(503, 503)])), path), (0, String::new()));
    }

    #[test]
    fn a_tcp_check_passes_when_the_port_is_open() {
        let path = only(&["nc", "bash", "true"]);
        let path = path.path().to_str().unwrap();
        assert_eq!(ran(check(Probe::Tcp { port: server("200 OK") }), path), (0, String::new()));
        let (code, words) = ran(check(Probe::Tcp { port: closed() }), path);
        assert!(code == 1 && words.contains("no connection to port"), "{words}");
    }

    #[test]
    fn an_image_without_the_tools_is_told_what_to_do_instead() {
        let probes = [
            (Probe::Http { path: "/".into(), port: 80, status: Statuses::default() }, "neither curl nor wget"),
            (Probe::Tcp { port: 80 }, "neither nc nor bash"),
            (Probe::Unix { socket: "/run/app.sock".into(), path: "/".into(), status: Statuses::default() }, "no curl"),
        ];
        for (probe, lack) in probes {
            let said = ran(check(probe), "/nonexistent");
            assert_eq!(said, (1, format!("{lack} in the image; use healthCheck.exec\n")));
        }
    }
}
