//! From a declared health check to the one that the engine runs inside the container.
//!
//! A check that fails prints why: the engine keeps it, and a look brings it back.

use std::time::Duration;

use bollard::models::HealthConfig;

use crate::spec::{HealthCheck, health::Probe};

/// The health check of a container; `None` inherits the image's.
pub(super) fn config(check: &HealthCheck) -> Option<HealthConfig> {
    let within = check.timeout.as_secs().saturating_sub(1).max(1);
    let test = match &check.probe {
        // An empty test inherits the image's, with this timing.
        Probe::Image => None,
        Probe::Exec(command) => Some([vec!["CMD".to_owned()], command.clone()].concat()),
        Probe::Http { path, port } => Some(shell(http(path, *port, within))),
        Probe::Tcp { port } => Some(shell(tcp(*port, within))),
        Probe::Unix { socket, path } => Some(shell(unix(socket, path, within))),
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

/// The container's own proxy settings must not stand between it and itself: hence the empty `http_proxy`. A
/// BusyBox without support for `-T` crashes on it: hence the question.
fn http(path: &str, port: u16, within: u64) -> String {
    let url = quoted(&format!("http://127.0.0.1:{port}{path}"));
    [
        have("wget"),
        format!("limit=; case \"$(wget --help 2>&1)\" in *-T*) limit='-T {within}';; esac;"),
        format!("out=$(http_proxy= wget -nv -t 1 $limit -O /dev/null {url} 2>&1)"),
        "|| { echo \"$out\"; exit 1; };".to_owned(),
        format!("el{}", have("curl")),
        format!("curl -sS -f -o /dev/null --noproxy '*' -m {within} {url} || exit 1;"),
        lacking("neither wget nor curl"),
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

fn unix(socket: &str, path: &str, within: u64) -> String {
    let url = quoted(&format!("http://localhost{path}"));
    [
        have("curl"),
        format!("curl -sS -f -o /dev/null -m {within} --unix-socket {} {url} || exit 1;", quoted(socket)),
        lacking("no curl"),
    ]
    .join(" ")
}

fn have(tool: &str) -> String {
    format!("if command -v {tool} >/dev/null 2>&1; then")
}

fn lacking(what: &str) -> String {
    format!("else echo '{what} in the image; use healthCheck.exec'; exit 1; fi")
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

    #[test]
    fn an_http_check_passes_on_200_and_tells_the_status_on_500() {
        for tool in ["wget", "curl"] {
            let path = only(&[tool]);
            if std::fs::read_dir(path.path()).unwrap().next().is_none() {
                continue; // that tool is not on this machine; the other is
            }
            let path = path.path().to_str().unwrap();
            let http = |port| check(Probe::Http { path: "/up?a=1&b='2'".into(), port });
            assert_eq!(ran(http(server("200 OK")), path), (0, String::new()), "{tool}");
            let (code, words) = ran(http(server("500 Oh no")), path);
            assert!(code == 1 && words.contains("500"), "{tool}: {code} {words}");
            let (code, words) = ran(http(closed()), path);
            assert!(code == 1 && !words.is_empty(), "{tool}: {code} {words}");
        }
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
            (Probe::Http { path: "/".into(), port: 80 }, "neither wget nor curl"),
            (Probe::Tcp { port: 80 }, "neither nc nor bash"),
            (Probe::Unix { socket: "/run/app.sock".into(), path: "/".into() }, "no curl"),
        ];
        for (probe, lack) in probes {
            let said = ran(check(probe), "/nonexistent");
            assert_eq!(said, (1, format!("{lack} in the image; use healthCheck.exec\n")));
        }
    }
}
